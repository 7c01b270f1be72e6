"""One chunk of pairs: load, swap, measure, and give rows. All that a worker runs, and nothing that knows of workers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from evaluation.baselines import BASELINES
from evaluation.colour import delta_e_2000, linear_to_lab
from evaluation.context import EncoderLike, Gallery, Measured, PairContext, Pictures, known_coefficients, to_uint8
from evaluation.metrics import build_metrics, fid, independent
from evaluation.metrics.base import Metric
from evaluation.networks import NONE, JudgeNetworks
from evaluation.pairs import hidden_share, pose_difference_degrees
from evaluation.rows import COVARIATES, rows_schema
from faces.errors import SamaeError
from faces.morphable.base import MorphableHead
from training.batch import FaceBatch, Swapper

LoadFaces = Callable[[Sequence[str]], FaceBatch]
#: Source key, target key -> the true swap: image (S, S, 3) uint8, landmarks_px (68, 2), mask (S, S) uint8.
Truth = Callable[[str, str], Any]
#: Some pairs: (source key, target key) each.
Chunk = tuple[tuple[str, str], ...]
#: What a swapper may raise for one bad pair; anything else is a bug and stops the run.
PAIR_ERRORS = (SamaeError, RuntimeError, ValueError, FloatingPointError, IndexError)


class Measurer(Protocol):
    """Fits coefficients to pictures, the same way for every system (evaluation/measure.py)."""

    @property
    def digest(self) -> str:
        """Names everything that the figures depend on."""
        ...

    def measure(self, pictures: Pictures, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pictures, (N, D) expected coefficients -> (N, D) fitted coefficients, (N, 68, 2) px landmarks found."""
        ...


@dataclass(frozen=True, eq=False)
class JudgeContext:
    """Everything a worker needs. `systems` maps a name to a swapper, or to None for a baseline of that name."""

    systems: dict[str, Swapper | None]
    system_digests: dict[str, str]
    load_faces: LoadFaces
    encoders: tuple[EncoderLike, ...]
    truth: Truth | None
    head: MorphableHead | None
    measurer: Measurer | None
    trained_with: tuple[str, ...]
    gallery: Gallery
    judge_digest: str
    networks: JudgeNetworks = NONE
    in_time: bool = False

    def metrics(self) -> list[Metric]:
        """The metrics of this run."""
        return build_metrics(
            self.encoders,
            has_truth=self.truth is not None,
            has_fit=self.measurer is not None and self.head is not None,
            trained_with=self.trained_with,
            networks=self.networks,
            in_time=self.in_time,
        )


#: Heads and measurers that this process has used, by class and digest.
_SETTLED: dict[tuple[str, str], Any] = {}


def settled(thing: Any) -> Any:
    """The head or measurer of the same class and digest that this process used first, else this one.

    A worker unpickles its context for every chunk; the tables that a head derives (half a second) are made once so.
    """
    return thing if thing is None else _SETTLED.setdefault((type(thing).__qualname__, thing.digest), thing)


def judge_batch(chunk: Chunk, context: JudgeContext) -> pa.Table:
    """Rows of all systems for some pairs: each picture is decoded once, each derived quantity computed once."""
    context = replace(context, head=settled(context.head), measurer=settled(context.measurer))
    source_keys, target_keys = (tuple(side) for side in zip(*chunk, strict=True))
    source_batch, target_batch, source, target = load_pair(source_keys, target_keys, context)
    truth = load_truth(chunk, context)
    covariates = pair_covariates(source_batch, target_batch, context.head)
    anchors = _anchors(context, source_keys, target_keys)
    missing = missing_faces(chunk, context.load_faces)
    tables = []
    for name, swapper in context.systems.items():
        images, reasons = run_system(name, swapper, source_batch, target_batch, source, target, truth)
        reasons = [lost or why for lost, why in zip(missing, reasons, strict=True)]
        result = Pictures(images, target.landmarks_px, target.mask, target.coefficients)
        pair_context = PairContext(source, target, result, truth, context.gallery, source_keys, target_keys)
        pair_context.measured = _measure_result(context, source, target, result, anchors)
        pair_context.ok = np.array([not reason for reason in reasons])
        tables.append(_table(name, chunk, pair_context, reasons, covariates, context))
    return pa.concat_tables(tables)


