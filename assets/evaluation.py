"""swap_evaluation, leaderboard and champion: how good every recipe is, side by side, and which one is released."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from assets.cards import model_card
from assets.common import result
from assets.graph import STAGES, provenance
from assets.judging import judge_export, loss_curves
from assets.models import EXPORT
from assets.plan import Plan
from assets.ports import Pool, Samae, Tracking
from assets.promotion import CHAMPION, EXPORT_TAG, ROLLED_BACK_TAG, carry_out, unfinished
from assets.room import require_room
from assets.store import Store
from assets.tracked import made_by, tracked
from faces.errors import SamaeError
from faces.files import read_manifest, write_json

REPORT_NAME = "report.html"
KEPT = "evaluation"


@dg.asset(**STAGES["swap_evaluation"].spec())
def swap_evaluation(
    context: dg.AssetExecutionContext,
    samae: dg.ResourceParam[Samae],
    pool: dg.ResourceParam[Pool],
    tracking: dg.ResourceParam[Tracking],
) -> dg.MaterializeResult:
    """Swap the frozen pairs with one recipe's model, measure, and compare with the baselines; with a page of it."""
    from evaluation.evaluation import write_evaluation
    from evaluation.report import write_report

    recipe, plan, store = context.partition_key, samae.plan, samae.store
    made_from = provenance("swap_evaluation", recipe, plan, store)
    export = store.folder("swap_model", recipe) / EXPORT
    require_room(samae, "swap_evaluation")
    evaluation = judge_export(plan, store, export, pool, samae.progress(context, "swap_evaluation"))
    cycle = store.digest("training_shards")
    tags = {
        "samae.kind": "evaluation",
        "recipe": recipe,
        "samae.dataset_digest": cycle,
        "samae.pairs_digest": evaluation.pairs.digest,
        "samae.judge_digest": str(evaluation.provenance["judge_digest"]),
        **made_by(context.run_id),
    }
    # the run is inside: an evaluation whose run cannot be kept is not kept either, and is made again
    with (
        store.write("swap_evaluation", recipe, made_from) as (folder, metadata),
        tracked(tracking, f"evaluation-{recipe}", cycle, tags) as run,
    ):
        write_evaluation(folder / KEPT, evaluation)
        about = report_settings(plan, store, [recipe])
        write_report(evaluation, training_curves(store, recipe), about, folder / REPORT_NAME)
        metadata["mlflow_run"] = run.run_id
        describe(tracking, run.run_id, recipe, plan, evaluation)
        run.metrics = evaluation.flat("eval/") | evaluation.interval_ends("interval/")
        run.artifacts = folder
    page = {
        "report": dg.MetadataValue.path(str(store.folder("swap_evaluation", recipe) / REPORT_NAME)),
        "mlflow": dg.MetadataValue.url(tracking.page(run.run_id)),
    }
    return result(samae, "swap_evaluation", recipe, page | {k: round(v, 4) for k, v in evaluation.flat().items()})


def describe(tracking: Tracking, run_id: str, recipe: str, plan: Plan, evaluation: Any) -> None:
    """What MLflow's compare page shows beside the metrics: the pair list, parameters, grids, and a row a pair."""
    pairs = evaluation.pairs
    params = {
        "recipe": recipe,
        "protocol": pairs.protocol,
        "pairs": str(len(pairs)),
        "judges": ", ".join(plan.judges),
        "encoder": plan.encoder,
        "head": plan.head,
        "picture_px": str(plan.picture_px),
        "seed": str(plan.seed),
    }
    about = {"shards": pairs.shards_digest, "protocol": pairs.protocol, "seed": str(pairs.seed)}
    tracking.judged_on(run_id, f"pairs-{pairs.name}", pairs.digest, about)
    tracking.describe(run_id, params, evaluation.grids, pair_table(evaluation))


def pair_table(evaluation: Any) -> dict[str, list[Any]]:
    """One recipe's pairs for the tracker's table: pair, status and every headline metric."""
    from evaluation.rows import system_rows

    rows = system_rows(evaluation.rows, evaluation.name)
    names = [m.name for m in evaluation.metrics if m.name in rows.column_names and "." not in m.name]
    return {name: rows.column(name).to_pylist() for name in ("pair_id", "status", *names)}


def read_kept(store: Store, recipe: str) -> Any:
    """The evaluation of a recipe."""
    from evaluation.evaluation import read_evaluation

    store.manifest("swap_evaluation", recipe)
    return read_evaluation(store.folder("swap_evaluation", recipe) / KEPT)


@dg.asset(**STAGES["leaderboard"].spec())
def leaderboard(context: dg.AssetExecutionContext, samae: dg.ResourceParam[Samae]) -> dg.MaterializeResult:
    """All recipes and baselines in one self-contained page, the best first."""
    from evaluation.leaderboard import best_first
    from evaluation.report import write_report

    plan, store = samae.plan, samae.store
    evaluations = [read_kept(store, recipe) for recipe in plan.recipes]
    order = [evaluation.name for evaluation in best_first(evaluations)]
    with store.write("leaderboard", None, provenance("leaderboard", None, plan, store)) as (folder, _):
        curves = {recipe: training_curves(store, recipe) for recipe in plan.recipes}
        write_report(evaluations, curves, report_settings(plan, store, plan.recipes), folder / REPORT_NAME)
        write_json(folder / "ranking.json", {"order": order, "figures": {e.name: e.flat() for e in evaluations}})
    return result(
        samae,
        "leaderboard",
        None,
        {
            "report": dg.MetadataValue.path(str(store.folder("leaderboard") / REPORT_NAME)),
            "best": order[0],
        },
    )


