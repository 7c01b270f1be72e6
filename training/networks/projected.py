"""The projected discriminator (Sauer et al., NeurIPS 2021, arXiv 2111.01007) as SimSwap's released train.py uses it.

Frozen features of EfficientNet-lite0 are mixed across channels and scales by frozen random convolutions (CCM and CSM,
64 channels, expanding), and four small discriminators judge the four mixtures. Sources: projected_gan's and SimSwap's
pg_modules. The frozen part is no part of the module's parameters or of its state: it is rebuilt from the weights file
and a fixed seed.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from training.networks.efficientnet import CHANNELS, EfficientNetFeatures

#: Channels of the mixtures, finest first: cout, then twice as many a level.
MIXED = (64, 128, 256, 512)
#: Side that the small discriminators end at, and channels at each side (projected_gan's table).
END_PX = 8
WIDTHS = {4: 512, 8: 512, 16: 256, 32: 128, 64: 64, 128: 64, 256: 32, 512: 16, 1024: 8}
SEED = 0


class Projection(nn.Module):
    """Cross-channel and cross-scale mixing, random and frozen: backbone maps -> mixtures, finest first."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            self.ccm = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in zip(CHANNELS, MIXED, strict=True))
            outs = (MIXED[0], *MIXED[:-1])
            self.csm = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in zip(MIXED, outs, strict=True))

    def forward(self, maps: list[torch.Tensor]) -> list[torch.Tensor]:
        """Each mixture is twice as fine as its map and holds what all coarser maps said."""
        mixed: list[torch.Tensor] = []
        x: torch.Tensor | None = None
        for level in reversed(range(len(maps))):
            here = self.ccm[level](maps[level])
            x = here if x is None else x + here
            x = self.csm[level](F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True))
            mixed.insert(0, x)
        return mixed


def _small(channels: int, side_px: int) -> nn.Sequential:
    """One discriminator: strided 4x4 convolutions down to END_PX, then a 4x4 convolution to logits."""
    side = min(WIDTHS, key=lambda known: abs(known - side_px))
    layers: list[nn.Module] = []
    while side > END_PX:
        width = WIDTHS[side // 2]
        layers += [spectral_norm(nn.Conv2d(channels, width, 4, 2, 1, bias=False)), nn.BatchNorm2d(width)]
        layers.append(nn.LeakyReLU(0.2))
        channels, side = width, side // 2
    layers.append(spectral_norm(nn.Conv2d(channels, 1, 4, bias=False)))
    return nn.Sequential(*layers)


class ProjectedDiscriminator(nn.Module):
    """Four discriminators on frozen features. `features` is EfficientNet-lite0 with its weights; size_px from 64."""

    def __init__(self, features: EfficientNetFeatures, size_px: int) -> None:
        super().__init__()
        self._frozen = (features, Projection().eval().requires_grad_(False))
        outs = (MIXED[0], *MIXED[:-1])
        self.judges = nn.ModuleList(_small(c, size_px // 2 ** (level + 1)) for level, c in enumerate(outs))

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> "ProjectedDiscriminator":
        for module in self._frozen:
            module._apply(fn)
        return super()._apply(fn, recurse)

    def deepest(self, pictures: torch.Tensor) -> torch.Tensor:
        """(N, 3, S, S) about -1..1 -> (N, 320, S/32, S/32), feature "3", which the script's matching compares."""
        return self._frozen[0]((pictures + 1) / 2)[-1]

    def forward(self, pictures: torch.Tensor) -> list[list[torch.Tensor]]:
        """(N, 3, S, S) about -1..1 -> one list with the logits (N, K) of all four, as the script joins them."""
        mixed = self._frozen[1](self._frozen[0]((pictures + 1) / 2))
        logits = [judge(x).flatten(1) for judge, x in zip(self.judges, mixed, strict=True)]
        return [[torch.cat(logits, 1)]]
