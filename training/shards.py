"""A folder of shards: what is in it, and how a sample is found, verified and read. No order and no batches here.

Layout (assets/shards.py writes the tars, `write_index` the two files beside them):

    <folder>/00000.tar         members `<key>.<extension>` (faces/records.py), the members of one key side by side
    <folder>/manifest.parquet  one row a photograph: where its bytes lie, their SHA-256, its split, person and status
    <folder>/shards.json       schema version, picture size, head, encoder, every tar with its bytes and SHA-256, digest

`shards.json` is written last: a folder without it was never finished. A sample is read with one `pread` (random access;
many threads may read at once), its SHA-256 is checked then. Later reads take the wanted members alone from where they
lay (training/members.py): the albedo, most of a sample's bytes, is of no use to a batch. Nothing is unpickled.
"""

import errno
import hashlib
import os
import re
import resource
import tarfile
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from faces.errors import SamaeError
from faces.files import atomic_file, make_folder, read_json, sha256_bytes, sha256_file, write_json
from faces.records import FIELDS, SCHEMA_VERSION, Member, decode_json, decode_sample
from faces.remote import RemoteFolder, is_remote
from training.members import BLOCK_BYTES, find_members, pack_places, read_fields, read_members, views

INDEX_NAME = "shards.json"
MANIFEST_NAME = "manifest.parquet"
#: The status of a photograph whose sample is in a shard; every other status is a reason why it is not.
STATUS_OK = "ok"
SPLITS = ("train", "validation", "test")
KEY_PATTERN = re.compile(r"[a-z0-9_]{1,64}")
MEND = "write this shard anew (materialise its partition of training_shards)"

SCHEMA = pa.schema(
    [
        pa.field("key", pa.string()),
        pa.field("shard", pa.string(), metadata={"meaning": "file name of the tar, empty when it is in none"}),
        pa.field("offset_bytes", pa.int64(), metadata={"unit": "bytes from the start of the tar, -1 when in none"}),
        pa.field("size_bytes", pa.int64(), metadata={"unit": "bytes, headers and padding included"}),
        pa.field("sha256", pa.string(), metadata={"meaning": "of these size_bytes bytes"}),
        pa.field("split", pa.string()),
        pa.field("person", pa.int64(), metadata={"meaning": "identity label, -1 when unknown"}),
        pa.field("status", pa.string(), metadata={"meaning": "'ok', or why the photograph is in no shard"}),
    ]
)


def split_of(identity: str, validation_fraction: float = 0.05, test_fraction: float = 0.10) -> str:
    """The split of an identity ("person-17"; the key where persons are unknown), a pure function of its hash (ours)."""
    position = hash_position(identity)
    if position < test_fraction:
        return "test"
    return "validation" if position < test_fraction + validation_fraction else "train"


def hash_position(identity: str) -> float:
    """Where the hash of an identity lies, 0..1: the first are tested on, the next validate (ours)."""
    return int(sha256_bytes(identity.encode())[:8], 16) / 2**32


@dataclass(frozen=True)
class Row:
    """Where one sample lies. `size_bytes` counts its tar headers and padding too."""

    key: str
    shard: str
    offset_bytes: int
    size_bytes: int
    sha256: str
    split: str
    person: int
    status: str


class EmbedsFaces(Protocol):
    """The part of an identity encoder that replaces stored embeddings."""

    def embed(self, images: np.ndarray, landmarks_px: np.ndarray) -> np.ndarray:
        """(N, S, S, 3) uint8 sRGB and (N, 68, 2) px -> (N, M) float32 of unit length."""
        ...