def missing_faces(chunk: Chunk, load_faces: LoadFaces) -> list[str]:
    """Why a pair has no source or no target ("" when it has both), where the loader knows of such (`missing`)."""
    keys = tuple(dict.fromkeys(key for pair in chunk for key in pair))
    known = dict(zip(keys, reasons_missing(keys, load_faces), strict=True))
    return [next((f"{key}: {known[key]}" for key in pair if known[key]), "") for pair in chunk]


def reasons_missing(keys: Sequence[str], load_faces: LoadFaces) -> list[str]:
    """Why each of these faces is not there, "" where it is, or where the loader does not say."""
    missing = getattr(load_faces, "missing", None)
    return [""] * len(keys) if missing is None else [missing(key) for key in keys]


def load_pair(
    source_keys: Sequence[str], target_keys: Sequence[str], context: JudgeContext
) -> tuple[FaceBatch, FaceBatch, Pictures, Pictures]:
    """Source and target of some pairs, decoded once a key, with their embeddings taken from the gallery."""
    keys = tuple(dict.fromkeys((*source_keys, *target_keys)))
    where = {key: row for row, key in enumerate(keys)}
    faces = context.load_faces(keys)
    everything = Pictures.of_batch(faces)
    batches, pictures = [], []
    for side in (source_keys, target_keys):
        rows = [where[key] for key in side]
        batches.append(faces.select(rows))
        part = Pictures(
            everything.image[rows], everything.landmarks_px[rows], everything.mask[rows],
            None if everything.coefficients is None else everything.coefficients[rows],
        )  # fmt: skip
        for encoder in context.encoders:
            known = context.gallery.embeddings[encoder.name][context.gallery.rows_of(side)]
            part.remember(f"embedding.{encoder.name}", known)
        pictures.append(part)
    return batches[0], batches[1], pictures[0], pictures[1]


def load_truth(chunk: Chunk, context: JudgeContext) -> Pictures | None:
    """The true swaps of some pairs, or None where there are none."""
    if context.truth is None:
        return None
    portraits = [context.truth(source, target) for source, target in chunk]
    return Pictures(
        np.stack([np.asarray(p.image) for p in portraits]),
        np.stack([np.asarray(p.landmarks_px, np.float32) for p in portraits]),
        np.stack([np.asarray(p.mask, np.float32) / 255 for p in portraits]),
    )


def run_system(
    name: str, swapper: Swapper | None, source_batch: FaceBatch, target_batch: FaceBatch,
    source: Pictures, target: Pictures, truth: Pictures | None,
) -> tuple[np.ndarray, list[str]]:  # fmt: skip
    """One system on N pairs -> (N, S, S, 3) uint8 results and N reasons of failure ("" when it worked)."""
    if swapper is None:
        return BASELINES[name](source, target, truth), [""] * len(target)
    try:
        return _checked(swapper, source_batch, target_batch)
    except PAIR_ERRORS:
        pass  # one bad pair must not take the others with it: pair by pair, below
    images, reasons = np.zeros_like(target.image), [""] * len(target)
    for n in range(len(target)):
        try:
            one, why = _checked(swapper, source_batch.select([n]), target_batch.select([n]))
            images[n], reasons[n] = one[0], why[0]
        except PAIR_ERRORS as error:
            reasons[n] = f"{type(error).__name__}: {error}"[:200]
    return images, reasons


def _checked(swapper: Swapper, source: FaceBatch, target: FaceBatch) -> tuple[np.ndarray, list[str]]:
    image = swapper.swap(source, target).image.detach().float().cpu().numpy()
    if image.shape != tuple(target.image.shape):
        raise SamaeError(f"{swapper.name} gave pictures of shape {image.shape} for {tuple(target.image.shape)}")
    finite = np.isfinite(image).all(axis=(1, 2, 3))
    return to_uint8(np.nan_to_num(image)), ["" if ok else "the result has values that are not numbers" for ok in finite]


