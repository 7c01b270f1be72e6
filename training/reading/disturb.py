"""Pictures made unlike the generator's: pose in the square, shadows, gloss, colour, film. Ours.

A network that sees generated people only would learn the generator. Everything here is random, and a pure function of
the generator that is handed in. Pictures are (S, S, 3) float32 sRGB 0..1; alphas (S, S) float32 0..1.
"""

import cv2
import numpy as np

from faces.landmarks import mirror_landmarks
from faces.readers.cover import CLOSE_PX
from training.reading.shapes import Rng, chance, curve, draw, thing


def smooth_noise(rng: Rng, size_px: int, cells: int, channels: int = 1) -> np.ndarray:
    """(S, S, channels) float32, about mean 0 and deviation 1, smooth over S / cells px."""
    coarse = rng.standard_normal((cells + 1, cells + 1, channels)).astype(np.float32)
    return cv2.resize(coarse, (size_px, size_px), interpolation=cv2.INTER_CUBIC).reshape(size_px, size_px, channels)


def mixed(picture: np.ndarray, alpha: np.ndarray, look: np.ndarray) -> np.ndarray:
    """`look` (S, S, 3) or (3,) over the picture."""
    return picture + alpha[..., None] * (look - picture)


def moved(planes: np.ndarray, turn_rad: float, zoom: float, shift_px: np.ndarray, flip: bool) -> np.ndarray:
    """(S, S, C) uint8 turned, zoomed, shifted and perhaps mirrored about its middle; 0 outside."""
    size_px = len(planes)
    a = zoom * np.array([[np.cos(turn_rad), -np.sin(turn_rad)], [np.sin(turn_rad), np.cos(turn_rad)]])
    if flip:
        a = a @ np.diag([-1.0, 1.0])
    middle = (size_px - 1) / 2
    matrix = np.concatenate([a, (np.array([middle, middle]) + shift_px - a @ [middle, middle])[:, None]], 1)
    parts = [
        cv2.warpAffine(np.ascontiguousarray(planes[..., k : k + 4]), matrix, (size_px, size_px), flags=cv2.INTER_LINEAR)
        for k in range(0, planes.shape[-1], 4)
    ]
    return np.concatenate([part.reshape(size_px, size_px, -1) for part in parts], -1)


def turned_points(points: np.ndarray, turn_rad: float, zoom: float, shift_px: np.ndarray, flip: bool) -> np.ndarray:
    """(68, 2) landmarks of a square of CLOSE_PX after `moved`, those of a mirrored face in its own order."""
    if flip:
        points = mirror_landmarks(points, float(CLOSE_PX))
    a = zoom * np.array([[np.cos(turn_rad), -np.sin(turn_rad)], [np.sin(turn_rad), np.cos(turn_rad)]])
    return (points - CLOSE_PX / 2) @ a.T + CLOSE_PX / 2 + shift_px


def relit(rng: Rng, picture: np.ndarray, face: np.ndarray) -> np.ndarray:
    """Shadows with hard and soft edges, gloss, faint lines and spots: bare skin that is no cover."""
    size_px = len(picture)
    if chance(rng, 0.4):
        alpha = thing(rng, face) if chance(rng, 0.7) else np.maximum(0, smooth_noise(rng, size_px, 3)[..., 0])
        alpha = cv2.GaussianBlur(alpha, (0, 0), float(rng.choice([0.6, 1.5, 4.0, 9.0])))
        depth = (rng.uniform(0.15, 0.65) * rng.uniform(0.85, 1, 3)).astype(np.float32)
        picture = picture * (1 - np.clip(alpha, 0, 1)[..., None] * depth)
    if chance(rng, 0.3):
        spot = np.exp(-0.5 * np.square((np.indices((size_px, size_px))[::-1].transpose(1, 2, 0)
                                        - face[int(rng.integers(17, 68))]) / rng.uniform(2, 9, 2)).sum(-1))  # fmt: skip
        picture = mixed(picture, (rng.uniform(0.1, 0.6) * spot).astype(np.float32), np.ones(3))
    if chance(rng, 0.3):
        starts = face[rng.integers(0, 68, int(rng.integers(1, 7)))] + rng.normal(0, 5, 2)
        lines = [("line", curve(rng, p, p + rng.normal(0, 12, 2), 3), rng.uniform(0.4, 1.6), False) for p in starts]
        soft = cv2.GaussianBlur(draw(lines), (0, 0), rng.uniform(0.5, 1.5))
        picture = picture * (1 - rng.uniform(0.1, 0.35) * soft[..., None] * np.array([0.8, 1.0, 1.1]))
    if chance(rng, 0.3):
        picture = picture * (1 + rng.uniform(0.02, 0.09) * smooth_noise(rng, size_px, int(rng.integers(10, 70))))
    return np.clip(picture, 0, 1).astype(np.float32)


def coloured(rng: Rng, pictures: np.ndarray) -> np.ndarray:
    """(K, S, S, 3) pictures through one other camera: white balance, gamma, contrast, saturation."""
    out = cv2.pow(np.clip(pictures, 1e-4, 1).astype(np.float32), float(np.exp(rng.normal(0, 0.22))))
    out *= (float(np.exp(rng.normal(0, 0.12))) * np.exp(rng.normal(0, 0.07, 3))).astype(np.float32)
    if chance(rng, 0.5):
        grey = ((out[..., 0] + out[..., 1] + out[..., 2]) / 3)[..., None]
        out = grey + (out - grey) * np.float32(rng.uniform(0, 1.4))
    contrast = np.float32(rng.uniform(0.8, 1.2))
    return np.clip(np.float32(0.5) + (out - np.float32(0.5)) * contrast, 0, 1)


def filmed(rng: Rng, picture: np.ndarray) -> np.ndarray:
    """Blur, a detour over a smaller size, noise and JPEG; uint8 (S, S, 3)."""
    size_px = len(picture)
    if chance(rng, 0.35):
        small = int(size_px * rng.uniform(0.3, 0.9))
        way = int(rng.choice([cv2.INTER_AREA, cv2.INTER_LINEAR]))
        picture = cv2.resize(cv2.resize(picture, (small, small), interpolation=way), (size_px, size_px),
                             interpolation=cv2.INTER_CUBIC)  # fmt: skip
    if chance(rng, 0.3):
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.4, 1.4))
    if chance(rng, 0.2):
        soft = cv2.GaussianBlur(picture, (0, 0), 1.2)
        picture = picture + rng.uniform(0.3, 1.2) * (picture - soft)
    picture = picture + np.float32(rng.uniform(0, 0.04)) * rng.standard_normal(picture.shape, np.float32)
    pixels = np.rint(255 * np.clip(picture, 0, 1)).astype(np.uint8)
    if chance(rng, 0.4):
        _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 95))])
        pixels = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))
    return pixels
