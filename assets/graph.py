"""The graph in one table: every asset's group, cut, inputs, code version and the settings that change what it holds.

The decorators of assets/*.py, the freshness of `samae demo` and the snapshot test all read this table. Raise
`code_version` when an asset's content changes for the same inputs; everything below it is then made again.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

import dagster as dg

from assets.automation import CONDITIONS, FRESHNESS
from assets.listing import folder_digest, folder_names
from assets.partitions import encoder_partitions, folder_partitions, recipe_partitions
from assets.plan import Plan
from assets.rules import Rules
from assets.store import Store
from faces.errors import SamaeError
from faces.files import digest_of

Cut = Literal["folder", "recipe", "encoder", "whole"]
OWNERS = ["team:samae"]
#: Of recipes that leave the choice to the plan.
DEFAULT_ENCODER = "builtin"
#: Weights that were trained already want smaller steps (ours).
CONTINUED = ("optimiser.learning_rate=4e-4",)


@lru_cache(maxsize=4)
def head_identity(name: str) -> dict[str, str]:
    """{"edition", "digest"} of a morphable head."""
    from faces.morphable.registry import load_head

    head = load_head(name)
    return {"edition": head.edition, "digest": head.digest}


@lru_cache(maxsize=8)
def encoder_identity(name: str) -> dict[str, str]:
    """{"name", "digest"} of an identity encoder."""
    from faces.identity.registry import load_encoder

    encoder = load_encoder(name)
    return {"name": encoder.name, "digest": encoder.digest}


@lru_cache(maxsize=4)
def measurer_identity(head: str, has_truth: bool) -> str | None:
    """Digest of what the judge fits results with (locator, head and fit); None where it fits none."""
    from evaluation.measure import default_measurer
    from faces.morphable.registry import load_head

    measurer = default_measurer(load_head(head), has_truth)
    return measurer.digest if measurer is not None else None


def recipe_identity(plan: Plan, recipe: str) -> dict[str, Any]:
    """What a recipe with this plan's settings trains: its digest, the ranks, and the weights that it starts from."""
    from training.config import load_recipe
    from training.weights import find_weights

    settings = load_recipe(recipe, recipe_overrides(plan, recipe))
    start = settings.train.init_from
    origin = {"init_from": find_weights(start).sha256} if start else {}
    return {"recipe": settings.digest, "ranks": plan.ranks, **origin}


def encoder_recipe_identity(plan: Plan, recipe: str) -> dict[str, Any]:
    """What an encoder's recipe with this plan's settings trains: its digest, its people, and where it starts from."""
    from training.encoder.crops import data_digest
    from training.encoder.recipe import load_encoder_recipe

    settings = load_encoder_recipe(recipe, encoder_overrides(plan, recipe))
    start = settings.start_from
    origin = {"start_from": encoder_identity(start)["digest"]} if start else {}
    try:
        data = data_digest(settings)
    except SamaeError:
        data = "unusable"  # the training itself says why
    return {"recipe": settings.digest, "data": data, **origin}


def encoder_overrides(plan: Plan, recipe: str) -> list[str]:
    """The settings meant for one encoder's recipe, `recipe:key=value`; the others are the swappers'."""
    return [part.partition(":")[2] for part in plan.overrides if part.startswith(f"{recipe}:")]


def recipe_overrides(plan: Plan, recipe: str) -> list[str]:
    """The recipe settings that follow from the plan, the user's own last."""
    from training.config import load_recipe
    from training.growing import patch_at

    bare = load_recipe(recipe)
    follows = [f"size_px={plan.picture_px}", f"seed={plan.seed}"]
    patch_px = patch_at(bare.as_dict(), plan.picture_px)
    if patch_px != bare.generator.patch_px:  # another size of the same network
        follows.append(f"generator.patch_px={patch_px}")
    if bare.identity.encoder == DEFAULT_ENCODER:  # a recipe that names another encoder keeps it
        follows.append(f"identity.encoder={plan.encoder}")
    kimg = plan.kimg_of(recipe)
    if kimg is not None:
        follows.append(f"train.total_kimg={kimg:g}")
    given = plan.overrides_of(recipe)
    return follows + continuation(plan, recipe, follows + given) + given


