"""BlendFace's training pictures (Shiohara et al., ICCV 2023; released encoder code): A's inner face in B's head.

The inner face comes from the labelled picture, hair and background from a neighbour: one of the pictures of other
people whose landmarks lie nearest. The face takes the neighbour's colours (mean and deviation in LAB, each over its own
mask), the mask is the intersection of both inner faces, and a pair whose intersection is not more than half of the
larger mask stays unblended. The label stays the inner face's, so nothing but the inner face tells who it is.
"""

import cv2
import numpy as np

from faces.errors import SamaeError
from training.encoder.crops import CropSet
from training.encoder.recipe import EncoderRecipe

#: Landmarks that choose the partner: jaw, brows, nose ridge, eyes, a mouth corner (a constant of the released code).
NEAREST_BY = [*range(31), *range(36, 49)]
#: Least share of the larger mask that the intersection must exceed.
LEAST_SHARE = 0.5
#: The released Gaussian kernel at 112 px; smaller crops take a smaller one (ours).
KERNEL_PX, KERNEL_AT_PX = 11, 112
#: A large set is searched in a random part of so many pictures (ours: all pairs of five million are too many).
POOL = 20_000


def nearest_candidates(landmarks: np.ndarray, labels: np.ndarray, count: int, seed: int = 0) -> np.ndarray:
    """(P, 68, 2), (P,) -> (P, K) positions of the pictures of other people with the nearest landmarks, K <= count.

    Raises:
        SamaeError: all pictures show one person.
    """
    people = np.unique(labels)
    if len(people) < 2:
        raise SamaeError("blending needs a partner of another person, but the set has one identity: add people")
    pool = np.arange(len(labels))
    if len(pool) > POOL:
        pool = np.sort(np.random.Generator(np.random.Philox(key=[seed, 1])).choice(pool, POOL, replace=False))
    points = np.ascontiguousarray(landmarks[:, NEAREST_BY].reshape(len(labels), -1), np.float32)
    kept = min(count, *(len(pool) - (labels[pool] == person).sum() for person in np.unique(labels[pool])))
    chosen = np.empty((len(labels), kept), np.int32)
    squares = (points[pool] ** 2).sum(1)
    for start in range(0, len(labels), 1024):
        rows = slice(start, start + 1024)
        distance = squares[None] - 2 * points[rows] @ points[pool].T
        distance[labels[rows, None] == labels[pool][None]] = np.inf
        nearest = np.argpartition(distance, kept - 1, axis=1)[:, :kept]
        chosen[rows] = pool[nearest]
    return chosen


def match_colour(
    face: np.ndarray, face_mask: np.ndarray, neighbour: np.ndarray, neighbour_mask: np.ndarray
) -> np.ndarray:
    """The face (S, S, 3) uint8 with the neighbour's mean and deviation in LAB, each over its mask (S, S) bool."""
    own, other = (cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB) for image in (face, neighbour))
    there, here = other[neighbour_mask], own[face_mask]
    scale = there.std(0) / np.maximum(here.std(0), 1e-6)
    moved = (own - here.mean(0)) * scale + there.mean(0)
    return np.clip(cv2.cvtColor(moved.astype(np.float32), cv2.COLOR_LAB2RGB) * 255, 0, 255)


def soft_edges(mask: np.ndarray, kernel_px: int = KERNEL_PX) -> np.ndarray:
    """(S, S) bool -> (S, S) float32 0..1: blur, keep what stayed at the maximum (an erosion), blur, scale to 1."""
    first = cv2.GaussianBlur(mask.astype(np.float32), (kernel_px, kernel_px), 0)
    core = (first >= first.max() - 1e-6).astype(np.float32)
    second = cv2.GaussianBlur(core, (kernel_px, kernel_px), 0)
    return second / max(float(second.max()), 1e-6)


def kernel_for(size_px: int) -> int:
    """The blur's odd kernel for crops of this size: 11 at 112 px."""
    return max(3, 2 * round((KERNEL_PX * size_px / KERNEL_AT_PX - 1) / 2) + 1)


def blend(face: np.ndarray, face_mask: np.ndarray, neighbour: np.ndarray, neighbour_mask: np.ndarray) -> np.ndarray:
    """The face's inner part in the neighbour's picture; the plain face where the masks do not fit each other.

    (S, S, 3) uint8 pictures and (S, S) uint8 masks 0..255 -> (S, S, 3) uint8.
    """
    here, there = face_mask >= 128, neighbour_mask >= 128
    both = here & there
    if both.sum() <= LEAST_SHARE * max(here.sum(), there.sum()):
        return face
    weight = soft_edges(both, kernel_for(face.shape[0]))[..., None]
    matched = match_colour(face, here, neighbour, there)
    return np.rint(weight * matched + (1 - weight) * neighbour).astype(np.uint8)


class Blender:
    """Pictures of a set as an epoch shows them: plain, or blended into a neighbour with the recipe's probability."""

    def __init__(self, recipe: EncoderRecipe, crops: CropSet) -> None:
        self.recipe, self.crops = recipe, crops
        if recipe.blend_probability > 0:
            rows = crops.rows(is_train=True)
            found = nearest_candidates(crops.landmarks[rows], crops.labels[rows], recipe.blend_candidates, recipe.seed)
            self.candidates = np.zeros((len(crops.labels), found.shape[1]), np.int32)
            self.candidates[rows] = rows[found]

    def picture(self, row: int, rng: np.random.Generator, progress: float = 1.0) -> np.ndarray:
        """(S, S, 3) uint8 of one row, `progress` 0..1 through the training; the label stays the row's."""
        face, ramp = np.asarray(self.crops.pictures[row]), self.recipe.blend_ramp
        if rng.random() >= self.recipe.blend_probability * (min(1.0, progress / ramp) if ramp else 1.0):
            return face
        partner = int(self.candidates[row][int(rng.integers(self.candidates.shape[1]))])
        return blend(face, self.crops.masks[row], self.crops.pictures[partner], self.crops.masks[partner])
