"""Parts of a partition: what a worker has finished stays finished, whatever happens to the run.

A stage cuts its partition into tasks. Each answer is written by the worker itself, whole or not at all, below
`$SAMAE_HOME/parts/<asset>/<partition>/<digest>/NNNNN.npz` (the digest is that of the provenance, so parts of other
inputs, code or settings are never taken). A run that was killed goes on after the last part; when the partition is
written, its parts are removed. Answers do not travel through Ray. No pickles: arrays, and rows as JSON.
"""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from assets.ports import Pool, Progress
from faces.errors import SamaeError
from faces.files import atomic_file, digest_of
from faces.morphable.tables import read_npz

Value = np.ndarray | dict[str, np.ndarray] | list[dict[str, Any]]
#: Names inside a part of an answer that is one array, and of one that is rows.
ARRAY, ROWS = "__array__", "__rows__"


class Parts:
    """The parts of one partition of one asset."""

    def __init__(self, home: Path, asset: str, partition: str | None, provenance: dict[str, Any]) -> None:
        self._above = home / "parts" / asset / (partition or "all")
        self.folder = self._above / digest_of(provenance)

    def map(
        self,
        pool: Pool,
        function: Callable[[Any], Value],
        tasks: Sequence[Any],
        progress: Progress | None = None,
        name: str = "part",
    ) -> list[Any]:
        """`[function(task) for task in tasks]` by the pool, without those whose answers are there already."""
        paths = [self.folder / f"{name}-{len(tasks)}-{number:05d}.npz" for number in range(len(tasks))]
        done = {number: answer for number, path in enumerate(paths) if (answer := read_part(path)) is not None}
        todo = [number for number in range(len(tasks)) if number not in done]

        def forward(count: float, _: float, note: str) -> None:
            """Progress over all parts, those of earlier runs too."""
            if progress:
                progress(len(tasks) - len(todo) + count, len(tasks), note)

        pool.map(make_part, [(function, tasks[number], paths[number]) for number in todo], forward)
        for number in todo:
            done[number] = read_part(paths[number])
            if done[number] is None:
                raise SamaeError(f"{paths[number]} was written and cannot be read: is the disk shared by all workers?")
        return [done[number] for number in range(len(tasks))]

    def remove(self) -> None:
        """Remove the parts of this partition, those of other inputs too."""
        shutil.rmtree(self._above, ignore_errors=True)


def make_part(task: tuple[Callable[[Any], Value], Any, Path]) -> None:
    """(function, its task, path): write the answer to the path. Runs in a worker."""
    function, inner, path = task
    answer = function(inner)
    if isinstance(answer, np.ndarray):
        arrays = {ARRAY: answer}
    elif isinstance(answer, dict):
        arrays = answer
    else:
        arrays = {ROWS: np.frombuffer(json.dumps(answer, allow_nan=True).encode(), np.uint8)}
    with atomic_file(path) as scratch, scratch.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **arrays)  # type: ignore[arg-type]


def read_part(path: Path) -> Any:
    """The answer that `make_part` wrote; None when it is not there or damaged (it is then made again)."""
    try:
        arrays = read_npz(path, None, "a part", "")
    except SamaeError:
        return None
    if ARRAY in arrays:
        return arrays[ARRAY]
    return json.loads(arrays[ROWS].tobytes()) if ROWS in arrays else arrays
