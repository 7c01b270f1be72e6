"""True swaps for the judge: the renderer's picture made small, kept for its own pair and plan alone."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assets.aligned import resize
from assets.truth import TruePicture, TrueSwaps, true_swaps
from faces.synthetic.dataset import GENERATOR
from faces.synthetic.pictures import true_swap
from tests.assets.conftest import tiny_plan


@pytest.fixture
def swaps(tmp_path: Path) -> TrueSwaps:
    return TrueSwaps(GENERATOR, tmp_path, seed=0, people=4, photo_px=96, aligned_px=64, picture_px=32)


def test_a_true_swap_is_the_renderers_picture_made_small(swaps: TrueSwaps) -> None:
    truth, made = true_swap(0, 3, 4, 4, 96), swaps("00003", "00004")
    np.testing.assert_array_equal(made.image, resize(resize(truth.image, 64), 32))
    np.testing.assert_array_equal(made.mask, resize(resize(truth.mask, 64), 32))
    np.testing.assert_allclose(made.landmarks_px, truth.landmarks_px / 3, rtol=1e-6)
    again = swaps("00003", "00004")
    for name in ("image", "landmarks_px", "mask"):
        np.testing.assert_array_equal(getattr(again, name), getattr(made, name))


def test_what_is_kept_belongs_to_one_pair_of_one_plan(swaps: TrueSwaps, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[TrueSwaps, str, str]] = []

    def draw(self: TrueSwaps, source_key: str, target_key: str) -> TruePicture:
        drawn.append((self, source_key, target_key))
        return TruePicture(np.full((2, 2, 3), len(drawn), np.uint8), np.zeros((68, 2), np.float32), np.zeros((2, 2)))

    monkeypatch.setattr(TrueSwaps, "_render", draw)
    changes: list[dict[str, Any]] = [
        {}, {"generator": "people-0"}, {"seed": 1}, {"people": 5}, {"photo_px": 128}, {"aligned_px": 48},
        {"picture_px": 48},
    ]  # fmt: skip
    asked = [(replace(swaps, **change), "00003", "00004") for change in changes]
    asked += [(swaps, "00004", "00003"), (swaps, "00003", "00005"), (swaps, "00002", "00004")]
    for round_ in range(2):
        for number, (one, source, target) in enumerate(asked, 1):
            assert one(source, target).image[0, 0, 0] == number, round_
    assert drawn == asked


def test_people_of_a_plan_have_a_truth_and_photographs_have_none(tmp_path: Path) -> None:
    plan = tiny_plan()
    made = true_swaps(plan, tmp_path)
    assert made == TrueSwaps(
        GENERATOR, tmp_path, plan.seed, plan.people, plan.photo_px, plan.working_px, plan.picture_px
    )
    assert true_swaps(tiny_plan(raw=tmp_path), tmp_path) is None
