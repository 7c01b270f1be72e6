"""AEI-Net (FaceShifter, Li et al., arXiv 1912.13457, section 3.1) as BlendFace's released inference code builds it.

At the official size (256 px, width 32, multipliers 1 2 4 8 16 32 32, a 512-number identity) the attribute encoder has
67,092,800 parameters and the generator 283,029,403, as counted on the released networks. Two differences from
FaceShifter's own form: the generator starts from the deepest attribute map instead of the identity, and a mask head
says where the result replaces the target. Ours: the widths are settings, so that it also exists at 64 px.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

#: Slope of the attribute encoder's LeakyReLU (code).
SLOPE = 0.1


def _normed(conv: nn.Module, channels: int) -> nn.Sequential:
    return nn.Sequential(conv, nn.BatchNorm2d(channels), nn.LeakyReLU(SLOPE))


class AttributeEncoder(nn.Module):
    """A U-Net whose decoder's maps are the attributes.

    Args:
        widths: channels of the strided 4x4 convolutions, outermost first; S px become S / 2 ** len(widths).
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.down = nn.ModuleList(_normed(nn.Conv2d(a, b, 4, 2, 1), b) for a, b in pairwise([3, *widths]))
        deep, ups = widths[-1], []
        for width in reversed(widths[:-1]):
            ups.append(_normed(nn.ConvTranspose2d(deep, width, 4, 2, 1), width))
            deep = 2 * width
        self.up = nn.ModuleList(ups)
        #: Channels of the maps, deepest first.
        self.channels = [widths[-1], *(2 * width for width in reversed(widths[:-1])), 2 * widths[0]]

    def forward(self, target: torch.Tensor) -> list[torch.Tensor]:
        """(N, 3, S, S) about -1..1 -> len(widths) + 1 maps from the deepest to S px."""
        skips, x = [], target
        for layer in self.down:
            x = layer(x)
            skips.append(x)
        maps = [x]
        for layer, skip in zip(self.up, reversed(skips[:-1]), strict=True):
            x = torch.cat([layer(x), skip], 1)
            maps.append(x)
        return [*maps, F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)]


class AadLayer(nn.Module):
    """Adaptive attentional denormalisation: each pixel takes the attributes' or the identity's scale and shift."""

    def __init__(self, channels: int, attribute_channels: int, identity_width: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.attribute_scale = nn.Conv2d(attribute_channels, channels, 3, padding=1)
        self.attribute_shift = nn.Conv2d(attribute_channels, channels, 3, padding=1)
        self.identity_scale = nn.Linear(identity_width, channels)
        self.identity_shift = nn.Linear(identity_width, channels)
        self.attention = nn.Conv2d(channels, 1, 1)

    def forward(self, x: torch.Tensor, attribute: torch.Tensor, identity: torch.Tensor) -> torch.Tensor:
        """(N, C, s, s), (N, A, s, s), (N, M) -> (N, C, s, s)."""
        x = self.norm(x)
        scale, shift = (layer(identity)[:, :, None, None] for layer in (self.identity_scale, self.identity_shift))
        by_attribute = x * self.attribute_scale(attribute) + self.attribute_shift(attribute)
        share = torch.sigmoid(self.attention(x))
        return (1 - share) * by_attribute + share * (x * scale + shift)


class AadBlock(nn.Module):
    """Twice (AAD, ReLU, 3x3 convolution), plus the input (through a third where the width changes)."""

    def __init__(self, channels_in: int, channels: int, attribute_channels: int, identity_width: int) -> None:
        super().__init__()
        outs = [channels_in, channels] + ([channels] if channels != channels_in else [])
        self.layers = nn.ModuleList(AadLayer(channels_in, attribute_channels, identity_width) for _ in outs)
        self.convs = nn.ModuleList(nn.Conv2d(channels_in, out, 3, padding=1) for out in outs)

    def forward(self, x: torch.Tensor, attribute: torch.Tensor, identity: torch.Tensor) -> torch.Tensor:
        """(N, C, s, s), (N, A, s, s), (N, M) -> (N, C', s, s)."""
        h = x
        for layer, conv in list(zip(self.layers, self.convs, strict=True))[:2]:
            h = conv(F.relu(layer(h, attribute, identity)))
        if len(self.layers) > 2:
            x = self.convs[2](F.relu(self.layers[2](x, attribute, identity)))
        return x + h


class AadGenerator(nn.Module):
    """From the deepest attribute map to the picture, one AAD block an attribute map."""

    def __init__(self, attribute_channels: Sequence[int], identity_width: int) -> None:
        super().__init__()
        deepest = attribute_channels[0]
        # Official: 1024 1024 1024 1024 512 256 128 64, then 3: a block takes in as many channels as the map before
        # its own has, the deepest map's at most.
        widths = [deepest, *(min(channels, deepest) for channels in attribute_channels[:-1])]
        self.blocks = nn.ModuleList(
            AadBlock(a, b, attributes, identity_width)
            for (a, b), attributes in zip(pairwise([*widths, 3]), attribute_channels, strict=True)
        )

    def forward(self, attributes: Sequence[torch.Tensor], identity: torch.Tensor) -> torch.Tensor:
        """Maps of the attribute encoder and (N, M) -> (N, 3, S, S) in 0..1."""
        x = attributes[0]
        for index, (block, attribute) in enumerate(zip(self.blocks, attributes, strict=True)):
            if index:
                x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
            x = block(x, attribute, identity)
        return torch.sigmoid(x)


class AeiNet(nn.Module):
    """Attribute encoder, generator and mask head: everything that the generator's optimiser trains.

    Args:
        identity_width: M.  width, multipliers: channels of the attribute encoder's convolutions, outermost first.
    """

    def __init__(self, identity_width: int, *, width: int, multipliers: Sequence[int]) -> None:
        super().__init__()
        self.encoder = AttributeEncoder([width * multiplier for multiplier in multipliers])
        self.generator = AadGenerator(self.encoder.channels, identity_width)
        self.mask = nn.Conv2d(self.encoder.channels[-1], 1, 1)

    def forward(self, target: torch.Tensor, identity: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(N, 3, S, S) sRGB 0..1 and (N, M) unit vectors -> result (N, 3, S, S) = G m + T (1 - m), logits of m."""
        attributes = self.encoder(target * 2 - 1)
        logits = self.mask(attributes[-1])
        share = torch.sigmoid(logits)
        return self.generator(attributes, identity) * share + target * (1 - share), logits
