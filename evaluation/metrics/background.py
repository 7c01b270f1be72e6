"""Background: PSNR between result and target outside the face, where a swap must change nothing.

10 log10(255^2 / MSE) over the pixels farther than 4 % of the picture from the target's face and from the true swap's,
when there is one. The region is the same for every system: a method cannot widen its own mask to escape. Range 0..60
dB, higher is better; capped at 60 dB (an error of a quarter of a grey level), which a copy reaches. Source: PSNR;
region and cap ours.
"""

import numpy as np

from evaluation.context import PairContext, mean_over
from evaluation.metrics.base import Metric

#: Above this nothing can be seen and the mean of many pairs would hang on a few exact copies.
CAP_DB = 60.0


def psnr_db(a: np.ndarray, b: np.ndarray, region: np.ndarray) -> np.ndarray:
    """(N, S, S, 3) uint8 twice, (N, S, S) bool -> (N,) PSNR inside, at most CAP_DB; NaN where empty."""
    error = mean_over(np.stack([_squared_error(x, y) for x, y in zip(a, b, strict=True)]), region)
    return np.minimum(20 * np.log10(255.0) - 10 * np.log10(np.maximum(error, 1e-9)), CAP_DB)


def _squared_error(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(S, S, 3) uint8 twice -> (S, S) float32, mean over the channels."""
    difference = a.astype(np.float32) - b
    return np.einsum("hwc,hwc->hw", difference, difference) / 3


def compute(context: PairContext) -> np.ndarray:
    """(N,) dB."""
    return psnr_db(context.result.image, context.target.image, context.outside)


METRIC = Metric(
    "background_psnr_db", "Background kept", "dB", "higher", compute,
    "PSNR between result and target outside the face (60 dB is the cap: nothing changed).",
)  # fmt: skip
