"""An MLflow run around a block of an asset: never left open, whatever ends the block."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from dagster import DagsterExecutionInterruptedError

from assets.machine import commit
from assets.ports import Tracking


@dataclass
class TrackedRun:
    """An open run. The block fills in the last metrics, and the folder whose files are kept as artifacts."""

    run_id: str
    metrics: dict[str, float] = field(default_factory=dict)
    artifacts: Path | None = None


def made_by(dagster_run: str) -> dict[str, str]:
    """Tags of a run: which code, and which run of Dagster."""
    return {"samae.commit": commit(), "dagster.run_id": dagster_run}


@contextlib.contextmanager
def tracked(tracking: Tracking, name: str, cycle: str, tags: dict[str, str]) -> Iterator[TrackedRun]:
    """Open a run below the parent of `cycle`; it ends FINISHED with the block, KILLED by an interrupt, else FAILED."""
    run = TrackedRun(tracking.start(name, cycle, tags))
    status = "FAILED"
    try:
        yield run
        status = "FINISHED"
    except (DagsterExecutionInterruptedError, KeyboardInterrupt):
        status = "KILLED"
        raise
    finally:
        tracking.finish(run.run_id, status, run.metrics, run.artifacts)