def require_own_size(plan: Plan, recipe: str) -> None:
    """SamaeError where a recipe would be trained at another size than its own and still be called by its name.

    No other size: one that its trunk serves, too (training/growing.py), and larger pictures for a recipe whose name
    says no size. Who gives `size_px` among the recipe's settings wants it so.
    """
    from training.config import load_recipe
    from training.growing import family, patch_at, trunk_px

    bare = load_recipe(recipe).as_dict()
    own_px, size_px = int(bare["size_px"]), plan.picture_px
    generator = bare["generator"] | {"patch_px": patch_at(bare, size_px)}
    is_served = trunk_px(bare | {"size_px": size_px, "generator": generator}) == trunk_px(bare)
    is_wished = any(given.partition("=")[0].strip() == "size_px" for given in plan.overrides_of(recipe))
    if is_served or is_wished or (size_px > own_px and family(recipe) == recipe):
        return
    photographs = f" and SAMAE_PHOTO_PX={own_px}" if plan.raw is None and plan.photo_px < own_px else ""
    raise SamaeError(
        f"recipe {recipe!r} is written for {own_px} px and the pictures are {size_px} px wide: set "
        f"SAMAE_PICTURE_PX={own_px}{photographs}, or say that {size_px} px are meant: --set size_px={size_px} of samae "
        f"train, SAMAE_OVERRIDES={recipe}:size_px={size_px}"
    )


def continuation(plan: Plan, recipe: str, overrides: list[str]) -> list[str]:
    """Settings that go on from the shipped weights: on generated people, where they fit and `from_scratch` is off."""
    from training.config import load_recipe
    from training.growing import family
    from training.weights import shipped_families, shipped_for

    if plan.from_scratch or plan.raw is not None or family(recipe) not in shipped_families():
        return []
    settings = load_recipe(recipe, overrides)
    if any(given.partition("=")[0].strip() == "train.init_from" for given in overrides):
        return []  # the user's own choice; an empty one means: from the beginning
    encoder = encoder_identity(settings.identity.encoder)["digest"]
    weights = shipped_for(settings, head_identity(plan.head)["digest"], encoder)
    if weights is None:
        return []
    sees_other = weights.config["recipe"]["identity"].get("other_picture", False)
    kept = ["identity.other_picture=true"] if sees_other else []  # or the run would unlearn what they learned by it
    return [f"train.init_from={weights.name}", *CONTINUED, *kept]


@dataclass(frozen=True)
class Stage:
    """One asset. `settings` gives what its content depends on besides its inputs: (plan, partition) -> JSON values."""

    name: str
    group: str
    cut: Cut
    inputs: tuple[str, ...]
    kinds: frozenset[str]
    description: str
    code_version: str = "1"
    settings: Callable[[Plan, str], dict[str, Any]] = field(default=lambda plan, partition: {})

    def spec(self) -> dict[str, Any]:
        """Keyword arguments of `dg.asset`."""
        partitions = {
            "folder": folder_partitions,
            "recipe": recipe_partitions,
            "encoder": encoder_partitions,
            "whole": None,
        }[self.cut]
        return {
            "name": self.name,
            "group_name": self.group,
            "partitions_def": partitions,
            "backfill_policy": dg.BackfillPolicy.single_run() if self.cut == "folder" else None,
            "deps": list(self.inputs),
            "kinds": set(self.kinds),
            "description": self.description,
            "code_version": self.code_version,
            "owners": OWNERS,
            "automation_condition": CONDITIONS.get(self.name),
            "freshness_policy": FRESHNESS.get(self.name),
        }


def _head(plan: Plan, _: str) -> dict[str, Any]:
    return {"head": head_identity(plan.head)}


