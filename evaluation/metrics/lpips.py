"""LPIPS: learned perceptual distance, against the true swap (whole picture, and inside the face) and of the background.

Version 0.1, trunk AlexNet ("alex") or VGG-16 ("vgg"): figures of the two do not
compare. Range 0 upwards, about 1 at most, lower is better, no unit. `truth_lpips_*` is the package's own figure (agrees
to 1e-4). `truth_face_lpips_*` averages the same maps over the face (target's or truth's visible face) alone.
`background_lpips_*` compares result and target outside the face, where a swap must change nothing: the face (grown by
4 % of the picture) is filled with the target's own first, so that deep maps do not see into it, and maps are averaged
outside. Weights: training/networks/lpips.py. Source: Zhang et al. 2018 (arXiv 1801.03924); the two regional forms are
ours.
"""

from collections.abc import Callable

import numpy as np
import torch

from evaluation.context import PairContext, Pictures
from evaluation.metrics.base import Metric
from evaluation.networks import NetworkFiles

#: Pictures in one pass: VGG-16's maps of one picture of 256 px are 60 MB.
BATCH = 4


def as_tensor(image: np.ndarray) -> torch.Tensor:
    """(N, S, S, 3) uint8 -> (N, 3, S, S) float32, sRGB 0..1."""
    return torch.from_numpy(np.ascontiguousarray(image)).permute(0, 3, 1, 2).float() / 255


def distances(a: np.ndarray, b: np.ndarray, files: NetworkFiles, region: np.ndarray | None = None) -> np.ndarray:
    """(N, S, S, 3) uint8 twice -> (N,) LPIPS; with a region (N, S, S) bool the mean over it, NaN where it is empty."""
    network, found = files.load(), []
    with torch.inference_mode():
        for start in range(0, len(a), BATCH):
            part = slice(start, start + BATCH)
            maps = [network.features(as_tensor(side[part])) for side in (a, b)]
            inside = None if region is None else torch.from_numpy(region[part, None].astype(np.float32))
            found.append(network.distance(*maps, inside).numpy())
    return np.concatenate(found).astype(np.float64)


def lpips_metrics(files: NetworkFiles) -> tuple[Metric, Metric, Metric]:
    """Against the truth, against the truth inside the face, and of the background, by one trunk."""
    trunk = files.name.removeprefix("lpips-")

    def of_truth(context: PairContext) -> np.ndarray:
        """(N,) distance to the true swap, whole picture."""
        return distances(context.result.image, _truth(context).image, files)

    def of_face(context: PairContext) -> np.ndarray:
        """(N,) distance to the true swap, averaged over the face."""
        return distances(context.result.image, _truth(context).image, files, context.face)

    def of_background(context: PairContext) -> np.ndarray:
        """(N,) distance to the target outside the face."""
        outside = context.outside
        filled = np.where(outside[..., None], context.result.image, context.target.image)
        return distances(filled, context.target.image, files, outside)

    def metric(name: str, title: str, compute: Callable[[PairContext], np.ndarray], about: str, truth: bool) -> Metric:
        """The metric of this trunk under this name."""
        title = f"{title} · {trunk}"
        return Metric(f"{name}_{trunk}", title, "", "lower", compute, about, needs_truth=truth)

    return (
        metric("truth_lpips", "LPIPS to the truth", of_truth, "LPIPS of result and true swap, whole picture.", True),
        metric("truth_face_lpips", "Face LPIPS to the truth", of_face, "LPIPS of result and true swap, in the face.",
               True),
        metric("background_lpips", "Background LPIPS", of_background, "LPIPS of result and target outside the face.",
               False),
    )  # fmt: skip


def _truth(context: PairContext) -> Pictures:
    assert context.truth is not None, "needs_truth metrics are only computed where there is a true swap"
    return context.truth
