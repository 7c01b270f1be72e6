"""How samples lie in memory while they are shaded: blocks of BLOCK samples, each row of columns. Numba, one core.

A row holds the columns of shading.py's vertex table, then those below, PITCH numbers apart, so that every loop
without a look-up becomes vector instructions. The stages: sampling.py (where), pigment.py (of what colour;
of cloth: cloth_shading.py), skin_shading.py (how lit). Ours.
"""

import numpy as np

from faces.synthetic import shading as s

#: Samples a block, and the distance of its columns (not a power of two: cache sets).
BLOCK, PITCH = 256, 264
#: Columns after the table's: share of the key lamp, depth (mm), albedo, gloss, share of all light, colour.
LIT, DEPTH, RED, GREEN, BLUE, GLOSS, SHARE, OUT0, OUT1, OUT2 = range(s.COLUMNS * PITCH, (s.COLUMNS + 10) * PITCH, PITCH)
#: Numbers in a block's row.
ROW = (s.COLUMNS + 10) * PITCH


def empty_rows(samples: int) -> np.ndarray:
    """(blocks, ROW) float64 for so many samples, not filled."""
    return np.empty((-(-samples // BLOCK), ROW))
