"""Seam: edges of the result along the border of what was changed that nothing explains.

In a ring of 3 % of the picture about the border of the target's visible face: the mean of max(0, |grad L*| of the
result - the largest |grad L*| within 2 % of the picture that the target has there, or the true swap, when there is
one), in L* a px. Range 0 upwards, lower is better; target and truth have 0. Without truths, a changed outline costs a
little. Source: ours (the field's "seam gradient ratio" divides by a gradient that may be 0).
"""

import cv2
import numpy as np

from evaluation.context import PairContext, grow, mean_over
from evaluation.metrics.base import Metric


def compute(context: PairContext) -> np.ndarray:
    """(N,) L* a px."""
    inside = context.target.mask > 0.5
    ring = grow(inside, 0.03) & ~grow(inside, -0.03)
    radius_px = max(1, round(0.02 * context.target.size_px))
    kernel = np.ones((2 * radius_px + 1, 2 * radius_px + 1), np.uint8)
    edges = context.target.gradient
    if context.truth is not None:
        edges = np.maximum(edges, context.truth.gradient)
    explained = np.stack([cv2.dilate(plane, kernel) for plane in edges])
    return mean_over(np.maximum(context.result.gradient - explained, 0.0), ring)


METRIC = Metric(
    "seam", "Seam", "L*/px", "lower", compute,
    "Edges along the border of the face that neither the target nor the true swap has.",
)  # fmt: skip
