"""Weights that come with the project (training/weights/NAME/), and weights that a run starts from (`train.init_from`).

A folder of weights is an export (training/export.py); a shipped one holds half precision and a model card beside it.

    python -m training.weights RUN/export samae-people CARD.md      # keep an export as training/weights/samae-people

A name here is no recipe's, so that one word never means both. Weights of SAMAE serve its other sizes, too
(training/growing.py).
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from faces.errors import SamaeError
from faces.files import atomic_folder, is_complete, read_json, read_manifest
from training.checkpoints import load_strictly
from training.config import Recipe
from training.growing import family, resized, trunk_px
from training.methods.base import Method

SHIPPED_FOLDER = Path(__file__).parent / "weights"
WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"


@dataclass(frozen=True)
class StartingWeights:
    """A verified folder of weights.

    Attributes:
        name: the shipped name, or the folder as it was given.  folder: where it lies.
        sha256: of model.safetensors, 64 hexadecimal digits.  config: config.json.
    """

    name: str
    folder: Path
    sha256: str
    config: dict[str, Any]

    def origin(self) -> dict[str, Any]:
        """What runs, exports and model cards say about the weights they started from.

        `samples_seen` counts the pictures of this run and of those that it started from itself.
        """
        made_from = self.config.get("metadata", {})
        seen = int(made_from.get("samples_seen", 0)) + int(made_from.get("init_from", {}).get("samples_seen", 0))
        return {"name": self.name, "sha256": self.sha256, "recipe": self.config["recipe"]["name"], "samples_seen": seen}


def shipped_names() -> list[str]:
    """Names of the weights that come with the project, sorted."""
    return sorted(path.parent.name for path in SHIPPED_FOLDER.glob(f"*/{WEIGHTS}"))


def shipped_families() -> set[str]:
    """Families of recipes (growing.family) that weights come with."""
    return {family(shipped_recipe(name)) for name in shipped_names()}


def shipped_recipe(name: str) -> str:
    """The recipe of weights that come with the project, as their config.json says it; nothing is verified."""
    return str(read_json(SHIPPED_FOLDER / name / CONFIG)["recipe"]["name"])


def find_weights(name: str) -> StartingWeights:
    """Weights by shipped name or by folder, sizes and SHA-256 verified; a SamaeError says what there is."""
    shipped = name in shipped_names()
    folder = SHIPPED_FOLDER / name if shipped else Path(name).expanduser()
    if not shipped and not (folder / CONFIG).is_file():
        raise SamaeError(
            f"no weights are called {name!r}: name one that comes with the project ({', '.join(shipped_names())}), or "
            "the `export` folder of a finished run"
        )
    manifest = read_manifest(folder)
    manifest.verify(folder, hashes=True)
    if not {WEIGHTS, CONFIG} <= manifest.files.keys():
        raise SamaeError(f"{folder} is no export of a swapper: its manifest lists no {WEIGHTS} and {CONFIG}")
    return StartingWeights(name, folder, manifest.files[WEIGHTS][1], read_json(folder / CONFIG))


def start_from(method: Method, weights: StartingWeights) -> None:
    """Put the weights into a method's generator and its average; SamaeError where anything does not fit.

    Weights of another size fit where the trunk is the same: they grow or shrink to this run's patches.
    """
    wanted = _needs(method.recipe, method.head.digest, getattr(method.encoder, "digest", ""))
    for what, (asked, given) in _compared(wanted, weights.config).items():
        if asked != given:
            raise SamaeError(
                f"the weights {weights.name!r} do not fit: their {what} is {given!r}, this run's {asked!r}; choose "
                "other weights by train.init_from, or train from the beginning with train.init_from="
            )
    try:
        tensors = load_file(weights.folder / WEIGHTS)
    except (SafetensorError, OSError) as error:
        raise SamaeError(f"{weights.folder / WEIGHTS} is no safetensors file ({error}); get it anew") from None
    patch_px = int(weights.config["recipe"]["generator"]["patch_px"])
    tensors = resized(tensors, patch_px, method.recipe.generator.patch_px)
    for module in (method.generator, method.ema):
        load_strictly(module, tensors, f"generator of {method.recipe.name}")


def shipped_for(recipe: Recipe, head_digest: str, encoder_digest: str) -> StartingWeights | None:
    """The shipped weights of a recipe's family whose trunk, head and encoder are the same; else None."""
    for name in shipped_names():
        config = read_json(SHIPPED_FOLDER / name / CONFIG)
        if family(config["recipe"]["name"]) != family(recipe.name):
            continue
        compared = _compared(_needs(recipe, head_digest, encoder_digest), config)
        if all(asked == given for asked, given in compared.values()) and is_complete(SHIPPED_FOLDER / name):
            return find_weights(name)
    return None


def _needs(recipe: Recipe, head_digest: str, encoder_digest: str) -> dict[str, Any]:
    """What the weights of a generator depend on, by name."""
    tree = recipe.as_dict()
    return {
        "method": recipe.method,
        "trunk_px": trunk_px(tree),
        "generator": _trunk(tree["generator"]),
        "mesh.condition": recipe.mesh.condition,
        "identity.skin_colour": recipe.identity.skin_colour,
        "head": head_digest,
        "encoder": encoder_digest,
    }


def _compared(wanted: dict[str, Any], config: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Name -> (wanted, what a config.json says); a setting younger than the weights counts as the same."""
    recipe = config["recipe"]
    given = {
        "method": recipe["method"],
        "trunk_px": trunk_px(recipe),
        "generator": wanted["generator"] | _trunk(recipe["generator"]),
        "mesh.condition": recipe["mesh"]["condition"],
        "identity.skin_colour": recipe["identity"]["skin_colour"],
        "head": config["head"]["digest"],
        "encoder": config["encoder"]["digest"],
    }
    return {name: (value, given[name]) for name, value in wanted.items()}


def _trunk(generator: dict[str, Any]) -> dict[str, Any]:
    """The settings of a generator but for its patch, lists in place of tuples."""
    plain = {key: list(value) if isinstance(value, tuple | list) else value for key, value in generator.items()}
    return {key: value for key, value in plain.items() if key != "patch_px"}


def keep(export: Path, name: str, card: str) -> Path:
    """Write an export in half precision, with a model card, as training/weights/NAME; the folder."""
    weights = find_weights(str(export))
    tensors = {key: tensor.to(torch.float16) for key, tensor in load_file(weights.folder / WEIGHTS).items()}
    folder = SHIPPED_FOLDER / name
    with atomic_folder(folder, {"kind": "swapper", "recipe": weights.config["recipe"]["name"]}) as scratch:
        save_file(tensors, scratch / WEIGHTS, metadata={"format": "pt"})
        (scratch / CONFIG).write_bytes((weights.folder / CONFIG).read_bytes())
        (scratch / CARD).write_text(card, encoding="utf-8")
    return folder


if __name__ == "__main__":
    print(keep(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]).read_text(encoding="utf-8")))
