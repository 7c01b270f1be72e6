"""What every training process runs: the trainer, with rank 0 reporting to the Dagster run through Pipes.

Started by pipelines/launcher.py, alone or under torchrun. Outside a Dagster run it is the trainer and nothing else.
Only rank 0 opens Pipes (several writers disturb each other), and it leaves its exit code in RUN/exit.json, because
torchrun hides those of its children.
"""

import os
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from faces.errors import SamaeError
from faces.files import write_json
from faces.lock import sole_writer
from training.progress import duration

EXIT_NAME = "exit.json"
PIPES_VARIABLE = "DAGSTER_PIPES_CONTEXT"
#: The run's page gets a line at most this often.
SECONDS_BETWEEN_LINES = 10.0

Report = Callable[[dict[str, Any]], None]


def main(arguments: list[str] | None = None) -> int:
    """Entry point; the exit code (2: the user can mend it, 3: diverged, 4: another rank was lost, 143: stopped)."""
    from training.process import EXIT_MENDABLE
    from training.train import is_main, parse

    options = parse(arguments)
    if options.dry_run:
        print("samae: --dry-run is python -m training.train's", file=sys.stderr, flush=True)
        return EXIT_MENDABLE
    if not is_main():
        return _train(options, [report for report in [_file_report()] if report])
    try:
        with sole_writer(options.run_dir):
            with ExitStack() as stack:
                code = _train(options, [report for report in (_file_report(), _pipes_report(stack)) if report])
            write_json(options.run_dir / EXIT_NAME, {"code": code})
    except SamaeError as error:  # the folder is another's (nothing in it is touched, its exit code included) or is full
        print(f"samae: {error}", file=sys.stderr, flush=True)
        return EXIT_MENDABLE
    return code


def _train(options: Any, reports: list[Report]) -> int:
    from training.train import train_as_asked

    def tell_all(event: dict[str, Any]) -> None:
        """One event to every report."""
        for report in reports:
            report(event)

    return train_as_asked(options, tell_all, is_held=True)


def _file_report() -> Report | None:
    from training.progress import progress_file

    return progress_file()


def _pipes_report(stack: ExitStack) -> Report | None:
    """Log lines on the run's page; None outside a Dagster run."""
    if PIPES_VARIABLE not in os.environ:
        return None
    from dagster_pipes import open_dagster_pipes

    pipes = stack.enter_context(open_dagster_pipes())
    last = 0.0

    def report(event: dict[str, Any]) -> None:
        """A line on the run's page, progress at most every SECONDS_BETWEEN_LINES."""
        nonlocal last
        now = time.monotonic()
        if event["event"] == "progress" and now - last < SECONDS_BETWEEN_LINES and event["kimg"] < event["total_kimg"]:
            return
        last = now
        pipes.log.info(sentence(event))

    return report


def sentence(event: dict[str, Any]) -> str:
    """One event of the trainer in words."""
    place = f"{event['kimg']:.2f} of {event['total_kimg']:g} kimg"
    losses = ", ".join(f"{name} {value:.3f}" for name, value in (event.get("losses") or {}).items())
    speed = f"{event['images_per_s']:.1f} images/s" if event.get("images_per_s") else ""
    left = event.get("seconds_left")
    left_words = f"{duration(left)} left" if isinstance(left, float) and left == left else ""
    return f"{event['event']}: " + ", ".join(part for part in (place, losses, speed, left_words) if part)


def folder_exit_code(run_dir: Path) -> int | None:
    """The exit code that rank 0 left in a run's folder; None when it did not get that far."""
    from faces.files import read_json

    path = run_dir / EXIT_NAME
    return int(read_json(path)["code"]) if path.is_file() else None


if __name__ == "__main__":
    from training.engine import leave

    leave(main())
