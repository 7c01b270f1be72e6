"""LPIPS 0.1 (Zhang et al. 2018, arXiv 1801.03924): an ImageNet trunk and one weight a channel, from the user's files.

The five weight vectors are the files `alex.pth` and `vgg.pth` of the package lpips 0.1.4 (weights/v0.1, BSD-2-Clause;
1,152 and 1,472 numbers), the trunks torchvision's AlexNet and VGG-16. Pictures are scaled as the package does, with
its constants. The package lpips is not imported.
"""

from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from training.networks.alexnet import load_alexnet
from training.networks.vgg import load_vgg
from training.networks.weight_files import load_published

Trunk = Literal["alex", "vgg"]
CHANNELS: dict[Trunk, tuple[int, ...]] = {"alex": (64, 192, 384, 256, 256), "vgg": (64, 128, 256, 512, 512)}
#: Names under which the heads are looked for; the second is the package's own.
HEAD_FILES: dict[Trunk, tuple[str, ...]] = {
    "alex": ("lpips_alex.safetensors", "lpips_alex.pth", "alex.pth"),
    "vgg": ("lpips_vgg.safetensors", "lpips_vgg.pth", "vgg.pth"),
}
#: SHA-256 of the heads in the package lpips 0.1.4, first digits.
HEAD_DIGESTS: dict[Trunk, str] = {"alex": "df73285e35b22355", "vgg": "a78928a0af1e5f0f"}
EPSILON = 1e-10


class Heads(nn.Module):
    """One weight a channel of every map."""

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.weights = nn.ParameterList(nn.Parameter(torch.zeros(1, width, 1, 1)) for width in channels)


class Lpips(nn.Module):
    """The distance of two pictures. `features` and `distance` are apart, so that a picture's maps are made once."""

    def __init__(self, trunk: nn.Module, heads: Heads) -> None:
        super().__init__()
        self.trunk, self.heads = trunk, heads
        self.register_buffer("shift", torch.tensor([-0.030, -0.088, -0.188])[:, None, None], persistent=False)
        self.register_buffer("scale", torch.tensor([0.458, 0.448, 0.450])[:, None, None], persistent=False)

    def features(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        """(N, 3, S, S) sRGB 0..1 -> five maps whose vectors have unit length at every place."""
        maps = self.trunk.features((2 * pictures - 1 - self.shift) / self.scale)  # type: ignore[operator]
        return [m / (m.square().sum(1, keepdim=True).sqrt() + EPSILON) for m in maps]

    def distance(
        self, a: list[torch.Tensor], b: list[torch.Tensor], region: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Maps of N pictures twice -> (N,) LPIPS; with a region (N, 1, S, S) 0..1 the mean over it alone (ours).

        The region is averaged down to every map's size; NaN where it is empty.
        """
        total = a[0].new_zeros(len(a[0]))
        for first, second, weight in zip(a, b, self.heads.weights, strict=True):
            error = ((first - second).square() * weight).sum(1, keepdim=True)
            if region is None:
                total = total + error.mean((1, 2, 3))
                continue
            share = F.adaptive_avg_pool2d(region, error.shape[2:])
            total = total + (error * share).sum((1, 2, 3)) / share.sum((1, 2, 3))
        return total

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """(N, 3, S, S) sRGB 0..1 twice -> (N,) LPIPS, 0 upwards."""
        return self.distance(self.features(a), self.features(b))


def load_lpips(trunk: Trunk, trunk_path: Path, heads_path: Path) -> Lpips:
    """The frozen network with the weights of two files; SamaeError when names or shapes are not the published ones."""
    heads = Heads(CHANNELS[trunk])
    names = {f"weights.{n}": f"lin{n}.model.1.weight" for n in range(len(CHANNELS[trunk]))}
    load_published(heads, heads_path, names, source=f"weights/v0.1/{trunk}.pth of the package lpips 0.1.4")
    base = load_alexnet(trunk_path) if trunk == "alex" else load_vgg(trunk_path, maps=5)
    return Lpips(base, heads).eval().requires_grad_(False)
