"""Expression error: L2 distance between the fitted expression activations of the result and of the target.

Range 0 upwards (an activation is 0..1), lower is better. Gaze is not part of it. Source: the Deep3D-coefficient form
of ReliableSwap and REFace, on our head's activations: not comparable with figures of other heads.
"""

import numpy as np

from evaluation.context import PairContext
from evaluation.metrics.base import Metric


def compute(context: PairContext) -> np.ndarray:
    """(N,) distance in activations."""
    measured = context.measured
    assert measured is not None, "needs_fit metrics are only computed where there is a fit"
    take = measured.layout.take
    return np.linalg.norm(take(measured.result, "expression") - take(measured.target, "expression"), axis=1)


METRIC = Metric(
    "expression_distance", "Expression error", "activation", "lower", compute,
    "Distance between the fitted expression activations of result and target.", needs_fit=True,
)  # fmt: skip
