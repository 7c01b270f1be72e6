"""Sixteen generated photographs in FFHQ's layout, and the folder assets made of them once, in this process."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets.graph import STAGES
from assets.plan import Plan
from assets.store import Store

COUNT, SIZE_PX = 16, 64


@dataclass
class Serial:
    """The pool: here, in order."""

    def map(self, function: Callable[[Any], Any], items: Sequence[Any], progress: Any = None) -> list[Any]:
        answers = []
        for item in items:
            answers.append(function(item))
            if progress:
                progress(len(answers), len(items), "")
        return answers


@dataclass
class House:
    """The resource `samae` without settings: a plan, a store, and the progress that was reported."""

    plan: Plan
    store: Store
    heard: list[tuple[str, float, float]]
    workers: int = 1
    trains_here: bool = True

    def progress(self, context: object, stage: str, on_page: bool = True) -> Callable[[float, float, str], None]:
        return lambda done, total, note="": self.heard.append((stage, done, total))


def tiny_plan(**changes: Any) -> Plan:
    return Plan(photographs=COUNT, photo_px=SIZE_PX, aligned_px=SIZE_PX, picture_px=32, pairs=6, **changes)


def make(
    house: House, instance: dg.DagsterInstance, *names: str, partition: str | None = None
) -> dg.ExecuteInProcessResult:
    """Materialise assets one after the other, with their checks."""
    from assets.checks import ALL_CHECKS
    from pipelines import definitions

    assets = [getattr(definitions, name) for name in STAGES]
    for name in names:
        key = dg.AssetKey(name)
        cut = STAGES[name].cut
        done = dg.materialize(
            [*assets, *ALL_CHECKS],
            selection=dg.AssetSelection.assets(key) | dg.AssetSelection.checks_for_assets(key),
            resources={"samae": house, "pool": Serial(), "launcher": object(), "tracking": object()},
            partition_key=partition if cut != "whole" else None,
            instance=instance,
        )
    return done


FOLDER_STAGES = tuple(name for name, stage in STAGES.items() if stage.cut == "folder")


@pytest.fixture(scope="session")
def photographs_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The raw set, written once."""
    from faces.synthetic.dataset import write_dataset

    plan = tiny_plan()
    folder = tmp_path_factory.mktemp("raw") / plan.set_name
    write_dataset(folder, COUNT, size_px=SIZE_PX, people=plan.people, seed=plan.seed, workers=1)
    return folder


@pytest.fixture(scope="session")
def made(photographs_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[House, dg.DagsterInstance]:
    """Photographs to shards, made once."""
    home = tmp_path_factory.mktemp("home")
    plan = tiny_plan()
    (home / "raw").mkdir()
    (home / "raw" / plan.set_name).symlink_to(photographs_folder)
    house = House(plan, Store(home, plan.set_name), [])
    instance = dg.DagsterInstance.ephemeral()
    make(house, instance, "photographs", *FOLDER_STAGES, "training_shards", partition="00000")
    return house, instance
