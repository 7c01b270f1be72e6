"""What a run tells about itself: lines for a reader, stats.jsonl for curves, events for the launcher, time shares.

Rank 0 alone reports. `stats.jsonl` has one object every `log_every_steps` steps: means of the losses since the last
one, and the speed. A restart drops the lines after the checkpoint it continues from, so the file holds one history.
The callback gets one dictionary an event; with SAMAE_PROGRESS=path in the environment they are also appended to that
file, a JSON line each: {"event", "kimg", "total_kimg", "images_per_s", "seconds_left", "losses", …}.
"""

import json
import math
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from faces.files import append_whole, read_json_lines, write_bytes

OnProgress = Callable[[dict[str, Any]], None]
PROGRESS_VARIABLE = "SAMAE_PROGRESS"
#: Seconds between two lines for a reader.
LINE_EVERY_S = 2.0


class Shares:
    """Wall-clock seconds by purpose ("data", "render", …) since the last `take`."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = defaultdict(float)
        self._since = time.perf_counter()

    @contextmanager
    def of(self, purpose: str) -> Iterator[None]:
        """Add the time inside the block to a purpose."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(purpose, time.perf_counter() - start)

    def add(self, purpose: str, seconds: float) -> None:
        """Add so many seconds to a purpose."""
        self._seconds[purpose] += seconds

    def take(self) -> tuple[float, dict[str, float]]:
        """(seconds since the last take, seconds by purpose); starts anew."""
        now = time.perf_counter()
        taken = now - self._since, dict(self._seconds)
        self._seconds.clear()
        self._since = now
        return taken


class Means:
    """Running means of named figures. `state` and `restore` make them survive a restart exactly."""

    def __init__(self) -> None:
        self._sums: dict[str, list[float]] = {}

    def add(self, figures: Mapping[str, float]) -> None:
        """Take one step's figures in; a name may be absent in some steps."""
        for name, value in figures.items():
            entry = self._sums.setdefault(name, [0.0, 0])
            entry[0] += value
            entry[1] += 1

    def take(self) -> dict[str, float]:
        """Name -> mean since the last take; starts anew."""
        means = {name: total / count for name, (total, count) in self._sums.items()}
        self._sums = {}
        return means

    def state(self) -> dict[str, list[float]]:
        """JSON values."""
        return {name: list(entry) for name, entry in self._sums.items()}

    def restore(self, state: Mapping[str, list[float]]) -> None:
        """Continue from `state`."""
        self._sums = {name: list(entry) for name, entry in state.items()}


class Reporter:
    """Lines, stats.jsonl and events of rank 0; silent elsewhere."""

    def __init__(self, run_dir: Path, total_samples: int, *, is_main: bool, on_progress: OnProgress | None) -> None:
        self._stats, self._total, self._is_main = run_dir / "stats.jsonl", total_samples, is_main
        self._on_progress = on_progress
        self._start = time.monotonic()
        self._first_sample: int | None = None
        self._last_line = -math.inf

    def rewind(self, samples_seen: int) -> None:
        """Drop what stats.jsonl says about pictures after `samples_seen`, and lines that were torn."""
        if not self._is_main or not self._stats.exists():
            return
        kept = [line for line in read_json_lines(self._stats) if line.get("samples_seen", math.inf) <= samples_seen]
        write_bytes(self._stats, b"".join(map(_line, kept)))

    def stats(self, samples_seen: int, figures: Mapping[str, float]) -> None:
        """Add one line to stats.jsonl; every few seconds also a line for the reader and an event."""
        if not self._is_main:
            return
        line = {"samples_seen": samples_seen, "kimg": samples_seen / 1000, **figures}
        try:
            append_whole(self._stats, _line(line))
        except OSError as error:
            self.say(f"{self._stats} cannot be written ({error.strerror}); training goes on without this line")
        now = time.monotonic()
        if now - self._last_line >= LINE_EVERY_S or samples_seen >= self._total:
            self._last_line = now
            self._progress(samples_seen, figures)

    def _progress(self, samples_seen: int, figures: Mapping[str, float]) -> None:
        losses = {name.replace("/total", ""): value for name, value in figures.items() if name.endswith("/total")}
        rate, left = figures.get("perf/images_per_s", 0.0), self.seconds_left(samples_seen)
        parts = [f"{name} {value:.3f}" for name, value in losses.items()]
        parts += [f"{rate:.1f} images/s", f"data wait {figures.get('perf/data_wait_percent', 0.0):.1f} %"]
        kimg = f"{samples_seen / 1000:.2f} of {self._total / 1000:g} kimg"
        self.say(f"{kimg} ({100 * samples_seen / self._total:.0f} %)  {', '.join(parts)}, {duration(left)} left")
        self.event("progress", samples_seen, images_per_s=rate, seconds_left=left, losses=losses)

    def seconds_left(self, samples_seen: int) -> float:
        """Seconds to the end at the mean speed of this process, snapshots and checkpoints included; NaN unknown."""
        if self._first_sample is None or samples_seen <= self._first_sample:
            return math.nan
        speed = (samples_seen - self._first_sample) / max(time.monotonic() - self._start, 1e-9)
        return max(self._total - samples_seen, 0) / speed

    def begin(self, samples_seen: int) -> None:
        """The first step is about to start."""
        self._first_sample, self._start = samples_seen, time.monotonic()

    def say(self, sentence: str) -> None:
        """One line for a reader, on standard error."""
        if self._is_main:
            print(f"{time.strftime('%H:%M:%S')}  {sentence}", file=sys.stderr, flush=True)

    def event(self, name: str, samples_seen: int, **values: Any) -> None:
        """One event for the callback."""
        if self._is_main and self._on_progress is not None:
            place = {"kimg": samples_seen / 1000, "total_kimg": self._total / 1000}
            self._on_progress({"event": name, **place, **values, "time_s": time.time()})


def duration(seconds: float) -> str:
    """Seconds in words: "2 h 05 min", "3 min 12 s", "12 s"; "?" when unknown."""
    if not math.isfinite(seconds):
        return "?"
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 60} min {whole % 60:02d} s" if whole >= 60 else f"{whole} s"


def progress_file() -> OnProgress | None:
    """A callback that appends to the file named by SAMAE_PROGRESS, or None when it is not set."""
    name = os.environ.get(PROGRESS_VARIABLE)
    if not name:
        return None
    path = Path(name)

    def append(event: dict[str, Any]) -> None:
        """One event as a line of JSON; a full disk loses lines and never the run."""
        clean = {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in event.items()
        }
        with suppress(OSError):
            append_whole(path, _line(clean))

    return append


def _line(values: Mapping[str, Any]) -> bytes:
    return (json.dumps(values) + "\n").encode()
