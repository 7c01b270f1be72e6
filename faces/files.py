"""Files that are whole or absent: atomic writes, folders with a manifest, SHA-256 digests. Used by every floor.

A folder written here holds `manifest.json` (name, bytes and SHA-256 of every file, free-form metadata). The manifest
is written last and the whole folder is renamed into place, so a reader either sees all of it or none of it.
"""

import contextlib
import errno
import functools
import hashlib
import json
import os
import re
import shutil
import socket
import sqlite3
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from faces.errors import SamaeError, causes

MANIFEST_NAME = "manifest.json"
#: The end of a scratch file's or folder's name: who writes it.
SCRATCH_PATTERN = re.compile(r"\.(?P<machine>[0-9a-f]{8})-(?P<process>[0-9]+)-[0-9a-f]{8}\.tmp$")


def sha256_bytes(data: bytes) -> str:
    """SHA-256 of `data`, 64 lower-case hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's content, read in 1 MiB pieces; 64 lower-case hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while piece := stream.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def digest_of(value: Any) -> str:
    """A digest of any JSON value that does not depend on the order of keys; 16 hexadecimal digits."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
    return sha256_bytes(text.encode())[:16]


def sync_folder(folder: Path) -> None:
    """Ask the operating system to put a folder's entries on disk, so that a rename survives a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _scratch_beside(path: Path) -> Path:
    return path.parent / f".{path.name}.{machine_mark()}-{os.getpid()}-{uuid.uuid4().hex[:8]}.tmp"


@functools.cache
def machine_mark() -> str:
    """Eight digits for where process numbers mean what they mean here: the host since its boot, the container."""
    marks = [socket.gethostname()]
    with contextlib.suppress(OSError):
        marks += [Path("/proc/sys/kernel/random/boot_id").read_text(), str(Path("/proc/self/ns/pid").readlink())]
    return sha256_bytes("".join(marks).encode())[:8]


def sweep_scratch(folder: Path, old_s: float = 7 * 86400.0) -> int:
    """Remove what killed processes left half-written in a folder (not below it); how many files and folders.

    A process of this machine that still runs keeps its scratch; so does one of another machine, until nothing in it
    has changed for `old_s` seconds.
    """
    left = [path for path in folder.glob(".*.tmp") if _is_abandoned(path, old_s)]
    for path in left:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    return len(left)


def _is_abandoned(path: Path, old_s: float) -> bool:
    owner = SCRATCH_PATTERN.search(path.name)
    if owner and owner["machine"] == machine_mark():
        return not _runs(int(owner["process"]))
    try:
        changed_s = max(found.stat().st_mtime for found in (path, *path.rglob("*")))
    except OSError:  # it is being renamed or removed right now
        return False
    return time.time() - changed_s > old_s


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True


def make_folder(folder: Path) -> Path:
    """Make a folder and those above it where they are missing; a place that cannot be written is a SamaeError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        _raise_disk_error(error, folder)
    return folder


def check_can_write(path: Path) -> None:
    """SamaeError when no file or folder `path` can be written, before any work is done for it; leaves nothing there."""
    try:
        nearest = next(above for above in path.absolute().parents if above.exists())
        scratch = _scratch_beside((path.absolute() if path.is_dir() else nearest) / path.name)
        scratch.touch()
        scratch.unlink()
    except OSError as error:
        _raise_disk_error(error, path)


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a scratch path beside `path`; on success it is flushed and renamed to `path`, on failure it is removed.

    Raises:
        SamaeError: the place cannot be written, or the disk is full. Whatever else the block raises is passed on.
    """
    scratch = _scratch_beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield scratch
        with scratch.open("rb") as stream:
            os.fsync(stream.fileno())
        scratch.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        _raise_disk_error(error, path, scratch)
    finally:
        with contextlib.suppress(OSError):  # where nothing could be written, there may be no looking either
            scratch.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path` so that no reader ever sees a part of it."""
    with atomic_file(path) as scratch:
        scratch.write_bytes(data)


def append_whole(path: Path, data: bytes) -> None:
    """Add `data` to a file's end: all of it or, where the disk does not take all, none of it (OSError)."""
    with path.open("ab", buffering=0) as stream:
        before, left = os.fstat(stream.fileno()).st_size, memoryview(data)
        try:
            while left:
                left = left[stream.write(left) :]
        except OSError:
            os.truncate(stream.fileno(), before)
            raise


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a file with one a line, those of torn lines left out; none when there is no such file."""
    found = []
    for line in path.read_bytes().splitlines() if path.is_file() else []:
        with contextlib.suppress(ValueError):
            found.append(json.loads(line))
    return [entry for entry in found if isinstance(entry, dict)]


def write_json(path: Path, value: Any) -> None:
    """Write a JSON value (sorted keys, two spaces) to `path` so that no reader ever sees a part of it."""
    write_bytes(path, (json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """Read a JSON file; a missing or damaged one is a SamaeError that names the path."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SamaeError(f"{path} does not exist") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise SamaeError(f"{path} is not valid JSON ({error}); restore or remove it") from None