class ShardSet:
    """A finished folder of shards, open for reading. Safe to share between threads.

    Attributes:
        folder: where it lies.
        size_px: width and height of every picture.
        head, encoder: {"edition", "digest"} and {"name", "digest"} of what made the coefficients and the embeddings.
        embedder: an encoder whose embeddings replace the stored ones when faces are loaded (training/stream.py), for
            a method that trains with another encoder than the shards were made with; None takes the stored ones.
        embedded: key -> what `embedder` gave, 2 kB a face at most, so that no face is embedded twice.
        digest: 16 hexadecimal digits; equal digests mean equal samples in equal splits.
    """

    def __init__(self, folder: Path, index: Mapping[str, Any], rows: Sequence[Row]) -> None:
        self.folder = folder
        self.size_px = int(index["size_px"])
        self.head: dict[str, str] = dict(index["head"])
        self.encoder: dict[str, str] = dict(index["encoder"])
        self.embedder: EmbedsFaces | None = None
        self.embedded: dict[str, np.ndarray] = {}
        self.digest = str(index["digest"])
        self.shards: list[dict[str, Any]] = list(index["shards"])
        self._rows = {row.key: row for row in rows if row.status == STATUS_OK}
        self._places: dict[str, bytes] = {}  # of samples whose SHA-256 was checked
        self._handles: dict[str, int] = {}
        self._lock = threading.Lock()

    @classmethod
    def open(cls, folder: Path | str) -> "ShardSet":
        """Open a folder that `write_index` finished, here or at an address such as s3://bucket/folder.

        Raises:
            SamaeError: it is unfinished, changed or of another schema.
        """
        folder = fetch_shards(str(folder)) if is_remote(folder) else Path(folder)
        if not (folder / INDEX_NAME).is_file():
            raise SamaeError(f"{folder} has no {INDEX_NAME}: materialise training_shards first")
        index = read_json(folder / INDEX_NAME)
        if index.get("schema_version") != SCHEMA_VERSION:
            raise SamaeError(
                f"{folder} has schema version {index.get('schema_version')}, this code reads {SCHEMA_VERSION}: {MEND}"
            )
        for shard in index["shards"]:
            _check_size(folder / shard["path"], int(shard["bytes"]))
        _allow_handles(len(index["shards"]))
        rows = _read_rows(folder / MANIFEST_NAME)
        if _digest(index, rows) != index["digest"]:
            raise SamaeError(f"{folder / MANIFEST_NAME} does not belong to {INDEX_NAME}; write the index anew")
        return cls(folder, index, rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __contains__(self, key: str) -> bool:
        return key in self._rows

    def keys(self, split: str | None = None) -> tuple[str, ...]:
        """The keys of a split ("train", "validation", "test"; None for all), in the order of the manifest."""
        if split is not None and split not in SPLITS:
            raise SamaeError(f"no split is called {split!r}; the splits are {', '.join(SPLITS)}")
        return tuple(key for key, row in self._rows.items() if split is None or row.split == split)

    def row(self, key: str) -> Row:
        """The manifest's row of a sample."""
        if key not in self._rows:
            raise SamaeError(f"{self.folder} holds no sample {key!r}")
        return self._rows[key]

    def persons(self, keys: Sequence[str]) -> np.ndarray:
        """(N,) int64 identity labels of these keys, -1 where unknown."""
        return np.array([self.row(key).person for key in keys], np.int64)

    def read(self, key: str, fields: tuple[str, ...] = tuple(FIELDS)) -> dict[str, Any]:
        """The wanted fields of one sample (faces/records.py); SamaeError naming shard and key of wrong bytes."""
        row = self.row(key)
        known = self._places.get(key)
        members = self._verified(row) if known is None else read_fields(known, fields, partial(self._bytes, row))
        try:
            return decode_sample(members, fields)
        except SamaeError as error:
            raise SamaeError(f"sample {key!r} in {row.shard}: {error}") from None

    def _verified(self, row: Row) -> Mapping[str, Member]:
        """All members of a sample, its SHA-256 checked, their places remembered."""
        data = self._bytes(row, 0, row.size_bytes)
        if sha256_bytes(data) != row.sha256:
            raise SamaeError(f"sample {row.key!r} in {self.folder / row.shard} does not match its SHA-256: {MEND}")
        try:
            members = find_members(data, row.key)
        except SamaeError as error:
            raise SamaeError(f"sample {row.key!r} in {row.shard}: {error}") from None
        self._places[row.key] = pack_places(members)
        return views(data, members)

    def _bytes(self, row: Row, first: int, size: int) -> bytes:
        data = os.pread(self._handle(row.shard), size, row.offset_bytes + first)
        if len(data) != size:
            raise SamaeError(f"{row.shard} ends within sample {row.key!r} ({len(data)} of {size} bytes): {MEND}")
        return data

    def close(self) -> None:
        """Close the tars; a later read opens them again."""
        with self._lock:
            for handle in self._handles.values():
                os.close(handle)
            self._handles.clear()
            self._places.clear()  # what is opened again may be other files: read whole and hashed anew

    def _handle(self, shard: str) -> int:
        handle = self._handles.get(shard)
        if handle is not None:
            return handle
        with self._lock:
            if shard not in self._handles:
                try:
                    self._handles[shard] = os.open(self.folder / shard, os.O_RDONLY | os.O_CLOEXEC)
                except OSError as error:
                    if error.errno == errno.EMFILE:
                        raise SamaeError(
                            f"{self.folder / shard} cannot be opened, too many files are open: this process may open "
                            f"{resource.getrlimit(resource.RLIMIT_NOFILE)[0]} and the set has {len(self.shards)} "
                            "shards; raise the limit (ulimit -n)"
                        ) from None
                    raise SamaeError(f"{self.folder / shard} cannot be opened ({error.strerror}): {MEND}") from None
            return self._handles[shard]


#: Files that a process needs besides its shards, at most.
OTHER_FILES = 512


def _allow_handles(shards: int) -> None:
    """Every shard stays open: raise this process's limit of open files towards what that needs."""
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = shards + OTHER_FILES
    if now != resource.RLIM_INFINITY and now < wanted:
        wanted = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def fetch_shards(url: str, cache: Path | None = None, options: Mapping[str, Any] | None = None) -> Path:
    """The local copy of shards at an address (s3://bucket/folder), every file checked by size and SHA-256.

    Args:
        cache: where copies lie; default $SAMAE_CACHE, else ~/.cache/samae. What is there already is not fetched again.
        options: of the file system, e.g. {"endpoint_url": …}; S3's usual environment variables work too.
    """
    cache = cache or Path(os.environ.get("SAMAE_CACHE") or Path.home() / ".cache" / "samae")
    make_folder(cache)
    with tempfile.TemporaryDirectory(prefix=".index-", dir=cache) as scratch:
        # The index is the one file that may change under its name: every reader fetches it for itself.
        index = read_json(RemoteFolder(url, Path(scratch), dict(options or {})).fetch(INDEX_NAME))
    _check_names(index, url)
    remote = RemoteFolder(url, cache / str(index["digest"]), dict(options or {}))
    for shard in index["shards"]:
        remote.fetch(shard["path"], int(shard["bytes"]), shard["sha256"])
    manifest = index.get("manifest", {})  # sets that were written before it was kept have none
    remote.fetch(MANIFEST_NAME, manifest.get("bytes"), manifest.get("sha256"))
    write_json(remote.cache / INDEX_NAME, index)
    return remote.cache


def _check_names(index: Mapping[str, Any], url: str) -> None:
    """Refuse a fetched index whose digest or file names would lead out of the cache."""
    names = [str(index.get("digest", "")), *(str(shard["path"]) for shard in index.get("shards", []))]
    if not re.fullmatch("[0-9a-f]{16}", names[0]):
        raise SamaeError(f"{url}/{INDEX_NAME} has the digest {names[0]!r}, not 16 hexadecimal digits: publish it anew")
    for name in names[1:]:
        if name in ("", ".", "..") or "/" in name or "\\" in name:
            raise SamaeError(f"{url}/{INDEX_NAME} names the shard {name!r}, no plain file name: publish it anew")


def publish_shards(folder: Path, url: str, options: Mapping[str, Any] | None = None) -> None:
    """Copy a finished set of shards to an address; its index goes last."""
    RemoteFolder(url, folder, dict(options or {})).publish(folder, INDEX_NAME)


def _check_size(path: Path, size_bytes: int) -> None:
    if not path.is_file():
        raise SamaeError(f"{path} is missing though {INDEX_NAME} lists it: {MEND}")
    found = path.stat().st_size
    if found != size_bytes:
        raise SamaeError(f"{path} has {found} bytes instead of {size_bytes}: {MEND}")


def _read_rows(path: Path) -> list[Row]:
    try:
        table = pq.read_table(path).select(SCHEMA.names)
    except (OSError, KeyError, pa.ArrowInvalid) as error:
        raise SamaeError(f"{path} cannot be read ({error}); write the index anew") from None
    columns = [table[name].to_pylist() for name in SCHEMA.names]
    return [Row(*values) for values in zip(*columns, strict=True)]


def _digest(index: Mapping[str, Any], rows: Sequence[Row]) -> str:
    """Digest of everything a training run can see: sizes, makers, and every row in order; 16 hexadecimal digits."""
    digest = hashlib.sha256(repr((SCHEMA_VERSION, index["size_px"])).encode())
    for maker in ("head", "encoder"):
        digest.update(repr(sorted(dict(index[maker]).items())).encode())
    for row in rows:
        digest.update(repr(tuple(vars(row).values())).encode())
    return digest.hexdigest()[:16]


def write_index(
    folder: Path,
    *,
    size_px: int,
    head: Mapping[str, str],
    encoder: Mapping[str, str],
    splits: Mapping[str, str] | None = None,
    rejected: Sequence[Mapping[str, Any]] = (),
) -> ShardSet:
    """Read every `*.tar` of `folder`, write manifest.parquet and, last, shards.json; return the open set.

    Args:
        size_px: width and height of the pictures.
        head: {"edition", "digest"} of the morphable head; encoder: {"name", "digest"} of the identity encoder.
        splits: key -> split; left out, `split_of` the person where meta.json knows one, else of the key.
        rejected: rows {"key", "status" (the reason), optionally "person"} of photographs that are in no shard.
    """
    paths = sorted(Path(folder).glob("*.tar"))
    rows = [row for path in paths for row in index_shard(path, splits)]
    for bad in rejected:
        rows.append(Row(str(bad["key"]), "", -1, 0, "", "", int(bad.get("person", -1)), str(bad["status"])))
    _check_keys(rows)
    counts = {path.name: sum(row.shard == path.name for row in rows) for path in paths}
    index: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "size_px": int(size_px),
        "head": dict(head),
        "encoder": dict(encoder),
        "shards": [
            {"path": path.name, "samples": counts[path.name], "bytes": path.stat().st_size, "sha256": sha256_file(path)}
            for path in paths
        ],
    }
    index["digest"] = _digest(index, rows)
    (Path(folder) / INDEX_NAME).unlink(missing_ok=True)
    table = pa.table({name: [getattr(row, name) for row in rows] for name in SCHEMA.names}, schema=SCHEMA)
    with atomic_file(Path(folder) / MANIFEST_NAME) as scratch:
        pq.write_table(table, scratch, compression="zstd")
    written = Path(folder) / MANIFEST_NAME
    index["manifest"] = {"bytes": written.stat().st_size, "sha256": sha256_file(written)}
    write_json(Path(folder) / INDEX_NAME, index)
    return ShardSet.open(folder)


