"""Landmark error against the true swap: mean distance of the landmarks found in the result from the true ones.

Over the 51 inner landmarks (17..67: brows, nose, eyes, lips), divided by the true distance of the outer eye corners
(36 and 45), in per cent. Range 0 upwards, lower is better. The landmarks of the result are FOUND in it
(evaluation/locator.py), and the row of the true swap shows what the finding itself costs. Source: the normalised mean
error of the 300-W challenge (Sagonas et al. 2013); true swaps as its reference are ours.
"""

import numpy as np

from evaluation.context import PairContext
from evaluation.metrics.base import Metric

INNER = slice(17, 68)


def nme_percent(found_px: np.ndarray, true_px: np.ndarray) -> np.ndarray:
    """(N, 68, 2) twice -> (N,) mean inner-landmark distance over the true outer-eye distance, per cent."""
    distance = np.linalg.norm(found_px[:, INNER] - true_px[:, INNER], axis=-1).mean(axis=1)
    return 100 * distance / np.linalg.norm(true_px[:, 36] - true_px[:, 45], axis=-1)


def compute(context: PairContext) -> np.ndarray:
    """(N,) per cent of the outer-eye distance."""
    assert context.truth is not None, "needs_truth metrics are only computed where there is a true swap"
    assert context.measured is not None, "needs_fit metrics are only computed where there is a fit"
    return nme_percent(context.measured.landmarks_px, context.truth.landmarks_px)


METRIC = Metric(
    "truth_landmark_nme", "Landmarks to the truth", "% of eye distance", "lower", compute,
    "Distance of the landmarks found in the result from the true swap's.", needs_truth=True, needs_fit=True,
)  # fmt: skip
