"""Sensors: a new folder of photographs is prepared, what follows from it is made, and a failed run is told."""

import base64
import json
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit
from urllib.request import Request, urlopen

import dagster as dg
from dagster._core.event_api import PartitionKeyFilter
from dagster._core.storage.asset_check_execution_record import (
    COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES,
    AssetCheckExecutionRecordStatus,
    AssetCheckPartitionInfo,
)

from assets.automation import CONDITIONS
from assets.graph import is_made, provenance, what_it_waits_for
from assets.listing import folder_names
from assets.partitions import FOLDERS_NAME, folder_partitions
from assets.ports import Samae
from faces.errors import SamaeError
from faces.files import digest_of
from pipelines.jobs import FOLDER_ASSETS, find_photographs, make_shards, prepare_folder, promote, train_recipe
from pipelines.schedules import UNDER_WAY, recipes_under_way, switched_on, untrained_recipes, what_is_missing
from pipelines.settings import load_settings, without_user
from pipelines.tries import FAILED, asked_again, some_of

#: How long a webhook may take, seconds.
WEBHOOK_TIMEOUT_S = 10.0
#: The blocking check of every stage of a folder (assets/checks.py).
FOLDER_CHECK = "schema_is_right"


def status_of_sensor() -> dg.DefaultSensorStatus:
    """RUNNING when the one switch (SAMAE_WEEKLY) is on."""
    return dg.DefaultSensorStatus.RUNNING if switched_on() else dg.DefaultSensorStatus.STOPPED


@dg.sensor(
    job=prepare_folder,
    minimum_interval_seconds=30,
    default_status=status_of_sensor(),
    description="A folder that ffhq-dataset-v2.json lists and no partition knows becomes a partition; of every folder, "
    "the stages that are not made are made: of a new or changed one all, else what failed or what new code overtook.",
)
def new_folders(context: dg.SensorEvaluationContext, samae: dg.ResourceParam[Samae]) -> dg.SensorResult | dg.SkipReason:
    """One run a folder that lacks a stage and has no run; what failed is tried again (pipelines/tries.py)."""
    try:
        folders = list(folder_names(samae.store))
        busy = folders_under_way(context.instance, folders)
        unsound = checked_in_vain(context.instance)
        lacking = {name: wanted for name in folders if (wanted := stages_wanted(samae, name, unsound.get(name, ())))}
        photographs = is_made("photographs", None, samae.plan, samae.store)
    except SamaeError as error:
        return dg.SkipReason(str(error))
    known = set(context.instance.get_dynamic_partitions(FOLDERS_NAME))
    new = [folder for folder in folders if folder not in known]
    requests: list[dg.RunRequest] = []
    waiting = [f"{name} is being prepared" for name in lacking if name in busy]
    for name in (name for name in lacking if name not in busy):
        answer = folder_request(context.instance, samae, name, *lacking[name])
        if isinstance(answer, str):
            waiting.append(answer)
        else:
            requests.append(answer)
    if not photographs:
        waiting = ["the photographs are not registered as they are now: follow_up asks for find_photographs first"]
    return dg.SensorResult(
        run_requests=requests,
        skip_reason=None if requests else some_of(waiting, "; ") or f"all {len(folders)} folders are prepared",
        dynamic_partitions_requests=[folder_partitions.build_add_request(new)] if new else [],
    )


def stages_wanted(samae: Samae, folder: str, unsound: Collection[str] = ()) -> tuple[list[str], str] | None:
    """(stages of a folder that are not made, digest of what they wait for); None when it lacks none, or must wait.

    `unsound`: stages that were checked in vain; they count as not made.
    """
    plan, store = samae.plan, samae.store
    lacking = [stage for stage in FOLDER_ASSETS if not is_made(stage, folder, plan, store)]
    ready = {stage: what_it_waits_for(stage, folder, plan, store) for stage in lacking}
    state = {stage: digest for stage, digest in ready.items() if digest is not None}
    again = [stage for stage in FOLDER_ASSETS if stage in unsound and stage not in lacking]
    state |= {stage: digest_of(provenance(stage, folder, plan, store)) for stage in again}
    if not state:
        return None
    return [stage for stage in FOLDER_ASSETS if stage in lacking or stage in again], digest_of(state)


def folder_request(
    instance: dg.DagsterInstance, samae: Samae, folder: str, stages: list[str], state: str
) -> dg.RunRequest | str:
    """The run that makes these stages of a folder, or why it waits."""
    request = dg.RunRequest(
        run_key=f"{samae.store.set_name}-{folder}-{state}", partition_key=folder,
        asset_selection=[dg.AssetKey(stage) for stage in stages],
    )  # fmt: skip
    return asked_again(instance, request, f"{folder} ({', '.join(stages)})", datetime.now(UTC))


