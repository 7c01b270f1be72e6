"""The graph in one table: every asset's group, cut, inputs, code version and the settings that change what it holds.

The decorators of assets/*.py, the freshness of `samae demo` and the snapshot test all read this table. Raise
`code_version` when an asset's content changes for the same inputs; everything below it is then made again.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import dagster as dg

from assets.automation import CONDITIONS, FRESHNESS
from assets.identities import encoder_identity, head_identity, measurer_identity
from assets.listing import folder_digest, folder_names
from assets.partitions import encoder_partitions, folder_partitions, recipe_partitions
from assets.plan import Plan
from assets.planned import encoder_recipe_identity, recipe_identity
from assets.rules import Rules
from assets.store import Store
from faces.files import digest_of

Cut = Literal["folder", "recipe", "encoder", "whole"]
OWNERS = ["team:samae"]


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


def _fits(plan: Plan, partition: str) -> dict[str, Any]:
    from faces.treatment import PHOTOGRAPH_FIT

    return _head(plan, partition) | ({"photographs": PHOTOGRAPH_FIT.digest} if plan.raw else {})


def _masks(plan: Plan, _: str) -> dict[str, Any]:
    from faces.readers.cover import WEIGHTS
    from faces.readers.weights import reader_digest
    from faces.treatment import PHOTOGRAPH_OCCLUDERS

    known = {"head": head_identity(plan.head), "occluders": reader_digest(WEIGHTS)}
    return known | ({"photographs": PHOTOGRAPH_OCCLUDERS.digest} if plan.raw else {})


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
            settings=_fits,
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
