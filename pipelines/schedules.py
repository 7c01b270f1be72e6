"""The weekly retraining: off until somebody switches it on, and idle when nothing changed."""

from collections.abc import Iterator

import dagster as dg

from assets.graph import provenance
from assets.ports import Samae
from pipelines.jobs import train_recipe


@dg.schedule(
    job=train_recipe,
    cron_schedule="0 3 * * 1",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Monday 03:00 UTC: retrain the recipes whose data, code or settings changed since they were trained.",
)
def weekly_retraining(
    context: dg.ScheduleEvaluationContext, samae: dg.ResourceParam[Samae]
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """One run a recipe that is out of date; a word when none is."""
    stale = stale_recipes(samae)
    if not stale:
        yield dg.SkipReason("every model was trained on today's data, code and settings")
    for recipe, digest in stale.items():
        yield dg.RunRequest(run_key=f"{recipe}-{digest}", partition_key=recipe)


def stale_recipes(samae: Samae) -> dict[str, str]:
    """Recipe -> digest of what it would be trained from, for the recipes whose model was made from something else."""
    from faces.files import digest_of

    stale = {}
    for recipe in samae.plan.recipes:
        wanted = provenance("swap_model", recipe, samae.plan, samae.store)
        if not samae.store.is_current("swap_model", recipe, wanted):
            stale[recipe] = digest_of(wanted)
    return stale
