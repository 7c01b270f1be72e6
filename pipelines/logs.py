"""The console of a run as one JSON object a line (SAMAE_LOG_JSON): run id, step, level, message, time.

Dagster takes `Definitions(loggers=)` only for runs whose own configuration names a logger. Runs of schedules, sensors,
backfills and the page name none and get its coloured lines, for which it has no setting; so the default is replaced.
"""

from collections.abc import Mapping, Sequence

import dagster as dg
from dagster._core.execution import context_creation_job


def json_by_default(instance: dg.DagsterInstance | None) -> Sequence[tuple[dg.LoggerDefinition, Mapping[str, object]]]:
    """What a run gets that names no logger: (Dagster's JSON console, its configuration)."""
    level = instance.python_log_level if instance is not None and instance.python_log_level else "DEBUG"
    return [(dg.json_console_logger, {"name": "dagster", "log_level": level})]


def write_json_lines() -> None:
    """From now on, runs of this process that name no logger write JSON lines."""
    context_creation_job.default_system_loggers = json_by_default
