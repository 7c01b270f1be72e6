"""`samae bench train-step`: how the ranks' measurements become the machine's figures."""

import pytest

from assets.room import Free
from benchmarks.train_step import ALSO_IN_ONE_PROCESS, default_ranks, figures
from training.config import load_recipe


def answer(**seconds: float) -> dict:
    percent = {"data_wait": 0.5, "render": 1.5, "prepare_beside": 10.0, "optimiser": 2.0}
    return {
        "images": 8, "seconds": seconds, "percent": percent, "flop": 8e9, "peak": 1e11, "threads": 1, "device": "cpu",
    }  # fmt: skip


def test_ranks_are_summed_and_compared_with_their_own_bare_steps() -> None:
    one = answer(deepspeed=0.2, ddp=0.16, bare=0.16, loop_alone=0.2, prepare_alone=0.016)
    other = answer(deepspeed=0.2, ddp=0.16, bare=0.08, loop_alone=0.2, prepare_alone=0.016)
    found = figures([one, other])
    assert found["images_per_s"] == pytest.approx(80)
    assert found["ddp_images_per_s"] == pytest.approx(100)
    assert found["bare_images_per_s"] == pytest.approx(150)
    assert found["loop_overhead_percent"] == pytest.approx(87.5)
    assert found["prepare_alone_percent"] == pytest.approx(15)
    assert found["render_percent"] == pytest.approx(1.5)
    assert found["mfu_percent"] == pytest.approx(100 * 80e9 / 2e11)
    assert found["bare_mfu_percent"] == pytest.approx(100 * 150e9 / 2e11)
    assert (found["ranks"], found["threads"]) == (2, 1)
    assert set(ALSO_IN_ONE_PROCESS) <= set(found)


def test_as_many_ranks_as_a_training_would_start(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("assets.machine.cores", lambda: 3)
    monkeypatch.setattr("assets.room.free_here", lambda home: Free(2**40, 2**40))
    assert default_ranks(load_recipe("samae"), "cpu", tmp_path) == 2  # 16 pictures in whole groups of 4
