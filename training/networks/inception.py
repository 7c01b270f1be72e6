"""Inception-v3 as the FID uses it (Heusel et al. 2017): TensorFlow's weights of December 2015 in PyTorch's names.

The file is pytorch-fid's `pt_inception-2015-12-05-6726825d.pth` (Apache-2.0; or the same tensors as
`pt_inception.safetensors`); its classifier is left. Differs from torchvision's network where pytorch-fid's does:
average pools do not count the padding, and the last block pools by maximum. 21.79 million parameters.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from training.networks.weight_files import load_published

FILES = ("pt_inception.safetensors", "pt_inception-2015-12-05-6726825d.pth")
#: Width and height that the network sees, and length of the features.
INPUT_PX, FEATURES = 299, 2048
#: Name -> channels in, channels out, kernel (down, across), stride; padding keeps the size unless `VALID`.
Conv = tuple[int, int, tuple[int, int], int]
#: Chains of convolutions of a block, in the order in which their outputs are stacked. A tuple of names forks.
Chain = tuple[str | tuple[str, str], ...]


class BasicConv(nn.Module):
    """Convolution without bias, batch normalisation (epsilon 0.001), ReLU."""

    def __init__(self, spec: Conv, valid: bool) -> None:
        super().__init__()
        inputs, outputs, kernel, stride = spec
        padding = (0, 0) if valid else (kernel[0] // 2, kernel[1] // 2)
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, in, H, W) -> (N, out, H', W')."""
        return F.relu(self.bn(self.conv(x)))


