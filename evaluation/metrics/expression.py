"""Expression error: how far the fitted expressions of result and target move the face's landmarks apart.

Root mean square, over the 51 inner landmarks (17..67), of the distance between the two expressions' displacements of
the head's vertices, in millimetres. Range 0 upwards, lower is better. Gaze is not part of it. Not
comparable with figures of other heads. Source: ours; the field takes the L2 of expression coefficients (Deep3D, DECA),
but two sets of activations may say the same smile, so this is measured on the surface.
"""

import numpy as np

from evaluation.context import PairContext
from evaluation.metrics.base import Metric

INNER = slice(17, 68)


def compute(context: PairContext) -> np.ndarray:
    """(N,) millimetres."""
    measured = context.measured
    assert measured is not None, "needs_fit metrics are only computed where there is a fit"
    take, basis = measured.head.layout.take, measured.head.expression_mm[:, measured.head.landmarks[INNER]]
    difference = take(measured.result, "expression") - take(measured.target, "expression")
    moved = np.einsum("ne,elc->nlc", difference.astype(np.float64), basis.astype(np.float64))
    return np.sqrt((moved**2).sum(axis=-1).mean(axis=-1))


METRIC = Metric(
    "expression_mm", "Expression error", "mm", "lower", compute,
    "How far the fitted expressions of result and target move the landmarks apart.", needs_fit=True,
)  # fmt: skip
