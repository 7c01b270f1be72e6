"""What cameras and files do to pictures, drawn wide, so that networks trained on generated people read photographs."""

import cv2
import numpy as np


def photographic(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(H, W, 3) uint8 sRGB -> the same as another camera, lamp and file would give it, uint8.

    Gain, gamma, white balance, saturation down to grey, a gradient of light, blur or sharpening, size, noise, JPEG.
    """
    made = picture.astype(np.float32) / 255
    made = _tones(made, rng)
    if rng.random() < 0.35:
        made *= _gradient(made.shape[:2], rng)
    made = _sharpness(made, rng)
    if rng.random() < 0.5:
        grain = rng.standard_normal((*made.shape[:2], 3 if rng.random() < 0.5 else 1), np.float32)
        made = made + grain * np.float32(rng.uniform(0.004, 0.045))
    out: np.ndarray = (np.clip(made, 0, 1) * 255 + 0.5).astype(np.uint8)
    if rng.random() < 0.4:
        quality = int(rng.integers(30, 92))
        out[:] = cv2.imdecode(cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)
    return out


def _tones(made: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Gamma, contrast, gain, white balance, saturation."""
    made = np.power(np.clip(made, 0, 1), np.float32(np.exp(rng.normal(0, 0.25))))
    grey = made @ np.array([0.299, 0.587, 0.114], np.float32)
    draw = rng.random()
    share = 0.0 if draw < 0.2 else rng.uniform(0.4, 1.5)
    made = grey[..., None] + (made - grey[..., None]) * np.float32(share)
    gain = np.exp(rng.normal(0, 0.2)) * np.exp(rng.normal(0, 0.1, 3) * (draw >= 0.1))
    contrast = np.exp(rng.normal(0, 0.2))
    made = (made * gain.astype(np.float32) - 0.45) * np.float32(contrast) + np.float32(0.45 + rng.normal(0, 0.08))
    if rng.random() < 0.1:
        made = made[..., rng.permutation(3)]
    return made


def _gradient(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """(H, W, 1) factor that grows across the picture, softly or as the edge of a shadow."""
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32) / max(shape)
    angle, steep = rng.uniform(0, 2 * np.pi), np.exp(rng.uniform(0.5, 3.2))
    u = (x - rng.uniform(0.2, 0.8)) * np.cos(angle) + (y - rng.uniform(0.2, 0.8)) * np.sin(angle)
    low, high = np.sort(rng.uniform(0.35, 1.45, 2))
    return (low + (high - low) / (1 + np.exp(-u * steep)))[..., None].astype(np.float32)


def _sharpness(made: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Blur, motion, a small size enlarged again, or sharpening."""
    draw, size = rng.random(), made.shape[1::-1]
    if draw < 0.2:
        return cv2.GaussianBlur(made, (0, 0), rng.uniform(0.4, 2.2))
    if draw < 0.3:
        kernel = np.zeros((9, 9), np.float32)
        dx, dy = (int(v) for v in rng.integers(-4, 5, 2))
        cv2.line(kernel, (4 - dx, 4 - dy), (4 + dx, 4 + dy), 1.0)
        return cv2.filter2D(made, -1, kernel / kernel.sum())
    if draw < 0.55:
        share = rng.uniform(0.28, 0.8)
        small = cv2.resize(made, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
        return cv2.resize(small, size, interpolation=cv2.INTER_LINEAR if rng.random() < 0.5 else cv2.INTER_CUBIC)
    if draw < 0.7:
        return made + (made - cv2.GaussianBlur(made, (0, 0), 1.2)) * np.float32(rng.uniform(0.3, 1.8))
    return made


def cover(picture: np.ndarray, patch: np.ndarray, rng: np.random.Generator) -> None:
    """Paint a blob, bar or box of `patch` (same shape) over a part of (S, S, 3) uint8, in place."""
    side = len(picture)
    alpha = np.zeros((side, side), np.float32)
    x, y = (int(v) for v in rng.uniform(0.1, 0.9, 2) * side)
    a, b = (int(v) for v in rng.uniform(0.06, 0.24, 2) * side)
    kind = int(rng.integers(3))
    if kind == 0:
        cv2.ellipse(alpha, (x, y), (a, b), float(rng.uniform(0, 180)), 0, 360, 1.0, -1, cv2.LINE_AA)
    elif kind == 1:
        cv2.rectangle(alpha, (x - a, y - b), (x + a, y + b), 1.0, -1)
    else:
        end = (int(x + rng.normal(0, side)), int(y + rng.normal(0, side)))
        cv2.line(alpha, (x, y), end, 1.0, int(rng.integers(2, max(3, side // 9))), cv2.LINE_AA)
    if rng.random() < 0.5:
        alpha = cv2.GaussianBlur(alpha, (0, 0), rng.uniform(0.5, 2))
    picture[:] = (picture + alpha[..., None] * (patch.astype(np.float32) - picture)).astype(np.uint8)


def elastic(
    picture: np.ndarray, points: np.ndarray, rng: np.random.Generator, strength: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """(S, S, C) uint8 and (K, 2) px, bent smoothly together, by up to some 8 % of S at strength 1.

    Brows, eyes and mouths come to lie where no generated head has them, so that each is found by what it looks like.
    """
    side = len(picture)
    field = np.zeros((side, side, 2), np.float32)
    for cells, share in ((4, 0.03), (8, 0.014)):
        knots = rng.normal(0, strength * share * side, (cells, cells, 2)).astype(np.float32)
        field += cv2.resize(knots, (side, side), interpolation=cv2.INTER_CUBIC)
    at = np.arange(side, dtype=np.float32)
    x, y = at[None, :] + field[..., 0], at[:, None] + field[..., 1]
    layers = [np.ascontiguousarray(picture[..., k : k + 4]) for k in range(0, picture.shape[-1], 4)]  # remap takes 4
    turned = [cv2.remap(layer, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) for layer in layers]
    bent = np.concatenate([layer.reshape(side, side, -1) for layer in turned], -1)
    moved = points.copy()
    for _ in range(4):
        place = np.clip(moved - 0.5, 0, side - 1).astype(np.float32)
        shift = cv2.remap(field, place[None, :, 0].copy(), place[None, :, 1].copy(), cv2.INTER_LINEAR)[0]
        moved = points - shift
    return bent, moved


def stretched(rng: np.random.Generator) -> np.ndarray:
    """(2, 2) random stretch and shear: faces wider, longer and more slanted than the generator's."""
    angle = rng.uniform(0, np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    ratio = np.exp(rng.normal(0, 0.09))
    return turn @ np.diag([ratio, 1 / ratio]) @ turn.T
