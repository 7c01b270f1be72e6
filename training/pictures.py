"""Plain pictures in and out of a trained swapper: landmarks, crop, fit, embedding, swap, and the paste back.

Where a picture's 68 landmarks come from, in this order: an entry of ffhq-dataset-v2.json in a folder above it (FFHQ's
layout, generated sets too); landmarks.json beside it or one folder up (68 or 5 points, faces/landmark_list.py); a
face detector, ours or InsightFace's (faces/detection.py). A picture of FFHQ's layout is a crop already; of any other,
FFHQ's crop is cut, swapped, and put back at the picture's own size.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch

from faces.albedo import shrink_masks, skin_colour
from faces.detection import ABOUT, landmark_reader, load_detector
from faces.errors import SamaeError
from faces.files import read_json
from faces.fitting import fit
from faces.identity.encoder import Encoder
from faces.landmark_list import LANDMARKS_NAME, NOT_LISTED, LandmarkList
from faces.landmarks import ffhq_crop, ffhq_transform, from_whole_pixels, transform_points
from faces.masks import face_mask
from faces.morphable.base import MorphableHead
from faces.photographs import LISTING_NAME, PIXEL_CAP, read_photograph
from faces.treatment import fit_width_px, settings_of
from training.batch import FaceBatch, SwapResult

LANDMARKS_JSON = LANDMARKS_NAME
#: Where the mask is below this, a result says nothing about what the network drew there.
LEAST_MASK = 0.02
#: Detectors that have read landmarks in this process.
_ASKED: set[str] = set()
#: Picture -> how many faces were found in it, if several; since somebody asked.
_SEVERAL: dict[str, int] = {}


@dataclass(frozen=True)
class Portrait:
    """One picture and the face in it.

    Attributes:
        image: (H, W, 3) uint8 sRGB, upright.  landmarks_px: (68, 2) in it, our pixels.
        crop: (2, 3) from the picture to the swapper's square.  face: a batch of one, at the swapper's size.
    """

    image: np.ndarray
    landmarks_px: np.ndarray
    crop: np.ndarray
    face: FaceBatch


def read_picture(path: Path) -> np.ndarray:
    """(H, W, 3) uint8 sRGB, upright; SamaeError when it is no readable PNG, JPEG or WebP of at most PIXEL_CAP."""
    if not path.is_file():
        raise SamaeError(f"there is no picture {path}")
    found = read_photograph(path)
    if isinstance(found, str):
        most = f"{PIXEL_CAP / 1e6:g} million pixels"
        raise SamaeError(f"{path} is not a readable PNG, JPEG or WebP picture of at most {most} ({found})")
    return found


class Marks(NamedTuple):
    """Landmarks (68, 2) in our pixels; whether the picture is an FFHQ crop already (see the module); whether it shows a
    generated person, whose landmarks are exact."""

    points_px: np.ndarray
    is_crop: bool = False
    is_generated: bool = False


def landmarks_of(path: Path, image: np.ndarray) -> Marks:
    """The landmarks of a picture, (H, W, 3) uint8, that lies at `path`.

    Raises:
        SamaeError: no landmarks, and no detector or no face; or what a listing says of this picture is damaged.
    """
    path = path.resolve()
    for above, folder in enumerate(list(path.parents)[:3]):
        name = path.relative_to(folder).as_posix()
        if (folder / LISTING_NAME).is_file():
            found = _entries(folder / LISTING_NAME, _changed_ns(folder / LISTING_NAME)).get(name)
            if found is not None:
                what, (photograph, is_generated) = f"{folder / LISTING_NAME}: {name}", found
                points = landmark_points(photograph.get("face_landmarks"), what)
                return Marks(points * (image.shape[0] / _width(photograph, what)), True, is_generated)
        listed = folder / LANDMARKS_JSON
        known = listed_points(listed, name) if above < 2 and listed.is_file() else None
        if known is not None:
            return Marks(known)
    faces = _found_faces(image, str(path))
    if len(faces) > 1:
        _SEVERAL[path.name] = len(faces)
    return Marks(faces[0])


def found_landmarks(image: np.ndarray, name: str) -> np.ndarray:
    """(H, W, 3) uint8 -> (68, 2) landmarks of its largest face by the detector, our pixels.

    Raises:
        SamaeError: the detector's weights are missing, or there is no face; `name` is the picture's for the sentence.
    """
    return _found_faces(image, name)[0]


def _found_faces(image: np.ndarray, name: str) -> list[np.ndarray]:
    """Landmarks of at least one face, the largest first."""
    try:
        faces = load_detector().faces(image)
    except SamaeError as error:
        raise SamaeError(
            f"{name} has no landmarks (in {LISTING_NAME} or {LANDMARKS_JSON} above it), and {error}"
        ) from None
    _ASKED.add(landmark_reader())
    if not faces:
        raise SamaeError(
            f"no face was found in {name} (by {ABOUT[landmark_reader()]}): choose another picture, or write "
            f"{LANDMARKS_JSON} beside it"
        )
    return faces


def readers_asked() -> list[str]:
    """What is to be said of the detectors that have read landmarks in this process, from faces/detection.py."""
    return [ABOUT[reader] for reader in sorted(_ASKED)]


def several_faces() -> list[str]:
    """What is to be said of pictures in which several faces were found since the last call."""
    said = [f"{name}: {count} faces, the largest was taken" for name, count in _SEVERAL.items()]
    _SEVERAL.clear()
    return said


def listed_points(listed: Path, name: str) -> np.ndarray | None:
    """(68, 2) landmarks, our pixels, of the picture that a landmarks.json calls so; None when it does not name it.

    Raises:
        SamaeError: the file is no object of names and points, or these are not 68 or 5 points of a face.
    """
    found = _landmarks(listed, _changed_ns(listed)).landmarks(name)
    if isinstance(found, str) and found != NOT_LISTED:
        raise SamaeError(f"{listed}: {name}: {found}: write them anew, or take the entry out to have the face found")
    return None if isinstance(found, str) else found


def _changed_ns(path: Path) -> int:
    return path.stat().st_mtime_ns


@lru_cache(maxsize=4)
def _landmarks(path: Path, changed_ns: int) -> LandmarkList:
    """A landmarks.json, read once until it changes."""
    return LandmarkList(path)


def landmark_points(given: Any, what: str) -> np.ndarray:
    """68 points of a listing -> (68, 2) float64, our pixels; SamaeError naming `what` when they are none."""
    try:
        points = np.asarray(given, np.float64)
    except (TypeError, ValueError):
        points = np.zeros(0)
    if points.shape != (68, 2) or not np.isfinite(points).all():
        raise SamaeError(f"{what} has not 68 points [x, y]: write them anew, or take the entry out")
    return from_whole_pixels(points)


@lru_cache(maxsize=4)
def _entries(listing: Path, changed_ns: int) -> dict[str, tuple[dict[str, Any], bool]]:
    """file_path -> the entry's image of a listing in FFHQ's form, and whether it is a generated person's; entries that
    name no picture are left out."""
    found = read_json(listing)
    if not isinstance(found, dict):
        raise SamaeError(f"{listing} is no JSON object of photographs as FFHQ's is: restore it")
    entries = [entry for entry in found.values() if isinstance(entry, dict) and isinstance(entry.get("image"), dict)]
    named = [entry for entry in entries if isinstance(entry["image"].get("file_path"), str)]
    generated = [isinstance(entry.get("synthetic"), dict) and bool(entry["synthetic"]) for entry in named]
    return {e["image"]["file_path"]: (e["image"], own) for e, own in zip(named, generated, strict=True)}


def _width(image: dict[str, Any], what: str) -> float:
    """Width of the stored picture that an entry's landmarks belong to, px; SamaeError naming `what` without one."""
    size = image.get("pixel_size")
    width = size[0] if isinstance(size, list) and size else None
    if not isinstance(width, (int, float)) or not 0 < width < np.inf:
        raise SamaeError(f"{what} has no pixel_size [width, height]: write it anew, or take the entry out")
    return float(width)


