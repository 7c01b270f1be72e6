"""`samae evaluate --recipe NAME [--protocol P]`: judge a trained recipe on frozen pairs, beside the baselines.

Protocol "cross" is the asset swap_evaluation[NAME], made when it is out of date, also for another number of pairs than
it was made with: --pairs counts as SAMAE_PAIRS. The others are judged here and now, in the same pool and with the same
kept rows, and leave the assets as they are. `video` draws sequences; `faceforensics` and `celeba-hq` read the folders
that SAMAE_FACEFORENSICS and SAMAE_CELEBA_HQ name. By these three the weights that come with the project can be judged,
too (--recipe samae-people): nothing has to be trained for that.
"""

import json
import math
import os
import sys
from pathlib import Path
from typing import Any

from faces.errors import SamaeError
from pipelines.commands.demo import quieten
from pipelines.settings import load_settings

SHOWN_REASONS = 5


def run(
    recipe: str, as_json: bool, protocol: str = "cross", pairs: int | None = None, report: Path | None = None
) -> None:
    """Judge a recipe by a protocol, and print it. pairs: as SAMAE_PAIRS, or the first of a set's list.

    report: where a self-contained page of it is written, too.
    """
    quieten()
    from assets.partitions import recipe_names
    from evaluation.pairs import PROTOCOLS, SET_PROTOCOLS
    from training.weights import shipped_names

    names = [*recipe_names(), *(shipped_names() if protocol in SET_PROTOCOLS else ())]
    if recipe in shipped_names() and recipe not in names:
        raise SamaeError(
            f"{recipe} are weights that come with Samae: `samae bench results --set model={recipe}` judges them, or "
            f"--protocol {', '.join(SET_PROTOCOLS)} here"
        )
    if recipe not in names:
        raise SamaeError(f"no recipe is called {recipe!r}; there are {', '.join(names)}")
    every = (*PROTOCOLS, *SET_PROTOCOLS)
    if protocol not in every:
        raise SamaeError(f"there is no pair protocol {protocol!r}; choose one of {', '.join(every)}")
    if pairs is not None:
        os.environ["SAMAE_PAIRS"] = str(pairs)  # the asset's run reads the environment anew
    settings = load_settings()
    pictures = picture_set(settings, protocol) if protocol in SET_PROTOCOLS else None
    export = export_of(settings, recipe)
    if protocol == "cross":
        evaluation = _asset(settings, recipe)
    else:
        evaluation = _judged(settings, export, protocol, pictures, pairs)
    if report is not None:
        from evaluation.report import write_report

        about = {"protocol": protocol, "recipe": recipe, "weights": evaluation.provenance["system_digest"]}
        write_report(evaluation, None, about, report)
    print(json.dumps(evaluation.summary, indent=2) if as_json else table(evaluation))


def _asset(settings: Any, recipe: str) -> Any:
    from assets.evaluation import read_kept
    from pipelines.materialise import materialise, open_instance

    with open_instance(settings) as instance:
        materialise(settings, instance, "swap_evaluation", recipe)
    return read_kept(settings.store, recipe)


def picture_set(settings: Any, protocol: str) -> Any:
    """The set of a protocol that needs no shards; SamaeError when its folder is not named or not as published."""
    from evaluation.sets.celeba_hq import open_celeba_hq
    from evaluation.sets.faceforensics import open_faceforensics
    from evaluation.sets.sequences import sequences_for

    if protocol == "video":
        return sequences_for(settings.seed, settings.pairs, max(settings.photo_px, settings.picture_px))
    folder = settings.faceforensics if protocol == "faceforensics" else settings.celeba_hq
    if folder is None:
        name = f"SAMAE_{protocol.upper().replace('-', '_')}"
        raise SamaeError(f"protocol {protocol} needs the set's folder: name it by {name}")
    return open_faceforensics(folder) if protocol == "faceforensics" else open_celeba_hq(folder)


def export_of(settings: Any, recipe: str) -> Path:
    """Folder of a recipe's trained weights, or of those that come with the project; SamaeError when not made yet."""
    from assets.models import EXPORT
    from training.weights import find_weights, shipped_names

    if recipe in shipped_names():
        return find_weights(recipe).folder
    settings.store.manifest("swap_model", recipe)
    return settings.store.folder("swap_model", recipe) / EXPORT


def _judged(settings: Any, export: Path, protocol: str, pictures: Any, pairs: int | None) -> Any:
    from assets.judging import judge_export, judge_set
    from pipelines.ray_pool import RayPool

    pool = RayPool(address=settings.ray, cores=settings.cores)
    try:
        if pictures is not None:
            return judge_set(settings.plan, settings.store, export, pool, _show, pictures, pairs)
        return judge_export(settings.plan, settings.store, export, pool, _show, protocol)
    finally:
        pool.stop()


def _show(done: float, total: float, note: str = "") -> None:
    """A line that counts up on a terminal; nothing elsewhere."""
    if sys.stderr.isatty():
        print(f"\r{done:.0f} of {total:.0f} {note}".ljust(40), end="\n" if done >= total else "", file=sys.stderr)


def table(evaluation: Any) -> str:
    """One line a metric: the system with its interval and pairs measured, then every baseline; first who failed."""
    names = list(evaluation.baselines)
    lines = [
        f"{evaluation.name} on {len(evaluation.pairs)} pairs ({evaluation.pairs.name}, {evaluation.pairs.digest})",
        f"{'':<34}{evaluation.name:>26}{'pairs':>8}" + "".join(f"{n:>14}" for n in names),
        f"{'failed pairs':<34}{evaluation.failed():>26}{len(evaluation.pairs):>8}"
        + "".join(f"{evaluation.failed(n):>14}" for n in names),
    ]
    shown, missing = {info.name: info for info in evaluation.metrics}, []
    for metric, figure in evaluation.summary.items():
        if math.isnan(figure["mean"]):
            missing.append(metric)  # FID without its weights, or no fit that can be trusted
            continue
        scale, unit = shown[metric].scale, shown[metric].unit
        has_interval = not math.isnan(figure["low"])  # a figure of the whole set has none
        span = f" ({scale * figure['low']:.3f}..{scale * figure['high']:.3f})" if has_interval else ""
        own = f"{scale * figure['mean']:.3f}{span}"
        rest = "".join(f"{scale * evaluation.baselines[n][metric]['mean']:>14.3f}" for n in names)
        lines.append(f"{metric + ' ' + unit:<34}{own:>26}{figure['n']:>8}{rest}")
    lines += [f"not measured here: {', '.join(missing)} (the page says why: --report)"] if missing else []
    lost = sorted({why for why in evaluation.rows.column("reason").to_pylist() if why})
    lines += [f"failed: {why}" for why in lost[:SHOWN_REASONS]]
    lines += [f"… and {len(lost) - SHOWN_REASONS} more reasons"] if len(lost) > SHOWN_REASONS else []
    return "\n".join(lines)
