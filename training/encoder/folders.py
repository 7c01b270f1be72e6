"""Any set with one folder an identity: PEOPLE/NAME/*.jpg, with landmarks.json or without.

landmarks.json maps a picture's path below the set's folder to its 68 points, [[x, y], …], pixel centres at whole
numbers as in FFHQ's JSON. Without it a detector finds them (faces/detection.py). Inner-face masks are read from
NAME/PICTURE.mask.png where they exist; else they are the hull of the landmarks (ours; BlendFace's are parsed).
"""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from faces.detection import reader_digest
from faces.errors import SamaeError
from faces.files import digest_of, sha256_file
from faces.records import decode_colour
from training.encoder.recipe import EncoderRecipe
from training.pictures import LANDMARKS_JSON, found_landmarks, listed_points

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp"})
MASK_SUFFIX = ".mask.png"
#: Two people train, and two verify.
LEAST_PEOPLE = 4
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
    """16 hexadecimal digits over names, sizes and landmarks of a set, and what is cut from it."""
    people = people_of(recipe)
    root = Path(recipe.data).expanduser()
    sizes = {str(p.relative_to(root)): p.stat().st_size for pictures in people.values() for p in pictures}
    marks = sha256_file(root / LANDMARKS_JSON) if (root / LANDMARKS_JSON).is_file() else reader_digest()
    return digest_of({"files": sizes, "landmarks": marks, "crop_px": recipe.crop_px, "held": recipe.held_out_people})


def cut_folder(
    recipe: EncoderRecipe, report: Callable[[str], None]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, int]:
    """Pictures, labels, landmarks and masks of a CropSet, and the number of people that train.

    The people that verify are the last ones in the order of their names' digests, so that adding people moves few.
    """
    from training.encoder.crops import crop_faces

    people = people_of(recipe)
    names = sorted(people, key=digest_of)
    held = min(recipe.held_out_people, len(names) - 2)
    find = landmark_finder(Path(recipe.data).expanduser())
    rows, labels = [], []
    for label, name in enumerate(names):
        for path in people[name]:
            image = decode_colour(path.read_bytes())
            points = find(path, image)
            mask = _mask(path, image, points)
            rows.append(crop_faces(*as_square(image, mask, points), recipe.crop_px))
            labels.append(label)
        if label % 100 == 99:
            report(f"people {label + 1}/{len(names)}")
    pictures, masks, landmarks = (np.concatenate(part) for part in zip(*rows, strict=True))
    return pictures, np.array(labels), landmarks, masks, len(names) - held


def landmark_finder(root: Path) -> FindsLandmarks:
    """(path, picture) -> (68, 2) landmarks, our pixels: out of landmarks.json, else by the detector.

    Raises (when called with a picture):
        SamaeError: a picture has no landmarks, or there is no face in it.
    """
    if (root / LANDMARKS_JSON).is_file():

        def listed(path: Path, image: np.ndarray) -> np.ndarray:
            """Those of the set's own file."""
            points = listed_points(root / LANDMARKS_JSON, path.relative_to(root).as_posix())
            if points is None:
                raise SamaeError(f"{root / LANDMARKS_JSON} has no 68 points for {path.relative_to(root)}: add them")
            return points

        return listed
    return lambda path, image: found_landmarks(image, str(path))


def _mask(path: Path, image: np.ndarray, points: np.ndarray) -> np.ndarray:
    stored = path.with_name(path.stem + MASK_SUFFIX)
    if stored.is_file():
        return decode_colour(stored.read_bytes())[..., 0]
    mask = np.zeros(image.shape[:2], np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(np.rint(points - 0.5).astype(np.int32)), 255)
    return mask


def as_square(image: np.ndarray, mask: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One picture as a batch of one, padded to a square below and to the right (landmarks stay where they are)."""
    side = max(image.shape[:2])
    pads = ((0, side - image.shape[0]), (0, side - image.shape[1]))
    square = np.pad(image, (*pads, (0, 0)), mode="edge")
    return square[None], np.pad(mask, pads)[None], points[None]
