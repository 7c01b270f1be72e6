"""Folders of generated people: FFHQ's fields, true digests, resumption, refusals."""

import hashlib
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from faces.errors import SamaeError
from faces.synthetic import dataset
from faces.synthetic.dataset import image_path, write_dataset
from faces.synthetic.pictures import picture_of, render_picture

SIZE = 32


def everything(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("set") / "people", 5, SIZE, people=3, seed=7, workers=1)


def test_the_layout_and_fields_are_ffhqs(folder: Path) -> None:
    entries = json.loads((folder / "ffhq-dataset-v2.json").read_text())
    assert list(entries) == [str(i) for i in range(5)]
    assert (folder / f"images{SIZE}x{SIZE}/00000/LICENSE.txt").read_text().startswith("The pictures")
    assert not (folder / ".records").exists()
    for key, entry in entries.items():
        assert entry["category"] == "training"
        assert {"photo_url", "photo_title", "author", "country", "license", "license_url"} <= set(entry["metadata"])
        image = entry["image"]
        path = folder / image["file_path"]
        data = path.read_bytes()
        assert path.name == f"{int(key):05d}.png"
        assert image["file_size"] == len(data)
        assert image["file_md5"] == hashlib.md5(data).hexdigest()
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
        assert image["pixel_size"] == [SIZE, SIZE]
        assert image["pixel_md5"] == hashlib.md5(np.ascontiguousarray(pixels).tobytes()).hexdigest()
        person, picture = picture_of(7, int(key), 3)
        assert entry["synthetic"] == {
            "generator": dataset.GENERATOR, "seed": 7, "people": 3, "person": person, "picture": picture,
        }  # fmt: skip


def test_landmarks_are_stored_with_pixel_centres_at_whole_numbers(folder: Path) -> None:
    entries = json.loads((folder / "ffhq-dataset-v2.json").read_text())
    truth = render_picture(7, 2, 3, SIZE).landmarks_px
    np.testing.assert_allclose(np.array(entries["2"]["image"]["face_landmarks"]) + 0.5, truth, atol=1e-3)


def test_paths_go_by_thousands() -> None:
    assert image_path(41_999, 1024) == "images1024x1024/41000/41999.png"


def test_an_interrupted_write_continues_to_the_same_bytes(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset, "UNIT", 2)
    drawn: list[int] = []

    def stumble(done: int, count: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_dataset(tmp_path / "set", 5, SIZE, people=3, seed=7, workers=1, progress=stumble)
    assert not (tmp_path / "set" / "ffhq-dataset-v2.json").exists()
    real = dataset.render_picture

    def counted(seed: int, index: int, people: int, size_px: int) -> object:
        drawn.append(index)
        return real(seed, index, people, size_px)

    monkeypatch.setattr(dataset, "render_picture", counted)
    write_dataset(tmp_path / "set", 5, SIZE, people=3, seed=7, workers=1)
    assert drawn == [2, 3, 4]
    assert everything(tmp_path / "set") == everything(folder)


def test_a_finished_set_is_not_drawn_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> object:
        raise AssertionError("drawn again")

    before = everything(folder)
    monkeypatch.setattr(dataset, "render_picture", never)
    write_dataset(folder, 5, SIZE, people=3, seed=7, workers=1)
    assert everything(folder) == before


def test_a_lost_picture_is_drawn_anew(folder: Path) -> None:
    before = everything(folder)
    (folder / image_path(3, SIZE)).unlink()
    write_dataset(folder, 5, SIZE, people=3, seed=7, workers=1)
    assert everything(folder) == before


def test_parts_of_a_set_add_up(folder: Path, tmp_path: Path) -> None:
    write_dataset(tmp_path / "set", 2, SIZE, people=3, seed=7, workers=1)
    write_dataset(tmp_path / "set", 3, SIZE, people=3, seed=7, first=2, workers=1)
    assert everything(tmp_path / "set") == everything(folder)


def test_another_set_in_the_same_folder_is_refused(folder: Path) -> None:
    with pytest.raises(SamaeError, match="another set"):
        write_dataset(folder, 5, SIZE, people=3, seed=8, workers=1)


def test_a_set_of_another_edition_is_refused_by_name(folder: Path, tmp_path: Path) -> None:
    older = shutil.copytree(folder, tmp_path / "people")
    listing = older / "ffhq-dataset-v2.json"
    listing.write_text(listing.read_text().replace(dataset.GENERATOR, "people-1"))
    with pytest.raises(SamaeError, match=f"people-1, and this version draws {dataset.GENERATOR}"):
        write_dataset(older, 5, SIZE, people=3, seed=7, workers=1)


@pytest.mark.parametrize(
    "listing",
    ["[]", "7", '{"0": null}', '{"first": {}}', '{"0": {"image": {}}}', '{"0": {"image": {"pixel_size": []}}}'],
)
def test_a_damaged_listing_is_one_sentence(tmp_path: Path, listing: str) -> None:
    (tmp_path / "ffhq-dataset-v2.json").write_text(listing)
    with pytest.raises(SamaeError, match=r"v2\.json is not the listing of a generated set .* remove it"):
        write_dataset(tmp_path, 1, SIZE)


@pytest.mark.parametrize("record", ["[]", "{}", '{"tag": 1, "entries": null}', "tag"])
def test_a_damaged_record_is_drawn_anew(folder: Path, tmp_path: Path, record: str) -> None:
    tag = [dataset.GENERATOR, 7, 3, SIZE]
    (tmp_path / ".records").mkdir()
    text = json.dumps({"tag": tag, "entries": {"1": {}}}) if record == "tag" else record
    (tmp_path / ".records" / "0000000-0000001.json").write_text(text)
    write_dataset(tmp_path, 1, SIZE, people=3, seed=7, workers=1)
    assert (tmp_path / image_path(0, SIZE)).read_bytes() == (folder / image_path(0, SIZE)).read_bytes()


def test_an_empty_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SamaeError, match="at least 1 picture"):
        write_dataset(tmp_path / "set", 0, SIZE)


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    with pytest.raises(SamaeError, match=r"cannot be written \(.*file is a file\)"):
        write_dataset(tmp_path / "file", 1, SIZE, people=1, workers=1)


def test_two_workers_write_the_same_bytes(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "UNIT", 3)
    write_dataset(tmp_path / "set", 5, SIZE, people=3, seed=7, workers=2)
    assert everything(tmp_path / "set") == everything(folder)


def test_it_is_known_whether_kernels_are_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel of a file of its own, before its first call and after it."""
    import importlib

    from faces.compiled import is_compiled

    (tmp_path / "one_kernel.py").write_text(
        "from faces.compiled import kernel\n\n\n@kernel\ndef twice(x):\n    return x + x\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    twice = importlib.import_module("one_kernel").twice
    assert not is_compiled(twice)
    assert twice(2) == 4
    assert is_compiled(twice)