def checked_in_vain(instance: dg.DagsterInstance) -> dict[str, set[str]]:
    """Folder -> its stages whose blocking check failed: nothing may be made from them as they are."""
    keys = [dg.AssetCheckKey(dg.AssetKey(stage), FOLDER_CHECK) for stage in FOLDER_ASSETS]
    unsound: dict[str, set[str]] = defaultdict(set)
    for last in instance.event_log_storage.get_asset_check_partition_info(keys):
        if last.partition_key and is_unsound(instance, last):
            unsound[last.partition_key].add(last.check_key.asset_key.to_user_string())
    return unsound


def is_unsound(instance: dg.DagsterInstance, last: AssetCheckPartitionInfo) -> bool:
    """Whether a check failed, or never came after its stage was made; the one before decides where nothing was made."""
    if last.latest_execution_status != AssetCheckExecutionRecordStatus.PLANNED:
        return last.latest_execution_status == AssetCheckExecutionRecordStatus.FAILED
    if (last.latest_materialization_storage_id or 0) > last.latest_check_event_storage_id:
        return True
    before = instance.event_log_storage.get_asset_check_execution_history(
        last.check_key, 1, status=COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES,
        partition_filter=PartitionKeyFilter(key=str(last.partition_key)),
    )  # fmt: skip
    return any(record.status == AssetCheckExecutionRecordStatus.FAILED for record in before)


def folders_under_way(instance: dg.DagsterInstance, folders: Sequence[str]) -> set[str]:
    """Folders that a run prepares or is about to prepare, whoever asked for it."""
    busy: set[str] = set()
    for run in instance.get_runs(dg.RunsFilter(statuses=UNDER_WAY)):
        selected = {key.to_user_string() for key in run.asset_selection or ()}
        if run.job_name != prepare_folder.name and selected.isdisjoint(FOLDER_ASSETS):
            continue
        one = run.tags.get("dagster/partition", "")
        first = run.tags.get("dagster/asset_partition_range_start", one)
        last = run.tags.get("dagster/asset_partition_range_end", one)
        busy |= {folder for folder in folders if first <= folder <= last}
    return busy


