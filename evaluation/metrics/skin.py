"""Skin colour: CIEDE2000 between the mean L*a*b* of the face in the result and in the target.

The face is the core of the target's visible face (eroded by 3 % of the picture, so that edges do not count). Range 0
upwards, lower is better; about 1 is just visible side by side, 5 is plain. Source: CIEDE2000 (Sharma et al. 2005);
the region is ours. It says that the target's skin tone and light are kept, the convention of SAMAE and of our true
swap.
"""

import numpy as np

from evaluation.colour import delta_e_2000
from evaluation.context import PairContext, Pictures, grow
from evaluation.metrics.base import Metric


def mean_colour(pictures: Pictures, region: np.ndarray) -> np.ndarray:
    """Pictures, (N, S, S) bool -> (N, 3) mean L*a*b* inside; NaN where the region is empty."""
    inside = [lab[where] for lab, where in zip(pictures.lab, region, strict=True)]
    return np.stack([part.mean(axis=0, dtype=np.float64) if len(part) else np.full(3, np.nan) for part in inside])


def compute(context: PairContext) -> np.ndarray:
    """(N,) ΔE00."""
    core = grow(context.target.mask > 0.5, -0.03)
    return delta_e_2000(mean_colour(context.result, core), mean_colour(context.target, core))


METRIC = Metric(
    "skin_delta_e", "Skin colour error", "ΔE00", "lower", compute,
    "CIEDE2000 between the mean colour of the face in result and target.",
)  # fmt: skip
