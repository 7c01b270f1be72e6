"""Write one peer's container for `samae bench loader`: python -m benchmarks._loader_peers litdata|mosaic FOLDER."""

import os
import sys
from pathlib import Path

from benchmarks._loader_run import blank_missing
from benchmarks.loader import members_of
from training.shards import ShardSet


def write_litdata(folder: Path, members: list[dict[str, bytes]]) -> None:
    """Chunks of 16 MB, the bytes as they are."""
    from litdata.streaming.writer import BinaryWriter

    (folder / "litdata").mkdir()
    writer = BinaryWriter(str(folder / "litdata"), chunk_bytes=16 << 20)
    for index, sample in enumerate(members):
        writer[index] = sample
    writer.done()
    writer.merge()


def write_mosaic(folder: Path, members: list[dict[str, bytes]]) -> None:
    """MDS files of 16 MB, one column a member."""
    blank_missing()
    from streaming import MDSWriter

    columns = {name: "bytes" for name in members[0]}
    with MDSWriter(out=str(folder / "mosaic"), columns=columns, size_limit=16 << 20) as writer:
        for sample in members:
            writer.write(sample)


if __name__ == "__main__":
    folder = Path(sys.argv[2])
    write = {"litdata": write_litdata, "mosaic": write_mosaic}[sys.argv[1]]
    write(folder, members_of(ShardSet.open(folder / "shards")))
    sys.stdout.flush()
    os._exit(0)
