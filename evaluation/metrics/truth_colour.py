"""Colour error against the true swap: mean over the face's pixels of CIEDE2000 between result and true swap.

Range 0 upwards, lower is better; unlike skin_delta_e it is a difference pixel by pixel, so misplaced features count.
Source: CIEDE2000 (Sharma et al. 2005); the region (target's or truth's visible face) is ours.
"""

import numpy as np

from evaluation.colour import delta_e_2000
from evaluation.context import PairContext
from evaluation.metrics.base import Metric


def compute(context: PairContext) -> np.ndarray:
    """(N,) ΔE00."""
    assert context.truth is not None, "needs_truth metrics are only computed where there is a true swap"
    values = np.full(len(context), np.nan)
    for n, inside in enumerate(context.face):
        if inside.any():
            values[n] = delta_e_2000(context.result.lab[n][inside], context.truth.lab[n][inside]).mean()
    return values


METRIC = Metric(
    "truth_face_delta_e", "Face colour to the truth", "ΔE00", "lower", compute,
    "Mean CIEDE2000 between result and true swap, pixel by pixel inside the face.", needs_truth=True,
)  # fmt: skip
