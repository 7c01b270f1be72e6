"""Steps prepared beside the step that runs: the next inputs are made in a thread while the networks are busy.

A method's `prepare` is a pure function of (pictures, seed, positions, step), so who makes it, and when, changes nothing
that is computed. Its convolutions run on one thread, always, so that the number of threads of the step does not touch
its results. A run on one core gains nothing by it. (Ours.)
"""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import torch

from training.batch import FaceBatch
from training.methods.base import Method
from training.stream import Placed


@dataclass(frozen=True)
class Ready:
    """One step's inputs, a micro-batch each, and the seconds that its pictures and its preparation took."""

    inputs: list[Any]
    data_s: float
    prepare_s: float


class Coming(Iterator[Ready]):
    """The inputs of one step after the other, endlessly, one step ahead of who takes them.

    Args:
        batches: this rank's pictures from where the run stands.
        parts: a step's pictures in micro-batches with their positions, on the device (Session.micro).
        method, seed: of the run.  step: updates done so far.
    Raises:
        What goes wrong in the thread is raised at the step that needs it.
    """

    def __init__(
        self,
        batches: Iterator[Placed],
        parts: Callable[[Placed], list[tuple[FaceBatch, Sequence[int]]]],
        method: Method,
        seed: int,
        step: int,
    ) -> None:
        self._batches, self._parts, self._method, self._seed, self._step = batches, parts, method, seed, step
        self._pool = ThreadPoolExecutor(1, "prepare", _enter, (method.device,))
        self._next = self._pool.submit(self._make, step)

    def __next__(self) -> Ready:
        ready = self._next.result()
        self._step += 1
        self._next = self._pool.submit(self._make, self._step)
        return ready

    def settle(self) -> None:
        """Wait until nothing is being prepared."""
        wait([self._next])

    def close(self) -> None:
        """End the thread after what it is doing."""
        self._pool.shutdown(cancel_futures=True)

    def _make(self, step: int) -> Ready:
        start = time.perf_counter()
        shares = self._parts(next(self._batches))
        loaded = time.perf_counter()
        inputs = [
            self._method.prepare(batch, seed=self._seed, positions=positions, step=step) for batch, positions in shares
        ]
        return Ready(inputs, loaded - start, time.perf_counter() - loaded)


def _enter(device: torch.device) -> None:
    """Once in the thread: its own number of threads, and the run's device (both belong to the calling thread)."""
    torch.set_num_threads(1)
    if device.type == "cuda":
        torch.cuda.set_device(device)
