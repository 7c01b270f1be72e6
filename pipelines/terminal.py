"""What `samae demo` shows: a line a stage with a bar, the time left and a word; plain lines in a log."""

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn

from pipelines.materialise import Made
from pipelines.progress import listening, time_left

#: In a log, a stage that takes long gets a line at most this often.
SECONDS_BETWEEN_LINES = 15.0


class Terminal:
    """Shows the stages as they are made. A context manager: it listens to the progress of this process."""

    def __init__(self, plain: bool = False) -> None:
        self._console = Console(highlight=False, markup=False)
        self._bars = not plain and sys.stdout.isatty()
        self._progress = Progress(
            TextColumn("  {task.description}", markup=False),
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}  {task.fields[note]}", markup=False),
            console=self._console,
            transient=True,
        )
        self._task: TaskID | None = None
        self._begin = self._last = time.monotonic()
        self._listening = listening(self._heard)

    def __enter__(self) -> Self:
        self._listening.__enter__()
        if self._bars:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars:
            self._progress.stop()
        self._listening.__exit__(kind, error, trace)

    def started(self, stage: str, partition: str | None) -> None:
        """A stage begins."""
        self._begin = self._last = time.monotonic()
        if self._bars:
            self._task = self._progress.add_task(label(stage, partition), total=None, left="", note="")

    def ended(self, made: Made) -> None:
        """A stage is done, or was up to date."""
        if self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None
        state = "up to date" if made.fresh else f"made in {made.seconds:6.1f} s"
        state += f"   check: {', '.join(made.warnings)}" if made.warnings else ""
        self._console.print(f"  {label(made.stage, made.partition):<32} {state}", soft_wrap=True)

    def _heard(self, stage: str, partition: str | None, done: float, total: float, note: str) -> None:
        now = time.monotonic()
        left = f"{time_left(done, total, now - self._begin)} left"
        if self._task is not None:
            self._progress.update(self._task, completed=done, total=total, left=left, note=note[:60])
        elif not self._bars and now - self._last >= SECONDS_BETWEEN_LINES:
            self._last = now
            self._console.print(
                f"  {label(stage, partition):<32} {100 * done / max(total, 1e-9):3.0f} %, {left}  {note[:60]}",
                soft_wrap=True,
            )


def label(stage: str, partition: str | None) -> str:
    """`stage` or `stage [partition]`."""
    return f"{stage} [{partition}]" if partition else stage
