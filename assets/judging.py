"""What swap_evaluation and the champion's gate share: one way to judge an export on the frozen pairs of the shards."""

from functools import partial
from pathlib import Path
from typing import Any

from assets.plan import Plan
from assets.ports import Pool, Progress
from assets.store import Store
from assets.truth import true_swaps
from faces.files import digest_of, read_json_lines, read_manifest

#: Pairs a task of the judge.
PAIRS_PER_TASK = 8


def load_faces_of(folder: Path, keys: Any, encoder: tuple[str, str] | None = None) -> Any:
    """Keys -> FaceBatch from a folder of shards. A module's function, so that it travels to workers.

    encoder: (name or path, digest) of a model's; where the shards were made with another, it embeds the faces anew.
    """
    from faces.identity.registry import load_encoder
    from training.shards import ShardSet
    from training.stream import load_faces

    shards = ShardSet.open(folder)
    if encoder and encoder[1] and encoder[1] != shards.encoder["digest"]:
        shards.embedder = load_encoder(encoder[0])
    try:
        return load_faces(shards, keys)
    finally:
        shards.close()


def width_of(folder: Path) -> int:
    """Width of the pictures in a folder of shards, px."""
    from training.shards import ShardSet

    shards = ShardSet.open(folder)
    try:
        return shards.size_px
    finally:
        shards.close()


def loss_curves(run_dir: Path) -> dict[str, list[tuple[float, float]]]:
    """Loss -> (kimg, value) points of a training's folder; empty when it holds none."""
    curves: dict[str, list[tuple[float, float]]] = {}
    for stats in read_json_lines(run_dir / "stats.jsonl"):
        for name, value in stats.items():
            if "/" in name and not name.startswith("perf/") and isinstance(value, float):
                curves.setdefault(name, []).append((stats["kimg"], value))
    return curves


def judge_export(
    plan: Plan, store: Store, export: Path, pool: Pool, progress: Progress, protocol: str = "cross"
) -> Any:
    """Judge a trained export with today's judge on the pairs of shards, plan, seed and protocol; an Evaluation.

    Where it was trained on pictures of another width, it works at the shards' (training/growing.py).
    """
    from evaluation.judge import judge
    from faces.identity.registry import load_encoder
    from faces.morphable.registry import load_head
    from training.export import load_swapper

    shards, head = store.folder("training_shards"), load_head(plan.head)
    swapper: Any = load_swapper(export, head=head, size_px=width_of(shards))
    return judge(
        swapper,
        pairs_of(plan, shards, protocol, head.layout),
        partial(load_faces_of, shards, encoder=(swapper.encoder_source, swapper.encoder_digest)),
        [load_encoder(name) for name in plan.judges],
        true_swaps(plan, store.home / "cache" / "true_swaps"),
        head,
        trained_with=swapper.trained_with,
        system_digest=_system_digest(export),
        map_chunks=lambda function, chunks: pool.map(function, chunks, progress),
        chunk_pairs=PAIRS_PER_TASK,
        rows_folder=store.home / "cache" / "judged",
    )


def _system_digest(export: Path) -> str:
    """Of the weights and of how they swap today: rows of another code's swaps are not reused."""
    from training.export import SWAP_VERSION

    return digest_of([read_manifest(export).digest, SWAP_VERSION])


def judge_set(
    plan: Plan, store: Store, export: Path, pool: Pool, progress: Progress, pictures: Any, count: int | None = None
) -> Any:
    """Judge a trained export on a set that is no shards (evaluation/sets); an Evaluation.

    pictures: an evaluation.sets.base.PictureSet.  count: its first pairs alone.
    """
    from evaluation.judge import judge
    from evaluation.sets.prepared import PreparedFaces
    from faces.identity.registry import load_encoder
    from faces.morphable.registry import load_head
    from training.export import load_swapper

    head = load_head(plan.head)
    swapper: Any = load_swapper(export, head=head)
    pairs = pictures.pairs(count)
    digest = digest_of([pairs.shards_digest, head.digest, swapper.encoder_digest])
    faces = PreparedFaces(
        pictures, swapper.size_px, plan.head, swapper.encoder_source, store.home / "cache" / "faces", digest
    )
    keys = tuple(dict.fromkeys((*pairs.source_keys, *pairs.target_keys)))
    pool.map(faces.prepare, pictures.groups(keys), progress)
    return judge(
        swapper, pairs, faces, [load_encoder(name) for name in plan.judges],
        faces.truth if pictures.has_truth else None, head, trained_with=swapper.trained_with,
        system_digest=_system_digest(export),
        map_chunks=lambda function, chunks: pool.map(function, chunks, progress),
        chunk_pairs=pictures.pairs_a_chunk, rows_folder=store.home / "cache" / "judged", faces_digest=faces.made_by,
    )  # fmt: skip


def pairs_of(plan: Plan, shards: Path, protocol: str = "cross", layout: Any = None) -> Any:
    """The frozen pairs: people of the test split, whom no training sees. Extremes of shape and pose need a layout.

    A small set gives as many cross pairs as it has, at least LEAST_PAIRS (assets/splits.py).
    """
    from evaluation.pairs import LEAST_PAIRS, make_pairs
    from training.shards import ShardSet

    shard_set = ShardSet.open(shards)
    try:
        layout = layout if protocol != "cross" else None
        return make_pairs(shard_set, "test", plan.pairs, plan.seed, protocol, layout, least=LEAST_PAIRS)
    finally:
        shard_set.close()
