"""Steps prepared beside the step that runs."""

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch

from training.ahead import Coming

CPU = torch.device("cpu")


class Preparing:
    """A method that notes who prepared what; step 3 cannot be prepared."""

    device = CPU

    def __init__(self) -> None:
        self.seen: list[tuple[int, int]] = []
        self.threads: set[tuple[str, int]] = set()

    def prepare(self, batch: Any, *, seed: int, positions: Sequence[int], step: int) -> Any:
        if step == 3:
            raise ValueError("step 3 is broken")
        self.seen.append((step, batch))
        self.threads.add((threading.current_thread().name, torch.get_num_threads()))
        return batch, seed, step


def batches() -> Iterator[Any]:
    yield from range(100)


def start(method: Preparing, step: int = 0) -> Coming:
    return Coming(batches(), lambda placed: [(placed, [placed])], method, seed=7, step=step)  # type: ignore[arg-type]


def test_steps_come_in_order_and_one_is_prepared_ahead() -> None:
    method, threads = Preparing(), torch.get_num_threads()
    coming = start(method)
    assert [next(coming).inputs for _ in range(2)] == [[(0, 7, 0)], [(1, 7, 1)]]
    coming.settle()
    assert method.seen == [(0, 0), (1, 1), (2, 2)]
    assert {count for _, count in method.threads} == {1}
    assert "MainThread" not in {name for name, _ in method.threads}
    assert torch.get_num_threads() == threads
    coming.close()


def test_what_goes_wrong_is_raised_at_the_step_that_needs_it() -> None:
    coming = start(Preparing(), step=1)
    assert [next(coming).inputs[0][2] for _ in range(2)] == [1, 2]
    with pytest.raises(ValueError, match="step 3 is broken"):
        next(coming)
    coming.close()
