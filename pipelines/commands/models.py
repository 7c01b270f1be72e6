"""`samae models`: the registered versions, their aliases and figures, and the way back to the previous champion."""

import json
from pathlib import Path
from typing import Any

from assets.promotion import CHAMPION, ROLLED_BACK_TAG, VERDICT_TAG
from faces.errors import SamaeError
from pipelines.commands.demo import quieten
from pipelines.settings import Settings, load_settings
from pipelines.tracking import MlflowTracking


def tracking() -> MlflowTracking:
    """The tracker of the settings."""
    quieten()
    settings = load_settings()
    home = str(settings.home / "mlflow")
    return MlflowTracking(uri=settings.tracking_uri, model_name=settings.model_name, home=home)


def export_of(settings: Settings, model: str) -> Path:
    """The folder of a model: one named, a recipe trained here, an alias or version, or weights of the project.

    Shipped weights answer to their own name, to their recipes' where these were not trained here, and to `champion`
    where no version has that alias.
    """
    for named in (Path(model), Path(model) / "export"):
        if (named / "config.json").is_file():
            return named
    if Path(model).exists() and ("/" in model or Path(model).is_file()):
        raise SamaeError(f"{model} holds no weights of a swapper (model.safetensors, config.json, manifest.json)")
    if "/" not in model and (settings.store.folder("swap_model", model) / "export").is_dir():
        return settings.store.folder("swap_model", model) / "export"
    if settings.mlflow_uri or (settings.home / "mlflow" / "mlflow.db").is_file():
        tracker = tracking()
        number = tracker.aliases().get(model, model)
        if number in {str(version.version) for version in tracker.versions()}:
            return tracker.export_folder(number)
    return shipped_export(model)


def shipped_export(model: str) -> Path:
    """The folder of weights that come with the project, for a name, a recipe or `champion`; the terminal says so."""
    from training.growing import family
    from training.weights import find_weights, shipped_names, shipped_recipe

    for name in shipped_names():
        recipe = shipped_recipe(name)
        if model in (name, recipe, family(recipe), "champion"):
            print(f"{model}: the weights {name} that come with Samae (no other model of that name is here)")
            return find_weights(name).folder
    raise SamaeError(
        f"no model, alias, trained recipe or folder is called {model!r}; `samae models list` shows what there is, and "
        f"{', '.join(shipped_names()) or 'nothing'} comes with Samae"
    )


def describe(tracker: MlflowTracking) -> list[dict[str, Any]]:
    """Every version, newest first: number, aliases, run, tags."""
    aliases = tracker.aliases()
    return [
        {
            "version": str(version.version),
            "aliases": sorted(alias for alias, number in aliases.items() if number == str(version.version)),
            "run_id": version.run_id,
            "tags": dict(version.tags),
        }
        for version in tracker.versions()
    ]


def list_versions(as_json: bool) -> None:
    """All versions, then the weights that come with the project."""
    versions = describe(tracking())
    if as_json:
        print(json.dumps([*versions, *shipped()], indent=2))
    elif not versions:
        print("No model was registered yet: `samae demo` makes the first.")
    else:
        for version in versions:
            tags, names = version["tags"], ", ".join(version["aliases"])
            taken_back = f"rolled back {tags[ROLLED_BACK_TAG]}; " if ROLLED_BACK_TAG in tags else ""
            said = taken_back + tags.get(VERDICT_TAG, "")
            print(f"{version['version']:>4}  {names:<22} {tags.get('recipe', ''):<12} {said}".rstrip(" ;"))
    if not as_json:
        print("\n".join(shipped_lines(not any(CHAMPION in version["aliases"] for version in versions))))


def shipped() -> list[dict[str, Any]]:
    """The weights that come with the project, as `describe` tells of a version: their name is the version.

    Nothing is verified for a list: whoever uses weights does that, and a damaged file of them hides no others.
    """
    from training.weights import shipped_names, shipped_recipe

    recipes = {name: shipped_recipe(name) for name in shipped_names()}
    return [
        {"version": name, "aliases": [], "run_id": "", "tags": {"samae.kind": "shipped", "recipe": recipe}}
        for name, recipe in recipes.items()
    ]


def shipped_lines(used: bool) -> list[str]:
    """A line for each of the weights that come with the project. used: no version is champion."""
    use = "; `samae swap` uses them until a model is champion" if used else ""
    return [f"   -  {one['version']:<22} {one['tags']['recipe']:<12} come with Samae{use}" for one in shipped()]


def show(name: str, as_json: bool) -> None:
    """One version by number or alias, or weights that come with the project, with the model card."""
    from training.weights import CARD, SHIPPED_FOLDER, shipped_names

    if name in shipped_names():
        card = (SHIPPED_FOLDER / name / CARD).read_text(encoding="utf-8")
        about = next(one for one in shipped() if one["version"] == name)
        print(json.dumps(about | {"card": card}, indent=2) if as_json else card)
        return
    tracker = tracking()
    found = next((v for v in describe(tracker) if name == v["version"] or name in v["aliases"]), None)
    if found is None:
        raise SamaeError(
            f"no version or alias is called {name!r}; `samae models list` shows what there is, and "
            f"{', '.join(shipped_names())} comes with Samae"
        )
    card = tracker.card(found["version"])
    if as_json:
        print(json.dumps(found | {"card": card}, indent=2))
        return
    print(f"version {found['version']} {', '.join(found['aliases'])}\nrun {tracker.page(found['run_id'])}")
    for key, value in sorted(found["tags"].items()):
        print(f"  {key:<28} {value}")
    print(f"\n{card or 'It has no model card: it was registered by a version of Samae that wrote none.'}")


def rollback() -> None:
    """Champion and previous change places, while nobody promotes."""
    from assets.promotion import one_at_a_time

    tracker = tracking()
    with one_at_a_time(load_settings().home):
        new, old = tracker.rollback()
    print(f"version {new} is champion again" + (f"; version {old} is kept as previous" if old else ""))
