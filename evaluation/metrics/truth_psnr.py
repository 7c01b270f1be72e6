"""Error against the true swap: PSNR over the whole picture, and inside the face (target's or truth's) alone.

Range 0..60 dB (capped as in background.py), higher is better. The whole-picture figure agrees with scikit-image; it
is flattered by a copied background, hence the second one. Source: PSNR; the face region is ours.
"""

import numpy as np

from evaluation.context import PairContext
from evaluation.metrics.background import psnr_db
from evaluation.metrics.base import Metric


def compute(context: PairContext) -> np.ndarray:
    """(N,) dB, whole picture."""
    assert context.truth is not None, "needs_truth metrics are only computed where there is a true swap"
    return psnr_db(context.result.image, context.truth.image, np.ones_like(context.face))


def compute_face(context: PairContext) -> np.ndarray:
    """(N,) dB, inside the face."""
    assert context.truth is not None, "needs_truth metrics are only computed where there is a true swap"
    return psnr_db(context.result.image, context.truth.image, context.face)


METRIC = Metric(
    "truth_psnr_db", "PSNR to the truth", "dB", "higher", compute,
    "PSNR between result and true swap, whole picture.", needs_truth=True,
)  # fmt: skip
FACE_METRIC = Metric(
    "truth_face_psnr_db", "Face PSNR to the truth", "dB", "higher", compute_face,
    "PSNR between result and true swap inside the face.", needs_truth=True,
)  # fmt: skip
