"""Tufts: fine hairs beside the outer strands of a head, which soften its outline and fill its locks. Ours.

Fine hairs are not grown: each is a copy of a strand, moved aside along a smooth walk and cut at a length of its own.
"""

import numpy as np

from faces.synthetic.hair import Strands
from faces.synthetic.hair_styles import STYLES
from faces.synthetic.noise import tangles
from faces.synthetic.numerics import random_stream
from faces.synthetic.scene import Scene

_STREAM = 0x3159

#: Cosines to the viewer: roots behind the head, and roots near its outline.  Strands fainter than this alpha stand at
#: the hairline or are stubble.
_BEHIND, _OUTLINE, _SPARSE_ALPHA = -0.45, 0.5, 0.84
#: Hairs of a tuft: the strand and its copies.
TUFT = 3
#: Distance of a copy from its strand at root and tip, that of stubble, and its width, mm.
_ASIDE_MM, _STUBBLE_ASIDE_MM, _WIDTH_MM = (0.6, 1.6), (2.4, 2.4), 0.5


def split(hair: Strands, facing: np.ndarray) -> tuple[Strands, Strands]:
    """The strands that stand alone, and the fine ones that get a tuft: at the outline, at the hairline and as stubble.

    facing (n,): cosine of the root's normal to the viewer; short hair behind the head is left out.
    """
    fine, before = hair.alpha < 1, facing > _BEHIND
    tufted = fine & before & ((facing < _OUTLINE) | (hair.alpha < _SPARSE_ALPHA))
    hangs = hair.points.shape[1] >= 12
    return hair.pick(~tufted & (before | hangs)), hair.pick(tufted)


def tufts(fine: Strands, scene: Scene) -> Strands:
    """TUFT hairs in a row for each fine strand of a scene's hair."""
    rng = random_stream(_STREAM, scene.seed)
    made = fine.pick(np.repeat(np.arange(len(fine.points)), TUFT))
    n, steps, _ = made.points.shape
    along = np.linspace(0.0, 1.0, steps, dtype=np.float32)
    root_mm, tip_mm = _STUBBLE_ASIDE_MM if STYLES[scene.hair_style].stubble else _ASIDE_MM
    walk = tangles()[rng.integers(0, 2048, n), :steps]
    side = rng.standard_normal((n, 1, 3), dtype=np.float32)
    cut = rng.uniform(0.7, 1.0, (n, 1)).astype(np.float32)
    copies = np.arange(n) % TUFT > 0
    aside = ((root_mm + (tip_mm - root_mm) * along) * copies[:, None])[..., None]
    width = _WIDTH_MM * np.clip((cut - along) / (0.5 * cut), 0.0, 1.0)
    made.points[...] += aside * (0.7 * side + 0.4 * walk)
    made.width_mm[copies] = width[copies]
    return made
