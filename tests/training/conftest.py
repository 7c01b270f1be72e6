"""One process group for all tests here (DeepSpeed keeps handles of the first), and one thread, since toys are small."""

from collections.abc import Iterator

import pytest
import torch

from training.engine import World


@pytest.fixture(scope="session")
def world() -> World:
    """A world of one rank on the CPU; never closed, since DeepSpeed could not be started in another one."""
    return World("cpu")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Two threads that wait for each other actively would only disturb what else runs on a small machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
