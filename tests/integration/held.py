"""A judgement that stands still in the middle, for kills that must meet it there: one task ends, the others wait."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from assets.ports import Progress
from evaluation.judge import judge_chunk
from pipelines.ray_pool import RayPool


def hold_judgements(folder: Path) -> None:
    """From now on this process's pools let one task alone of what they judge end; `folder`: one that is there."""
    plain = RayPool.map

    def held(self: RayPool, function: Any, items: Sequence[Any], progress: Progress | None = None) -> list[Any]:
        is_judging = isinstance(function, partial) and function.func is judge_chunk
        return plain(self, partial(one_alone, folder, function) if is_judging else function, items, progress)

    RayPool.map = held  # type: ignore[method-assign]


def one_alone(folder: Path, function: Callable[[Any], Any], item: Any) -> Any:
    """The function's answer for whoever is first in the folder; the others wait until they are killed."""
    try:
        (folder / "first").touch(exist_ok=False)
    except FileExistsError:
        while True:
            time.sleep(1)
    return function(item)