def _masks(plan: Plan, _: str) -> dict[str, Any]:
    from faces.readers.cover import WEIGHTS
    from faces.readers.weights import reader_digest

    return {"head": head_identity(plan.head), "occluders": reader_digest(WEIGHTS)}


def _shards(plan: Plan, _: str) -> dict[str, Any]:
    return {"picture_px": plan.picture_px, "head": head_identity(plan.head), "encoder": encoder_identity(plan.encoder)}


def _judging(plan: Plan, _: str) -> dict[str, Any]:
    from evaluation.metrics import METRIC_VERSION
    from evaluation.networks import find_networks
    from training.export import SWAP_VERSION

    return {
        "metric_version": METRIC_VERSION,
        "swap_version": SWAP_VERSION,
        "pairs": plan.pairs,
        "seed": plan.seed,
        "judges": [encoder_identity(name) for name in plan.judges],
        "measurer": measurer_identity(plan.head, plan.raw is None),
        "networks": find_networks().digests,
    }


STAGES: dict[str, Stage] = {
    stage.name: stage
    for stage in (
        Stage(
            "photographs",
            "faces",
            "whole",
            (),
            frozenset({"png", "json"}),
            "Which photographs are used: people that the project generates, or the FFHQ folder named by SAMAE_RAW. "
            "Registers one partition for each of its folders.",
            settings=lambda plan, _: plan.source_identity,
        ),
        Stage(
            "raw_faces",
            "faces",
            "folder",
            ("photographs",),
            frozenset({"parquet"}),
            "Every photograph of one FFHQ folder, verified: file and pixel MD5, format, pixel cap, size, truncation, "
            "licence, deny-list, sharpness, pose, repetition. One that cannot be used is a row with its reason.",
            code_version="2",
            settings=lambda plan, _: {"rules": Rules.of(plan).digest},
        ),
        Stage(
            "aligned_faces",
            "faces",
            "folder",
            ("raw_faces",),
            frozenset({"numpy", "parquet"}),
            "Pictures at the working size with their 68 landmarks in our pixel convention.",
            settings=lambda plan, _: {"aligned_px": plan.working_px},
        ),
        Stage(
            "face_coefficients",
            "geometry",
            "folder",
            ("aligned_faces",),
            frozenset({"parquet", "numba"}),
            "Shape, expression, albedo, pose, light and gaze of every face: a head fitted to landmarks and pixels.",
            code_version="3",
            settings=_head,
        ),
        Stage(
            "neutral_albedo",
            "geometry",
            "folder",
            ("aligned_faces", "face_coefficients"),
            frozenset({"numpy"}),
            "The head's mean albedo on every face's own geometry, without light: nothing of the person's skin.",
            settings=_head,
        ),
        Stage(
            "face_masks",
            "geometry",
            "folder",
            ("aligned_faces", "face_coefficients"),
            frozenset({"numpy", "parquet"}),
            "The visible face of every picture (mesh silhouette minus occluders) and its skin colour.",
            code_version="2",
            settings=_masks,
        ),
        Stage(
            "identity_embeddings",
            "geometry",
            "folder",
            ("aligned_faces",),
            frozenset({"parquet", "pytorch"}),
            "Who it is: one unit vector a face by the identity encoder that training uses.",
            settings=lambda plan, _: {"encoder": encoder_identity(plan.encoder)},
        ),
        Stage(
            "training_shards",
            "data",
            "whole",
            ("aligned_faces", "face_coefficients", "neutral_albedo", "face_masks", "identity_embeddings"),
            frozenset({"webdataset", "parquet"}),
            "The training set: one tar a folder, a manifest of every photograph, splits by identity, hashes of all.",
            code_version="2",
            settings=_shards,
        ),
        Stage(
            "identity_encoder",
            "models",
            "encoder",
            (),
            frozenset({"pytorch"}),
            "An identity encoder trained by its recipe (ArcFace, or BlendFace's blended pictures) on generated people "
            "or on a folder with one folder an identity, with its verification figures. `samae demo` makes none.",
            settings=encoder_recipe_identity,
        ),
        Stage(
            "swap_model",
            "models",
            "recipe",
            ("training_shards",),
            frozenset({"pytorch", "deepspeed", "mlflow"}),
            "A trained face swapper: safetensors and a configuration. Trained in its own process group.",
            code_version="3",
            settings=recipe_identity,
        ),
        Stage(
            "swap_evaluation",
            "judgement",
            "recipe",
            ("swap_model", "training_shards"),
            frozenset({"html", "parquet"}),
            "The judge's verdict on frozen pairs: identity, attributes and error to the true swap, for every pair.",
            code_version="3",
            settings=_judging,
        ),
        Stage(
            "leaderboard",
            "judgement",
            "whole",
            ("swap_evaluation",),
            frozenset({"html", "parquet"}),
            "All recipes side by side with the baselines: one self-contained report.",
            settings=lambda plan, _: {"recipes": list(plan.recipes)},
        ),
        Stage(
            "champion",
            "judgement",
            "whole",
            ("leaderboard", "swap_model"),
            frozenset({"mlflow"}),
            "The best model, registered in MLflow; it takes the alias `champion` only when the gate lets it.",
            settings=lambda plan, _: {"recipes": list(plan.recipes)},
        ),
    )
}


