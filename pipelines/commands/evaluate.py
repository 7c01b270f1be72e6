"""`samae evaluate --recipe NAME`: judge a trained recipe on the frozen pairs; its figures beside the baselines."""

import json
from typing import Any

from faces.errors import SamaeError
from pipelines.commands.demo import quieten
from pipelines.settings import load_settings


def run(recipe: str, as_json: bool) -> None:
    """Materialise swap_evaluation[recipe] when it is out of date, then print it."""
    quieten()
    from assets.evaluation import read_kept
    from assets.partitions import recipe_names
    from pipelines.materialise import materialise, open_instance

    if recipe not in recipe_names():
        raise SamaeError(f"no recipe is called {recipe!r}; there are {', '.join(recipe_names())}")
    settings = load_settings()
    settings.store.manifest("swap_model", recipe)
    with open_instance(settings) as instance:
        materialise(settings, instance, "swap_evaluation", recipe)
    evaluation = read_kept(settings.store, recipe)
    print(json.dumps(evaluation.summary, indent=2) if as_json else table(evaluation))


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
