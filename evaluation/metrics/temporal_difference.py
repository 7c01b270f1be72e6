"""`truth_temporal_difference`: does the picture change from frame to frame as the true sequence does?

Mean over the face (of either frame) of |(R' - R) - (T' - T)|: the step of the result against the step of the true swap,
pixel by pixel, in grey levels. Range 0..255, lower is better; the true swap has 0, and a result that is wrong but
wrong in the same way in both frames has 0 as well: it says flicker alone. Film grain belongs to the change: a result
that smooths it away pays for it, and a copy of the target, which has the truth's own grain, does not. Needs true
sequences (generated people). Source: ours.
"""

import numpy as np

from evaluation.context import PairContext, mean_over
from evaluation.frames import of_steps, steps
from evaluation.metrics.base import Metric


def compute(context: PairContext) -> np.ndarray:
    """(N,) grey levels."""
    assert context.truth is not None, "needs_truth metrics are only computed where there is a true swap"
    here, there = steps(context.target_keys, context.ok)
    error = context.result.image.astype(np.float32) - context.truth.image.astype(np.float32)
    change = np.abs(error[there] - error[here]).mean(axis=-1)
    values = mean_over(change, context.face[here] | context.face[there])
    return of_steps(values, context.target_keys, context.ok)


METRIC = Metric(
    "truth_temporal_difference", "Steps to the truth", "levels", "lower", compute,
    "Difference between the result's step from frame to frame and the true sequence's, in the face.", needs_truth=True,
)  # fmt: skip
