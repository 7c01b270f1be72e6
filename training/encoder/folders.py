"""Any set with one folder an identity: PEOPLE/NAME/*.jpg, with landmarks.json or without.

landmarks.json maps a picture's path below the set's folder to its 68 points, [[x, y], …], pixel centres at whole
numbers as in FFHQ's JSON. Without it a detector finds them (faces/detection.py). Inner-face masks are read from
NAME/PICTURE.mask.png where they exist; else they are the hull of the landmarks (ours; BlendFace's are parsed). A
picture that cannot be read, has no landmarks or a mask of another size is left out by name, and so are people who
keep fewer than two.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from faces.detection import reader_digest
from faces.errors import SamaeError
from faces.files import digest_of, sha256_file
from faces.landmark_list import LandmarkList
from faces.photographs import SUFFIXES, read_photograph
from training.encoder.crops import PersonCrops, Report, crop_faces
from training.encoder.recipe import EncoderRecipe
from training.pictures import LANDMARKS_JSON, found_landmarks, listed_points

MASK_SUFFIX = ".mask.png"
#: Two people train, and two verify.
LEAST_PEOPLE = 4
#: The part of a folder's people that verifies at most, whatever held_out_people says.
HELD_OUT_PART = 10
#: Pictures that are left out and named in the report; the others are counted.
NAMED = 5
FindsLandmarks = Callable[[Path, np.ndarray], np.ndarray]


def people_of(recipe: EncoderRecipe) -> dict[str, list[Path]]:
    """Identity -> its pictures, both sorted.

    Raises:
        SamaeError: no folder, fewer than LEAST_PEOPLE identities, or people with a single picture (unless the
            recipe leaves them out).
    """
    root = Path(recipe.data).expanduser()
    if not root.is_dir():
        raise SamaeError(f"{root} is no folder: name one that holds a folder for every identity, or data=people")
    people = {}
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        found = [p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and not p.name.endswith(MASK_SUFFIX)]
        if found:
            people[folder.name] = sorted(found)
    single = [name for name, pictures in people.items() if len(pictures) < 2]
    if single and not recipe.leave_out_single:
        raise SamaeError(
            f"{len(single)} identities of {root} have one picture only (such as {single[0]!r}), and who is who is "
            "learnt from two at least: add pictures, or leave those people out with --set leave_out_single=true"
        )
    people = {name: pictures for name, pictures in people.items() if len(pictures) > 1}
    if len(people) < LEAST_PEOPLE:
        raise SamaeError(
            f"{root} has {len(people)} identities with two pictures; an encoder needs {LEAST_PEOPLE} people at least, "
            "two that train and two that verify: make one folder for every person"
        )
    return people


def folder_digest(recipe: EncoderRecipe) -> str:
    """16 hexadecimal digits over a set's pictures and masks (name, size, time of change), landmarks, and the cut."""
    people = people_of(recipe)
    root = Path(recipe.data).expanduser()
    files = {}
    for path in (path for pictures in people.values() for path in pictures):
        for file in (path, _mask_path(path)):
            if file.is_file():
                about = file.stat()
                files[file.relative_to(root).as_posix()] = (about.st_size, about.st_mtime_ns)
    marks = sha256_file(root / LANDMARKS_JSON) if (root / LANDMARKS_JSON).is_file() else reader_digest()
    return digest_of({"files": files, "landmarks": marks, "crop_px": recipe.crop_px, "held": recipe.held_out_people})


def held_out(recipe: EncoderRecipe, people: int) -> int:
    """How many of so many people verify: held_out_people, but a tenth at most (and two at least)."""
    return min(recipe.held_out_people, max(2, people // HELD_OUT_PART))


def cut_people(recipe: EncoderRecipe, report: Report) -> Iterator[PersonCrops]:
    """The crops of one person after the other. Those that verify are the last ones.

    The order is that of the names' digests, so that adding people moves few.

    Raises:
        SamaeError: fewer than LEAST_PEOPLE people keep two pictures that can be used.
    """
    people = people_of(recipe)
    find, root = landmark_finder(Path(recipe.data).expanduser()), Path(recipe.data).expanduser()
    left_out: list[str] = []
    kept = pictures = 0
    for done, name in enumerate(sorted(people, key=digest_of), 1):
        rows = []
        for path in people[name]:
            pictures += 1
            try:
                rows.append(crop_faces(*as_square(*_face(path, root, find)), recipe.crop_px))
            except SamaeError as error:
                left_out.append(str(error))
        if len(rows) > 1:
            kept += 1
            yield tuple(np.concatenate(part) for part in zip(*rows, strict=True))  # type: ignore[misc]
        if done % 100 == 0:
            report(f"people {done}/{len(people)}")
    said = f"{len(left_out)} of {pictures} pictures of {root} are left out ({'; '.join(left_out[:NAMED])}"
    said += f"; and {len(left_out) - NAMED} more)" if len(left_out) > NAMED else ")"
    if kept < LEAST_PEOPLE:
        raise SamaeError(f"{said}, and {kept} people keep two; an encoder needs {LEAST_PEOPLE}: mend or add pictures")
    if left_out:
        report(f"{said}; {len(people) - kept} people keep fewer than two and are left out whole")


def _face(path: Path, root: Path, find: FindsLandmarks) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Picture (H, W, 3) uint8, inner-face mask (H, W) uint8 and landmarks (68, 2); SamaeError naming what is wrong."""
    image = _decoded(path, root)
    points = find(path, image)
    stored = _mask_path(path)
    if not stored.is_file():
        mask = np.zeros(image.shape[:2], np.uint8)
        cv2.fillConvexPoly(mask, cv2.convexHull(np.rint(points - 0.5).astype(np.int32)), 255)
        return image, mask, points
    mask = _decoded(stored, root)[..., 0]
    if mask.shape != image.shape[:2]:
        sizes = [f"{shape[1]} x {shape[0]}" for shape in (mask.shape, image.shape)]
        raise SamaeError(f"the mask {stored.relative_to(root)} has {sizes[0]} px, its picture {sizes[1]}")
    return image, mask, points


def _decoded(path: Path, root: Path) -> np.ndarray:
    picture = read_photograph(path)
    if isinstance(picture, str):
        raise SamaeError(f"{path.relative_to(root)}: {picture}")
    return picture


def _mask_path(path: Path) -> Path:
    return path.with_name(path.stem + MASK_SUFFIX)


def landmark_finder(root: Path) -> FindsLandmarks:
    """(path, picture) -> (68, 2) landmarks, our pixels: out of landmarks.json, else by the detector.

    Raises (when called with a picture):
        SamaeError: a picture has no landmarks, or there is no face in it.
    """
    if (root / LANDMARKS_JSON).is_file():
        LandmarkList(root / LANDMARKS_JSON)  # a file that lists nothing is said once, not for every picture

        def listed(path: Path, image: np.ndarray) -> np.ndarray:
            """Those of the set's own file."""
            points = listed_points(root / LANDMARKS_JSON, path.relative_to(root).as_posix())
            if points is None:
                raise SamaeError(f"{root / LANDMARKS_JSON} has no 68 points for {path.relative_to(root)}: add them")
            return points

        return listed
    return lambda path, image: found_landmarks(image, str(path))


def as_square(image: np.ndarray, mask: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One picture as a batch of one, padded to a square below and to the right (landmarks stay where they are)."""
    side = max(image.shape[:2])
    pads = ((0, side - image.shape[0]), (0, side - image.shape[1]))
    square = np.pad(image, (*pads, (0, 0)), mode="edge")
    return square[None], np.pad(mask, pads)[None], points[None]
