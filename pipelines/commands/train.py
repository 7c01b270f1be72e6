"""`samae train --recipe NAME`: the asset swap_model of one recipe, made from the shards that are there."""

import json
import os

from faces.errors import SamaeError
from pipelines.commands.demo import quieten
from pipelines.settings import load_settings


def run(recipe: str, overrides: list[str], ranks: int | None, dry_run: bool) -> None:
    """Train when the model is not up to date; --dry-run prints the resolved recipe."""
    quieten()
    from assets.graph import recipe_overrides
    from assets.partitions import recipe_names
    from training.config import load_recipe

    if recipe not in recipe_names():
        raise SamaeError(f"no recipe is called {recipe!r}; there are {', '.join(recipe_names())}")
    if overrides:
        given = os.environ.get("SAMAE_OVERRIDES", "")
        os.environ["SAMAE_OVERRIDES"] = ",".join([*filter(None, [given]), *(f"{recipe}:{o}" for o in overrides)])
    if ranks:
        os.environ["SAMAE_RANKS"] = str(ranks)
    settings = load_settings()
    resolved = load_recipe(recipe, recipe_overrides(settings.plan, recipe))
    if dry_run:
        print(json.dumps({**resolved.as_dict(), "digest": resolved.digest, "ranks": settings.ranks}, indent=2))
        return
    from pipelines.materialise import materialise, open_instance
    from pipelines.terminal import Terminal

    settings.store.manifest("training_shards")
    with open_instance(settings) as instance, Terminal() as terminal:
        made = materialise(settings, instance, "swap_model", recipe, terminal.started)
        terminal.ended(made)
    print(f"The model lies in {settings.store.folder('swap_model', recipe) / 'export'}")
