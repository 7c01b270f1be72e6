"""A judgement for the kill tests, with Ray's driver as its child: a fake swapper by Ray; rows, log, result in a folder.

    python -m tests.pipelines.judged_by_ray FOLDER [ray|serial]

Every swap is a line of FOLDER/log: process and pair. A worker that finds FOLDER/kill removes it and kills itself in
the middle of its chunk; one that finds FOLDER/wait waits until it is gone.
"""

import contextlib
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from evaluation.judge import judge
from pipelines.ray_pool import RayPool
from tests.evaluation.fakes import ColourEncoder, FakeSwapper, load_faces, pairs, truth
from training.batch import FaceBatch, SwapResult

CHUNK = 2


@dataclass
class Logged:
    """FakeSwapper, slowly and with a log."""

    folder: Path
    name = "fake"
    size_px = FakeSwapper.size_px

    def swap(self, source: FaceBatch, target: FaceBatch) -> SwapResult:
        with (self.folder / "log").open("a") as log:  # one short write: lines of several processes do not mix
            log.write("".join(f"{os.getpid()} {s}>{t}\n" for s, t in zip(source.keys, target.keys, strict=True)))
        with contextlib.suppress(FileNotFoundError):  # of two workers that come at once, one alone is killed
            (self.folder / "kill").unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.3)
        while (self.folder / "wait").exists():
            time.sleep(0.1)
        return FakeSwapper(0.6).swap(source, target)


def main(folder: Path, way: str = "ray") -> None:
    pool = RayPool(address="local" if way == "ray" else "serial", cores=2)
    evaluation = judge(
        Logged(folder), pairs(), load_faces, [ColourEncoder()], truth, map_chunks=pool.map, chunk_pairs=CHUNK,
        rows_folder=folder / "rows",
    )  # fmt: skip
    pq.write_table(evaluation.rows, folder / "result.parquet")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
