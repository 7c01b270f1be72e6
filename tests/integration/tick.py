"""One tick of the sensors, and on request of the weekly schedule, again and again until nothing is asked for.

A run that failed is the last one.

    python -m tests.integration.tick [--monday] [--hold FOLDER]    # of a judgement one task alone ends, as held.py says

What Dagster's daemon does with the answers is done here in one process, without its half minute between two ticks:
partitions are added, a run key is honoured once, every run is executed. Prints a JSON line a run.
"""

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg

from faces.files import read_json, write_json
from pipelines.commands.demo import quieten
from pipelines.definitions import defs
from pipelines.materialise import QUIET_LOG, open_instance
from pipelines.resources import Samae
from pipelines.schedules import weekly_retraining
from pipelines.sensors import follow_up, new_folders
from pipelines.settings import Settings, load_settings
from tests.integration.held import hold_judgements


def main(is_monday: bool) -> None:
    quieten()
    settings = load_settings()
    with open_instance(settings) as instance:
        waiting = list(asked_by_schedule(instance)) if is_monday else []
        while waiting := waiting or list(asked_by_sensors(instance)):
            waiting = [request for request in waiting if is_new(settings, request)]
            done = [tell(execute(instance, request)) for request in waiting]
            if not all(run["success"] for run in done) or not done:
                break
            waiting = []


def tell(run: dict[str, Any]) -> dict[str, Any]:
    """Print a run as a line, and hand it on."""
    print(json.dumps(run), flush=True)
    return run


def asked_by_schedule(instance: dg.DagsterInstance) -> Iterator[dg.RunRequest]:
    monday = datetime(2026, 11, 30, 3, tzinfo=UTC)
    context = dg.build_schedule_context(instance, scheduled_execution_time=monday, resources={"samae": Samae()})
    for answer in weekly_retraining(context):
        if isinstance(answer, dg.SkipReason):
            print(json.dumps({"skipped": answer.skip_message}), flush=True)
        else:
            yield answer._replace(job_name=weekly_retraining.job_name)


def asked_by_sensors(instance: dg.DagsterInstance) -> Iterator[dg.RunRequest]:
    for sensor in (new_folders, follow_up):
        context = dg.build_sensor_context(instance, resources={"samae": Samae()}, definitions=defs)
        answer = sensor(context)
        if isinstance(answer, dg.SensorResult):
            for more in answer.dynamic_partitions_requests or ():
                instance.add_dynamic_partitions(more.partitions_def_name, list(more.partition_keys))
            yield from answer.run_requests or ()
        elif not isinstance(answer, dg.SkipReason):
            yield from (request for request in answer if isinstance(request, dg.RunRequest))


def is_new(settings: Settings, request: dg.RunRequest) -> bool:
    """Whether this run key was never asked for; notes it."""
    path = settings.home / "run_keys.json"
    known = read_json(path) if path.is_file() else []
    if request.run_key in known:
        return False
    write_json(path, [*known, request.run_key])
    return True


def execute(instance: dg.DagsterInstance, request: dg.RunRequest) -> dict[str, Any]:
    job = defs.resolve_job_def(str(request.job_name or "prepare_folder"))
    result = job.execute_in_process(
        instance=instance, partition_key=request.partition_key, run_config=QUIET_LOG, raise_on_error=False,
        asset_selection=request.asset_selection, tags=request.tags,
    )  # fmt: skip
    made = sorted({event.asset_key.to_user_string() for event in result.get_asset_materialization_events()})
    errors = [event.step_failure_data.error for event in result.all_events if event.is_step_failure]
    while errors and errors[0] is not None and errors[0].cause is not None:
        errors[0] = errors[0].cause
    return {
        "job": job.name,
        "partition": request.partition_key,
        "success": result.success,
        "made": made,
        "error": errors[0].message if errors and errors[0] else None,
    }


if __name__ == "__main__":
    if "--hold" in sys.argv[1:]:
        hold_judgements(Path(sys.argv[sys.argv.index("--hold") + 1]))
    main("--monday" in sys.argv[1:])
