"""ffhq-dataset-v2.json of a set, however long it is: read once as a stream, then kept as one small file a folder.

FFHQ's listing has 255 MB; every asset of every folder asks which folders there are. So it is read an entry at a time
(a few MB of memory, whatever its length), and split into `$SAMAE_HOME/cache/listing/<key>/<folder>.json` and
`folders.json`. The key is the listing's path, size and time: a changed listing is split anew. Of an entry the parts
KEPT are kept (FFHQ's thumbnail and in-the-wild parts are not used).
"""

import json
from collections import defaultdict
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, TextIO

from assets.store import Store
from faces.errors import SamaeError
from faces.files import atomic_folder, digest_of, is_complete, read_json, write_json
from faces.photographs import LISTING_NAME

FOLDERS_FILE = "folders.json"
KEPT = ("category", "metadata", "image", "synthetic")
#: Entries held in memory before they are appended to their folders' files.
BUFFERED = 512
#: Entries longer than this are refused: FFHQ's have about 3,600 characters.
MOST_CHARACTERS = 16 << 20
_DECODER = json.JSONDecoder()


def folder_names(store: Store) -> list[str]:
    """The folders that the listing names, sorted, e.g. ["00000", "01000"]."""
    return list(_folders(_split(store)))


def folder_digest(store: Store, folder: str) -> str:
    """Digest of a folder's entries; "" for a folder that the listing does not name."""
    return str(_folders(_split(store)).get(folder, {}).get("digest", ""))


def photograph_counts(store: Store) -> dict[str, int]:
    """Folder -> how many photographs the listing names in it."""
    return {name: int(about["photographs"]) for name, about in _folders(_split(store)).items()}


def folder_entries(store: Store, folder: str) -> dict[str, dict[str, Any]]:
    """{index: entry} of one folder, sorted by index; SamaeError when there is no such folder."""
    split = _split(store)
    if folder not in _folders(split):
        raise SamaeError(f"{store.raw} has no folder {folder!r}; its folders are {', '.join(_folders(split))}")
    entries: dict[str, dict[str, Any]] = read_json(split / f"{folder}.json")
    return dict(sorted(entries.items(), key=lambda item: int(item[0])))


def folder_of(index: str, entry: Any) -> str:
    """The FFHQ folder of an entry: that of its file path, else (a damaged entry) the thousand of its index."""
    try:
        return str(entry["image"]["file_path"]).split("/")[-2]
    except (KeyError, TypeError, IndexError):
        return f"{int(index) // 1000 * 1000:05d}"


def stream_entries(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(index, entry) of a listing in the order of the file, one at a time; SamaeError when it is not such a file."""
    count = 0
    try:
        with path.open(encoding="utf-8") as stream:
            for index, entry in _Members(stream):
                if not index.isdecimal():
                    raise SamaeError(f"{path} has the entry {index!r}; entries are numbered as FFHQ's are: restore it")
                count += 1
                yield index, entry if isinstance(entry, dict) else {}
    except ValueError as error:
        raise SamaeError(f"{path} is not valid JSON ({error}); restore it") from None
    if not count:
        raise SamaeError(f"{path} is not an object of photographs as FFHQ's is; restore it")


class _Members:
    """The members of one JSON object, read in pieces of 1 MiB; a member of more than MOST_CHARACTERS is refused."""

    def __init__(self, stream: TextIO) -> None:
        self.stream, self.text, self.at, self.ended = stream, "", 0, False

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        if self._next() != "{":
            return
        self.at += 1
        while self._next() != "}":
            index = self._value()
            if not isinstance(index, str) or self._next() != ":":
                raise ValueError("a name and a colon were expected")
            self.at += 1
            yield index, self._value()
            if self._next() == ",":
                self.at += 1
            elif self._next() != "}":
                raise ValueError("a comma was expected")
        self.at += 1
        if self._next():
            raise ValueError("there is more after its end")

    def _more(self) -> bool:
        piece = self.stream.read(1 << 20)
        self.text, self.at = self.text[self.at :] + piece, 0
        if len(self.text) > MOST_CHARACTERS:
            raise ValueError(f"an entry is longer than {MOST_CHARACTERS} characters")
        return bool(piece)

    def _next(self) -> str:
        """The next character that is no space, not yet taken; "" at the end."""
        while True:
            while self.at < len(self.text) and self.text[self.at] in " \t\r\n":
                self.at += 1
            if self.at < len(self.text):
                return self.text[self.at]
            if not self._more():
                return ""

    def _value(self) -> Any:
        """The next value; a value that a piece cuts in two is read again with the next piece."""
        self._next()
        while True:
            try:
                value, end = _DECODER.raw_decode(self.text, self.at)
                if end < len(self.text):  # a number might go on in the next piece
                    self.at = end
                    return value
            except json.JSONDecodeError as error:
                if not self._more():
                    raise error
                continue
            if not self._more():
                raise ValueError("it ends early")


def _split(store: Store) -> Path:
    """The folder with the split listing, made when the listing is new or has changed."""
    path = store.raw / LISTING_NAME
    try:
        about = path.stat()
    except OSError:
        raise SamaeError(
            f"{store.raw} holds no {LISTING_NAME}: name a folder in FFHQ layout by SAMAE_RAW "
            "(`samae ingest PHOTOGRAPHS SET` makes one of plain photographs), or unset it to use generated people"
        ) from None
    key = digest_of([str(path.resolve()), about.st_size, about.st_mtime_ns])
    split = store.home / "cache" / "listing" / key
    if not (split / FOLDERS_FILE).is_file() or not is_complete(split):
        _write_split(path, split)
    return split


def _write_split(path: Path, split: Path) -> None:
    with atomic_folder(split, {"listing": path.name}) as scratch:
        buffered: dict[str, list[str]] = defaultdict(list)
        for count, (index, entry) in enumerate(stream_entries(path), 1):
            kept = {name: entry[name] for name in KEPT if name in entry}
            buffered[_safe(folder_of(index, entry))].append(json.dumps([index, kept], separators=(",", ":")))
            if count % BUFFERED == 0:
                _append(scratch, buffered)
        _append(scratch, buffered)
        write_json(scratch / FOLDERS_FILE, {p.stem: _finish(p) for p in sorted(scratch.glob("*.lines"))})


def _safe(folder: str) -> str:
    """A folder's name that is a file's name too: nothing of it leads elsewhere."""
    if not folder or folder.startswith(".") or not folder.replace("-", "").replace("_", "").isalnum():
        raise SamaeError(f"the listing names a folder {folder!r}; use letters, digits, - and _")
    return folder


def _append(scratch: Path, buffered: dict[str, list[str]]) -> None:
    for folder, lines in buffered.items():
        with (scratch / f"{folder}.lines").open("a", encoding="utf-8") as stream:
            stream.write("\n".join(lines) + "\n")
    buffered.clear()


def _finish(lines: Path) -> dict[str, Any]:
    """The lines of one folder -> its JSON file; {"photographs", "digest"}. Of an index twice the last counts."""
    entries = dict(json.loads(line) for line in lines.read_text(encoding="utf-8").splitlines())
    lines.with_suffix(".json").write_text(json.dumps(entries, separators=(",", ":")), encoding="utf-8")
    lines.unlink()
    return {"photographs": len(entries), "digest": digest_of(entries)}


@lru_cache(maxsize=8)
def _folders(split: Path) -> dict[str, dict[str, Any]]:
    folders: dict[str, dict[str, Any]] = read_json(split / FOLDERS_FILE)
    return dict(sorted(folders.items()))
