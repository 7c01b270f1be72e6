"""IResNet, the backbone of ArcFace (Deng et al., arXiv 1801.07698; block order of Duta et al., arXiv 2004.04989).

Full size it has the layout of the published r18, r50 and r100 recognisers (widths 64-128-256-512, 112 px, a fully
connected head on the 7x7 map). Ours, for the encoders that the project ships: a `width` below 64 and a `head` that
averages each channel with learned weights (global depthwise convolution, as in MobileFaceNet, arXiv 1804.07573), so
that the file stays small.
"""

import copy
from dataclasses import asdict, dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from faces.errors import SamaeError

#: Residual blocks in the four stages.
DEPTHS: dict[int, tuple[int, int, int, int]] = {
    10: (1, 1, 1, 1),
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 14, 3),
    100: (3, 13, 30, 3),
}


#: Fewest channels of the first stage: on processors without AVX-512 oneDNN's gradient of a strided 1x1 convolution
#: writes past its buffer where fewer than eight channels come in, and the process aborts (seen with torch 2.13).
FEWEST_CHANNELS = 8


@dataclass(frozen=True, kw_only=True)
class IResNetConfig:
    """Size of the network.

    Attributes:
        depth: 10, 18, 34, 50 or 100 (10 is ours).
        width: channels of the first stage, 8 or more; each later stage doubles them (64 in the published networks).
        dim: length of the embedding.
        crop_px: width and height of the input; a multiple of 16.
        head: "fc" (published: one fully connected layer on the whole map) or "depthwise".
    """

    depth: int = 18
    width: int = 64
    dim: int = 512
    crop_px: int = 112
    head: Literal["fc", "depthwise"] = "fc"

    def __post_init__(self) -> None:
        if self.depth not in DEPTHS:
            raise SamaeError(f"an IResNet has a depth of {sorted(DEPTHS)}, not {self.depth}")
        if self.width < FEWEST_CHANNELS:
            raise SamaeError(f"an IResNet's first stage has {FEWEST_CHANNELS} channels or more, not {self.width}")
        if self.crop_px % 16:
            raise SamaeError(f"crop_px must be a multiple of 16, not {self.crop_px}")

    def to_dict(self) -> dict[str, int | str]:
        """Plain values for a JSON header."""
        return asdict(self)


class Block(nn.Module):
    """BN, conv, BN, PReLU, strided conv, BN, plus the shortcut. (N, C, H, W) -> (N, C', H/stride, W/stride)."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(channels_in),
            nn.Conv2d(channels_in, channels, 3, 1, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.PReLU(channels),
            nn.Conv2d(channels, channels, 3, stride, 1, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or channels_in != channels:
            conv = nn.Conv2d(channels_in, channels, 1, stride, bias=False)
            self.shortcut = nn.Sequential(conv, nn.BatchNorm2d(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, channels_in, H, W) -> (N, channels, H / stride, W / stride)."""
        return self.shortcut(x) + self.body(x)


class IResNet(nn.Module):
    """(N, 3, crop_px, crop_px) RGB in -1..1 -> (N, dim) embedding, not yet of unit length."""

    def __init__(self, config: IResNetConfig) -> None:
        super().__init__()
        self.config = config
        widths = [config.width * 2**stage for stage in range(4)]
        self.stem = nn.Sequential(
            nn.Conv2d(3, widths[0], 3, 1, 1, bias=False), nn.BatchNorm2d(widths[0]), nn.PReLU(widths[0])
        )
        stages, channels = [], widths[0]
        for width, blocks in zip(widths, DEPTHS[config.depth], strict=True):
            strides = [2] + [1] * (blocks - 1)
            stages.append(nn.Sequential(*(Block(channels if s == 2 else width, width, s) for s in strides)))
            channels = width
        self.stages = nn.ModuleList(stages)
        self.head = _head(config, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 3, crop_px, crop_px) RGB in -1..1 -> (N, dim)."""
        return self.head(self.features(x)[-1])

    def features(self, x: torch.Tensor) -> list[torch.Tensor]:
        """The maps after the four stages, at 1/2, 1/4, 1/8 and 1/16 of the input's size (for a perceptual loss)."""
        maps = []
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps


def _head(config: IResNetConfig, channels: int) -> nn.Sequential:
    side = config.crop_px // 16
    layers: list[nn.Module] = [nn.BatchNorm2d(channels)]
    if config.head == "depthwise":
        layers += [nn.Conv2d(channels, channels, side, groups=channels, bias=False), nn.BatchNorm2d(channels)]
        side = 1
    layers += [nn.Flatten(), nn.Linear(channels * side * side, config.dim), nn.BatchNorm1d(config.dim)]
    return nn.Sequential(*layers)


class FrozenPReLU(nn.Module):
    """PReLU with fixed slopes by operators that are fast in bfloat16 on a CPU; the same values as nn.PReLU's."""

    def __init__(self, trained: nn.PReLU) -> None:
        super().__init__()
        self.register_buffer("slopes", trained.weight.detach().clone())
        self._below_one = bool((trained.weight <= 1).all())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) -> the same shape and dtype."""
        if x.dtype != torch.bfloat16 or x.device.type != "cpu":
            return F.prelu(x, self.slopes.to(x.dtype))
        slopes = self.slopes.to(x.dtype)[:, None, None]
        if self._below_one and not (torch.is_grad_enabled() and x.requires_grad):
            return torch.maximum(x, x * slopes)
        return torch.relu(x) - torch.relu(-x) * slopes


def folded(network: IResNet) -> IResNet:
    """A frozen copy for embedding: every batch norm behind a convolution is folded into it, PReLUs are quick ones.

    The embedding is the same up to rounding (2e-7 in float32). The copy cannot be trained or saved.
    """
    quick = copy.deepcopy(network).eval().requires_grad_(False)
    quick.stem = _folded(quick.stem)
    for stage in quick.stages:
        for block in stage:
            block.body = _folded(block.body)
            block.shortcut = _folded(block.shortcut) if isinstance(block.shortcut, nn.Sequential) else block.shortcut
    return quick


def _folded(layers: nn.Sequential) -> nn.Sequential:
    kept: list[nn.Module] = []
    for layer in layers:
        if isinstance(layer, nn.BatchNorm2d) and kept and isinstance(kept[-1], nn.Conv2d):
            kept[-1] = fuse_conv_bn_eval(kept[-1], layer)
        else:
            kept.append(FrozenPReLU(layer) if isinstance(layer, nn.PReLU) else layer)
    return nn.Sequential(*kept)
