"""`landmark_jitter`: trembling of the features: second difference in time of the landmarks, against the target's own.

Over the 51 inner landmarks: length of (l[t-1] - 2 l[t] + l[t+1]) of the landmarks FOUND in the result minus that of
the target's known ones, mean, in per cent of the outer-eye distance; the ends of a clip take their neighbour's
figure. Range 0 upwards, lower is better. The finding itself trembles: the rows of copy-target and true-swap show by
how much, and a method's figure is to be read against them. Source: second difference as in landmark-jitter measures
of the field; the comparison with the target's own is ours.
"""

import numpy as np

from evaluation.context import PairContext
from evaluation.frames import runs
from evaluation.metrics.base import Metric
from evaluation.metrics.truth_landmarks import INNER


def second_difference(points: np.ndarray) -> np.ndarray:
    """(T, P, 2) over time, T >= 3 -> (T, P, 2), the ends as their neighbours."""
    middle = points[:-2] - 2 * points[1:-1] + points[2:]
    return np.concatenate([middle[:1], middle, middle[-1:]])


def compute(context: PairContext) -> np.ndarray:
    """(N,) per cent of the outer-eye distance."""
    assert context.measured is not None, "needs_fit metrics are only computed where there is a fit"
    values = np.full(len(context), np.nan)
    found, known = context.measured.landmarks_px, context.target.landmarks_px
    for rows in (rows for rows in runs(context.target_keys, context.ok) if len(rows) > 2):
        gap = second_difference(found[rows][:, INNER]) - second_difference(known[rows][:, INNER])
        eyes_px = np.linalg.norm(known[rows][:, 36] - known[rows][:, 45], axis=-1)
        values[rows] = 100 * np.linalg.norm(gap, axis=-1).mean(axis=1) / eyes_px
    return values


METRIC = Metric(
    "landmark_jitter", "Trembling landmarks", "% of eye distance", "lower", compute,
    "Second difference in time of the landmarks found in the result against that of the target's own.", needs_fit=True,
)  # fmt: skip
