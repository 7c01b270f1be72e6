"""What was finished stays finished: parts of a partition, tars of a set; and what a new folder makes stale."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assets.graph import STAGES, partitions_of, provenance
from assets.parts import Parts
from assets.shards import repeated_keys
from assets.store import Store
from assets.tables import write_rows
from faces.files import write_json
from tests.assets.conftest import Serial, tiny_plan

CALLS: list[int] = []


def square(value: int) -> dict[str, np.ndarray]:
    CALLS.append(value)
    if value == 3 and CALLS.count(3) == 1:
        raise RuntimeError("the power went")
    return {"square": np.array([value * value]), "text": np.array(["ä", ""])}


def test_a_second_run_makes_only_what_is_missing(tmp_path: Path) -> None:
    CALLS.clear()
    parts = Parts(tmp_path, "face_masks", "00000", {"code_version": "1"})
    with pytest.raises(RuntimeError):
        parts.map(Serial(), square, [1, 2, 3, 4])
    heard: list[float] = []
    answers = Parts(tmp_path, "face_masks", "00000", {"code_version": "1"}).map(
        Serial(), square, [1, 2, 3, 4], lambda done, total, note: heard.append(done)
    )
    assert CALLS == [1, 2, 3, 3, 4]
    assert [int(answer["square"][0]) for answer in answers] == [1, 4, 9, 16]
    assert answers[0]["text"].tolist() == ["ä", ""]
    assert heard == [3, 4]
    assert not list(tmp_path.rglob("*.tmp"))


def test_parts_of_other_inputs_and_damaged_ones_are_not_taken(tmp_path: Path) -> None:
    CALLS[:] = [0] * 5
    first = Parts(tmp_path, "face_masks", "00000", {"code_version": "1"})
    first.map(Serial(), square, [1, 2])
    Parts(tmp_path, "face_masks", "00000", {"code_version": "2"}).map(Serial(), square, [1, 2])
    assert CALLS[5:] == [1, 2, 1, 2]
    path = sorted(first.folder.iterdir())[0]
    path.write_bytes(path.read_bytes()[:40])
    first.map(Serial(), square, [1, 2])
    assert CALLS[9:] == [1]
    first.remove()
    assert not first.folder.exists()


def rows_and_arrays(_: Any) -> list[dict[str, Any]]:
    return [{"key": "00000", "sharpness": float("nan"), "landmarks_px": [0.5, 1.5]}]


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    rows = Parts(tmp_path, "raw_faces", None, {}).map(Serial(), rows_and_arrays, [0])[0]
    assert rows[0]["landmarks_px"] == [0.5, 1.5]
    assert np.isnan(rows[0]["sharpness"])


def test_the_earlier_folder_keeps_a_photograph_that_comes_twice(tmp_path: Path) -> None:
    store = Store(tmp_path, "people")
    rng = np.random.default_rng(0)
    hashes = [rng.bytes(32).hex() for _ in range(3)]
    for folder, keys, seen in (("00000", ["00000", "00001"], hashes[:2]), ("01000", ["01000", "01001"], hashes[1:])):
        with store.write("raw_faces", folder, {}) as (scratch, _):
            write_rows(scratch, {"key": keys, "status": ["ok", "ok"], "picture_hash": seen})
    assert repeated_keys(store, ["00000", "01000"]) == {"01000": {"01000": "00001"}}


def test_a_new_folder_makes_the_set_stale_and_no_other_folder(tmp_path: Path) -> None:
    """A new folder -> its partitions are missing, everything of the old folder stays current, the shards and what
    depends on them are stale once it is made."""
    raw = tmp_path / "faces"
    plan = tiny_plan(raw=raw, recipes=("samae",))
    store = Store(tmp_path / "home", plan.set_name, raw)
    entry = {"image": {"file_path": "images64x64/00000/00000.png"}}
    write_json(raw / "ffhq-dataset-v2.json", {"0": entry})

    def make(stage: str, partition: str | None, text: str) -> None:
        with store.write(stage, partition, provenance(stage, partition, plan, store)) as (scratch, _):
            (scratch / "content").write_text(text)

    def current(stage: str, partition: str | None) -> bool:
        return store.is_current(stage, partition, provenance(stage, partition, plan, store))

    stages = [name for name, stage in STAGES.items() if stage.cut in ("folder", "whole")][:8]
    assert stages[-1] == "training_shards"
    for stage in stages:
        for partition in partitions_of(stage, plan, store):
            make(stage, partition, f"{stage} of one folder")
    made_from = {"inputs": {"training_shards": store.digest("training_shards")}}
    write_json(
        raw / "ffhq-dataset-v2.json", {"0": entry, "1000": {"image": {"file_path": "images64x64/01000/01000.png"}}}
    )
    for stage in stages[:-1]:
        old = None if STAGES[stage].cut == "whole" else "00000"
        assert current(stage, old), stage
        if old:
            assert not store.is_current(stage, "01000", {}), stage
            make(stage, "01000", f"{stage} of the new folder")
    assert not current("training_shards", None)
    make("training_shards", None, "tars of two folders")
    assert current("training_shards", None)
    assert made_from["inputs"]["training_shards"] != store.digest("training_shards")
    assert all(current(stage, None if STAGES[stage].cut == "whole" else "00000") for stage in stages)