def provenance(stage_name: str, partition: str | None, plan: Plan, store: Store) -> dict[str, Any]:
    """What today's code, settings and inputs would make of one asset (or partition): code, settings, input digests."""
    stage = STAGES[stage_name]
    inputs: dict[str, str] = {}
    for name in stage.inputs:
        for part in _parts(stage, STAGES[name].cut, partition, plan, store):
            inputs[f"{name}/{part}" if part and part != partition else name] = store.digest(name, part)
    settings = stage.settings(plan, partition or "")
    if stage_name == "raw_faces":
        settings = settings | {"entries": folder_digest(store, partition or "")}
    if stage_name == "photographs" and plan.raw is None:
        settings = settings | {"photographs": plan.photographs}
    return {"code_version": stage.code_version, "settings": settings, "inputs": inputs}


def _parts(stage: Stage, cut: Cut, partition: str | None, plan: Plan, store: Store) -> list[str | None]:
    """Which partitions of an input (cut in some way) one partition of a stage reads."""
    if cut == "whole":
        return [None]
    if cut == stage.cut:
        return [partition]
    return [*folder_names(store)] if cut == "folder" else list(plan.recipes)


def partitions_of(stage_name: str, plan: Plan, store: Store) -> list[str | None]:
    """All partitions of an asset under this plan, in order; [None] for one that is not cut; none for encoders."""
    cut = STAGES[stage_name].cut
    if cut == "whole":
        return [None]
    if cut == "encoder":
        return []
    return [*folder_names(store)] if cut == "folder" else list(plan.recipes)


def is_made(stage_name: str, partition: str | None, plan: Plan, store: Store) -> bool:
    """True when an asset and everything above it is what today's code, settings and photographs would give."""
    seen: dict[tuple[str, str | None], bool] = {}

    def made(name: str, part: str | None) -> bool:
        """The same of one partition, each looked at once."""
        if (name, part) not in seen:
            stage = STAGES[name]
            above = all(
                made(other, p) for other in stage.inputs for p in _parts(stage, STAGES[other].cut, part, plan, store)
            )
            seen[name, part] = above and store.is_current(name, part, provenance(name, part, plan, store))
        return seen[name, part]

    return made(stage_name, partition)


def what_it_waits_for(stage_name: str, partition: str | None, plan: Plan, store: Store) -> str | None:
    """Digest of what an asset would be made from when that is new and whole; None when it is up to date or must wait
    for something above it."""
    stage = STAGES[stage_name]
    inputs = [(name, p) for name in stage.inputs for p in _parts(stage, STAGES[name].cut, partition, plan, store)]
    if not all(is_made(name, part, plan, store) for name, part in inputs):
        return None
    wanted = provenance(stage_name, partition, plan, store)
    return None if store.is_current(stage_name, partition, wanted) else digest_of(wanted)
