"""SimSwap's generator (Chen et al., ACM MM 2020, section 3.1): encoder, ID-blocks, decoder; no skips.

At the official widths (64, 128, 256, 512; nine ID-blocks; a 512-number identity) it has 55,051,779 parameters, as the
released 224 px generator. Our additions: width, number of levels and of blocks are settings, so that it also
exists at 64 px; the output is 0.5 + linear (the released training script's output is linear too).
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn


def _instance_norm(x: torch.Tensor) -> torch.Tensor:
    """Instance norm with the released code's epsilon 1e-8, computed in float32."""
    x = x.float()
    centred = x - x.mean((2, 3), keepdim=True)
    return centred * torch.rsqrt(centred.square().mean((2, 3), keepdim=True) + 1e-8)


class IdBlock(nn.Module):
    """Twice (conv, instance norm, style by AdaIN from the identity), a ReLU between, plus the input."""

    def __init__(self, channels: int, identity_width: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(channels, channels, 3) for _ in range(2))
        self.styles = nn.ModuleList(nn.Linear(identity_width, 2 * channels) for _ in range(2))

    def forward(self, x: torch.Tensor, identity: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W), (N, M) -> (N, C, H, W)."""
        h = x
        for index, (conv, style) in enumerate(zip(self.convs, self.styles, strict=True)):
            h = _instance_norm(conv(F.pad(h, (1, 1, 1, 1), mode="reflect")))
            scale, shift = style(identity).float()[:, :, None, None].chunk(2, 1)
            h = (h * (1 + scale) + shift).to(x.dtype)
            h = F.relu(h) if index == 0 else h
        return x + h


def _conv_bn(channels_in: int, channels_out: int, kernel: int, stride: int = 1, padding: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(channels_in, channels_out, kernel, stride, padding)
    return nn.Sequential(conv, nn.BatchNorm2d(channels_out), nn.ReLU())


class SimSwapGenerator(nn.Module):
    """Target picture and source identity in, swapped picture out.

    Args:
        identity_width: M, length of the identity embedding.  width, multipliers: channels of the levels.
        blocks: ID-blocks in the bottleneck (nine in the paper).
        is_tanh: the older released form, (tanh + 1) / 2; for official checkpoints (simswap_official.py).
    """

    def __init__(
        self,
        identity_width: int = 512,
        *,
        width: int = 64,
        multipliers: Sequence[int] = (1, 2, 4, 8),
        blocks: int = 9,
        is_tanh: bool = False,
    ) -> None:
        super().__init__()
        self.is_tanh = is_tanh
        widths = [width * multiplier for multiplier in multipliers]
        pairs = list(pairwise(widths))
        self.stem = _conv_bn(3, widths[0], 7, padding=0)
        self.down = nn.ModuleList(_conv_bn(a, b, 3, stride=2) for a, b in pairs)
        self.bottleneck = nn.ModuleList(IdBlock(widths[-1], identity_width) for _ in range(blocks))
        self.up = nn.ModuleList(_conv_bn(b, a, 3) for a, b in reversed(pairs))
        self.out = nn.Conv2d(widths[0], 3, 7)

    def forward(self, target: torch.Tensor, identity: torch.Tensor) -> torch.Tensor:
        """(N, 3, S, S) sRGB 0..1 and (N, M) unit vectors -> (N, 3, S, S), about 0..1, unbounded."""
        x = self.stem(F.pad(target * 2 - 1, (3, 3, 3, 3), mode="reflect"))
        for level in self.down:
            x = level(x)
        for block in self.bottleneck:
            x = block(x, identity)
        for level in self.up:
            x = level(F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False))
        x = self.out(F.pad(x, (3, 3, 3, 3), mode="reflect"))
        return (torch.tanh(x) + 1) / 2 if self.is_tanh else 0.5 + x