def index_shard(path: Path, splits: Mapping[str, str] | None = None) -> Iterator[Row]:
    """The rows of one tar, in its order. Refuses links, folders, keys with odd characters and incomplete samples."""
    with path.open("rb") as stream:
        for key, start, stop in _spans(path):
            stream.seek(start)
            data = stream.read(stop - start)
            members = read_members(data, key)
            missing = [field.extension for field in FIELDS.values() if field.extension not in members]
            if missing:
                raise SamaeError(f"sample {key!r} in {path} lacks {missing}: {MEND}")
            person = _person(decode_json(members[FIELDS["meta"].extension]))
            split = split_of(f"person-{person}" if person >= 0 else key) if splits is None else splits[key]
            if split not in SPLITS:
                raise SamaeError(f"sample {key!r} has the split {split!r}; the splits are {', '.join(SPLITS)}")
            yield Row(key, path.name, start, stop - start, sha256_bytes(data), split, person, STATUS_OK)


def _spans(path: Path) -> Iterator[tuple[str, int, int]]:
    """(key, first byte, byte after the last) of every sample of a tar."""
    key, start, stop = "", 0, 0
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                owner = member.name.partition(".")[0]
                if not member.isreg() or not KEY_PATTERN.fullmatch(owner):
                    raise SamaeError(f"{path} holds {member.name!r}, which is no plain file of a sample: {MEND}")
                if owner != key:
                    if key:
                        yield key, start, stop
                    key, start = owner, member.offset
                stop = member.offset_data + -(-member.size // BLOCK_BYTES) * BLOCK_BYTES
    except tarfile.TarError as error:
        raise SamaeError(f"{path} is not a readable tar ({error}): {MEND}") from None
    if key:
        yield key, start, stop


def _person(meta: Mapping[str, Any]) -> int:
    person = meta.get("person")
    return -1 if person is None else int(person)


def _check_keys(rows: Sequence[Row]) -> None:
    seen: dict[str, Row] = {}
    for row in rows:
        if row.key in seen:
            both = f"{seen[row.key].shard} and {row.shard}"
            raise SamaeError(f"the key {row.key!r} occurs twice ({both}); keys must be unique")
        seen[row.key] = row
