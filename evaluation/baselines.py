"""The three systems that stand in every table, so that a broken metric or a lazy model shows at once.

`copy-target` returns the target: perfect attributes, no identity. `paste-source` pastes the source's face, moved by
the affine map of the landmarks, with a feathered edge: perfect identity, wrong light, pose and outline. `true-swap`
returns the rendered truth: the ceiling, and what each metric says of a perfect result.
"""

from collections.abc import Callable

import cv2
import numpy as np

from evaluation.context import Pictures, grow
from faces.errors import SamaeError

#: Pictures of source, target and truth (or None) -> (N, S, S, 3) uint8 results.
Baseline = Callable[[Pictures, Pictures, Pictures | None], np.ndarray]


def copy_target(source: Pictures, target: Pictures, truth: Pictures | None = None) -> np.ndarray:
    """The target as it is, (N, S, S, 3) uint8."""
    return target.image.copy()


def affine_between(source_px: np.ndarray, target_px: np.ndarray) -> np.ndarray:
    """(68, 2), (68, 2) -> (2, 3) least-squares affine map from source to target pixels (centres at 0.5)."""
    design = np.concatenate([source_px, np.ones((len(source_px), 1))], axis=1).astype(np.float64)
    return np.linalg.lstsq(design, target_px.astype(np.float64), rcond=None)[0].T


def paste_source(source: Pictures, target: Pictures, truth: Pictures | None = None) -> np.ndarray:
    """The source's visible face, affine-aligned by all 68 landmarks and feathered over 4 % of the picture, uint8."""
    size_px = target.size_px
    sigma_px = 0.02 * size_px
    core = grow(source.mask > 0.5, -0.02).astype(np.float32)
    results = np.empty_like(target.image)
    for n in range(len(target)):
        matrix = affine_between(source.landmarks_px[n] - 0.5, target.landmarks_px[n] - 0.5)
        moved = cv2.warpAffine(source.image[n], matrix, (size_px, size_px), borderMode=cv2.BORDER_REPLICATE)
        alpha = cv2.GaussianBlur(cv2.warpAffine(core[n], matrix, (size_px, size_px)), (0, 0), sigma_px)[..., None]
        results[n] = np.rint(alpha * moved + (1 - alpha) * target.image[n]).astype(np.uint8)
    return results


def true_swap(source: Pictures, target: Pictures, truth: Pictures | None = None) -> np.ndarray:
    """The rendered truth, (N, S, S, 3) uint8."""
    if truth is None:
        raise SamaeError("these pairs have no true swaps (only generated people do); leave out 'true-swap'")
    return truth.image.copy()


BASELINES: dict[str, Baseline] = {"copy-target": copy_target, "paste-source": paste_source, "true-swap": true_swap}