@dg.sensor(
    jobs=[find_photographs, make_shards, train_recipe, promote],
    minimum_interval_seconds=30,
    default_status=status_of_sensor(),
    description="What follows: the photographs, shards when every folder is prepared, the first training of a recipe, "
    "the judging of a model whose own was lost, and the gate when every recipe is judged. Retraining waits for the "
    "weekly schedule.",
)
def follow_up(
    context: dg.SensorEvaluationContext, samae: dg.ResourceParam[Samae]
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Runs whose inputs are whole and new; what failed is tried again, a training that was cancelled is not."""
    try:
        bad = checked_in_vain(context.instance)
        unsound = [folder for folder in folder_names(samae.store) if folder in bad]
        requests = [
            request
            for request in following(samae, recipes_under_way(context.instance), unsound)
            if request.partition_key or not is_under_way(context.instance, str(request.job_name))
        ]
        answers = [follow_up_request(context.instance, request) for request in requests]
        if not requests:
            text = f"new_folders makes {some_of(unsound)} again: a check of its rows failed"
            yield dg.SkipReason(text if unsound else what_is_missing(samae))
    except SamaeError as error:
        yield dg.SkipReason(str(error))
        return
    asked = [answer for answer in answers if isinstance(answer, dg.RunRequest)]
    if requests and not asked:
        yield dg.SkipReason(some_of([str(answer) for answer in answers], "; "))
    yield from asked


def is_under_way(instance: dg.DagsterInstance, job: str) -> bool:
    """Whether a run of a job will still change something."""
    return bool(instance.get_runs(dg.RunsFilter(job_name=job, statuses=UNDER_WAY), limit=1))


def follow_up_request(instance: dg.DagsterInstance, request: dg.RunRequest) -> dg.RunRequest | str:
    """The request's next try, or why it waits. A training that somebody stopped is left to them, or to Monday."""
    name = f"{request.job_name} of {request.partition_key}" if request.partition_key else str(request.job_name)
    trains = request.job_name == train_recipe.name and not request.asset_selection
    counted = [dg.DagsterRunStatus.FAILURE] if trains else FAILED
    return asked_again(instance, request, name, datetime.now(UTC), counted)


def following(samae: Samae, busy: Collection[str] = (), unsound: Collection[str] = ()) -> Iterator[dg.RunRequest]:
    """What can be made now.

    Args:
        busy: recipes that a run trains and will judge itself.  unsound: folders that were checked in vain; no shards
            are made while there is one.
    """
    plan, store = samae.plan, samae.store
    if digest := what_it_waits_for("photographs", None, plan, store):
        yield dg.RunRequest(run_key=f"photographs-{digest}", job_name=find_photographs.name)
        return
    if digest := what_it_waits_for("training_shards", None, plan, store):
        if not unsound:
            yield dg.RunRequest(run_key=f"shards-{digest}", job_name=make_shards.name)
        return
    untrained = {recipe: digest for recipe, digest in untrained_recipes(samae).items() if recipe not in busy}
    for recipe, digest in untrained.items():
        yield dg.RunRequest(run_key=f"first-{recipe}-{digest}", job_name=train_recipe.name, partition_key=recipe)
    for recipe in plan.recipes:
        digest = what_it_waits_for("swap_evaluation", recipe, plan, store)
        if digest and recipe not in busy:
            yield dg.RunRequest(
                run_key=f"judge-{recipe}-{digest}", job_name=train_recipe.name, partition_key=recipe,
                asset_selection=[dg.AssetKey("swap_evaluation")],
            )  # fmt: skip
    for stage in ("leaderboard", "champion"):
        if digest := what_it_waits_for(stage, None, plan, store):
            yield dg.RunRequest(run_key=f"{stage}-{digest}", job_name=promote.name)
            return


#: Runs the conditions of assets/automation.py.
remake_overtaken = dg.AutomationConditionSensorDefinition(
    "remake_overtaken",
    target=dg.AssetSelection.assets(*CONDITIONS),
    default_status=dg.DefaultSensorStatus.STOPPED,
    minimum_interval_seconds=60,
    description="By hand only: prepared folders that Dagster's own records say are overtaken (assets/automation.py). "
    "new_folders does the same by what is on disk, so nothing waits for this one.",
)


@dg.run_failure_sensor(
    name="tell_failures",
    minimum_interval_seconds=15,
    default_status=dg.DefaultSensorStatus.RUNNING if load_settings().webhook else dg.DefaultSensorStatus.STOPPED,
    description="A failed run becomes one JSON message to SAMAE_WEBHOOK.",
)
def tell_failures(context: dg.RunFailureSensorContext) -> None:
    """Post the failure; a webhook that does not answer fails this tick, and it shows on the sensor's page."""
    address = load_settings().webhook
    if not address:
        context.log.info("SAMAE_WEBHOOK is not set: nobody is told")
        return
    run = context.dagster_run
    post(
        address,
        {
            "text": f"samae: run {run.run_id[:8]} of {run.job_name} failed: {context.failure_event.message}",
            "run_id": run.run_id,
            "job": run.job_name,
            "partition": run.tags.get("dagster/partition"),
            "error": first_error(context),
        },
    )


def first_error(context: dg.RunFailureSensorContext) -> str:
    """The sentence of the step that failed first; the run's own when no step did."""
    for event in context.get_step_failure_events():
        error = getattr(event.event_specific_data, "error", None)
        while error is not None and error.cause is not None:
            error = error.cause
        if error is not None:
            return str(error.message).strip()
    return str(context.failure_event.message)


def post(address: str, message: dict[str, object]) -> None:
    """One JSON message ("text" is what Slack and its kin show); user:password@ goes as HTTP's basic authorization.

    Raises:
        SamaeError: it was not taken. It names the host alone: the path of an address may be a secret as well.
    """
    parts = urlsplit(address)
    request = Request(without_user(address), json.dumps(message).encode(), {"Content-Type": "application/json"})
    if parts.username is not None:
        words = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        # not sent on to where a redirection leads
        request.add_unredirected_header("Authorization", f"Basic {base64.b64encode(words.encode()).decode()}")
    try:
        with urlopen(request, timeout=WEBHOOK_TIMEOUT_S):
            pass
    except (OSError, HTTPException, ValueError) as error:
        where = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        raise SamaeError(
            f"the webhook at {where} did not take the message ({_why_not_taken(error)}): mend or unset SAMAE_WEBHOOK"
        ) from None


def _why_not_taken(error: Exception) -> str:
    """An HTTP code or the system's words; of other errors their kind alone, as they may quote the address."""
    if isinstance(error, HTTPError):
        return f"HTTP code {error.code}"
    return str(getattr(error, "reason", error)) if isinstance(error, OSError) else type(error).__name__
