"""From photographs to shards on sixteen pictures: complete samples, the same bytes again, work only where needed."""

import copy
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest

from assets.aligned import resize, scaled
from assets.common import contact_sheet
from assets.graph import provenance
from assets.identity import similarity
from assets.shards import FOLDER_STAGES, _link_old, part_digest, samples, write_shard, write_tar
from assets.store import Store
from assets.tables import accepted, chunks, matrix, read_array, read_rows, write_rows
from faces.errors import SamaeError
from faces.files import read_json, sha256_file, write_json
from tests.assets.conftest import COUNT, SIZE_PX, House, make, tiny_plan
from training.shards import ShardSet


def test_every_stage_reports_progress_and_passes_its_checks(made: tuple[House, dg.DagsterInstance]) -> None:
    house, instance = made
    assert {stage for stage, *_ in house.heard} >= set(FOLDER_STAGES)
    for name in (*FOLDER_STAGES, "training_shards"):
        event = instance.get_latest_materialization_event(dg.AssetKey(name))
        assert event is not None, name


def test_samples_are_complete_and_agree_with_their_stages(made: tuple[House, dg.DagsterInstance]) -> None:
    house, _ = made
    shards = ShardSet.open(house.store.folder("training_shards"))
    assert 1 <= len(shards) <= COUNT
    assert shards.size_px == house.plan.picture_px
    key = shards.keys()[0]
    sample = shards.read(key)
    assert sample["image"].shape == sample["albedo"].shape == (32, 32, 3)
    assert sample["mask"].shape == (32, 32)
    assert sample["mask"].max() > 200
    fits = accepted(read_rows(house.store.folder("face_coefficients", "00000")))
    place = fits["key"].to_pylist().index(key)
    np.testing.assert_array_equal(sample["coefficients"], matrix(fits, "coefficients")[place])
    rows = read_rows(house.store.folder("aligned_faces", "00000"))
    landmarks = matrix(rows, "landmarks_px")[rows["key"].to_pylist().index(key)].reshape(68, 2)
    np.testing.assert_allclose(sample["landmarks"], landmarks / 2, atol=1e-4)
    assert np.linalg.norm(sample["embedding"]) == pytest.approx(1, abs=1e-4)
    assert sample["meta"]["synthetic"]["seed"] == 0
    assert {"key", "person", "licence", "source", "head", "encoder"} <= set(sample["meta"])


def test_no_person_is_in_two_splits(made: tuple[House, dg.DagsterInstance]) -> None:
    shards = ShardSet.open(made[0].store.folder("training_shards"))
    people = {split: set(shards.persons(shards.keys(split)).tolist()) for split in ("train", "validation", "test")}
    assert all(people.values())
    assert not people["train"] & people["test"]
    assert not people["train"] & people["validation"]
    assert not people["validation"] & people["test"]


def test_the_same_inputs_give_the_same_bytes(made: tuple[House, dg.DagsterInstance], tmp_path: Path) -> None:
    house, instance = made
    old = house.store.folder("training_shards")
    again = House(house.plan, Store(tmp_path / "home", house.store.set_name), [])
    shutil.copytree(house.store.home / "assets", again.store.home / "assets")
    (again.store.home / "raw").mkdir()
    (again.store.home / "raw" / house.store.set_name).symlink_to(house.store.raw)
    make(again, instance, "training_shards")
    new = again.store.folder("training_shards")
    for name in ("00000.tar", "manifest.parquet", "shards.json"):
        assert sha256_file(old / name) == sha256_file(new / name), name


def test_a_folder_of_which_nothing_is_accepted_leaves_the_others_alone(
    made: tuple[House, dg.DagsterInstance], tmp_path: Path
) -> None:
    """Folder 01000 is wholly on the deny-list: every stage makes its empty partition, the shards hold folder 00000."""
    house, _ = made
    raw = tmp_path / "raw"
    raw.mkdir()
    for part in house.store.raw.iterdir():
        (raw / part.name).symlink_to(part)
    listing = read_json(raw / "ffhq-dataset-v2.json")
    denied = copy.deepcopy({f"{1000 + int(key)}": listing[key] for key in list(listing)[:2]})
    for key, entry in denied.items():
        entry["metadata"] = entry.get("metadata", {}) | {"photo_url": "denied:url"}
        entry["image"]["file_path"] = f"images{SIZE_PX}x{SIZE_PX}/01000/{int(key):05d}.png"
    (raw / "ffhq-dataset-v2.json").unlink()
    write_json(raw / "ffhq-dataset-v2.json", listing | denied)
    write_json(tmp_path / "deny.json", {"photo_url": ["denied:url"]})
    plan = house.plan.model_copy(update={"raw": raw, "deny_list": tmp_path / "deny.json"})
    both = House(plan, Store(tmp_path / "home", house.store.set_name, raw), [])
    shutil.copytree(house.store.home / "assets", both.store.home / "assets")
    instance = dg.DagsterInstance.ephemeral()
    make(both, instance, "photographs", *FOLDER_STAGES, partition="01000")
    make(both, instance, "training_shards")
    for stage in FOLDER_STAGES:
        assert len(accepted(read_rows(both.store.folder(stage, "01000")))) == 0, stage
    old, new = (ShardSet.open(h.store.folder("training_shards")) for h in (house, both))
    assert new.keys() == old.keys()
    assert not (both.store.folder("training_shards") / "01000.tar").exists()


def test_an_unchanged_folder_keeps_its_tar(made: tuple[House, dg.DagsterInstance]) -> None:
    house, instance = made
    tar = house.store.folder("training_shards") / "00000.tar"
    inode, digest = tar.stat().st_ino, house.store.digest("training_shards")
    make(house, instance, "training_shards")
    assert tar.stat().st_ino == inode
    assert house.store.digest("training_shards") == digest


