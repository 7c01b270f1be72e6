"""How far a stage has come: for whoever listens in this process (the terminal of `samae demo`) and the run's page."""

import contextlib
import math
import time
from collections.abc import Callable, Iterator

import dagster as dg

from assets.ports import Progress
from training.progress import duration

#: Called as (stage, partition, done, total, note).
Listener = Callable[[str, str | None, float, float, str], None]
#: The run's page gets a line at most this often.
SECONDS_BETWEEN_LINES = 10.0

_listeners: list[Listener] = []


@contextlib.contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Call `listener` for every step of progress inside the block."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def reporter(context: dg.AssetExecutionContext, stage: str, on_page: bool = True) -> Progress:
    """A reporter for one stage of one run; without `on_page` somebody else writes to the run's page (Pipes)."""
    partition = context.partition_key if context.has_partition_key else None
    started = last = time.monotonic()

    def report(done: float, total: float, note: str = "") -> None:
        """Tell every listener, and the run's page now and then."""
        nonlocal last
        for listener in _listeners:
            listener(stage, partition, done, total, note)
        now = time.monotonic()
        if not on_page:
            return
        if now - last >= SECONDS_BETWEEN_LINES or (done >= total and now - started >= SECONDS_BETWEEN_LINES):
            last = now
            context.log.info(f"{stage}: {done:g} of {total:g}, {time_left(done, total, now - started)} left. {note}")

    return report


def time_left(done: float, total: float, elapsed_seconds: float) -> str:
    """The time a stage still needs at its mean speed so far, in words; a question mark before anything is done."""
    return duration(elapsed_seconds * max(total - done, 0) / done if done > 0 else math.inf)
