"""faces/files.py: whole or absent, and damage is named."""

import errno
import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from faces.errors import SamaeError
from faces.files import (
    MANIFEST_NAME,
    atomic_file,
    atomic_folder,
    check_can_write,
    digest_of,
    is_complete,
    make_folder,
    no_space,
    read_json,
    read_manifest,
    sha256_bytes,
    sha256_file,
    sweep_scratch,
    write_bytes,
    write_json,
)


def finished_folder(path: Path) -> None:
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
    finished_folder(tmp_path / "made")
    manifest = read_manifest(tmp_path / "made")
    assert manifest.files == {
        "a.txt": (5, sha256_bytes(b"alpha")),
        "sub/b.bin": (3, sha256_bytes(b"\0\1\2")),
    }
    assert manifest.metadata == {"what": "test"}
    assert sha256_file(tmp_path / "made" / "a.txt") == manifest.files["a.txt"][1]
    assert is_complete(tmp_path / "made")


def test_the_same_content_has_the_same_digest_and_a_changed_byte_another(tmp_path: Path) -> None:
    finished_folder(tmp_path / "one")
    finished_folder(tmp_path / "two")
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
    finished_folder(tmp_path / "made")
    damage(tmp_path / "made")
    with pytest.raises(SamaeError, match=sentence):
        read_manifest(tmp_path / "made").verify(tmp_path / "made", hashes=True)


def test_a_folder_without_a_manifest_was_never_finished(tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    assert not is_complete(tmp_path / "made")
    with pytest.raises(SamaeError, match="never finished"):
        read_manifest(tmp_path / "made")


def test_a_damaged_manifest_is_a_sentence(tmp_path: Path) -> None:
    finished_folder(tmp_path / "made")
    (tmp_path / "made" / MANIFEST_NAME).write_text(json.dumps({"files": {"a.txt": "x"}, "metadata": {}}))
    with pytest.raises(SamaeError, match="damaged"):
        read_manifest(tmp_path / "made")
    (tmp_path / "made" / MANIFEST_NAME).write_text("{")
    with pytest.raises(SamaeError, match="not valid JSON"):
        read_manifest(tmp_path / "made")


def test_digest_of_ignores_the_order_of_keys() -> None:
    assert digest_of({"a": 1, "b": [2, 3]}) == digest_of({"b": [2, 3], "a": 1})
    assert digest_of({"a": 1}) != digest_of({"a": 2})


def test_scratch_of_a_killed_process_is_swept_and_nothing_else(tmp_path: Path) -> None:
    """SIGKILL inside a block: its scratch goes; a running process's, another machine's and what is whole stay."""
    finished_folder(tmp_path / "made")
    code = (
        "import os, pathlib, sys\n"
        "from faces.files import atomic_file, atomic_folder\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "with atomic_folder(folder / 'half') as a, atomic_file(folder / 'half.txt') as b:\n"
        "    (a / 'x').write_text('x'), b.write_text('y')\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)]).returncode == -9
    other = tmp_path / f".made.00000000-{os.getpid()}-00000000.tmp"
    other.mkdir()
    assert len(list(tmp_path.glob(".half*.tmp"))) == 2
    with atomic_folder(tmp_path / "running") as scratch:
        assert sweep_scratch(tmp_path) == 2
        assert {path.name for path in tmp_path.iterdir()} == {"made", other.name, scratch.name}
    os.utime(other, (0, 0))
    assert sweep_scratch(tmp_path) == 1
    assert {path.name for path in tmp_path.iterdir()} == {"made", "running"}


@pytest.mark.parametrize(
    "behind",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        sqlite3.OperationalError("database or disk is full"),
        sqlite3.OperationalError("disk I/O error"),
    ],
)
def test_a_full_disk_is_recognised_behind_other_errors(behind: Exception) -> None:
    step, message = RuntimeError("the step failed"), ValueError("while the event was written")
    step.__cause__, message.__context__ = behind, step
    assert all(no_space(error) for error in (behind, step, message))


def test_other_errors_are_no_full_disk() -> None:
    for other in (None, OSError(errno.EACCES, "denied"), sqlite3.OperationalError("no such table"), ValueError("disk")):
        assert not no_space(other)


@pytest.mark.parametrize(
    ("place", "reason"),
    [("file/x.png", "file is a file"), ("file/below/x.png", "file is a file"), ("/proc/x.png", "no such file")],
)
def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path, place: str, reason: str) -> None:
    (tmp_path / "file").write_text("kept")
    path = tmp_path / place

    def folder() -> None:
        with atomic_folder(path):
            pass

    def file() -> None:
        write_bytes(path, b"x")

    for write in (file, folder, lambda: make_folder(path), lambda: check_can_write(path)):
        with pytest.raises(SamaeError, match=rf"x\.png cannot be written \(.*{reason}.*\): name a place that can be$"):
            write()
    assert (tmp_path / "file").read_text() == "kept"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_file_does_not_replace_a_folder(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(SamaeError, match=r"there cannot be written \(is a directory\)"):
        write_bytes(tmp_path / "there", b"x")
    assert [entry.name for entry in tmp_path.iterdir()] == ["there"]


def test_a_place_is_tried_and_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "old.png").write_bytes(b"old")
    for path in (tmp_path / "old.png", tmp_path / "new/below/x.png", tmp_path):
        check_can_write(path)
    assert {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()} == {"old.png": b"old"}


def test_an_error_of_other_things_than_the_place_is_passed_on(tmp_path: Path) -> None:
    def copied() -> None:
        with atomic_file(tmp_path / "copy") as scratch:
            scratch.write_bytes((tmp_path / "missing").read_bytes())

    with pytest.raises(FileNotFoundError, match="missing"):
        copied()
