"""The judge: runs a swapper and the baselines over a frozen pair list and measures them all, one pass a picture.

Work is cut into chunks of pairs. `judge_batch(chunk, context)` is a plain function of its arguments, so pipelines
hand it to Ray's workers through `map_chunks`; the default is a loop in this process. Rows of finished chunks can be
kept in a folder: a killed run starts again where it was, and counts nothing twice (a file's name is a digest of all
it depends on).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from evaluation.baselines import BASELINES
from evaluation.batch import Chunk, JudgeContext, LoadFaces, Measurer, Truth, judge_batch, look_at_faces
from evaluation.context import EncoderLike, Gallery
from evaluation.evaluation import Evaluation, evaluate_rows
from evaluation.examples import pick_examples
from evaluation.measure import default_measurer
from evaluation.metrics import METRIC_VERSION, has_trained, independent
from evaluation.networks import NONE, JudgeNetworks, find_networks
from evaluation.pairs import IN_TIME, PairList
from evaluation.rows import merge_rows, system_rows
from faces.errors import SamaeError
from faces.files import atomic_file, digest_of
from faces.morphable.base import MorphableHead
from faces.morphable.tables import read_npz
from training.batch import Swapper

__all__ = ["ALL_BASELINES", "JudgeContext", "judge", "judge_batch", "serial_map"]

#: Applies a function to every chunk, in any place; yields the answers in order.
MapChunks = Callable[[Callable[[Any], Any], Sequence[Any]], Iterable[Any]]
ALL_BASELINES = ("copy-target", "paste-source", "true-swap")


def serial_map(function: Callable[[Any], Any], chunks: Sequence[Any]) -> Iterator[Any]:
    """The default of `map_chunks`: one chunk after the other, here."""
    return map(function, chunks)


def judge(
    swapper: Swapper | str,
    pairs: PairList,
    load_faces: LoadFaces,
    encoders: Sequence[EncoderLike],
    truth: Truth | None = None,
    head: MorphableHead | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    *,
    baselines: Sequence[str] = ALL_BASELINES,
    measurer: Measurer | Literal["auto"] | None = "auto",
    trained_with: tuple[str, ...] = (),
    system_digest: str = "",
    map_chunks: MapChunks = serial_map,
    chunk_pairs: int = 16,
    rows_folder: Path | None = None,
    networks: JudgeNetworks | None = None,
    faces_digest: str = "",
) -> Evaluation:
    """Judge a swapper (or a baseline by name) and the baselines on a frozen pair list.

    Args:
        swapper: a trained method, or "copy-target", "paste-source" or "true-swap".
        load_faces: keys -> FaceBatch.
        encoders: at least one.
        trained_with: names and digests of the encoders that trained the swapper: they are kept out of the headline
            when others are there. Two systems with the same headline are judged alike.
        truth: (source key, target key) -> true swap, or None where there are none.
        head: needed for coefficient metrics and for the pose and shape columns of slices.
        on_progress: called with (pairs done, pairs in all).
        measurer: fits results; "auto" takes the shipped one where it can be trusted (evaluation/measure.py). Without
            one, pose, expression, shape and light are left out, not guessed.
        system_digest: digest of the swapper's weights: rows of other weights are never reused.
        rows_folder: where rows of finished chunks are kept for a restart.
        networks: what LPIPS, FID and their kin are measured by; those that are found here when None.
        faces_digest: names how `load_faces` makes the faces where the pair list's data digest does not say it (sets
            that are no shards): rows of faces made otherwise are never reused.

    Returns:
        Evaluation: rows, summary with intervals for the system and every baseline, examples.
    """
    if not encoders:
        raise SamaeError("the judge needs at least one identity encoder; name one in the settings")
    chosen = default_measurer(head, truth is not None) if isinstance(measurer, str) else measurer
    context = make_context(
        swapper, pairs, load_faces, tuple(encoders), truth, head, baselines, chosen, trained_with, system_digest,
        map_chunks, rows_folder, find_networks() if networks is None else networks,
        faces_digest,
    )  # fmt: skip
    rows = _judge_all(context, pairs, map_chunks, chunk_pairs, rows_folder, on_progress)
    name = swapper if isinstance(swapper, str) else swapper.name
    evaluation = evaluate_rows(name, pairs, rows, context.metrics(), _provenance(context, system_digest),
                               context.gallery.persons)  # fmt: skip
    return replace(evaluation, examples=pick_examples(evaluation, context))


def make_context(
    swapper: Swapper | str, pairs: PairList, load_faces: LoadFaces, encoders: tuple[EncoderLike, ...],
    truth: Truth | None, head: MorphableHead | None, baselines: Sequence[str], measurer: Measurer | None,
    trained_with: tuple[str, ...], system_digest: str, map_chunks: MapChunks = serial_map,
    rows_folder: Path | None = None, networks: JudgeNetworks = NONE, faces_digest: str = "",
) -> JudgeContext:  # fmt: skip
    """Everything that the chunks share: systems, gallery, digests."""
    wanted = [swapper] if isinstance(swapper, str) else []
    unknown = set(wanted) | set(baselines)
    if unknown - set(BASELINES):
        raise SamaeError(f"no baseline is called {sorted(unknown - set(BASELINES))}; there are {', '.join(BASELINES)}")
    systems: dict[str, Swapper | None] = {swapper: None} if isinstance(swapper, str) else {swapper.name: swapper}
    systems |= {name: None for name in baselines if name not in systems and (truth is not None or name != "true-swap")}
    digests = {name: (system_digest if kept is not None else "baseline") for name, kept in systems.items()}
    judge_digest = digest_of(
        {
            "metric_version": METRIC_VERSION,
            "encoders": [(e.name, e.digest) for e in encoders],
            "headline": [e.name for e in independent(encoders, trained_with)],
            "head": head.digest if head is not None else None,
            "measurer": measurer.digest if measurer is not None else None,
            "truth": truth is not None,
            "pairs": pairs.digest,
            "networks": networks.digests,
            **({"faces": faces_digest} if faces_digest else {}),
        }
    )
    gallery = build_gallery(
        pairs, load_faces, encoders, measurer if head else None, map_chunks, rows_folder, judge_digest
    )
    return JudgeContext(
        systems, digests, load_faces, encoders, truth, head, measurer, trained_with, gallery, judge_digest,
        networks, pairs.protocol in IN_TIME,
    )  # fmt: skip


def build_gallery(
    pairs: PairList, load_faces: LoadFaces, encoders: tuple[EncoderLike, ...], measurer: Measurer | None = None,
    map_chunks: MapChunks = serial_map, kept: Path | None = None, digest: str = "", batch_faces: int = 8,
) -> Gallery:  # fmt: skip
    """Look at every face of the list once: what is known of sources and targets is taken from here.

    With a folder `kept`, parts that were looked at under the same `digest` before are read from there.
    """
    keys = tuple(dict.fromkeys((*pairs.source_keys, *pairs.target_keys)))
    parts = [keys[start : start + batch_faces] for start in range(0, len(keys), batch_faces)]
    look = partial(look_once, load_faces=load_faces, encoders=encoders, measurer=measurer, kept=kept, digest=digest)
    seen: list[Gallery] = list(map_chunks(look, parts))
    embeddings = {e.name: np.concatenate([part.embeddings[e.name] for part in seen]) for e in encoders}
    fits = [part.fitted for part in seen if part.fitted is not None]
    fitted = np.concatenate(fits) if fits else None
    order = tuple(key for part in seen for key in part.keys)
    there = np.concatenate([np.ones(len(part.keys), bool) if part.there is None else part.there for part in seen])
    return Gallery(order, np.concatenate([part.person for part in seen]), embeddings, fitted, there)


def look_once(
    keys: tuple[str, ...], load_faces: LoadFaces, encoders: tuple[EncoderLike, ...], measurer: Measurer | None,
    kept: Path | None, digest: str,
) -> Gallery:  # fmt: skip
    """`look_at_faces`, or what it gave in an earlier run that kept it."""
    if kept is None:
        return look_at_faces(keys, load_faces, encoders, measurer)
    path = kept / f"{digest_of([keys, digest, 'gallery'])}.npz"
    if not path.is_file():
        seen = look_at_faces(keys, load_faces, encoders, measurer)
        arrays: dict[str, Any] = {
            "person": seen.person,
            "there": seen.there,
            **{f"of.{k}": v for k, v in seen.embeddings.items()},
        }
        arrays |= {} if seen.fitted is None else {"fitted": seen.fitted}
        with atomic_file(path) as scratch, scratch.open("wb") as stream:
            np.savez(stream, **arrays)
    kept_one = read_npz(path, None, "a gallery that was kept", "remove it and judge again")
    embeddings = {encoder.name: kept_one[f"of.{encoder.name}"] for encoder in encoders}
    return Gallery(keys, kept_one["person"], embeddings, kept_one.get("fitted"), kept_one["there"])


def _judge_all(
    context: JudgeContext, pairs: PairList, map_chunks: MapChunks, chunk_pairs: int, rows_folder: Path | None,
    on_progress: Callable[[int, int], None] | None,
) -> pa.Table:  # fmt: skip
    every = tuple(zip(pairs.source_keys, pairs.target_keys, strict=True))
    chunks = [every[start : start + chunk_pairs] for start in range(0, len(every), chunk_pairs)]
    tables: list[pa.Table] = []
    done = 0
    for table in map_chunks(partial(judge_chunk, context=context, rows_folder=rows_folder), chunks):
        tables.append(table)
        done += len(chunks[0]) if done + len(chunks[0]) <= len(every) else len(every) - done
        if on_progress is not None:
            on_progress(done, len(every))
    if not tables:
        raise SamaeError(f"the pair list {pairs.name!r} is empty; make it with more pairs")
    return merge_rows(None, pa.concat_tables(tables, promote_options="default"))


def judge_chunk(chunk: Chunk, context: JudgeContext, rows_folder: Path | None) -> pa.Table:
    """`judge_batch` for the systems whose rows do not lie in `rows_folder` yet; theirs, and those that lie there."""
    if rows_folder is None:
        return judge_batch(chunk, context)
    paths = {name: rows_folder / f"{_rows_digest(chunk, context, name)}.parquet" for name in context.systems}
    missing = {name: swapper for name, swapper in context.systems.items() if not paths[name].is_file()}
    fresh = judge_batch(chunk, replace(context, systems=missing)) if missing else None
    for name in missing:
        with atomic_file(paths[name]) as scratch:
            pq.write_table(system_rows(fresh, name), scratch)
    return pa.concat_tables([pq.read_table(path) for path in paths.values()], promote_options="default")


def _rows_digest(chunk: Chunk, context: JudgeContext, system: str) -> str:
    return digest_of([chunk, context.judge_digest, system, context.system_digests[system]])


def _provenance(context: JudgeContext, system_digest: str) -> dict[str, Any]:
    judges = independent(context.encoders, context.trained_with)
    return {
        "metric_version": METRIC_VERSION,
        "judge_digest": context.judge_digest,
        "system_digest": system_digest,
        "encoders": [
            {
                "name": e.name,
                "digest": e.digest,
                "licence": e.licence,
                "trained_the_model": has_trained(e, context.trained_with),
            }
            for e in context.encoders
        ],
        "headline_encoders": [e.name for e in judges],
        "head": {"edition": context.head.edition, "digest": context.head.digest} if context.head else None,
        "fitted": context.measurer is not None and context.head is not None,
        "truth": context.truth is not None,
        "networks": context.networks.provenance(),
    }
