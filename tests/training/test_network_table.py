"""`samae bench networks`: official counts, and multiply-adds by hand."""

import torch
from torch import nn

from benchmarks.networks import multiply_adds, run


def test_the_table_has_the_official_parameters() -> None:
    figures = run({})
    official = [name for name in figures if name.endswith("_official_parameters")]
    assert len(official) == 3
    for name in official:
        assert figures[name.replace("_official", "")] == figures[name]
    assert 6.2 < float(figures["iresnet-50_gmacs_per_picture"]) < 6.4


def test_multiply_adds_by_hand() -> None:
    with torch.device("meta"):
        network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Flatten(), nn.Linear(8 * 100, 5))
    assert multiply_adds(network, ((1, 3, 10, 10),)) == 3 * 8 * 9 * 100 + 800 * 5
