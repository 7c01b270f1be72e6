"""Pictures without faces, for networks that must tell faces from everything else.

Drawn textures and shapes, the generator's own backgrounds, and the photographs without people that come with
scikit-image and scikit-learn, where these are installed (extra `dev`; nothing of them is shipped).
"""

from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np

from faces.records import decode_colour
from faces.synthetic.background import draw_background
from faces.synthetic.scene import BACKGROUNDS

BANK_PX = 320
#: Photographs without people, by the package they come with and the folder in it.
_PHOTOGRAPHS = {
    ("skimage", "data"): (
        "brick.png", "chelsea.png", "coffee.png", "coins.png", "grass.png", "gravel.png", "horse.png",
        "hubble_deep_field.jpg", "ihc.png", "moon.png", "motorcycle_left.png", "motorcycle_right.png", "page.png",
        "retina.jpg", "rocket.jpg", "text.png", "cell.png", "microaneurysms.png",
    ),
    ("sklearn", "datasets/images"): ("china.jpg", "flower.jpg"),
    ("matplotlib", "mpl-data/sample_data"): ("Minduka_Present_Blue_Pack.png",),
}  # fmt: skip


def taken_pictures() -> list[np.ndarray]:
    """Those that are installed: (H, W, 3) uint8 sRGB."""
    found = []
    for (package, folder), names in _PHOTOGRAPHS.items():
        spec = find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            continue
        root = Path(spec.submodule_search_locations[0]) / folder
        found += [decode_colour((root / name).read_bytes()) for name in names if (root / name).is_file()]
    return found


class Clutter:
    """A bank of pictures without faces, from which patches are drawn.

    Args:
        drawn: drawn pictures in the bank.  seed: of these.  photographs: whether installed photographs are used, too.
    """

    def __init__(self, drawn: int, seed: int, photographs: bool = True) -> None:
        rng = np.random.default_rng([0xC1, seed])
        self._drawn = [_drawn(rng) for _ in range(drawn)]
        self._taken = taken_pictures() if photographs else []

    def patch(self, side_px: int, rng: np.random.Generator) -> np.ndarray:
        """(S, S, 3) uint8: a random place, scale, mirror and quarter turn; of a photograph in half of the draws."""
        bank = self._taken if self._taken and rng.random() < 0.5 else self._drawn
        picture = bank[int(rng.integers(len(bank)))]
        short = min(picture.shape[:2])
        side = int(np.clip(side_px * np.exp(rng.uniform(-0.7, 1.4)), 24, short))
        y, x = (int(rng.integers(0, n - side + 1)) for n in picture.shape[:2])
        part = picture[y : y + side, x : x + side]
        way = cv2.INTER_AREA if side > side_px else cv2.INTER_LINEAR
        part = cv2.resize(part, (side_px, side_px), interpolation=way)
        if rng.random() < 0.5:
            part = part[:, ::-1]
        return np.ascontiguousarray(np.rot90(part, int(rng.integers(4)) if rng.random() < 0.4 else 0))


def _drawn(rng: np.random.Generator) -> np.ndarray:
    """(BANK_PX, BANK_PX, 3) uint8: a backdrop, noise or stripes, with shapes on it."""
    kind = rng.random()
    if kind < 0.35:
        name = str(rng.choice(BACKGROUNDS))
        linear = draw_background(name, int(rng.integers(1 << 31)), BANK_PX)
        picture = 255 * np.clip(linear, 0, 1) ** (1 / 2.2)
    elif kind < 0.75:
        picture = _noise(rng)
    else:
        picture = _stripes(rng)
    picture = np.ascontiguousarray(np.clip(picture, 0, 255).astype(np.uint8))
    for _ in range(int(rng.integers(0, 26))):
        _shape(picture, rng)
    if rng.random() < 0.3:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.5, 4))
    return picture


def _noise(rng: np.random.Generator) -> np.ndarray:
    """Noise of several octaves in two or three colours."""
    total = np.zeros((BANK_PX, BANK_PX, 3), np.float32)
    roughness = rng.uniform(0.4, 1.1)
    for octave in range(7):
        cells = 3 * 2**octave
        layer = rng.normal(size=(cells, cells, 3)) * [1.0, 0.6, 0.6] if octave else rng.normal(size=(3, 3, 3))
        total += cv2.resize(layer.astype(np.float32), (BANK_PX, BANK_PX), interpolation=cv2.INTER_CUBIC) * (
            roughness**octave
        )
    mixed = total[..., :1] * rng.uniform(10, 60, 3) + total[..., 1:2] * rng.normal(0, 15, 3)
    return rng.uniform(30, 220, 3) + mixed


def _stripes(rng: np.random.Generator) -> np.ndarray:
    """Stripes, checks or rings."""
    y, x = np.mgrid[0:BANK_PX, 0:BANK_PX].astype(np.float32)
    angle, period = rng.uniform(0, np.pi), rng.uniform(5, 60)
    u = x * np.cos(angle) + y * np.sin(angle)
    wave = np.sin(2 * np.pi * u / period)
    kind = rng.integers(3)
    if kind == 1:
        wave = wave * np.sin(2 * np.pi * (y * np.cos(angle) - x * np.sin(angle)) / period)
    elif kind == 2:
        wave = np.sin(2 * np.pi * np.hypot(x - rng.uniform(0, BANK_PX), y - rng.uniform(0, BANK_PX)) / period)
    share = 1 / (1 + np.exp(-wave * rng.uniform(1, 12)))[..., None]
    return rng.uniform(0, 255, 3) * share + rng.uniform(0, 255, 3) * (1 - share)


def _shape(picture: np.ndarray, rng: np.random.Generator) -> None:
    """Draw one ellipse, box, polygon, line or word into (S, S, 3) uint8, in place."""
    colour = tuple(float(c) for c in _paint(rng))
    x, y = (int(v) for v in rng.integers(0, BANK_PX, 2))
    a, b = (int(v) for v in np.exp(rng.uniform(0.7, 4.3, 2)))
    thickness = -1 if rng.random() < 0.6 else int(rng.integers(1, 9))
    kind = int(rng.integers(5))
    if kind == 0:
        cv2.ellipse(picture, (x, y), (a, b), float(rng.uniform(0, 180)), 0, 360, colour, thickness, cv2.LINE_AA)
    elif kind == 1:
        cv2.rectangle(picture, (x - a, y - b), (x + a, y + b), colour, thickness, cv2.LINE_AA)
    elif kind == 2:
        corners = (np.array([x, y]) + rng.normal(0, max(a, 4), (int(rng.integers(3, 8)), 2))).astype(np.int32)
        cv2.fillPoly(picture, [corners], colour, cv2.LINE_AA)
    elif kind == 3:
        end = (int(x + rng.normal(0, 90)), int(y + rng.normal(0, 90)))
        cv2.line(picture, (x, y), end, colour, int(rng.integers(1, 10)), cv2.LINE_AA)
    else:
        word = "".join(chr(int(c)) for c in rng.integers(33, 123, int(rng.integers(1, 9))))
        face, width = int(rng.integers(0, 8)), int(rng.integers(1, 4))
        cv2.putText(picture, word, (x, y), face, float(rng.uniform(0.4, 2.0)), colour, width, cv2.LINE_AA)


def _paint(rng: np.random.Generator) -> np.ndarray:
    """A colour, sRGB 0..255: any, or one of skin, which must not be a sign of a face by itself."""
    if rng.random() < 0.4:
        return np.array([205, 160, 135]) * rng.uniform(0.25, 1.2) + rng.normal(0, 10, 3)
    return rng.uniform(0, 255, 3)
