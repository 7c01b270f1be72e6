"""A multi-scale PatchGAN discriminator (pix2pixHD; Wang et al. 2018, section 3.2): judges patches at several scales.

Strided 4x4 convolutions with LeakyReLU 0.2, then a 3x3 convolution to one logit a patch; the second scale sees the
picture at half size. No normalisation layers (ours): R1 needs gradients a picture, which batch norm mixes.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn


class PatchDiscriminator(nn.Module):
    """One scale: (N, C, S, S) -> its feature maps, the logits last."""

    def __init__(self, channels_in: int, width: int, layers: int) -> None:
        super().__init__()
        widths = [channels_in] + [min(width * 2**level, width * 8) for level in range(layers)]
        self.layers = nn.ModuleList(nn.Conv2d(a, b, 4, stride=2, padding=1) for a, b in pairwise(widths))
        self.logits = nn.Conv2d(widths[-1], 1, 3, padding=1)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """`layers` maps at S/2, S/4, ..., then the logits (N, 1, s, s)."""
        maps = []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.2)
            maps.append(x)
        return [*maps, self.logits(x)]


class MultiScaleDiscriminator(nn.Module):
    """`scales` discriminators on a pyramid of 3x3 average-pooled pictures."""

    def __init__(self, channels_in: int = 3, *, width: int = 64, layers: int = 4, scales: int = 2) -> None:
        super().__init__()
        self.scales = nn.ModuleList(PatchDiscriminator(channels_in, width, layers) for _ in range(scales))

    def forward(self, pictures: torch.Tensor) -> list[list[torch.Tensor]]:
        """(N, C, S, S) about -1..1 -> for each scale its feature maps, logits last."""
        outputs, x = [], pictures
        for index, scale in enumerate(self.scales):
            if index:
                x = F.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)
            outputs.append(scale(x))
        return outputs
