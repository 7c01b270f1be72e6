"""The SAMAE generator: a U-Net after guided diffusion's (ADM; Dhariwal and Nichol 2021, appendix A), without timestep.

Residual blocks with scale-shift group norm ("adaptive group normalisation", ADM section 4) whose scale and shift come
from an MLP over the condition vector (identity embedding and skin colour); self-attention at small resolutions; skip
connections between levels. That SAMAE uses such a network is second-hand knowledge; how the vectors enter is ours, and
so is the pixel-unshuffle of `patch_px` at the entrance, which costs a CPU a fraction of a full-resolution level.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from training.networks.norm import group_norm


def group_count(channels: int) -> int:
    """The largest divisor of `channels` up to 32 that leaves at least 8 channels a group (1 when there is none)."""
    return max(groups for groups in range(1, 33) if channels % groups == 0 and (channels // groups >= 8 or groups == 1))


class ScaleShiftNorm(nn.Module):
    """Group norm whose scale and shift come from the condition: norm(x) * (1 + scale(c)) + shift(c)."""

    def __init__(self, channels: int, condition_width: int) -> None:
        super().__init__()
        self.groups = group_count(channels)
        self.affine = nn.Linear(condition_width, 2 * channels)
        nn.init.normal_(self.affine.weight, std=0.1 / condition_width**0.5)
        nn.init.zeros_(self.affine.bias)

    def forward(self, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W), (N, K) -> (N, C, H, W)."""
        scale, shift = self.affine(condition).float().chunk(2, 1)
        return group_norm(x, 1 + scale, shift, self.groups)


class ResidualBlock(nn.Module):
    """norm, SiLU, 3x3, norm, SiLU, 3x3, plus the input (through 1x1 when the width changes)."""

    def __init__(self, channels_in: int, channels_out: int, condition_width: int) -> None:
        super().__init__()
        self.norm_in = ScaleShiftNorm(channels_in, condition_width)
        self.conv_in = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.norm_out = ScaleShiftNorm(channels_out, condition_width)
        self.conv_out = nn.Conv2d(channels_out, channels_out, 3, padding=1)
        nn.init.normal_(self.conv_out.weight, std=0.3 / (9 * channels_out) ** 0.5)
        same = channels_in == channels_out
        self.skip: nn.Module = nn.Identity() if same else nn.Conv2d(channels_in, channels_out, 1)

    def forward(self, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W), (N, K) -> (N, C', H, W)."""
        h = self.conv_in(F.silu(self.norm_in(x, condition)))
        h = self.conv_out(F.silu(self.norm_out(h, condition)))
        return self.skip(x) + h


class SelfAttention(nn.Module):
    """Self-attention over all places of a small map, about 32 channels a head, residual, the identity at first."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads = max(1, channels // 32)
        self.norm = nn.GroupNorm(group_count(channels), channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)
        nn.init.zeros_(self.out.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) -> (N, C, H, W); C must be a multiple of the head count."""
        n, c, h, w = x.shape
        q, k, v = self.qkv(self.norm(x)).reshape(n, 3, self.heads, c // self.heads, h * w).transpose(-1, -2).unbind(1)
        mixed = F.scaled_dot_product_attention(q, k, v)
        return x + self.out(mixed.transpose(-1, -2).reshape(n, c, h, w))


class Stage(nn.Module):
    """Residual blocks of one resolution, each followed by attention when asked for."""

    def __init__(self, channels_in: int, channels_out: int, blocks: int, condition_width: int, attend: bool) -> None:
        super().__init__()
        widths = [channels_in] + [channels_out] * blocks
        self.blocks = nn.ModuleList(ResidualBlock(a, b, condition_width) for a, b in pairwise(widths))
        self.attention = nn.ModuleList(SelfAttention(channels_out) if attend else nn.Identity() for _ in range(blocks))

    def forward(self, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W), (N, K) -> (N, C', H, W)."""
        for block, attention in zip(self.blocks, self.attention, strict=True):
            x = attention(block(x, condition))
        return x


class UNet(nn.Module):
    """Pictures and a condition vector in, a picture of the same size out (zero before training).

    Args:
        channels_in, channels_out: of the pictures.  condition_in: length of the raw condition vector.
        size_px: picture side.  width, multipliers, blocks, attention_px, condition_width, patch_px: GeneratorSettings.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        condition_in: int,
        *,
        size_px: int,
        width: int,
        multipliers: Sequence[int],
        blocks: int = 1,
        attention_px: Sequence[int] = (),
        condition_width: int = 128,
        patch_px: int = 1,
    ) -> None:
        super().__init__()
        k, self.patch_px = condition_width, patch_px
        widths = [width * multiplier for multiplier in multipliers]
        sides = [size_px // patch_px // 2**level for level in range(len(widths))]
        attend = [side in attention_px for side in sides]
        self.embed = nn.Sequential(nn.Linear(condition_in, k), nn.SiLU(), nn.Linear(k, k), nn.SiLU())
        self.stem = nn.Conv2d(channels_in * patch_px**2, widths[0], 3, padding=1)
        self.shrink = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairwise(widths))
        self.down = nn.ModuleList(Stage(w, w, blocks, k, a) for w, a in zip(widths, attend, strict=True))
        self.middle = Stage(widths[-1], widths[-1], 1, k, False)
        self.up = nn.ModuleList(Stage(2 * w, w, blocks, k, a) for w, a in zip(widths, attend, strict=True))
        self.grow = nn.ModuleList(nn.Conv2d(b, a, 3, padding=1) for a, b in pairwise(widths))
        self.norm = ScaleShiftNorm(widths[0], k)
        self.out = nn.Conv2d(widths[0], channels_out * patch_px**2, 3, padding=1)
        nn.init.zeros_(self.out.weight)
        if self.out.bias is not None:
            nn.init.zeros_(self.out.bias)

    def forward(self, pictures: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """(N, channels_in, S, S) about -1..1 and (N, condition_in) -> (N, channels_out, S, S), unbounded."""
        c = self.embed(condition)
        x = self.stem(F.pixel_unshuffle(pictures, self.patch_px))
        skips = []
        for level, stage in enumerate(self.down):
            x = stage(self.shrink[level - 1](x) if level else x, c)
            skips.append(x)
        x = self.middle(x, c)
        for level in reversed(range(len(self.up))):
            x = self.up[level](torch.cat([x, skips[level]], 1), c)
            if level:
                x = self.grow[level - 1](F.interpolate(x, scale_factor=2, mode="nearest"))
        return F.pixel_shuffle(self.out(F.silu(self.norm(x, c))), self.patch_px)
