"""The members of one sample in a tar: found by their headers once, afterwards read where they lie.

Tar headers are read by thirty lines of our own: regular files alone, nothing is ever extracted to disk.
"""

import struct
from collections.abc import Callable, Iterable, Mapping

from faces.errors import SamaeError
from faces.records import FIELDS

BLOCK_BYTES = 512
#: Bytes between two wanted members that are read along rather than skipped with one more read.
GAP_BYTES = 8192
_PLACES = struct.Struct(f"{2 * len(FIELDS)}i")


def read_members(data: bytes, key: str) -> dict[str, memoryview]:
    """The tar blocks of one sample -> {extension: a view of its bytes}.

    Plain files of this key alone; pax headers are skipped.
    """
    return views(data, find_members(data, key))


def views(data: bytes, members: Mapping[str, tuple[int, int]]) -> dict[str, memoryview]:
    """A sample's bytes and the places of its members -> {extension: a view of its bytes}; nothing is copied."""
    whole = memoryview(data)
    return {extension: whole[first : first + size] for extension, (first, size) in members.items()}


def find_members(data: bytes, key: str) -> dict[str, tuple[int, int]]:
    """The tar blocks of one sample -> {extension: (first byte, bytes)} of its members."""
    members: dict[str, tuple[int, int]] = {}
    start = 0
    while start < len(data):
        name, size, kind = _parse_header(data[start : start + BLOCK_BYTES])
        body = start + BLOCK_BYTES
        start = body + -(-size // BLOCK_BYTES) * BLOCK_BYTES
        if start > len(data):
            raise SamaeError(f"the member {name!r} claims {size} bytes, more than the sample has")
        if kind in "xg":
            continue
        owner, _, extension = name.partition(".")
        if kind not in "0\0" or owner != key:
            raise SamaeError(f"the member {name!r} (type {kind!r}) does not belong here; shards hold plain files alone")
        members[extension] = body, size
    return members


def _parse_header(block: bytes) -> tuple[str, int, str]:
    """A ustar header -> (name, size in bytes, type flag)."""
    try:
        name = block[:100].split(b"\0", 1)[0].decode("ascii")
        size = int(block[124:136].split(b"\0", 1)[0].strip() or b"0", 8)
        if size < 0:
            raise ValueError(size)
        return name, size, chr(block[156])
    except (UnicodeDecodeError, ValueError, IndexError):
        raise SamaeError("a tar header is damaged") from None


def pack_places(members: dict[str, tuple[int, int]]) -> bytes:
    """Where the members of FIELDS lie, in 64 bytes: a set of 70,000 samples remembers them all."""
    absent = (0, -1)
    return _PLACES.pack(*(number for field in FIELDS.values() for number in members.get(field.extension, absent)))


def read_fields(places: bytes, fields: Iterable[str], read: Callable[[int, int], bytes]) -> dict[str, memoryview]:
    """{extension: bytes} of the wanted fields of a sample whose `pack_places` is known; absent ones are left out.

    read: (first byte in the sample, bytes) -> bytes. Members that lie close together are read at once.
    """
    numbers, wanted = _PLACES.unpack(places), set(fields)
    found: dict[str, memoryview] = {}
    lying = ((first, size, name) for first, size, name in zip(numbers[::2], numbers[1::2], FIELDS, strict=True))
    runs: list[list[tuple[int, int, str]]] = []
    for place in sorted(place for place in lying if place[2] in wanted and place[1] >= 0):
        if runs and place[0] - sum(runs[-1][-1][:2]) <= GAP_BYTES:
            runs[-1].append(place)
        else:
            runs.append([place])
    for run in runs:
        start = run[0][0]
        data = read(start, sum(run[-1][:2]) - start)
        found |= views(data, {FIELDS[name].extension: (first - start, size) for first, size, name in run})
    return found