def pair_covariates(source: FaceBatch, target: FaceBatch, head: MorphableHead | None) -> dict[str, np.ndarray]:
    """What slices are cut by, (N,) each: see evaluation/rows.py. NaN where the head is needed and missing."""
    skin_source, skin_target = (linear_to_lab(batch.skin.cpu().numpy()) for batch in (source, target))
    values = {name: np.full(len(source), np.nan) for name in COVARIATES}
    values["source_skin_lightness"] = skin_source[:, 0]
    values["skin_difference"] = delta_e_2000(skin_source, skin_target)
    values["target_occlusion"] = hidden_share(target.landmarks.cpu().numpy(), target.mask[:, 0].cpu().numpy())
    if head is not None:
        a, b = source.coefficients.cpu().numpy(), target.coefficients.cpu().numpy()
        take = head.layout.take
        rotations = take(a, "rotation_rad"), take(b, "rotation_rad")
        values["pose_difference_degrees"] = pose_difference_degrees(*rotations)
        values["target_yaw_degrees"] = np.degrees(np.abs(rotations[1][:, 1]))
        values["shape_difference"] = np.linalg.norm(take(a, "identity") - take(b, "identity"), axis=1)
    return values


def look_at_faces(keys: tuple[str, ...], load_faces: LoadFaces, encoders: tuple[EncoderLike, ...],
                  measurer: Measurer | None) -> Gallery:  # fmt: skip
    """Load some faces once: their persons, their embeddings and, with a measurer, their fitted coefficients."""
    batch = load_faces(keys)
    pictures = Pictures.of_batch(batch)
    embeddings = {encoder.name: pictures.embedding(encoder) for encoder in encoders}
    fitted = settled(measurer).measure(pictures, known_coefficients(pictures))[0] if measurer is not None else None
    there = np.array([not why for why in reasons_missing(keys, load_faces)])
    return Gallery(keys, batch.person.cpu().numpy(), embeddings, fitted, there)


def _anchors(
    context: JudgeContext, source_keys: Sequence[str], target_keys: Sequence[str]
) -> tuple[np.ndarray, np.ndarray] | None:
    """Fitted coefficients of source and target, (N, D) each, from the gallery: every face was fitted once."""
    fitted = context.gallery.fitted
    if fitted is None:
        return None
    return fitted[context.gallery.rows_of(source_keys)], fitted[context.gallery.rows_of(target_keys)]


def _measure_result(
    context: JudgeContext, source: Pictures, target: Pictures, result: Pictures,
    anchors: tuple[np.ndarray, np.ndarray] | None,
) -> Measured | None:  # fmt: skip
    if anchors is None or context.measurer is None or context.head is None:
        return None
    layout = context.head.layout
    expected = known_coefficients(target).copy()
    expected[:, layout.slices["identity"]] = layout.take(known_coefficients(source), "identity")
    coefficients, landmarks_px = context.measurer.measure(result, expected)
    return Measured(context.head, anchors[0], anchors[1], coefficients, landmarks_px)


def _table(
    name: str, chunk: Chunk, pairs: PairContext, reasons: list[str], covariates: dict[str, np.ndarray],
    context: JudgeContext,
) -> pa.Table:  # fmt: skip
    metrics = context.metrics()
    failed = np.array([bool(reason) for reason in reasons])
    encoder = independent(context.encoders, context.trained_with)[0]
    vectors = {"embedding": pairs.result.embedding(encoder)}
    inception = context.networks["inception"]
    if inception is not None:
        vectors[fid.COLUMN] = fid.inception_features(pairs.result.image, inception)
    columns: dict[str, list[Any]] = {
        "system": [name] * len(chunk),
        "system_digest": [context.system_digests[name]] * len(chunk),
        "pair_id": [f"{source}>{target}" for source, target in chunk],
        "judge_digest": [context.judge_digest] * len(chunk),
        "source_key": [source for source, _ in chunk],
        "target_key": [target for _, target in chunk],
        "status": ["failed" if bad else "ok" for bad in failed],
        "reason": reasons,
    }
    for column, rows in vectors.items():
        columns[column] = [None if bad else vector.tolist() for bad, vector in zip(failed, rows, strict=True)]
    columns |= {key: values.tolist() for key, values in covariates.items()}
    for metric in metrics:
        columns[metric.name] = np.where(failed, np.nan, metric.compute(pairs)).tolist()
    schema = rows_schema([metric.name for metric in metrics], tuple(vectors))
    # from_pandas: NaN becomes null, so that tables compare and tools show a gap where nothing was measured
    return pa.table([pa.array(columns[f.name], f.type, from_pandas=True) for f in schema], schema=schema)
