"""`truth_vgg`: distance of VGG-16's feature maps of result and true swap: the perceptual loss as a metric.

Squared difference of relu1_2, relu2_2, relu3_3 and relu4_3, vectors scaled to unit length at every place, mean over
places, then over the four maps (training/losses.py: feature_distance). Range 0..4, lower is better, no unit. Not the
LPIPS: the learned weights are not in it. Source: Johnson et al. 2016 with LPIPS' normalisation, all weights one.
"""

import numpy as np
import torch

from evaluation.context import PairContext
from evaluation.metrics.base import Metric
from evaluation.metrics.lpips import as_tensor
from evaluation.networks import NetworkFiles
from training.losses import feature_distance


def vgg_metric(files: NetworkFiles) -> Metric:
    """The metric with the network of these files."""

    def compute(context: PairContext) -> np.ndarray:
        """(N,) distance of the maps."""
        assert context.truth is not None, "needs_truth metrics are only computed where there is a true swap"
        network, found = files.load(), []
        with torch.inference_mode():
            for a, b in zip(context.result.image, context.truth.image, strict=True):
                made, truth = network(as_tensor(np.stack([a]))), network(as_tensor(np.stack([b])))
                found.append(float(feature_distance(made, truth)))
        return np.array(found)

    about = "Distance of VGG-16's feature maps of result and true swap, whole picture."
    return Metric("truth_vgg", "VGG features to the truth", "", "lower", compute, about, needs_truth=True)
