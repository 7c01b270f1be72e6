"""Something put before a face, with its truth: an object, a hand, glasses, strands, another person's hair. Ours.

Pictures are (S, S, 3) float32 sRGB 0..1, alphas (S, S) float32, faces (68, 2) landmarks, all of a square of CLOSE_PX.
"""

import cv2
import numpy as np

from training.reading.covers import COVER, KNOWN
from training.reading.disturb import mixed, moved, smooth_noise
from training.reading.shapes import Rng, chance, fingers, spectacles, strands, thing

#: How often each is drawn.
KINDS = {"thing": 0.27, "hand": 0.2, "glasses": 0.23, "strands": 0.12, "hair": 0.18}


def texture(rng: Rng, size_px: int, donor: np.ndarray) -> np.ndarray:
    """What a thing looks like: (S, S, 3) plain, noisy, striped, shaded, or cut out of another picture."""
    base = rng.uniform(0.02, 0.98, 3).astype(np.float32)
    kind = rng.integers(5)
    if kind == 0:
        turned = np.rot90(donor, int(rng.integers(4)))
        return np.ascontiguousarray(turned[:, ::-1] if chance(rng, 0.5) else turned)
    out: np.ndarray = np.broadcast_to(base, (size_px, size_px, 3))
    if kind >= 2:
        out = out + 0.15 * smooth_noise(rng, size_px, int(rng.integers(3, 40)), 3 if kind == 2 else 1)
    if kind == 4:
        angle, period = rng.uniform(0, np.pi), rng.uniform(3, 30)
        across = np.arange(size_px) * np.cos(angle) + np.arange(size_px)[:, None] * np.sin(angle)
        stripes = (np.sin(2 * np.pi * across / period) > 0)[..., None]
        out = np.where(stripes, out, rng.uniform(0, 1, 3))
    shade = 1.0 + 0.25 * smooth_noise(rng, size_px, 2)
    return np.clip(out * shade, 0, 1).astype(np.float32)


def with_thing(
    rng: Rng, picture: np.ndarray, cover: np.ndarray, face: np.ndarray, planes: np.ndarray, other: np.ndarray,
    other_face: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Something put before the face: the picture, and what (S, S) 0..1 is covered then.

    Args:
        cover: what was covered before.  planes: of this face, other and other_face: of a donor of looks and of hair
            (training/reading/covers.py).
    """
    kind = str(rng.choice(list(KINDS), p=list(KINDS.values())))
    donor = other[..., :3].astype(np.float32) / 255
    if kind == "glasses":
        picture, cover, alpha, look = _glasses(rng, picture, cover, face, donor)
    elif kind == "hand":
        alpha, look = _hand(rng, picture, face, planes)
    elif kind == "strands":
        alpha = strands(rng, face)
        look = np.clip(rng.uniform(0, 0.75) * rng.uniform(0.7, 1.1, 3), 0, 1) * (0.8 + 0.4 * donor)
    elif kind == "hair":
        alpha, look = _hair(rng, face, other, other_face)
    else:
        alpha, look = thing(rng, face), texture(rng, len(picture), donor)
    if chance(rng, 0.4):
        shift = np.array([[1, 0, rng.normal(0, 3)], [0, 1, abs(rng.normal(0, 3))]], np.float32)
        shadow = cv2.warpAffine(cv2.GaussianBlur(alpha, (0, 0), rng.uniform(0.7, 4.0)), shift, alpha.shape[::-1])
        picture = picture * (1 - rng.uniform(0.1, 0.5) * shadow[..., None])
    return np.clip(mixed(picture, alpha, look), 0, 1).astype(np.float32), np.maximum(cover, alpha)


def _glasses(
    rng: Rng, picture: np.ndarray, cover: np.ndarray, face: np.ndarray, donor: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Picture and cover with lenses (dark ones cover, clear ones glint), alpha and look of the frames."""
    frames, lenses = spectacles(rng, face)
    if chance(rng, 0.25):
        depth = rng.uniform(0.75, 1.0)
        dark = rng.uniform(0, 0.25, 3) + 0.3 * depth * donor * (1 - depth)
        picture, cover = mixed(picture, depth * lenses, dark), np.maximum(cover, lenses)
    else:
        tint = rng.uniform(0, 0.12) * lenses * np.maximum(0, smooth_noise(rng, len(picture), 3)[..., 0])
        picture = mixed(picture, tint, np.ones(3))
    look = texture(rng, len(picture), donor)
    if chance(rng, 0.7):
        look = np.broadcast_to(rng.uniform(0.0, 0.6, 3) ** 2, picture.shape) * (0.7 + 0.6 * donor)
    return picture, cover, frames, look


def _hand(rng: Rng, picture: np.ndarray, face: np.ndarray, planes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Alpha and look of a hand of about the face's own colour."""
    alpha, shade = fingers(rng, face)
    inside = (planes[..., KNOWN] > 200) & (planes[..., COVER] < 20)
    own = np.median(picture[inside], axis=0) if inside.sum() > 50 else np.array([0.6, 0.45, 0.38])
    look = own * np.exp(rng.normal(0, 0.12, 3)) * float(np.exp(rng.normal(0, 0.2)))
    return alpha, look * (1 + 0.05 * smooth_noise(rng, len(picture), 20)) * shade[..., None]


def _hair(rng: Rng, face: np.ndarray, other: np.ndarray, other_face: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Alpha and look of what covers another person, laid somewhere over this face."""
    near = 0.5 * (face[27] - other_face[27]) + rng.normal(0, 12.0, 2)
    way = (rng.normal(0, 0.25), float(np.exp(rng.normal(0.1, 0.2))), near, chance(rng, 0.5))
    turned = moved(other, *way)
    look = np.clip(turned[..., :3].astype(np.float32) / 255 * np.exp(rng.normal(0, 0.3, 3)), 0, 1)
    return turned[..., COVER].astype(np.float32) / 255, look
