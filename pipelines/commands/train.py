"""`samae train --recipe NAME`: the asset swap_model of one recipe, or identity_encoder of an encoder's recipe."""

import dataclasses
import json
import os
from pathlib import Path

from faces.errors import SamaeError
from pipelines.commands.demo import quieten
from pipelines.settings import Settings, load_settings


def run(recipe: str, overrides: list[str], ranks: int | None, dry_run: bool) -> None:
    """Train when the model is not up to date; --dry-run prints every setting of the resolved recipe."""
    quieten()
    from assets.partitions import encoder_recipe_names, recipe_names
    from assets.planned import recipe_overrides, require_own_size
    from training.config import load_recipe

    if recipe not in (*recipe_names(), *encoder_recipe_names()):
        names = ", ".join([*recipe_names(), *encoder_recipe_names()])
        raise SamaeError(f"no recipe is called {recipe!r}; there are {names}")
    overrides = [with_folder(override) for override in overrides]
    if overrides:
        given = os.environ.get("SAMAE_OVERRIDES", "")
        os.environ["SAMAE_OVERRIDES"] = ",".join([*filter(None, [given]), *(f"{recipe}:{o}" for o in overrides)])
    if ranks:
        os.environ["SAMAE_RANKS"] = str(ranks)
    settings = load_settings()
    if recipe in encoder_recipe_names():
        _train_encoder(settings, recipe, dry_run)
        return
    require_own_size(settings.plan, recipe)
    resolved = load_recipe(recipe, recipe_overrides(settings.plan, recipe))
    if dry_run:
        told = settings.ranks or "one a GPU, else one a core as far as they fit"
        print(json.dumps({**dataclasses.asdict(resolved), "digest": resolved.digest, "ranks": told}, indent=2))
        return
    from pipelines.materialise import materialise, open_instance
    from pipelines.terminal import Terminal

    settings.store.manifest("training_shards")
    with open_instance(settings) as instance, Terminal() as terminal:
        made = materialise(settings, instance, "swap_model", recipe, terminal.started)
        terminal.ended(made)
    print(f"The model lies in {settings.store.folder('swap_model', recipe) / 'export'}")


def _train_encoder(settings: Settings, recipe: str, dry_run: bool) -> None:
    """The asset identity_encoder of one recipe, and how to use what it made."""
    from assets.identity import ENCODER_NAME
    from assets.planned import encoder_overrides
    from pipelines.materialise import materialise, open_instance
    from pipelines.terminal import Terminal
    from training.encoder.recipe import load_encoder_recipe

    resolved = load_encoder_recipe(recipe, encoder_overrides(settings.plan, recipe))
    if dry_run:
        print(json.dumps({**dataclasses.asdict(resolved), "digest": resolved.digest}, indent=2))
        return
    with open_instance(settings) as instance, Terminal() as terminal:
        terminal.ended(materialise(settings, instance, "identity_encoder", recipe, terminal.started))
    path = settings.store.folder("identity_encoder", recipe) / ENCODER_NAME
    print(f"The encoder is {path}: name it by SAMAE_ENCODER, or by --set identity.encoder={path} for one recipe")


def with_folder(override: str) -> str:
    """`train.init_from=NAME` of a registered model, or of a recipe trained here, -> its folder; all else as it is."""
    key, _, name = override.partition("=")
    if key.strip() != "train.init_from" or not name:
        return override
    from pipelines.commands.models import export_of
    from training.weights import shipped_names

    if name in shipped_names():
        return override
    folder = Path(name).expanduser()
    return f"{key}={(folder if folder.is_dir() else export_of(load_settings(), name)).absolute()}"
