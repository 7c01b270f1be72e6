"""Pose error: the angle of the one rotation that takes the result's head to the target's.

Range 0..180 degrees, lower is better; roll included. Both rotations are FITTED the same way (evaluation/measure.py),
so what the fit gets wrong on both cancels. Source: geodesic distance on SO(3) (Huynh 2009, metric 6), instead of
HopeNet's L2 of Euler angles: it does not depend on the order of the axes.
"""

import numpy as np

from evaluation.context import PairContext
from evaluation.metrics.base import Metric
from evaluation.pairs import pose_difference_degrees


def compute(context: PairContext) -> np.ndarray:
    """(N,) degrees."""
    measured = context.measured
    assert measured is not None, "needs_fit metrics are only computed where there is a fit"
    take = measured.head.layout.take
    return pose_difference_degrees(take(measured.result, "rotation_rad"), take(measured.target, "rotation_rad"))


METRIC = Metric(
    "pose_degrees", "Pose error", "degrees", "lower", compute,
    "Angle between the fitted rotations of result and target.", needs_fit=True,
)  # fmt: skip