def no_space(error: BaseException | None) -> bool:
    """True when a full disk (or a spent quota) is behind an error: it, or what it came from, says so.

    SQLite has words for it and no number; its "disk I/O error" counts, since a full disk is what users meet it by.
    """
    return any(
        (isinstance(one, OSError) and one.errno in (errno.ENOSPC, errno.EDQUOT))
        or (isinstance(one, sqlite3.OperationalError) and "disk" in str(one))
        for one in causes(error)
    )


def _raise_disk_error(error: OSError, path: Path, scratch: Path | None = None) -> NoReturn:
    """A sentence for what kept `path` from being written; with `scratch`, an error of other things is passed on."""
    if no_space(error):
        sentence = f"the disk of {path.parent} is full: free some space and start again; nothing was lost"
        raise SamaeError(sentence) from error
    if scratch is not None and not _is_about(error, scratch):
        raise error
    reason = (error.strerror or str(error)).lower()
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        reason = next((f"{above} is a file" for above in (path, *path.parents) if above.is_file()), reason)
    raise SamaeError(f"{path} cannot be written ({reason}): name a place that can be") from error


def _is_about(error: OSError, scratch: Path) -> bool:
    """Whether an error came from a scratch file or folder, from something in it, or from the folders above it."""
    named = [Path(os.fsdecode(name)) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
    return any(name.is_relative_to(scratch) or scratch.is_relative_to(name) for name in named)


@dataclass(frozen=True)
class Manifest:
    """What a folder holds: `files` maps a relative POSIX path to (bytes, SHA-256); `metadata` is free-form JSON."""

    files: dict[str, tuple[int, str]]
    metadata: dict[str, Any]

    @property
    def digest(self) -> str:
        """Digest of names, sizes, contents and metadata; 16 hexadecimal digits. Equal digests mean equal folders."""
        return digest_of({"files": self.files, "metadata": self.metadata})

    def verify(self, folder: Path, *, hashes: bool = False) -> None:
        """Raise SamaeError naming the first file that is missing, of another size or (`hashes`) of other content."""
        for name, (size_bytes, sha256) in self.files.items():
            path = folder / name
            if not path.is_file():
                raise SamaeError(f"{path} is missing, though {folder / MANIFEST_NAME} lists it; make the folder anew")
            found = path.stat().st_size
            if found != size_bytes:
                raise SamaeError(f"{path} has {found} bytes instead of {size_bytes}; make the folder anew")
            if hashes and sha256_file(path) != sha256:
                raise SamaeError(f"{path} does not match its SHA-256 in the manifest; make the folder anew")


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a folder that `atomic_folder` made; SamaeError when there is none."""
    if not (folder / MANIFEST_NAME).is_file():
        raise SamaeError(f"{folder} has no {MANIFEST_NAME}: it was never finished; make it first")
    raw = read_json(folder / MANIFEST_NAME)
    try:
        files = {name: (int(size), str(sha)) for name, (size, sha) in raw["files"].items()}
        return Manifest(files=files, metadata=dict(raw["metadata"]))
    except (KeyError, TypeError, ValueError) as error:
        raise SamaeError(f"{folder / MANIFEST_NAME} is damaged ({error!r}); make the folder anew") from None


def is_complete(folder: Path) -> bool:
    """True when the folder has a readable manifest and every listed file has its size."""
    try:
        read_manifest(folder).verify(folder)
    except SamaeError:
        return False
    return True


def build_manifest(folder: Path, metadata: dict[str, Any]) -> Manifest:
    """Hash every file below `folder` (the manifest itself left out)."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST_NAME)
    files = {path.relative_to(folder).as_posix(): (path.stat().st_size, sha256_file(path)) for path in paths}
    return Manifest(files=files, metadata=metadata)


@contextlib.contextmanager
def atomic_folder(path: Path, metadata: dict[str, Any] | None = None) -> Iterator[Path]:
    """Yield a scratch folder; on success write its manifest last and rename it to `path` (replacing what was there).

    `metadata` may be filled by the caller inside the block: it is read when the block ends. On failure the scratch
    folder is removed and `path` stays as it was.

    Raises:
        SamaeError: the place cannot be written, or the disk is full. Whatever else the block raises is passed on.
    """
    scratch = _scratch_beside(path)
    try:
        scratch.mkdir(parents=True)
        yield scratch
        manifest = build_manifest(scratch, metadata if metadata is not None else {})
        _sync_files(scratch, manifest)
        write_json(scratch / MANIFEST_NAME, {"files": manifest.files, "metadata": manifest.metadata})
        _swap_in(scratch, path)
    except OSError as error:
        _raise_disk_error(error, path, scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _sync_files(folder: Path, manifest: Manifest) -> None:
    """To the disk before the manifest says that they are whole: sizes alone would not tell after a power cut."""
    for name in manifest.files:
        with (folder / name).open("rb") as stream:
            os.fsync(stream.fileno())


def _swap_in(scratch: Path, path: Path) -> None:
    old = _scratch_beside(path)
    if path.exists():
        path.replace(old)
    scratch.replace(path)
    sync_folder(path.parent)
    shutil.rmtree(old, ignore_errors=True)
