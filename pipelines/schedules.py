"""The weekly retraining: off until somebody switches it on, and idle when nothing changed."""

from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg

from assets.automation import FRESHNESS
from assets.graph import STAGES, is_made, partitions_of, what_it_waits_for
from assets.ports import Samae
from faces.errors import SamaeError
from pipelines.jobs import train_recipe
from pipelines.settings import load_settings
from pipelines.tries import some_of

#: A run that has one of these statuses will still change something.
UNDER_WAY = [
    dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING,
]  # fmt: skip


def switched_on() -> bool:
    """The one switch of schedule and sensors, SAMAE_WEEKLY; a wrong setting is reported by the definitions."""
    return load_settings().weekly


def status_of_schedule() -> dg.DefaultScheduleStatus:
    """RUNNING when the switch is on."""
    return dg.DefaultScheduleStatus.RUNNING if switched_on() else dg.DefaultScheduleStatus.STOPPED


@dg.schedule(
    job=train_recipe,
    cron_schedule="0 3 * * 1",
    execution_timezone="UTC",
    default_status=status_of_schedule(),
    description="Monday 03:00 UTC: retrain the recipes whose data, code or settings changed since they were trained; "
    "each run trains and judges, and the sensor follow_up runs the gate after it. SAMAE_WEEKLY=true switches it on.",
)
def weekly_retraining(
    context: dg.ScheduleEvaluationContext, samae: dg.ResourceParam[Samae]
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """One run a recipe that is out of date; a word when none is."""
    try:
        confirm_current(context.instance, samae)
        if not is_made("training_shards", None, samae.plan, samae.store):
            yield dg.SkipReason(f"the shards wait for the sensors, which must be on: {what_is_missing(samae)}")
            return
        stale = stale_recipes(samae)
    except SamaeError as error:
        yield dg.SkipReason(str(error))
        return
    busy = recipes_under_way(context.instance)
    if not set(stale) - busy:
        yield dg.SkipReason("every model was trained on today's data, code and settings, or is being trained")
    for recipe, digest in stale.items():
        if recipe not in busy:
            yield dg.RunRequest(run_key=f"{recipe}-{digest}", partition_key=recipe)


def confirm_current(instance: dg.DagsterInstance, samae: Samae) -> None:
    """Tell Dagster of the assets with a freshness policy that they are still what today's inputs would give.

    Each gets its last materialisation once more, with the day in its metadata; one that is overtaken gets none.
    """
    for stage in FRESHNESS:
        entry = instance.get_latest_materialization_event(dg.AssetKey(stage))
        last = entry.asset_materialization if entry is not None else None
        if last is not None and is_made(stage, None, samae.plan, samae.store):
            found = {**last.metadata, "found up to date": f"{datetime.now(UTC):%Y-%m-%d}"}
            instance.report_runless_asset_event(dg.AssetMaterialization(stage, metadata=found, tags=last.tags))


def what_is_missing(samae: Samae) -> str:
    """One sentence: the first stage that could be made and is not, and who makes it; or that nothing is missing."""
    for name, stage in STAGES.items():
        parts = partitions_of(name, samae.plan, samae.store)
        waiting = [part or "" for part in parts if what_it_waits_for(name, part, samae.plan, samae.store)]
        if waiting:
            who = {"folder": "new_folders asks for it", "recipe": "it is being made, or weekly_retraining asks for it"}
            of = f" of {some_of(waiting)}" if stage.cut != "whole" else ""
            return f"{name}{of} is not made: {who.get(stage.cut, 'it is being made')}"
    return "everything is made"


def stale_recipes(samae: Samae) -> dict[str, str]:
    """Recipe -> digest of what it would be trained from, for the recipes whose model was made from something else."""
    from assets.graph import provenance
    from faces.files import digest_of

    stale = {}
    for recipe in samae.plan.recipes:
        wanted = provenance("swap_model", recipe, samae.plan, samae.store)
        if not samae.store.is_current("swap_model", recipe, wanted):
            stale[recipe] = digest_of(wanted)
    return stale


def untrained_recipes(samae: Samae) -> dict[str, str]:
    """The same for recipes that have no model at all and whose shards are there: they need not wait for Monday."""
    from faces.files import is_complete

    waiting = {}
    for recipe in samae.plan.recipes:
        if not is_complete(samae.store.folder("swap_model", recipe)):
            digest = what_it_waits_for("swap_model", recipe, samae.plan, samae.store)
            if digest:
                waiting[recipe] = digest
    return waiting


def recipes_under_way(instance: dg.DagsterInstance) -> set[str]:
    """Recipes that a run trains or is about to train."""
    runs = instance.get_runs(dg.RunsFilter(job_name=train_recipe.name, statuses=UNDER_WAY))
    return {run.tags["dagster/partition"] for run in runs if "dagster/partition" in run.tags}