def read_portrait(path: Path, size_px: int, head: MorphableHead, encoder: Encoder) -> Portrait:
    """Read a picture and find, crop, fit and embed its face.

    Raises:
        SamaeError: the picture cannot be read, has no landmarks, or its face cannot be fitted.
    """
    image = read_picture(path)
    points, is_crop, is_generated = landmarks_of(path, image)
    fit_px = fit_width_px(size_px, is_generated)
    if is_crop and image.shape[0] == image.shape[1]:
        matrix = np.array([[1.0, 0, 0], [0, 1.0, 0]]) * (fit_px / image.shape[0])
        large = cv2.resize(image, (fit_px, fit_px), interpolation=_way(image.shape[0], fit_px))
    else:
        matrix, large = ffhq_transform(points, fit_px), ffhq_crop(image, points, fit_px)
    marks = transform_points(matrix, points).astype(np.float32)
    face = face_of_crop(str(path), large, marks, size_px, head, encoder, is_generated)
    return Portrait(image, points, matrix * (size_px / fit_px), face)


def _way(size_px: int, wanted_px: int) -> int:
    return cv2.INTER_AREA if wanted_px < size_px else cv2.INTER_CUBIC


def face_of_crop(
    name: str,
    large: np.ndarray,
    marks: np.ndarray,
    size_px: int,
    head: MorphableHead,
    encoder: Encoder,
    is_generated: bool = False,
) -> FaceBatch:
    """The face of FFHQ's crop (L, L, 3) uint8 with landmarks (68, 2) px in it, as training sees faces: a batch of one.

    Args:
        is_generated: the landmarks are exact; photographs are fitted and masked otherwise (faces/treatment.py).
    Raises:
        SamaeError: the face cannot be fitted.
    """
    side = large.shape[0]
    of_fit, of_occluders = settings_of(is_generated)
    found = fit(large[None], marks[None], head, side, of_fit)
    if not found.ok[0]:
        raise SamaeError(f"the face in {name} could not be fitted ({found.reason[0]}): choose another picture")
    coefficients = np.asarray(found.coefficients, np.float32)
    masks = face_mask(large[None], coefficients, head, of_occluders)
    skin = np.asarray(skin_colour(large[None], coefficients, masks, head), np.float32)
    small = large if side == size_px else cv2.resize(large, (size_px, size_px), interpolation=cv2.INTER_AREA)
    mask = shrink_masks(masks.astype(np.float32) / 255, size_px)
    return FaceBatch(
        image=torch.from_numpy(np.ascontiguousarray(small)).permute(2, 0, 1)[None].float() / 255,
        mask=torch.from_numpy(mask)[:, None],
        coefficients=torch.from_numpy(coefficients),
        embedding=torch.from_numpy(np.asarray(encoder.embed(large[None], marks[None]), np.float32)),
        skin=torch.from_numpy(skin),
        landmarks=torch.from_numpy(marks[None] * np.float32(size_px / side)),
        person=torch.tensor([-1]),
        keys=(Path(name).stem,),
    )


def paste_back(target: Portrait, result: SwapResult) -> np.ndarray:
    """(H, W, 3) uint8: the result inside its mask, in the target's picture at its own size.

    What the network drew is taken out of result = drawn m + target (1 - m) first, so that the target's fine pixels are
    blended once, not twice.
    """
    made, mask = result.image.detach().float().cpu(), result.mask.detach().float().cpu()
    own = target.face.image
    drawn = torch.where(mask > LEAST_MASK, (made - own * (1 - mask)) / mask.clamp_min(LEAST_MASK), made).clamp(0, 1)
    layers = torch.cat([drawn, mask], 1)[0].permute(1, 2, 0).numpy()
    height, width = target.image.shape[:2]
    a, b = target.crop[:, :2], target.crop[:, 2]
    whole = np.concatenate([a, (b + a @ [0.5, 0.5] - 0.5)[:, None]], 1)  # OpenCV's pixel centres are whole numbers
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    colour = cv2.warpAffine(layers[..., :3], whole, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    share = cv2.warpAffine(layers[..., 3], whole, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    share = share[..., None]
    return np.rint(np.clip(colour * 255, 0, 255) * share + target.image * (1 - share)).astype(np.uint8)
