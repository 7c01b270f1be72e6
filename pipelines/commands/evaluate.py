"""`samae evaluate --recipe NAME [--protocol P]`: judge a trained recipe on frozen pairs, beside the baselines.

Protocol "cross" is the asset swap_evaluation[NAME], made when it is out of date; the others are judged here and now,
in the same pool and with the same kept rows, and leave the assets as they are.
"""

import json
from typing import Any

from faces.errors import SamaeError
from pipelines.commands.demo import quieten
from pipelines.settings import load_settings


def run(recipe: str, as_json: bool, protocol: str = "cross") -> None:
    """Judge a recipe by a protocol, and print it."""
    quieten()
    from assets.partitions import recipe_names
    from evaluation.pairs import PROTOCOLS

    if recipe not in recipe_names():
        raise SamaeError(f"no recipe is called {recipe!r}; there are {', '.join(recipe_names())}")
    if protocol not in PROTOCOLS:
        raise SamaeError(f"there is no pair protocol {protocol!r}; choose one of {', '.join(PROTOCOLS)}")
    settings = load_settings()
    settings.store.manifest("swap_model", recipe)
    evaluation = _asset(settings, recipe) if protocol == "cross" else _judged(settings, recipe, protocol)
    print(json.dumps(evaluation.summary, indent=2) if as_json else table(evaluation))


def _asset(settings: Any, recipe: str) -> Any:
    from assets.evaluation import read_kept
    from pipelines.materialise import materialise, open_instance

    with open_instance(settings) as instance:
        materialise(settings, instance, "swap_evaluation", recipe)
    return read_kept(settings.store, recipe)


def _judged(settings: Any, recipe: str, protocol: str) -> Any:
    from assets.judging import judge_export
    from assets.models import EXPORT
    from pipelines.ray_pool import RayPool

    pool = RayPool(address=settings.ray, cores=settings.cores)
    try:
        export = settings.store.folder("swap_model", recipe) / EXPORT
        return judge_export(settings.plan, settings.store, export, pool, lambda *_: None, protocol)
    finally:
        pool.stop()


def table(evaluation: Any) -> str:
    """One line a metric: the system with its interval, then every baseline."""
    names = list(evaluation.baselines)
    lines = [
        f"{evaluation.name} on {len(evaluation.pairs)} pairs",
        f"{'':<34}{evaluation.name:>26}" + "".join(f"{n:>14}" for n in names),
    ]
    for metric, figure in evaluation.summary.items():
        own = f"{figure['mean']:.3f} ({figure['low']:.3f}..{figure['high']:.3f})"
        rest = "".join(f"{evaluation.baselines[n][metric]['mean']:>14.3f}" for n in names)
        lines.append(f"{metric + ' ' + figure['unit']:<34}{own:>26}{rest}")
    return "\n".join(lines)