def test_a_tar_depends_on_its_own_folder_alone(made: tuple[House, dg.DagsterInstance]) -> None:
    house, _ = made
    made_from = provenance("training_shards", None, house.plan, house.store)
    other = {**made_from, "inputs": made_from["inputs"] | {"face_masks/01000": "new"}}
    assert part_digest("00000", made_from) == part_digest("00000", other)
    changed = {**made_from, "inputs": made_from["inputs"] | {"face_masks/00000": "new"}}
    assert part_digest("00000", made_from) != part_digest("00000", changed)


def test_a_tar_depends_on_its_settings_and_on_what_earlier_folders_have() -> None:
    made_from: dict[str, Any] = {
        "code_version": "1",
        "settings": {"picture_px": 32},
        "inputs": {"face_masks/00000": "masks"},
    }
    first = part_digest("00000", made_from)
    assert part_digest("00000", made_from | {"settings": {"picture_px": 64}}) != first
    assert part_digest("00000", made_from, {"00003": "01000"}) != first
    assert part_digest("00000", made_from | {"code_version": "2"}, {}) == first


def test_a_tar_of_other_inputs_is_not_linked_into_the_new_set(tmp_path: Path) -> None:
    store = Store(tmp_path, "people")
    with store.write("training_shards", None, {}) as (folder, metadata):
        (folder / "00000.tar").write_bytes(b"old")
        metadata["parts"] = {"00000": "one"}
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    assert not _link_old(store, "00000", "two", scratch)
    assert list(scratch.iterdir()) == []
    assert _link_old(store, "00000", "one", scratch)
    assert (scratch / "00000.tar").read_bytes() == b"old"


def test_a_tar_is_whole_or_absent(tmp_path: Path) -> None:
    def broken() -> Iterator[dict[str, Any]]:
        raise SamaeError("a picture cannot be read")
        yield

    with pytest.raises(SamaeError):
        write_tar(tmp_path / "00000.tar", broken())
    assert list(tmp_path.iterdir()) == []
    write_tar(tmp_path / "00000.tar", [])
    assert (tmp_path / "00000.tar").read_bytes() == b""


def test_a_photograph_of_an_earlier_folder_is_not_in_the_tar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    monkeypatch.setattr("assets.shards.samples", lambda *given: [{"meta": {"key": key}} for key in ("1", "2", "3")])
    monkeypatch.setattr("assets.shards.write_tar", lambda path, kept: written.extend(s["meta"]["key"] for s in kept))
    write_shard((Store(tmp_path, "people"), tiny_plan(), "00000", "digest", frozenset({"2"})))
    assert written == ["1", "3"]


def test_a_hidden_face_leaves_the_others_their_own_masks(
    made: tuple[House, dg.DagsterInstance], tmp_path: Path
) -> None:
    """face_masks keeps a mask for every fitted face, of those too that it refuses."""
    house = made[0]
    store = Store(tmp_path, house.store.set_name)
    shutil.copytree(house.store.home / "assets", store.home / "assets")
    before = {sample["meta"]["key"]: sample["mask"] for sample in samples(store, house.plan, "00000")}
    folder = store.folder("face_masks", "00000")
    columns = read_rows(folder).to_pydict()
    hidden = next(place for place, key in enumerate(columns["key"]) if key in before)
    columns["status"][hidden], columns["reason"][hidden] = "rejected", "face hidden"
    write_rows(folder, columns)
    after = {sample["meta"]["key"]: sample["mask"] for sample in samples(store, house.plan, "00000")}
    assert before.keys() - after.keys() == {columns["key"][hidden]}
    for key, mask in after.items():
        np.testing.assert_array_equal(mask, before[key])


def test_resizing_keeps_landmarks_in_place() -> None:
    """A white dot at a landmark is still there, with pixel centres at halves."""
    image = np.zeros((64, 64, 3), np.uint8)
    image[40:42, 20:22] = 255
    smaller = resize(image, 32)
    assert smaller[20, 10].min() == 255
    moved = scaled(np.array([[21.0, 41.0]], np.float32), np.array([0.5]))
    np.testing.assert_allclose(moved, [[10.5, 20.5]])
    assert resize(image, 64) is image


def test_tables_refuse_another_version_and_keep_units(tmp_path: Path) -> None:
    write_rows(tmp_path, {"key": ["a"], "status": ["ok"], "skin": np.ones((1, 3), np.float32)})
    table = read_rows(tmp_path)
    assert table.schema.field("skin").metadata[b"unit"] == b"linear RGB 0..1"
    np.testing.assert_array_equal(matrix(table, "skin"), np.ones((1, 3)))
    import pyarrow.parquet as pq

    pq.write_table(table.replace_schema_metadata({"table_version": "0"}), tmp_path / "rows.parquet")
    with pytest.raises(SamaeError, match="has table version '0'"):
        read_rows(tmp_path)
    (tmp_path / "rows.parquet").write_bytes(b"not parquet")
    with pytest.raises(SamaeError, match="materialise that partition again"):
        read_rows(tmp_path)
    with pytest.raises(SamaeError, match=r"masks\.npy cannot be read"):
        read_array(tmp_path, "masks")


def test_small_helpers() -> None:
    assert [(part.start, part.stop) for part in chunks(5, 2)] == [(0, 2), (2, 4), (4, 5)]
    vectors = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    assert similarity(vectors, np.array([4, 4, 5])) == (1.0, 0.0)
    assert np.isnan(similarity(vectors, np.array([-1, -1, -1]))[0])
    sheet = str(contact_sheet(np.zeros((5, 8, 8), np.uint8)).value)
    assert sheet.startswith("![contact sheet](data:image/jpeg;base64,")
