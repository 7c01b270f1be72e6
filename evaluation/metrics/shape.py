"""Shape distance: L2 between the fitted identity coefficients of the result and of the SOURCE.

Range 0 upwards, unit standard deviations of the head's identity modes, lower is better. Source: ReliableSwap's 3DDFA
form, on our head's modes: not comparable with figures of other heads.
"""

import numpy as np

from evaluation.context import PairContext
from evaluation.metrics.base import Metric


def compute(context: PairContext) -> np.ndarray:
    """(N,) distance in standard deviations."""
    measured = context.measured
    assert measured is not None, "needs_fit metrics are only computed where there is a fit"
    take = measured.layout.take
    return np.linalg.norm(take(measured.result, "identity") - take(measured.source, "identity"), axis=1)


METRIC = Metric(
    "shape_distance", "Shape distance", "sd", "lower", compute,
    "Distance between the fitted identity coefficients of result and source.", needs_fit=True,
)  # fmt: skip
