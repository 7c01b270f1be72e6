"""Building blocks of the small networks: residual blocks, a U-Net, one thread a face. Ours."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from faces.compiled import over_faces

_threads = threading.RLock()


class ConvNorm(nn.Sequential):
    """3x3 (or `side`) convolution without bias and batch norm: (N, C, H, W) -> (N, C', H / stride, W / stride)."""

    def __init__(self, channels_in: int, channels_out: int, side: int = 3, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(channels_in, channels_out, side, stride, side // 2, bias=False), nn.BatchNorm2d(channels_out)
        )


class ResidualBlock(nn.Module):
    """conv, ReLU, conv, plus the input (through 1x1 where width or size changes), ReLU."""

    def __init__(self, channels_in: int, channels_out: int, stride: int = 1) -> None:
        super().__init__()
        self.first = ConvNorm(channels_in, channels_out, 3, stride)
        self.second = ConvNorm(channels_out, channels_out)
        same = channels_in == channels_out and stride == 1
        self.skip: nn.Module = nn.Identity() if same else ConvNorm(channels_in, channels_out, 1, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) -> (N, C', H / stride, W / stride)."""
        return torch.relu(self.second(torch.relu(self.first(x))) + self.skip(x))


class SmallUNet(nn.Module):
    """Pictures in, maps of the same size out; the picture is unshuffled 2 x 2 first.

    Args:
        channels_in, channels_out: of the pictures and of the maps.
        widths: channels of the levels, at 1/2, 1/4, 1/8 … of the picture's side, which must be divisible so often.
    """

    def __init__(self, channels_in: int, channels_out: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.stem = ConvNorm(4 * channels_in, widths[0])
        self.down = nn.ModuleList(ResidualBlock(a, b, 2) for a, b in pairwise(widths))
        self.middle = ResidualBlock(widths[-1], widths[-1])
        self.grow = nn.ModuleList(ConvNorm(b, a, 1) for a, b in pairwise(widths))
        self.up = nn.ModuleList(ResidualBlock(2 * a, a) for a in widths[:-1])
        self.out = nn.Conv2d(widths[0], 4 * channels_out, 1)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """(N, channels_in, S, S) -> (N, channels_out, S, S), unbounded."""
        x = torch.relu(self.stem(functional.pixel_unshuffle(pictures, 2)))
        levels = [x]
        for shrink in self.down:
            levels.append(shrink(levels[-1]))
        x = self.middle(levels.pop())
        for grow, mix in zip(reversed(self.grow), reversed(self.up), strict=True):
            x = functional.interpolate(torch.relu(grow(x)), scale_factor=2, mode="nearest")
            x = mix(torch.cat([x, levels.pop()], 1))
        return functional.pixel_shuffle(self.out(x), 2)


@contextmanager
def _one_torch_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def each_face(work: Callable[[int], None], count: int) -> None:
    """Call `work(n)` for the faces 0 .. count - 1, spread over cores, torch on one thread in each, no gradients.

    A face alone in its batch, on one thread, has the same bits whatever the batch and the number of threads are.
    """

    def run(first: int, step: int) -> None:
        """Every step-th face."""
        torch.set_num_threads(1)
        with torch.inference_mode():
            for n in range(first, count, step):
                work(n)

    with _threads, _one_torch_thread():
        over_faces(run, count)
