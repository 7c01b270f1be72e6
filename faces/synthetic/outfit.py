"""What clothes are made of: fabric, pattern and second cloth of a scene's clothes, as numbers for cloth_shading. Ours.

The kind of clothes and both colours are in the scene; the rest is drawn from a stream of its own, so that no older draw
moves.
"""

import numpy as np

from faces.synthetic.garments import collar_edge
from faces.synthetic.look import NECKLINES
from faces.synthetic.numerics import random_stream
from faces.synthetic.scene import Scene

_STREAM = 0xC107
# Patterns.
PLAIN, STRIPES, PINSTRIPES, CHECKS, KNIT, HEATHER = range(6)
# Places in the vector.
(
    C_PATTERN, C_PERIOD, C_FOLDS, C_GLOSS, C_NOISE_U, C_NOISE_V, C_RGB, C_SECOND, C_LINE, C_TOP, C_DEPTH, C_ROUND,
    C_OUTER_TOP, C_OUTER_DEPTH, C_SEAM, C_BAND, C_EDGE_BACK, C_EDGE_FRONT, C_EDGE_SIDE, C_EDGE_GAP,
) = (0, 1, 2, 3, 4, 5, 6, 9, 12, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25)  # fmt: skip
N_CLOTH = 26

#: Odds of the patterns by kind of clothes, in the order of the patterns.
_ODDS = {
    "tee": (0.50, 0.22, 0.0, 0.0, 0.0, 0.28),
    "shirt": (0.42, 0.0, 0.26, 0.32, 0.0, 0.0),
    "vneck": (0.28, 0.0, 0.0, 0.0, 0.45, 0.27),
    "turtleneck": (0.25, 0.08, 0.0, 0.0, 0.67, 0.0),
    "hoodie": (0.62, 0.0, 0.0, 0.0, 0.0, 0.38),
    "jacket": (0.58, 0.0, 0.10, 0.08, 0.0, 0.24),
}
#: Length of one repeat, mm (least, most), by pattern.
_PERIODS = ((1.0, 1.0), (11.0, 26.0), (5.0, 9.0), (9.0, 22.0), (3.4, 5.6), (1.0, 1.0))
#: Edge of a jacket over what is worn below it: height at the sides and depth in front, mm.
_JACKET = (-128.0, 82.0)


def cloth_numbers(scene: Scene) -> np.ndarray:
    """(N_CLOTH,) float64: fabric, pattern and colours (linear RGB) of a scene's clothes."""
    rng, c = random_stream(_STREAM, scene.seed), np.zeros(N_CLOTH)
    pattern = int(rng.choice(6, p=_ODDS[scene.clothes]))
    c[C_PATTERN], c[C_PERIOD] = pattern, rng.uniform(*_PERIODS[pattern])
    c[C_FOLDS] = rng.uniform(0.6, 1.2)
    c[C_GLOSS] = 0.12 if scene.clothes == "jacket" and rng.random() < 0.25 else 0.04
    c[C_NOISE_U : C_NOISE_V + 1] = rng.uniform(0, 512, 2)
    first, second = np.array(scene.clothes_linear), np.array(scene.clothes_second_linear)
    if np.abs(first - second).max() < 0.05:
        second = 0.6 - second if first.mean() < 0.3 else 0.25 * second
    white = np.array([0.66, 0.66, 0.64]) * rng.uniform(0.75, 1.05)
    c[C_RGB : C_RGB + 3], c[C_LINE : C_LINE + 3] = first, second
    c[C_SECOND : C_SECOND + 3] = white if rng.random() < 0.55 else second
    height, depth, _, pointed = NECKLINES[scene.clothes]
    c[C_TOP], c[C_DEPTH], c[C_ROUND] = height, depth, 1.0 - pointed
    c[C_OUTER_TOP], c[C_OUTER_DEPTH] = _JACKET if scene.clothes == "jacket" else (0.0, 0.0)
    c[C_SEAM] = float(scene.clothes in ("shirt", "jacket", "hoodie"))
    c[C_BAND] = 8.0 if scene.clothes == "vneck" else 0.0
    c[C_EDGE_BACK : C_EDGE_GAP + 1] = collar_edge(scene.clothes)
    return c
