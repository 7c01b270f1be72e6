"""Structural similarity to the true swap: over the whole picture, and inside the face alone.

SSIM with a Gaussian window of sigma 1.5 px (11 x 11), K1 = 0.01, K2 = 0.03, population covariance, mean
of the three sRGB channels and, as in the paper, a border of 5 px left out. Range -1..1, higher is better, no unit.
Agrees with scikit-image's structural_similarity(gaussian_weights=True, use_sample_covariance=False) to 1e-4. Source:
Wang et al. 2004; the face's region is ours.
"""

import cv2
import numpy as np

from evaluation.context import PairContext, mean_over
from evaluation.metrics.base import Metric

BORDER_PX = 5
MID_GREY = np.float32(128)


def ssim_map(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(S, S, 3) uint8 twice -> (S, S) float32, mean over the channels; the outer BORDER_PX are not valid.

    Variances are taken about mid-grey, which changes none of them and keeps single precision exact enough (1e-6).
    """
    x, y = a.astype(np.float32) - MID_GREY, b.astype(np.float32) - MID_GREY
    mean_x, mean_y = _blur(x), _blur(y)
    product = mean_x * mean_y
    squares = mean_x * mean_x + mean_y * mean_y
    variances = _blur(x * x + y * y) - squares  # of both, added
    covariance = _blur(x * y) - product
    c1, c2 = np.float32((0.01 * 255) ** 2), np.float32((0.03 * 255) ** 2)
    shift = MID_GREY * (mean_x + mean_y) + MID_GREY * MID_GREY
    top = (2 * (product + shift) + c1) * (2 * covariance + c2)
    return (top / ((squares + 2 * shift + c1) * (variances + c2))).mean(axis=-1)


def _blur(picture: np.ndarray) -> np.ndarray:
    return cv2.GaussianBlur(picture, (11, 11), 1.5, borderType=cv2.BORDER_REFLECT)


def _ssim(context: PairContext, region: np.ndarray) -> np.ndarray:
    assert context.truth is not None, "needs_truth metrics are only computed where there is a true swap"
    maps = context.result.recall("ssim_to_truth")
    if maps is None:
        maps = np.stack([ssim_map(a, b) for a, b in zip(context.result.image, context.truth.image, strict=True)])
        context.result.remember("ssim_to_truth", maps)
    valid = np.zeros_like(region)
    valid[:, BORDER_PX:-BORDER_PX, BORDER_PX:-BORDER_PX] = True
    return mean_over(maps, region & valid)


def compute(context: PairContext) -> np.ndarray:
    """(N,) SSIM, whole picture."""
    return _ssim(context, np.ones_like(context.face))


def compute_face(context: PairContext) -> np.ndarray:
    """(N,) SSIM, inside the face."""
    return _ssim(context, context.face)


METRIC = Metric(
    "truth_ssim", "SSIM to the truth", "", "higher", compute,
    "Structural similarity of result and true swap, whole picture.", needs_truth=True,
)  # fmt: skip
FACE_METRIC = Metric(
    "truth_face_ssim", "Face SSIM to the truth", "", "higher", compute_face,
    "Structural similarity of result and true swap inside the face.", needs_truth=True,
)  # fmt: skip
