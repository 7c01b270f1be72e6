"""Brows, lids, lips and teeth as generated people do not have them: the face's own, and no cover. Ours.

Photographs show thicker and darker brows, painted lids and lips, whiter teeth and wider smiles than the generator
draws, mostly a little beside where the fit has them. Pictures are (S, S, 3) float32 sRGB 0..1 of a square of CLOSE_PX.
"""

import cv2
import numpy as np

from faces.landmarks import BROW_LEFT, BROW_RIGHT, MOUTH_INNER, MOUTH_OUTER
from training.reading.disturb import mixed, smooth_noise
from training.reading.shapes import Rng, chance, draw

#: Landmarks along the upper and the lower lids.
LIDS = ((36, 37, 38, 39), (42, 43, 44, 45)), ((36, 41, 40, 39), (42, 47, 46, 45))


def painted_features(rng: Rng, picture: np.ndarray, face: np.ndarray, bare: np.ndarray) -> np.ndarray:
    """The picture with some of its features painted anew.

    Args:
        face: (68, 2) landmarks of the picture, px.  bare: (S, S) 0..1, what nothing covers; painted there alone.
    """
    apart = float(np.linalg.norm(face[36] - face[45])) + 1e-6
    down = face[8] - face[27]
    down = down / (float(np.linalg.norm(down)) + 1e-6)
    for paint, probability in ((_brows, 0.6), (_lids, 0.4), (_lips, 0.3), (_teeth, 0.35)):
        if chance(rng, probability):
            alpha, look = paint(rng, picture, face, apart, down)
            picture = mixed(picture, alpha * bare, look)
    return np.clip(picture, 0, 1).astype(np.float32)


def _skin(picture: np.ndarray, face: np.ndarray) -> np.ndarray:
    """(3,) colour about the ridge of the nose."""
    x, y = np.clip(np.rint(face[28]).astype(int), 2, len(picture) - 3)
    return np.median(picture[y - 2 : y + 3, x - 2 : x + 3].reshape(-1, 3), axis=0)


def _brows(
    rng: Rng, picture: np.ndarray, face: np.ndarray, apart: float, down: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Alpha and look of two brows, thick or thin, high or low."""
    shift = down * apart * rng.normal(0.0, 0.035)
    lines = [face[brow] + shift + rng.normal(0, 0.01 * apart, (5, 2)) for brow in (BROW_RIGHT, BROW_LEFT)]
    width = apart * rng.uniform(0.02, 0.085)
    parts = ((0, 5, 0.7 * width), (1, 4, width))
    strokes = [("line", line[a:b], thick, False) for line in lines for a, b, thick in parts]
    alpha = cv2.GaussianBlur(draw(strokes), (0, 0), rng.uniform(0.4, 1.6))
    grain = 1 + 0.25 * smooth_noise(rng, len(picture), int(rng.integers(30, 72)))[..., 0]
    colour = _skin(picture, face) * rng.uniform(0.1, 0.75) * rng.uniform(0.85, 1.1, 3)
    return np.clip(alpha * grain, 0, 1) * np.float32(rng.uniform(0.4, 1.0)), colour


def _lids(
    rng: Rng, picture: np.ndarray, face: np.ndarray, apart: float, down: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Alpha and look of lashes and painted lids."""
    upper, lower = LIDS
    strokes: list[tuple] = [("line", face[list(lid)], apart * rng.uniform(0.01, 0.03), False) for lid in upper]
    if chance(rng, 0.4):
        strokes += [("line", face[list(lid)], apart * rng.uniform(0.006, 0.016), False) for lid in lower]
    if chance(rng, 0.4):  # shadow as far as under the brow
        raised = -down * apart * rng.uniform(0.03, 0.1)
        strokes += [("polygon", np.concatenate([face[list(lid)], face[list(lid)][::-1] + raised])) for lid in upper]
    alpha = cv2.GaussianBlur(draw(strokes), (0, 0), rng.uniform(0.4, 1.2))
    return alpha * np.float32(rng.uniform(0.3, 1.0)), _skin(picture, face) * rng.uniform(0.05, 0.8, 3)


def _lips(
    rng: Rng, picture: np.ndarray, face: np.ndarray, apart: float, down: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Alpha and look of painted lips, the opening left as it is."""
    outer = face[MOUTH_OUTER]
    wider = outer.mean(0) + (outer - outer.mean(0)) * rng.uniform(0.95, 1.15)
    alpha = draw([("polygon", wider)]) * (1 - draw([("polygon", face[MOUTH_INNER])]))
    alpha = cv2.GaussianBlur(alpha, (0, 0), rng.uniform(0.4, 1.0))
    colour = np.array([rng.uniform(0.3, 0.9), rng.uniform(0.05, 0.5), rng.uniform(0.1, 0.5)])
    return alpha * np.float32(rng.uniform(0.2, 0.9)), 0.4 * picture + 0.6 * colour


def _teeth(
    rng: Rng, picture: np.ndarray, face: np.ndarray, apart: float, down: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Alpha and look of an open mouth: a row of teeth, dark below."""
    inner = face[MOUTH_INNER]
    height = apart * rng.uniform(0.0, 0.14)
    opened = inner.copy()
    opened[1:4] -= down * height * rng.uniform(0.2, 0.6)
    opened[5:8] += down * height * rng.uniform(0.4, 0.8)
    alpha = cv2.GaussianBlur(draw([("polygon", opened)]), (0, 0), rng.uniform(0.3, 0.8))
    white = rng.uniform(0.5, 1.0) * np.array([1.0, rng.uniform(0.9, 1.0), rng.uniform(0.75, 1.0)])
    across = np.arange(len(picture)) - inner[:, 0].mean()
    gaps = 1 - rng.uniform(0.0, 0.3) * (np.cos(2 * np.pi * across / max(apart * rng.uniform(0.05, 0.1), 2)) > 0.8)
    look = np.broadcast_to(white, picture.shape) * gaps[None, :, None]
    depth = ((np.indices(alpha.shape)[::-1].transpose(1, 2, 0) - opened.mean(0)) @ down) / (apart * 0.07)
    dark = np.clip(depth - rng.uniform(-0.5, 1.5), 0, 1)[..., None]
    return alpha, look * (1 - dark) + dark * np.array([0.25, 0.08, 0.08]) * rng.uniform(0.3, 1.5)
