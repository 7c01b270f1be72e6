"""Counting a step's operations."""

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from training.utilisation import FlopCount, Utilisation, matrix_peak_flop_per_s

CPU = torch.device("cpu")


def test_a_product_and_a_convolution_count_two_operations_a_multiplication() -> None:
    with FlopCount() as count:
        torch.rand(3, 5) @ torch.rand(5, 7)
    assert count.total == 2 * 3 * 5 * 7
    with FlopCount() as count:
        torch.conv2d(torch.rand(2, 4, 8, 8), torch.rand(6, 4, 3, 3), padding=1)
    assert count.total == 2 * 2 * 6 * 4 * 9 * 8 * 8


def test_forward_and_backward_count_as_torch_counts_them() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 4))
    x = torch.rand(2, 3, 8, 8)
    with FlopCounterMode(display=False) as theirs:
        network(x).sum().backward()
    with FlopCount() as ours:
        network(x).sum().backward()
    assert ours.total == theirs.get_total_flops() > 0


def test_the_usual_step_is_counted_and_the_share_is_its_arithmetic() -> None:
    used = Utilisation(CPU, images=2)
    assert used.percent(10, 1.0) is None
    assert used.counted(lambda: torch.rand(4, 4) @ torch.rand(4, 4)).shape == (4, 4)
    used.counted(lambda: torch.rand(64, 64) @ torch.rand(64, 64), is_usual=False)
    used._peak = 6400.0
    assert used.percent(images=10, seconds=1.0) == 100 * 10 * (2 * 4**3 / 2) / 6400.0
    off = Utilisation(CPU, images=2, is_on=False)
    off.counted(lambda: torch.rand(4, 4) @ torch.rand(4, 4))
    assert off.percent(10, 1.0) is None


def test_a_peak_is_found() -> None:
    assert matrix_peak_flop_per_s(CPU, seconds=0.01) > 1e8