def training_curves(store: Store, recipe: str) -> dict[str, list[tuple[float, float]]]:
    """Loss -> (kimg, value) points of the run that made a recipe's model; empty when the run's folder is gone."""
    return loss_curves(store.runs / str(store.metadata("swap_model", recipe)["run"]))


def report_settings(plan: Plan, store: Store, recipes: Sequence[str]) -> dict[str, Any]:
    """What a report of these recipes says about how it was made."""
    from assets.machine import commit

    return {
        **plan.model_dump(mode="json"),
        "photographs_digest": store.digest("photographs"),
        "shards_digest": store.digest("training_shards"),
        "model_digests": {recipe: store.digest("swap_model", recipe) for recipe in recipes},
        "commit": commit(),
    }


@dg.asset(**STAGES["champion"].spec(), pool="registry")
def champion(
    context: dg.AssetExecutionContext,
    samae: dg.ResourceParam[Samae],
    pool: dg.ResourceParam[Pool],
    tracking: dg.ResourceParam[Tracking],
) -> dg.MaterializeResult:
    """Register every recipe's model; the best that passes the gate becomes champion.

    The aliases move before the asset is kept: a run that is killed in between is made again and finds them moved.
    """
    plan, store = samae.plan, samae.store
    require_room(samae, "champion")
    made_from = provenance("champion", None, plan, store)
    evaluations = {recipe: read_kept(store, recipe) for recipe in plan.recipes}
    versions = {recipe: register(plan, store, tracking, recipe, evaluations[recipe]) for recipe in plan.recipes}
    reigning = tracking.version_at(CHAMPION)

    def judge_again(export: Path) -> Any:
        """The reigning champion's export, judged on today's shards."""
        return judge_export(plan, store, export, pool, samae.progress(context, "champion"))

    outcome = unfinished(store, made_from, reigning)
    if outcome is None:
        outcome = promotion(tracking, evaluations, versions, reigning, judge_again)
        carry_out(tracking, store, outcome, versions, made_from)
    with store.write("champion", None, made_from) as (folder, _):
        write_json(folder / "verdict.json", outcome)
    return result(
        samae,
        "champion",
        None,
        {
            "champion_version": (tracking.version_at(CHAMPION) or ("none", {}))[0],
            "promoted": outcome["promoted"] or "nobody",
            "verdicts": dg.MetadataValue.json(outcome["verdicts"]),
        },
    )


def register(plan: Plan, store: Store, tracking: Tracking, recipe: str, evaluation: Any) -> str:
    """A model version of one recipe's export, with its model card, and what a user must know as tags; its number."""
    export = store.folder("swap_model", recipe) / EXPORT
    tags = {
        EXPORT_TAG: read_manifest(export).digest,
        "recipe": recipe,
        "shards": store.digest("training_shards"),
        "encoder": plan.encoder,
        "head": plan.head,
        **{f"eval.{name}": f"{value:.4f}" for name, value in evaluation.flat().items()},
    }
    run_id = str(store.metadata("swap_model", recipe)["mlflow_run"])
    return tracking.register(run_id, export, tags, model_card(plan, store, recipe, evaluation))


def promotion(
    tracking: Tracking,
    evaluations: dict[str, Any],
    versions: dict[str, str],
    reigning: tuple[str, dict[str, str]] | None,
    judge_again: Callable[[Path], Any],
) -> dict[str, Any]:
    """Which recipe (if any) takes the champion's place, and every verdict on the way.

    The gate decides, and when in doubt it stays shut. A champion that is none of today's models is judged again with
    today's code and data; one that fails most pairs is no measure, and a challenger is weighed against the baselines
    instead, as it could never be replaced otherwise. A version that was rolled back is passed over.
    """
    from evaluation.gate import decide, why_no_measure
    from evaluation.leaderboard import best_first

    if reigning and reigning[0] in versions.values():
        holder = next(recipe for recipe, number in versions.items() if number == reigning[0])
        old = evaluations[holder]
    elif reigning:
        holder = ""
        try:
            old = judge_again(tracking.export_folder(reigning[0]))
        except SamaeError as error:
            reason = f"version {reigning[0]}, the champion, cannot be judged on today's data ({error})"
            return {
                "promoted": None,
                "champion_before": reigning[0],
                "verdicts": [{"promote": False, "challenger": recipe, "reasons": [reason]} for recipe in versions],
            }
    else:
        holder, old = "", None
    notes = []
    if old is not None and reigning and (why := why_no_measure(old)):
        notes = [f"weighed as a first champion, as version {reigning[0]}, the champion, is no measure: {why}"]
        old = None
    verdicts, promoted = [], None
    for name in (evaluation.name for evaluation in best_first(list(evaluations.values()))):
        if name == holder:
            break
        if day := tracking.tags_of(versions[name]).get(ROLLED_BACK_TAG):
            reason = (
                f"version {versions[name]} was rolled back on {day} and is not promoted again by itself: train another "
                f"or delete its tag {ROLLED_BACK_TAG} in MLflow and make champion again"
            )
            verdicts.append({"promote": False, "challenger": name, "reasons": [reason]})
            continue
        verdict = decide(old, evaluations[name])
        said = verdict.as_dict()
        verdicts.append(said | {"reasons": [*said["reasons"], *notes]})
        if verdict.promote:
            promoted = name
            break
    return {"promoted": promoted, "champion_before": reigning[0] if reigning else None, "verdicts": verdicts}
