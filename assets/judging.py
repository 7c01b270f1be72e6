"""What swap_evaluation and the champion's gate share: one way to judge an export on the frozen pairs of the shards."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from assets.plan import Plan
from assets.ports import Progress
from assets.store import Store
from assets.truth import true_swaps
from faces.files import read_manifest


def load_faces_of(folder: Path, keys: Any) -> Any:
    """Keys -> FaceBatch from a folder of shards. A module's function, so that it travels to workers."""
    from training.shards import ShardSet
    from training.stream import load_faces

    shards = ShardSet.open(folder)
    try:
        return load_faces(shards, keys)
    finally:
        shards.close()


def judge_export(plan: Plan, store: Store, export: Path, progress: Progress) -> Any:
    """Judge a trained export with today's judge on the pairs that shards, plan and seed give; an Evaluation."""
    from evaluation.judge import judge
    from faces.identity.registry import load_encoder
    from faces.morphable.registry import load_head
    from training.export import load_swapper

    shards = store.folder("training_shards")
    swapper: Any = load_swapper(export)
    return judge(
        swapper,
        pairs_of(plan, shards),
        partial(load_faces_of, shards),
        [load_encoder(name) for name in plan.judges],
        true_swaps(plan, store.home / "cache" / "true_swaps"),
        load_head(plan.head),
        _counted(progress),
        trained_with=plan.encoder,
        system_digest=read_manifest(export).digest,
        rows_folder=store.home / "cache" / "judged",
    )


def _counted(progress: Progress) -> Callable[[int, int], None]:
    return lambda done, total: progress(done, total, "pairs")


def pairs_of(plan: Plan, shards: Path) -> Any:
    """The frozen pairs: people of the test split, whom no training sees."""
    from evaluation.pairs import make_pairs
    from training.shards import ShardSet

    shard_set = ShardSet.open(shards)
    try:
        return make_pairs(shard_set, "test", plan.pairs, plan.seed)
    finally:
        shard_set.close()
