"""Sensors: a new folder of photographs is prepared, what follows from it is made, and a failed run is told."""

import json
from collections.abc import Collection, Iterator
from urllib.request import Request, urlopen

import dagster as dg

from assets.automation import CONDITIONS
from assets.graph import what_it_waits_for
from assets.listing import folder_names
from assets.partitions import FOLDERS_NAME, folder_partitions
from assets.ports import Samae
from faces.errors import SamaeError
from pipelines.jobs import find_photographs, make_shards, prepare_folder, promote, train_recipe
from pipelines.schedules import recipes_under_way, switched_on, untrained_recipes
from pipelines.settings import load_settings

#: How long a webhook may take, seconds.
WEBHOOK_TIMEOUT_S = 10.0


def status_of_sensor() -> dg.DefaultSensorStatus:
    """RUNNING when the one switch (SAMAE_WEEKLY) is on."""
    return dg.DefaultSensorStatus.RUNNING if switched_on() else dg.DefaultSensorStatus.STOPPED


@dg.sensor(
    job=prepare_folder,
    minimum_interval_seconds=30,
    default_status=status_of_sensor(),
    description="A folder that ffhq-dataset-v2.json lists and no partition knows becomes a partition; a folder that is "
    "new, or whose entries changed, is prepared.",
)
def new_folders(context: dg.SensorEvaluationContext, samae: dg.ResourceParam[Samae]) -> dg.SensorResult | dg.SkipReason:
    """One run a folder that is new or changed; the same contents are never asked for twice."""
    try:
        folders = list(folder_names(samae.store))
        waiting = {name: what_it_waits_for("raw_faces", name, samae.plan, samae.store) for name in folders}
    except SamaeError as error:
        return dg.SkipReason(str(error))
    known = set(context.instance.get_dynamic_partitions(FOLDERS_NAME))
    new = [folder for folder in folders if folder not in known]
    changed = {name: digest for name, digest in waiting.items() if digest is not None}
    if not new and not changed:
        return dg.SkipReason(f"all {len(folders)} folders are known")
    return dg.SensorResult(
        run_requests=[
            dg.RunRequest(run_key=f"{samae.store.set_name}-{name}-{digest}", partition_key=name)
            for name, digest in changed.items()
        ],
        dynamic_partitions_requests=[folder_partitions.build_add_request(new)] if new else [],
    )


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
    """Runs whose inputs are whole and new, once for each state of the inputs."""
    try:
        requests = list(following(samae, recipes_under_way(context.instance)))
    except SamaeError as error:
        yield dg.SkipReason(str(error))
        return
    if not requests:
        yield dg.SkipReason("everything that can be made is made")
    yield from requests


def following(samae: Samae, busy: Collection[str] = ()) -> Iterator[dg.RunRequest]:
    """What can be made now. `busy`: recipes that a run trains, and will judge itself."""
    plan, store = samae.plan, samae.store
    if digest := what_it_waits_for("photographs", None, plan, store):
        yield dg.RunRequest(run_key=f"photographs-{digest}", job_name=find_photographs.name)
        return
    if digest := what_it_waits_for("training_shards", None, plan, store):
        yield dg.RunRequest(run_key=f"shards-{digest}", job_name=make_shards.name)
        return
    for recipe, digest in untrained_recipes(samae).items():
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
    description="Prepared folders that new code or new inputs overtook are made again (assets/automation.py).",
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
    """One JSON message ("text" is what Slack and its kin show)."""
    request = Request(address, json.dumps(message).encode(), {"Content-Type": "application/json"})
    with urlopen(request, timeout=WEBHOOK_TIMEOUT_S):
        pass
