"""Every way in which a photograph can be bad is a row with its reason, and never an exception."""

import copy
import hashlib
import io
import shutil
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest
from PIL import Image

from assets.graph import entries_by_folder, folder_of, provenance
from assets.partitions import FOLDERS_NAME
from assets.raw import register_folders, verify_photograph
from assets.store import Store
from assets.tables import accepted, matrix, read_rows
from faces.errors import SamaeError
from faces.files import read_json, write_json
from tests.assets.conftest import COUNT, SIZE_PX, House, make, tiny_plan


@pytest.fixture
def one(photographs_folder: Path, tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    """A copy of the first photograph, alone in a set, and its entry."""
    entry = copy.deepcopy(read_json(photographs_folder / "ffhq-dataset-v2.json")["0"])
    target = tmp_path / entry["image"]["file_path"]
    target.parent.mkdir(parents=True)
    shutil.copyfile(photographs_folder / entry["image"]["file_path"], target)
    return tmp_path, entry


def replace(root: Path, entry: dict[str, Any], data: bytes) -> None:
    """Put other bytes in the photograph's place and make the entry agree with them as bytes."""
    (root / entry["image"]["file_path"]).write_bytes(data)
    entry["image"] |= {"file_size": len(data), "file_md5": hashlib.md5(data, usedforsecurity=False).hexdigest()}


def picture_bytes(size: tuple[int, int], mode: str = "RGB", kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.new(mode, size).save(stream, kind)
    return stream.getvalue()


def test_a_good_photograph_passes(one: tuple[Path, dict[str, Any]]) -> None:
    root, entry = one
    row = verify_photograph(root, "0", entry)
    assert (row["status"], row["reason"], row["key"], row["size_px"]) == ("ok", "", "00000", SIZE_PX)
    assert row["person"] >= 0
    listed = np.array(entry["image"]["face_landmarks"], np.float32)
    np.testing.assert_allclose(np.reshape(row["landmarks_px"], (68, 2)), listed + 0.5, atol=1e-5)


@pytest.mark.parametrize(
    ("size", "mode", "kind", "reason"),
    [
        ((64, 64), "RGB", "GIF", "not a PNG, JPEG or WebP picture"),
        ((32, 32), "RGB", "PNG", "too small"),
        ((80, 64), "RGB", "PNG", "not square"),
        ((64, 64), "L", "PNG", "not RGB"),
        ((4200, 4200), "L", "PNG", "too many pixels"),
        ((128, 128), "RGB", "PNG", "pixel size differs"),
        ((64, 64), "RGB", "PNG", "pixel md5 differs"),
    ],
)
def test_another_picture_is_refused(
    one: tuple[Path, dict[str, Any]], size: tuple[int, int], mode: str, kind: str, reason: str
) -> None:
    root, entry = one
    replace(root, entry, picture_bytes(size, mode, kind))
    row = verify_photograph(root, "0", entry)
    assert (row["status"], row["reason"]) == ("rejected", reason)


def test_damage_on_disk_is_seen(one: tuple[Path, dict[str, Any]]) -> None:
    root, entry = one
    path = root / entry["image"]["file_path"]
    data = path.read_bytes()
    path.write_bytes(data[:-20])
    assert verify_photograph(root, "0", entry)["reason"] == "truncated"
    path.write_bytes(data + b"x")
    assert verify_photograph(root, "0", entry)["reason"] == "file size differs"
    path.write_bytes(data[:100] + bytes([data[100] ^ 1]) + data[101:])
    assert verify_photograph(root, "0", entry)["reason"] == "file md5 differs"
    path.unlink()
    assert verify_photograph(root, "0", entry)["reason"] == "file missing"


def test_a_picture_that_ends_early_is_refused_even_when_its_sums_agree(one: tuple[Path, dict[str, Any]]) -> None:
    root, entry = one
    data = (root / entry["image"]["file_path"]).read_bytes()
    replace(root, entry, data[: len(data) // 2])
    assert verify_photograph(root, "0", entry)["reason"] == "picture damaged"


@pytest.mark.parametrize("landmarks", [None, [], [[1, 2]] * 67, [["a", "b"]] * 68, [[float("nan"), 1.0]] * 68])
def test_bad_landmarks(one: tuple[Path, dict[str, Any]], landmarks: Any) -> None:
    root, entry = one
    entry["image"]["face_landmarks"] = landmarks
    assert verify_photograph(root, "0", entry)["reason"] == "landmarks missing"


def test_a_path_that_leaves_the_set_is_refused(one: tuple[Path, dict[str, Any]]) -> None:
    root, entry = one
    (root.parent / "outside.png").write_bytes(b"secret")
    entry["image"]["file_path"] = "../outside.png"
    assert verify_photograph(root, "0", entry)["reason"] == "path outside the set"


def test_entries_without_a_path_are_one_sentence() -> None:
    assert folder_of({"image": {"file_path": "images1024x1024/01000/01234.png"}}) == "01000"
    with pytest.raises(SamaeError, match=r"no image\.file_path"):
        folder_of({"image": {}})


def test_a_missing_or_broken_listing_is_one_sentence(tmp_path: Path) -> None:
    store = Store(tmp_path, "faces", tmp_path / "faces")
    with pytest.raises(SamaeError, match="name a folder in FFHQ layout by SAMAE_RAW"):
        entries_by_folder(store)
    (tmp_path / "faces").mkdir()
    (tmp_path / "faces" / "ffhq-dataset-v2.json").write_text("{")
    with pytest.raises(SamaeError, match="is not valid JSON"):
        entries_by_folder(store)


def test_partitions_follow_the_folders() -> None:
    instance = dg.DagsterInstance.ephemeral()
    assert register_folders(instance, ["00000", "01000"]) == ["00000", "01000"]
    assert register_folders(instance, ["00000", "02000"]) == ["02000"]
    assert sorted(instance.get_dynamic_partitions(FOLDERS_NAME)) == ["00000", "02000"]


def test_the_asset_keeps_a_row_a_photograph(made: tuple[House, dg.DagsterInstance]) -> None:
    house, instance = made
    rows = read_rows(house.store.folder("raw_faces", "00000"))
    assert len(rows) == len(accepted(rows)) == COUNT
    assert matrix(rows, "landmarks_px").shape == (COUNT, 136)
    event = instance.get_latest_materialization_event(dg.AssetKey("raw_faces"))
    assert event is not None
    assert event.asset_materialization is not None
    metadata = event.asset_materialization.metadata
    assert metadata["accepted"].value == COUNT
    assert "data:image/jpeg;base64," in str(metadata["preview"].value)
    tags = event.asset_materialization.tags or {}
    assert tags["dagster/data_version"] == house.store.digest("raw_faces", "00000")
    assert tags["dagster/code_version"] == "1"


def test_bad_photographs_go_no_further_and_one_changed_entry_makes_its_folder_stale(
    photographs_folder: Path, tmp_path: Path
) -> None:
    raw = tmp_path / "set"
    shutil.copytree(photographs_folder, raw)
    plan = tiny_plan(raw=raw)
    house = House(plan, Store(tmp_path / "home", plan.set_name, raw), [])
    instance = dg.DagsterInstance.ephemeral()
    listing = read_json(raw / "ffhq-dataset-v2.json")
    (raw / listing["3"]["image"]["file_path"]).write_bytes(b"\x89PNG but not for long")
    make(house, instance, "photographs", "raw_faces", "aligned_faces", partition="00000")
    rows = read_rows(house.store.folder("raw_faces", "00000")).to_pylist()
    assert [row["key"] for row in rows if row["status"] != "ok"] == ["00003"]
    assert "00003" not in read_rows(house.store.folder("aligned_faces", "00000"))["key"].to_pylist()
    before = provenance("raw_faces", "00000", plan, house.store)
    assert house.store.is_current("raw_faces", "00000", before)
    listing["5"]["image"]["face_landmarks"][0][0] += 1
    write_json(raw / "ffhq-dataset-v2.json", listing)
    assert not house.store.is_current("raw_faces", "00000", provenance("raw_faces", "00000", plan, house.store))
