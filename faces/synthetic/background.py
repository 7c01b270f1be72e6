"""Out-of-focus backgrounds at natural saturation: walls, rooms, foliage, skies, streets, studios, dusk. Ours."""

import cv2
import numpy as np

#: Wall and surface paints, linear RGB.
_PAINTS = np.array(
    [
        [0.62, 0.58, 0.51], [0.46, 0.45, 0.43], [0.30, 0.33, 0.36], [0.22, 0.24, 0.21], [0.40, 0.33, 0.26],
        [0.16, 0.17, 0.19], [0.52, 0.50, 0.47], [0.24, 0.17, 0.13], [0.33, 0.37, 0.34], [0.10, 0.10, 0.11],
    ],
    np.float32,
)  # fmt: skip
#: Side of the drawing before it is enlarged; a background is blurred anyway.
_SIDE = 96


def draw_background(kind: str, seed: int, size_px: int) -> np.ndarray:
    """(size_px, size_px, 3) float32 linear RGB of one background;

    a pure function. The framing is that of the picture.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    picture = _DRAWERS[kind](rng)
    return cv2.resize(picture, (size_px, size_px), interpolation=cv2.INTER_CUBIC).clip(0.0, 1.5)


def _gradient(top: np.ndarray, bottom: np.ndarray, tilt: float) -> np.ndarray:
    y, x = np.mgrid[0:_SIDE, 0:_SIDE].astype(np.float32) / _SIDE
    t = np.clip(y + tilt * (x - 0.5), 0, 1)[..., None]
    return (top * (1 - t) + bottom * t).astype(np.float32)


def _blur(picture: np.ndarray, sigma: float) -> np.ndarray:
    return cv2.GaussianBlur(picture, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)


def _clouds(rng: np.random.Generator, sigma: float) -> np.ndarray:
    """(S, S) noise of unit variance, about `sigma` texels coarse."""
    noise = _blur(rng.standard_normal((_SIDE, _SIDE)).astype(np.float32), sigma)
    return noise / noise.std()


def _glow(picture: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    y, x = np.mgrid[0:_SIDE, 0:_SIDE].astype(np.float32) / _SIDE
    cx, cy, r = rng.uniform(-0.1, 1.1), rng.uniform(-0.1, 0.6), rng.uniform(0.3, 0.7)
    bump = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / r**2)[..., None]
    return picture * (1 + strength * bump)


def _discs(picture: np.ndarray, rng: np.random.Generator, count: int, tint: np.ndarray, strength: float) -> None:
    """Add soft circles of light (bokeh) in place."""
    for _ in range(count):
        centre = tuple(int(v) for v in rng.integers(0, _SIDE * 16, 2))
        radius = int(rng.uniform(1.5, 6.5) * 16)
        layer = np.zeros((_SIDE, _SIDE), np.float32)
        cv2.circle(layer, centre, radius, 1.0, -1, cv2.LINE_AA, 4)
        colour = tint * rng.uniform(0.7, 1.3, 3) * strength * rng.uniform(0.3, 1.0)
        left, top = (max((place - radius) // 16 - 2, 0) for place in centre)
        right, bottom = ((place + radius) // 16 + 3 for place in centre)
        picture[top:bottom, left:right] += layer[top:bottom, left:right, None] * colour.astype(np.float32)


def _wall(rng: np.random.Generator) -> np.ndarray:
    paint = _PAINTS[rng.integers(len(_PAINTS))] * rng.uniform(0.55, 1.1)
    picture = _gradient(paint * rng.uniform(0.85, 1.15), paint * rng.uniform(0.6, 1.0), rng.uniform(-0.4, 0.4))
    picture = _glow(picture, rng, rng.uniform(0.1, 0.7))
    if rng.random() < 0.5:
        x = int(rng.integers(0, _SIDE))
        picture[:, x : x + int(rng.integers(3, 40))] *= rng.uniform(0.55, 1.35)
    return _blur(picture, rng.uniform(1.0, 2.5))


def _room(rng: np.random.Generator) -> np.ndarray:
    picture = _wall(rng)
    for _ in range(int(rng.integers(3, 9))):
        left, top = rng.integers(-10, _SIDE, 2)
        wide, high = rng.integers(6, 46), rng.integers(8, 60)
        paint = _PAINTS[rng.integers(len(_PAINTS))] * rng.uniform(0.25, 1.1)
        cv2.rectangle(picture, (int(left), int(top)), (int(left + wide), int(top + high)), tuple(map(float, paint)), -1)
    if rng.random() < 0.55:
        x, y = int(rng.integers(-20, _SIDE - 10)), int(rng.integers(-20, 30))
        w, h = int(rng.integers(18, 44)), int(rng.integers(30, 70))
        light = np.array([0.95, 1.0, 1.05]) * rng.uniform(0.7, 1.2)
        cv2.rectangle(picture, (x, y), (x + w, y + h), tuple(float(c) for c in light), -1)
        if rng.random() < 0.6:
            cv2.line(picture, (x + w // 2, y), (x + w // 2, y + h), (0.25, 0.22, 0.2), 2)
    picture = _blur(picture, rng.uniform(2.2, 5.0))
    if rng.random() < 0.4:
        _discs(picture, rng, int(rng.integers(2, 7)), np.array([1.0, 0.8, 0.55]), 0.6)
    return _blur(picture, 0.8)


def _foliage(rng: np.random.Generator) -> np.ndarray:
    greens = np.array([[0.035, 0.065, 0.022], [0.10, 0.16, 0.05], [0.22, 0.27, 0.10], [0.07, 0.085, 0.045]], np.float32)
    autumn = rng.uniform(0.0, 0.5) if rng.random() < 0.25 else 0.0
    greens = (
        greens * (1 - autumn) + np.array([0.20, 0.11, 0.04], np.float32) * greens.mean(1, keepdims=True) * 6 * autumn
    )
    a = 1 / (1 + np.exp(-1.4 * _clouds(rng, rng.uniform(4, 9))))[..., None]
    b = 1 / (1 + np.exp(-2.0 * _clouds(rng, rng.uniform(2, 4))))[..., None]
    base = greens[0] * (1 - a) + greens[1] * a
    picture = base * (1 - 0.5 * b) + greens[int(rng.integers(2, 4))] * 0.5 * b
    if rng.random() < 0.6:
        horizon = rng.uniform(0.0, 0.5)
        y = np.linspace(0, 1, _SIDE, dtype=np.float32)[:, None] + 0.05 * _clouds(rng, 8)
        sky = 1 / (1 + np.exp((y - horizon) * 22))[..., None]
        picture = picture * (1 - sky) + np.array([0.62, 0.70, 0.78], np.float32) * rng.uniform(0.6, 1.1) * sky
    _discs(picture, rng, int(rng.integers(4, 16)), np.array([0.30, 0.34, 0.18]), 0.55)
    return _blur(picture * rng.uniform(0.8, 1.5), rng.uniform(1.0, 2.6)).astype(np.float32)


def _sky(rng: np.random.Generator) -> np.ndarray:
    overcast = rng.random()
    top = np.array([0.22, 0.36, 0.60]) * (1 - overcast) + np.array([0.52, 0.55, 0.60]) * overcast
    low = np.array([0.60, 0.66, 0.72]) * (1 - overcast) + np.array([0.72, 0.72, 0.72]) * overcast
    picture = _gradient(top, low, rng.uniform(-0.3, 0.3))
    cloud = 1 / (1 + np.exp(-1.6 * (_clouds(rng, 9) - 0.4)))[..., None]
    picture = picture * (1 - 0.5 * cloud) + 0.45 * cloud
    horizon = rng.uniform(0.55, 1.2)
    y = np.linspace(0, 1, _SIDE, dtype=np.float32)[:, None] + 0.03 * _clouds(rng, 10)
    ground = 1 / (1 + np.exp(-(y - horizon) * 40))[..., None]
    land = np.array([[0.10, 0.13, 0.07], [0.33, 0.28, 0.20], [0.10, 0.17, 0.22]])[rng.integers(3)]
    return _blur((picture * (1 - ground) + land * ground).astype(np.float32), rng.uniform(1.0, 3.0))


def _street(rng: np.random.Generator) -> np.ndarray:
    picture = _gradient(np.array([0.55, 0.58, 0.62]), np.array([0.30, 0.29, 0.28]), 0.0)
    x = -5
    while x < _SIDE:
        w = int(rng.integers(8, 30))
        top = int(rng.integers(-20, 45))
        paint = _PAINTS[rng.integers(len(_PAINTS))] * rng.uniform(0.4, 1.0)
        cv2.rectangle(picture, (x, top), (x + w, _SIDE), tuple(float(c) for c in paint), -1)
        for row in range(top + 4, _SIDE, 9):
            if rng.random() < 0.6:
                shade = tuple(float(c) for c in paint * rng.uniform(0.4, 1.6))
                cv2.rectangle(picture, (x + 2, row), (x + max(3, w - 3), row + 4), shade, -1)
        x += w
    picture = _blur(picture, rng.uniform(2.0, 4.5))
    _discs(picture, rng, int(rng.integers(0, 8)), np.array([0.9, 0.75, 0.55]), 0.4)
    return _blur(picture, 0.9)


def _studio(rng: np.random.Generator) -> np.ndarray:
    grey = rng.uniform(0.03, 0.6)
    tone = grey * (1 + np.array([-0.05, 0.0, 0.08]) * rng.normal())
    return _blur(_glow(_gradient(tone, tone * 0.7, 0.0), rng, rng.uniform(0.2, 1.2)), 2.0)


def _dusk(rng: np.random.Generator) -> np.ndarray:
    base = np.array([0.035, 0.04, 0.055]) * rng.uniform(0.6, 1.8)
    picture = _gradient(base * 1.4, base * 0.7, rng.uniform(-0.3, 0.3))
    _discs(picture, rng, int(rng.integers(8, 22)), np.array([0.95, 0.70, 0.42]), 0.55)
    _discs(picture, rng, int(rng.integers(0, 6)), np.array([0.5, 0.7, 0.9]), 0.4)
    return _blur(picture, rng.uniform(0.8, 1.6))


_DRAWERS = {
    "wall": _wall, "room": _room, "foliage": _foliage, "sky": _sky, "street": _street, "studio": _studio, "dusk": _dusk,
}  # fmt: skip
