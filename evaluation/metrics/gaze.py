"""`gaze_degrees`: angle between where the eyes of the result and of the target look.

Both are read by the same small network (evaluation/gaze.py), cut by the TARGET's landmarks, so that common errors
cancel: a copy has exactly 0. Pairs whose target's eyes are shut, dark or hidden (expected error above LIMIT_DEGREES by
the network's own word) are left out: their gaze cannot be read. Range 0..180 degrees, lower is better. The field reads
gaze by L2CS-Net; ours is trained on generated people and trusted on them alone, so photographs have no such figure.
How well it reads, and tells a wrong gaze from a right one, stands in docs/judging.md (python -m evaluation.train_gaze
--check). Source: ours.
"""

import numpy as np

from evaluation.context import PairContext
from evaluation.gaze import angle_degrees, load_reader
from evaluation.metrics.base import Metric

LIMIT_DEGREES = 6.0


def compute(context: PairContext) -> np.ndarray:
    """(N,) degrees; NaN where the target's eyes tell nothing."""
    reader = load_reader()
    known = context.target.recall("gaze")
    if known is None:
        known = reader.read(context.target.image, context.target.landmarks_px)
        context.target.remember("gaze", known)
    way, spread = known
    found, _ = reader.read(context.result.image, context.result.landmarks_px)
    return np.where(spread < LIMIT_DEGREES, angle_degrees(found, way), np.nan)


METRIC = Metric(
    "gaze_degrees", "Gaze error", "degrees", "lower", compute,
    "Angle between where the eyes of result and target look.", needs_fit=True,
)  # fmt: skip
