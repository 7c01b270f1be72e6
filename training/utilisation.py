"""The share of a machine's arithmetic that training uses: model FLOP utilisation (Chowdhery et al., arXiv 2204.02311).

Counted are the matrix products and convolutions of one real step, forward and backward of both networks, two operations
a multiplication with addition; the preparation beside it is not counted. The peak is measured, not taken from a data
sheet: the best of a bfloat16 matrix product and a channels_last 3x3 convolution of this process on this device.
"""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from training.precision import is_bfloat16_quick


class FlopCount(TorchDispatchMode):
    """Inside the block, `total` grows by the operations of this thread."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        count = flop_registry.get(func._overloadpacket)
        if count is not None:
            self.total += int(count(*args, **(kwargs or {}), out_val=made))
        return made


class Utilisation:
    """Of one run: its second step is counted (the first has the gradient penalty in it, which most have not), and the
    peak is measured when it is first asked for.

    A step that is counted may round otherwise than one that is not, so a continued run takes the count from its
    checkpoint: it must repeat what the uninterrupted run did, to the bit.

    Args:
        device: this rank's.  images: pictures a step and rank.
        is_on: False where steps cannot be counted (compiled networks); then `percent` is always None.

    Attributes:
        flop_per_image: operations of a step for one picture; 0 before that step.
    """

    def __init__(self, device: torch.device, images: int, is_on: bool = True) -> None:
        self._device, self._images, self._is_on = device, images, is_on
        self._peak = self.flop_per_image = 0.0

    def counted(self, step: Callable[[], Any], is_usual: bool = True) -> Any:
        """What `step` returns; the one that stands for all is counted."""
        if not self._is_on or not is_usual:
            return step()
        with FlopCount() as count:
            made = step()
        self.flop_per_image = count.total / self._images
        return made

    def percent(self, images: float, seconds: float) -> float | None:
        """Utilisation of this rank over so many of its pictures in so much time; None when nothing was counted."""
        if not self.flop_per_image:
            return None
        if not self._peak:
            self._peak = matrix_peak_flop_per_s(self._device, 0.1)
        return 100 * images * self.flop_per_image / seconds / self._peak


def matrix_peak_flop_per_s(device: torch.device, seconds: float = 0.5) -> float:
    """The best of a matrix product and a channels_last 3x3 convolution, operations a second.

    In bfloat16, as training works, where the device does not emulate it; else in float32.
    """
    size, images = (8192, 8) if device.type == "cuda" else (1024, 2)
    generator = torch.Generator(device=device).manual_seed(0)
    kind = torch.bfloat16 if is_bfloat16_quick(device.type) else torch.float32
    a, b = (torch.randn(size, size, device=device, generator=generator).to(kind) for _ in range(2))
    kernel = torch.randn(256, 256, 3, 3, device=device, generator=generator).to(kind)
    kernel = kernel.to(memory_format=torch.channels_last)
    x = torch.randn(images, 256, 64, 64, device=device, generator=generator).to(kind)
    x = x.to(memory_format=torch.channels_last)
    with torch.no_grad():
        candidates: list[tuple[Callable[[], Any], float]] = [
            (lambda: a @ b, 2.0 * size**3),
            (lambda: torch.conv2d(x, kernel, padding=1), 2.0 * images * 64 * 64 * 256 * 256 * 9),
        ]
        return max(flop / _best_time(call, device, seconds) for call, flop in candidates)


def _best_time(call: Callable[[], Any], device: torch.device, seconds: float) -> float:
    best, deadline = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < deadline:
        start = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return best