class Block(nn.Module):
    """Chains beside each other, stacked. pool: "average" or "max" feeds `branch_pool`, "reduce" is stacked itself."""

    def __init__(self, convs: dict[str, Conv], chains: tuple[Chain, ...], pool: str) -> None:
        super().__init__()
        self.chains, self.pool = chains, pool
        for name, spec in convs.items():
            self.add_module(name, BasicConv(spec, valid=spec[3] == 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) -> the stacked outputs of the chains and the pool."""
        outputs = [self._run(chain, x) for chain in self.chains]
        if self.pool == "reduce":
            return torch.cat([*outputs, F.max_pool2d(x, 3, 2)], 1)
        average = self.pool == "average"
        pooled = F.avg_pool2d(x, 3, 1, 1, count_include_pad=False) if average else F.max_pool2d(x, 3, 1, 1)
        return torch.cat([*outputs, self.get_submodule("branch_pool")(pooled)], 1)

    def _run(self, chain: Chain, x: torch.Tensor) -> torch.Tensor:
        for step in chain:
            if isinstance(step, tuple):
                return torch.cat([self.get_submodule(name)(x) for name in step], 1)
            x = self.get_submodule(step)(x)
        return x


_ONE, _THREE, _FIVE, _FLAT, _TALL = (1, 1), (3, 3), (5, 5), (1, 7), (7, 1)


def _block_a(inputs: int, pooled: int) -> Block:
    convs: dict[str, Conv] = {
        "branch1x1": (inputs, 64, _ONE, 1),
        "branch5x5_1": (inputs, 48, _ONE, 1), "branch5x5_2": (48, 64, _FIVE, 1),
        "branch3x3dbl_1": (inputs, 64, _ONE, 1), "branch3x3dbl_2": (64, 96, _THREE, 1),
        "branch3x3dbl_3": (96, 96, _THREE, 1), "branch_pool": (inputs, pooled, _ONE, 1),
    }  # fmt: skip
    double = ("branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3")
    return Block(convs, (("branch1x1",), ("branch5x5_1", "branch5x5_2"), double), "average")


def _block_b(inputs: int) -> Block:
    convs: dict[str, Conv] = {
        "branch3x3": (inputs, 384, _THREE, 2), "branch3x3dbl_1": (inputs, 64, _ONE, 1),
        "branch3x3dbl_2": (64, 96, _THREE, 1), "branch3x3dbl_3": (96, 96, _THREE, 2),
    }  # fmt: skip
    return Block(convs, (("branch3x3",), ("branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3")), "reduce")


def _block_c(inner: int) -> Block:
    convs: dict[str, Conv] = {
        "branch1x1": (768, 192, _ONE, 1),
        "branch7x7_1": (768, inner, _ONE, 1), "branch7x7_2": (inner, inner, _FLAT, 1),
        "branch7x7_3": (inner, 192, _TALL, 1),
        "branch7x7dbl_1": (768, inner, _ONE, 1), "branch7x7dbl_2": (inner, inner, _TALL, 1),
        "branch7x7dbl_3": (inner, inner, _FLAT, 1), "branch7x7dbl_4": (inner, inner, _TALL, 1),
        "branch7x7dbl_5": (inner, 192, _FLAT, 1), "branch_pool": (768, 192, _ONE, 1),
    }  # fmt: skip
    single, double = (tuple(name for name in convs if name.startswith(part)) for part in ("branch7x7_", "branch7x7dbl"))
    return Block(convs, (("branch1x1",), single, double), "average")


def _block_d() -> Block:
    convs: dict[str, Conv] = {
        "branch3x3_1": (768, 192, _ONE, 1), "branch3x3_2": (192, 320, _THREE, 2),
        "branch7x7x3_1": (768, 192, _ONE, 1), "branch7x7x3_2": (192, 192, _FLAT, 1),
        "branch7x7x3_3": (192, 192, _TALL, 1), "branch7x7x3_4": (192, 192, _THREE, 2),
    }  # fmt: skip
    long = tuple(name for name in convs if name.startswith("branch7x7x3"))
    return Block(convs, (("branch3x3_1", "branch3x3_2"), long), "reduce")


def _block_e(inputs: int, pool: str) -> Block:
    across, down = (1, 3), (3, 1)
    convs: dict[str, Conv] = {
        "branch1x1": (inputs, 320, _ONE, 1), "branch3x3_1": (inputs, 384, _ONE, 1),
        "branch3x3_2a": (384, 384, across, 1), "branch3x3_2b": (384, 384, down, 1),
        "branch3x3dbl_1": (inputs, 448, _ONE, 1), "branch3x3dbl_2": (448, 384, _THREE, 1),
        "branch3x3dbl_3a": (384, 384, across, 1), "branch3x3dbl_3b": (384, 384, down, 1),
        "branch_pool": (inputs, 192, _ONE, 1),
    }  # fmt: skip
    chains: tuple[Chain, ...] = (
        ("branch1x1",), ("branch3x3_1", ("branch3x3_2a", "branch3x3_2b")),
        ("branch3x3dbl_1", "branch3x3dbl_2", ("branch3x3dbl_3a", "branch3x3dbl_3b")),
    )  # fmt: skip
    return Block(convs, chains, pool)


class InceptionFeatures(nn.Module):
    """Frozen features before the classifier ("pool3")."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = BasicConv((3, 32, _THREE, 2), valid=True)
        self.Conv2d_2a_3x3 = BasicConv((32, 32, _THREE, 1), valid=True)
        self.Conv2d_2b_3x3 = BasicConv((32, 64, _THREE, 1), valid=False)
        self.Conv2d_3b_1x1 = BasicConv((64, 80, _ONE, 1), valid=True)
        self.Conv2d_4a_3x3 = BasicConv((80, 192, _THREE, 1), valid=True)
        blocks = {
            "Mixed_5b": _block_a(192, 32), "Mixed_5c": _block_a(256, 64), "Mixed_5d": _block_a(288, 64),
            "Mixed_6a": _block_b(288), "Mixed_6b": _block_c(128), "Mixed_6c": _block_c(160), "Mixed_6d": _block_c(160),
            "Mixed_6e": _block_c(192), "Mixed_7a": _block_d(), "Mixed_7b": _block_e(1280, "average"),
            "Mixed_7c": _block_e(2048, "max"),
        }  # fmt: skip
        self.mixed = tuple(blocks)
        for name, block in blocks.items():
            self.add_module(name, block)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """(N, 3, 299, 299) sRGB 0..255, resized as clean-fid does -> (N, 2048). Scaled as TensorFlow's graph does."""
        x = (pictures - 128) / 128
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(F.max_pool2d(x, 3, 2)))
        x = F.max_pool2d(x, 3, 2)
        for name in self.mixed:
            x = self.get_submodule(name)(x)
        return x.mean((2, 3))


def load_inception(path: Path) -> InceptionFeatures:
    """The frozen network with the weights of a file; SamaeError when its names are not pytorch-fid's."""
    network = InceptionFeatures()
    names = {name: name for name in network.state_dict() if not name.endswith("num_batches_tracked")}
    ignored = r"fc\.(weight|bias)$|.*num_batches_tracked$"
    load_published(network, path, names, ignored, f"pytorch-fid's {FILES[1]}")
    return network.eval().requires_grad_(False)
