"""The preparation benchmark's arithmetic, and the hostile run (planted photographs, SIGKILLs) at a small size."""

import json
from pathlib import Path

import pytest

from benchmarks import hostile, prepare


def test_rates_efficiency_and_hours() -> None:
    seconds = {1: {"raw_faces": 30.0, "aligned_faces": 10.0}, 2: {"raw_faces": 15.0, "aligned_faces": 10.0}}
    found = prepare.figures(seconds, 100)
    assert found["faces_per_s"] == 4.0
    assert found["efficiency_2_workers"] == 0.8
    assert found["raw_faces_efficiency"] == 1.0
    assert found["aligned_faces_efficiency"] == 0.5
    assert found["ffhq_70k_hours_16_cores"] == pytest.approx(70_000 * 0.4 / (16 * 0.8) / 3600, abs=1e-3)


def test_seconds_are_those_after_the_warm_up() -> None:
    lines = [
        {"stage": "raw_faces", "partition": "00000", "seconds": 9.0, "fresh": False},
        {"stage": "measured"},
        {"stage": "photographs", "partition": None, "seconds": 3.0, "fresh": False},
        {"stage": "raw_faces", "partition": "00000", "seconds": 1.0, "fresh": False},
        {"stage": "raw_faces", "partition": "01000", "seconds": 2.0, "fresh": False},
    ]
    output = "noise\n" + "\n".join(json.dumps(line) for line in lines)
    assert prepare.stage_seconds(output) == {"raw_faces": 3.0}


@pytest.mark.slow
def test_every_planted_photograph_is_named_and_kills_change_no_byte(tmp_path: Path) -> None:
    found = hostile.run({"photographs": 96, "folder": str(tmp_path), "kills": 2})
    assert json.loads(found["wrong"]) == {}
    assert json.loads(found["others_refused"]) == {}
    assert found["planted"] == found["reported_by_their_reason"] == len(hostile.PLANTS)
    assert 1 <= found["kills"] <= 2  # a fast machine may end before the second
    assert found["same_bytes"]
