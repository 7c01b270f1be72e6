"""Every way in which a photograph can be bad is a row with its reason, and never an exception."""

import copy
import hashlib
import io
import shutil
import zlib
from pathlib import Path
from typing import Any

import cv2
import dagster as dg
import numpy as np
import pytest
from PIL import Image

from assets.graph import provenance
from assets.listing import folder_entries, folder_names, folder_of, photograph_counts, stream_entries
from assets.partitions import FOLDERS_NAME
from assets.plan import Plan
from assets.raw import refuse_repeated, register_folders
from assets.raw import verify_photograph as verify_by
from assets.rules import Rules
from assets.store import Store
from assets.tables import accepted, matrix, read_rows
from faces.camera import Camera, head_to_camera, project
from faces.errors import SamaeError
from faces.files import read_json, write_json
from faces.morphable.registry import load_head
from faces.quality import picture_hash
from faces.records import decode_colour, encode_jpeg, encode_png
from tests.assets.conftest import COUNT, SIZE_PX, House, make, tiny_plan


def verify_photograph(root: Path, index: str, entry: dict[str, Any], **plan: Any) -> dict[str, Any]:
    """The row of a photograph under a plan's rules."""
    return verify_by(root, index, entry, Rules.of(Plan(**plan)))


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


def test_a_damaged_entry_is_a_row_of_the_folder_of_its_index(tmp_path: Path) -> None:
    assert folder_of("1234", {"image": {"file_path": "images1024x1024/01000/01234.png"}}) == "01000"
    assert [folder_of("1234", damaged) for damaged in ({"image": {}}, {}, None, {"image": 3})] == ["01000"] * 4
    for damaged in ({"image": {}, "metadata": 3}, {"image": {"file_size": "x"}}, {}):
        assert verify_photograph(tmp_path, "1234", damaged)["status"] == "rejected"


def test_a_missing_or_broken_listing_is_one_sentence(tmp_path: Path) -> None:
    store = Store(tmp_path / "home", "faces", tmp_path / "faces")
    with pytest.raises(SamaeError, match="name a folder in FFHQ layout by SAMAE_RAW"):
        folder_names(store)
    (tmp_path / "faces").mkdir()
    for text, match in (("{", "is not valid JSON"), ("[]", "is not an object"), ('{"a": {}}', "entries are numbered")):
        (tmp_path / "faces" / "ffhq-dataset-v2.json").write_text(text)
        with pytest.raises(SamaeError, match=match):
            folder_names(store)


def test_a_long_listing_is_read_as_a_stream_and_split_by_folder(tmp_path: Path) -> None:
    """Memory stays small: 3,000 entries of 8 kB each are 24 MB of text, and less than 8 MB are held at any time."""
    import json
    import tracemalloc

    raw = tmp_path / "faces"
    raw.mkdir()
    with (raw / "ffhq-dataset-v2.json").open("w") as stream:
        stream.write("{")
        for i in range(3000):
            path = f"images64x64/{i % 3 * 1000:05d}/{i:05d}.png"
            entry = {"image": {"file_path": path}, "in_the_wild": {"text": "x" * 8000}}
            stream.write(("," if i else "") + json.dumps(f"{i}") + ": " + json.dumps(entry))
        stream.write("}")
    store = Store(tmp_path / "home", "faces", raw)
    tracemalloc.start()
    assert folder_names(store) == ["00000", "01000", "02000"]
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 8e6
    assert photograph_counts(store) == {"00000": 1000, "01000": 1000, "02000": 1000}
    entries = folder_entries(store, "01000")
    assert list(entries)[:3] == ["1", "4", "7"]
    assert entries["4"] == {"image": {"file_path": "images64x64/01000/00004.png"}}
    assert sum(1 for _ in stream_entries(raw / "ffhq-dataset-v2.json")) == 3000
    with pytest.raises(SamaeError, match="no folder '05000'; its folders are 00000, 01000, 02000"):
        folder_entries(store, "05000")


def test_a_folder_name_never_leads_elsewhere(tmp_path: Path) -> None:
    store = Store(tmp_path / "home", "faces", tmp_path)
    write_json(tmp_path / "ffhq-dataset-v2.json", {"0": {"image": {"file_path": "images/../0.png"}}})
    with pytest.raises(SamaeError, match=r"names a folder '\.\.'"):
        folder_names(store)


