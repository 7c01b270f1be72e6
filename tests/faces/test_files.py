"""faces/files.py: whole or absent, and damage is named."""

import json
from pathlib import Path

import pytest

from faces.errors import SamaeError
from faces.files import (
    MANIFEST_NAME,
    atomic_file,
    atomic_folder,
    digest_of,
    is_complete,
    read_json,
    read_manifest,
    sha256_bytes,
    sha256_file,
    write_json,
)


def make_folder(path: Path) -> None:
    with atomic_folder(path, {"what": "test"}) as scratch:
        (scratch / "a.txt").write_text("alpha")
        (scratch / "sub").mkdir()
        (scratch / "sub" / "b.bin").write_bytes(b"\0\1\2")


def test_a_failed_write_leaves_the_old_file_and_no_scratch(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"n": 1})

    def interrupted() -> None:
        with atomic_file(path) as scratch:
            scratch.write_text("half")
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        interrupted()
    assert read_json(path) == {"n": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.json"]


def test_a_failed_folder_is_absent(tmp_path: Path) -> None:
    def interrupted() -> None:
        with atomic_folder(tmp_path / "made") as scratch:
            (scratch / "a.txt").write_text("alpha")
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_the_manifest_lists_every_file_with_its_hash(tmp_path: Path) -> None:
    make_folder(tmp_path / "made")
    manifest = read_manifest(tmp_path / "made")
    assert manifest.files == {
        "a.txt": (5, sha256_bytes(b"alpha")),
        "sub/b.bin": (3, sha256_bytes(b"\0\1\2")),
    }
    assert manifest.metadata == {"what": "test"}
    assert sha256_file(tmp_path / "made" / "a.txt") == manifest.files["a.txt"][1]
    assert is_complete(tmp_path / "made")


def test_the_same_content_has_the_same_digest_and_a_changed_byte_another(tmp_path: Path) -> None:
    make_folder(tmp_path / "one")
    make_folder(tmp_path / "two")
    assert read_manifest(tmp_path / "one").digest == read_manifest(tmp_path / "two").digest
    with atomic_folder(tmp_path / "two", {"what": "test"}) as scratch:
        (scratch / "a.txt").write_text("alphA")
    assert read_manifest(tmp_path / "one").digest != read_manifest(tmp_path / "two").digest


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda folder: (folder / "a.txt").unlink(), "is missing"),
        (lambda folder: (folder / "a.txt").write_text("alph"), "4 bytes instead of 5"),
        (lambda folder: (folder / "a.txt").write_text("alphA"), "SHA-256"),
    ],
)
def test_damage_is_named(tmp_path: Path, damage, sentence: str) -> None:
    make_folder(tmp_path / "made")
    damage(tmp_path / "made")
    with pytest.raises(SamaeError, match=sentence):
        read_manifest(tmp_path / "made").verify(tmp_path / "made", hashes=True)


def test_a_folder_without_a_manifest_was_never_finished(tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    assert not is_complete(tmp_path / "made")
    with pytest.raises(SamaeError, match="never finished"):
        read_manifest(tmp_path / "made")


def test_a_damaged_manifest_is_a_sentence(tmp_path: Path) -> None:
    make_folder(tmp_path / "made")
    (tmp_path / "made" / MANIFEST_NAME).write_text(json.dumps({"files": {"a.txt": "x"}, "metadata": {}}))
    with pytest.raises(SamaeError, match="damaged"):
        read_manifest(tmp_path / "made")
    (tmp_path / "made" / MANIFEST_NAME).write_text("{")
    with pytest.raises(SamaeError, match="not valid JSON"):
        read_manifest(tmp_path / "made")


def test_digest_of_ignores_the_order_of_keys() -> None:
    assert digest_of({"a": 1, "b": [2, 3]}) == digest_of({"b": [2, 3], "a": 1})
    assert digest_of({"a": 1}) != digest_of({"a": 2})