def test_licences_authors_addresses_and_sums_can_be_left_out(one: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    root, entry = one
    about, image = entry["metadata"], entry["image"]
    assert verify_photograph(root, "0", entry, licences=(about["license"],))["reason"] == ""
    assert verify_photograph(root, "0", entry, licences=("Attribution License",))["reason"] == "licence not kept"
    listed = {"photo_url": about["photo_url"], "author": about["author"], "md5": image["pixel_md5"]}
    for field, value in listed.items():
        write_json(tmp_path / "deny.json", {field: [value]})
        assert verify_photograph(root, "0", entry, deny_list=tmp_path / "deny.json")["reason"] == "on the deny-list"
    del image["file_md5"], image["pixel_md5"]  # the sums of what is really there count too
    assert verify_photograph(root, "0", entry, deny_list=tmp_path / "deny.json")["reason"] == "on the deny-list"
    before = Rules.of(Plan()).digest
    assert Rules.of(Plan(deny_list=tmp_path / "deny.json")).digest != before
    write_json(tmp_path / "deny.json", {"owner": ["x"]})
    with pytest.raises(SamaeError, match=r"no deny-list: write a JSON object with lists of texts photo_url"):
        Rules.of(Plan(deny_list=tmp_path / "deny.json"))


def test_blurred_pictures_and_profiles_are_refused(one: tuple[Path, dict[str, Any]]) -> None:
    root, entry = one
    image = np.asarray(Image.open(root / entry["image"]["file_path"]))
    row = verify_photograph(root, "0", entry)
    assert abs(row["yaw_degrees"]) < 60
    assert row["sharpness"] > 0.4
    for name in ("file_md5", "pixel_md5"):
        del entry["image"][name]
    replace(root, entry, encode_png(cv2.GaussianBlur(image, (0, 0), SIZE_PX * 0.06)))
    assert verify_photograph(root, "0", entry)["reason"] == "blurred"
    assert verify_photograph(root, "0", entry, least_sharpness=0.0)["reason"] == ""
    replace(root, entry, encode_png(image))
    entry["image"]["face_landmarks"] = profile_landmarks(SIZE_PX).tolist()
    assert verify_photograph(root, "0", entry)["reason"] == "extreme pose"


def profile_landmarks(size_px: int) -> np.ndarray:
    """The built-in head's 68 points seen from the side (85 degrees), FFHQ's pixels."""
    head = load_head("builtin")
    points = head.mean_mm[head.landmarks][None]
    seen = head_to_camera(points, np.radians([[0.0, 85.0, 0.0]]), np.array([[0.0, 20.0, 1100.0]]))
    return project(seen, Camera.centred(size_px))[0, :, :2] - 0.5


def test_the_same_photograph_twice_is_kept_once(photographs_folder: Path, tmp_path: Path) -> None:
    """A copy that was re-encoded and made brighter is found; every other picture of the same people stays."""
    listing = read_json(photographs_folder / "ffhq-dataset-v2.json")
    first = np.asarray(Image.open(photographs_folder / listing["0"]["image"]["file_path"]))
    brighter = np.clip(first * 0.93 + 9, 0, 255).astype(np.uint8)
    images = [np.asarray(Image.open(photographs_folder / e["image"]["file_path"])) for e in listing.values()]
    again = decode_colour(encode_jpeg(brighter))
    rows = [
        {"key": f"{i:05d}", "status": "ok", "reason": "", "picture_hash": picture_hash(image).hex()}
        for i, image in enumerate([*images, again])
    ]
    refuse_repeated(rows)
    assert [(r["key"], r["reason"], r["duplicate_of"]) for r in rows if r["status"] != "ok"] == [
        (f"{len(images):05d}", "duplicate", "00000")
    ]


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
    assert tags["dagster/code_version"] == "2"


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


def test_a_forged_header_is_refused_before_anything_is_decoded(one: tuple[Path, dict[str, Any]]) -> None:
    """30,000 x 30,000 px by a header with a right checksum: Pillow's own cap speaks first, the reason is the same."""
    root, entry = one
    data = (root / entry["image"]["file_path"]).read_bytes()
    header = b"IHDR" + (30000).to_bytes(4, "big") * 2 + data[24:29]
    replace(root, entry, data[:12] + header + zlib.crc32(header).to_bytes(4, "big") + data[33:])
    assert verify_photograph(root, "0", entry)["reason"] == "too many pixels"


@pytest.mark.parametrize("sign", [1, -1])
def test_a_pose_is_extreme_on_either_side(sign: int) -> None:
    rules = Rules(*[frozenset()] * 4, least_sharpness=0.0, most_yaw_degrees=30.0, most_pitch_degrees=20.0)
    assert rules.reason_by_look(1.0, 19.0 * sign, 29.0 * sign) == ""
    assert rules.reason_by_look(1.0, 21.0 * sign, 0.0) == rules.reason_by_look(1.0, 0.0, 31.0 * sign) == "extreme pose"
