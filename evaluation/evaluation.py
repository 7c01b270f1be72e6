"""What a judgement is: rows, figures with intervals for the system and the baselines, examples; and how it is kept.

A folder holds rows.parquet, evaluation.json, examples/*.png and a manifest, written atomically.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from evaluation.grids import example_rows, pair_grid
from evaluation.metrics import fid
from evaluation.metrics.base import Direction, Metric
from evaluation.metrics.consistency import identity_consistency
from evaluation.metrics.frechet import frechet_distance
from evaluation.metrics.kernel import kernel_distance
from evaluation.pairs import PairList, draw_groups
from evaluation.rows import column, embeddings, in_order, system_rows, systems_of
from evaluation.statistics import SLICES, PairGroups, slice_figures, summarise
from faces.errors import SamaeError
from faces.files import atomic_folder, read_json, read_manifest, write_json
from faces.records import decode_colour, encode_png


@dataclass(frozen=True)
class MetricInfo:
    """A metric without its function: what tables and reports need."""

    name: str
    title: str
    unit: str
    direction: Direction
    about: str
    needs_truth: bool = False
    scale: float = 1.0

    @classmethod
    def of(cls, metric: Metric) -> "MetricInfo":
        """The description of a metric."""
        return cls(
            metric.name, metric.title, metric.unit, metric.direction, metric.about, metric.needs_truth, metric.scale
        )


@dataclass(frozen=True, eq=False)
class Example:
    """One pair to look at: (S, S, 3) uint8 pictures, truth None where there is none.

    `why` it was chosen: "fixed" (the first ones of the list), or "best", "median" or "worst" `by` a metric.
    """

    pair_id: str
    why: str
    source: np.ndarray
    target: np.ndarray
    result: np.ndarray
    truth: np.ndarray | None
    caption: str = ""
    by: str = "identity_similarity"


#: Metric -> {mean, low, high, n, failed, direction, unit}.
Summary = dict[str, dict[str, Any]]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A judged system.

    Attributes:
        name: the system.  pairs: the frozen list.  rows: evaluation/rows.py, system and baselines.
        metrics: what was measured, headline first.
        summary: metric -> {mean, low, high, n, failed, direction, unit} of the system; set figures have n of the set.
        baselines: name -> the same.   slices: label -> metric -> {mean, ...} of the system.
        examples: pairs to look at.   provenance: encoders, head, digests, versions.
        persons: key -> person of the list's faces, where it is known.
    """

    name: str
    pairs: PairList
    rows: pa.Table
    metrics: tuple[MetricInfo, ...]
    summary: Summary
    baselines: dict[str, Summary]
    slices: dict[str, Summary]
    provenance: dict[str, Any]
    examples: tuple[Example, ...] = field(default=())
    persons: Mapping[str, int] = field(default_factory=dict)

    @property
    def groups(self) -> PairGroups:
        """What its pairs have in common, for intervals."""
        return draw_groups(self.pairs, self.persons)

    @property
    def grids(self) -> dict[str, np.ndarray]:
        """Name -> (H, W, 3) uint8 picture for a tracker: rows of source, target, result and truth."""
        names = {"fixed": [e for e in self.examples if e.why == "fixed"]}
        for example in self.examples:
            if example.why != "fixed":
                names.setdefault(f"best_to_worst_{example.by}", []).append(example)
        return {name: pair_grid(*example_rows(chosen)) for name, chosen in names.items() if chosen}

    def failed(self, system: str | None = None) -> int:
        """How many pairs of the list a system (this one, or a baseline) could not swap."""
        own = system_rows(self.rows, system or self.name)
        return own.num_rows - own.filter(pc.equal(own["status"], "ok")).num_rows

    def flat(self, prefix: str = "") -> dict[str, float]:
        """Metric -> mean, finite ones alone, with "pairs" and "failed": a mean is over the pairs that did not fail."""
        counts = {"pairs": float(len(self.pairs)), "failed": float(self.failed())}
        means = {name: float(figure["mean"]) for name, figure in self.summary.items()}
        return {prefix + name: value for name, value in (means | counts).items() if math.isfinite(value)}

    def interval_ends(self, prefix: str = "") -> dict[str, float]:
        """Metric_low and metric_high -> the ends of its interval, where it has one."""
        ends = {f"{m}_{end}": float(figure[end]) for m, figure in self.summary.items() for end in ("low", "high")}
        return {prefix + name: value for name, value in ends.items() if math.isfinite(value)}


SET_METRICS: tuple[MetricInfo, ...] = (
    MetricInfo(
        "frechet_identity_features", "Fréchet, own features", "", "lower",
        "Fréchet distance of the identity features of results and real targets. Not the FID; compare equal N alone.",
    ),
    MetricInfo(
        "kernel_identity_features", "Kernel distance, own features", "", "lower",
        "KID's unbiased kernel distance over the identity features of results and real targets. Not the KID.",
    ),
    MetricInfo(
        "fid", "FID", "", "lower",
        "Fréchet distance of Inception features of results and real targets (clean-fid). Compare equal N alone.",
    ),
    MetricInfo(
        "kid", "KID", "", "lower",
        "Unbiased kernel distance of Inception features of results and real targets (clean-fid).",
    ),
    MetricInfo(
        "identity_consistency", "Identity consistency", "cosine", "higher",
        "Mean cosine among the results of one source person on several targets.",
    ),
)  # fmt: skip


def evaluate_rows(
    name: str, pairs: PairList, rows: pa.Table, metrics: Sequence[Metric], provenance: dict[str, Any],
    persons: Mapping[str, int],
) -> Evaluation:  # fmt: skip
    """Figures with intervals of every system in the rows; every pair of the list must have its row.

    persons: key -> person, where it is known.
    """
    infos = tuple(MetricInfo.of(metric) for metric in metrics)
    summaries = {system: _summary(system, rows, pairs, infos, persons) for system in systems_of(rows)}
    own = in_order(system_rows(rows, name), pairs.ids)
    columns = {c: column(own, c) for c in own.column_names if pa.types.is_floating(own.schema.field(c).type)}
    sliced = slice_figures(columns, [info.name for info in infos], groups=draw_groups(pairs, persons))
    slices = {label: {m: _entry(f.as_dict(), i) for (m, f), i in zip(figures.items(), infos, strict=True)}
              for label, figures in sliced.items()}  # fmt: skip
    main = summaries.pop(name)
    shown = infos + tuple(info for info in SET_METRICS if math.isfinite(main[info.name]["mean"]))
    return Evaluation(name, pairs, rows, shown, main, summaries, slices, provenance, persons=persons)


def _summary(
    system: str, rows: pa.Table, pairs: PairList, infos: Sequence[MetricInfo], persons: Mapping[str, int]
) -> Summary:
    own = in_order(system_rows(rows, system), pairs.ids)
    values = np.stack([column(own, info.name) for info in infos], axis=1)
    figures = summarise(values, seed=pairs.seed, groups=draw_groups(pairs, persons))
    summary = {info.name: _entry(figure.as_dict(), info) for info, figure in zip(infos, figures, strict=True)}
    copies = system_rows(rows, "copy-target")
    worked = pc.equal(own["status"], "ok")
    real = in_order(copies, pairs.ids).filter(worked) if copies.num_rows else copies  # results and targets of one N
    features = embeddings(own)
    ok = own.filter(worked)["source_key"].to_pylist()
    of_set = (
        *_set_distances(features, embeddings(real)),
        *_set_distances(embeddings(own, fid.COLUMN), embeddings(real, fid.COLUMN)),
        identity_consistency(features, [persons.get(key, key) for key in ok]) if len(features) else math.nan,
    )
    for info, value in zip(SET_METRICS, of_set, strict=True):
        bare = {"mean": value, "low": math.nan, "high": math.nan, "n": len(features), "failed": own.num_rows - len(ok)}
        summary[info.name] = _entry(bare, info)
    return summary


def _set_distances(made: np.ndarray, real: np.ndarray) -> tuple[float, float]:
    """Fréchet and kernel distance of two sets of features; NaN where one is empty."""
    if not len(made) or not len(real):
        return math.nan, math.nan
    return frechet_distance(made, real), kernel_distance(made, real)


def _entry(figure: dict[str, Any], info: MetricInfo) -> dict[str, Any]:
    # A figure that pages show in per cent is kept, and printed as JSON, as a share.
    return {**figure, "direction": info.direction, "unit": info.unit if info.scale == 1 else "share"}


def write_evaluation(folder: Path, evaluation: Evaluation) -> None:
    """Keep an evaluation in a folder (whole or absent)."""
    with atomic_folder(folder, {"name": evaluation.name, "pairs_digest": evaluation.pairs.digest}) as scratch:
        pq.write_table(evaluation.rows, scratch / "rows.parquet")
        kept = {
            "name": evaluation.name,
            "pairs": asdict(evaluation.pairs),
            "persons": dict(evaluation.persons),
            "metrics": [asdict(info) for info in evaluation.metrics],
            "summary": evaluation.summary,
            "baselines": evaluation.baselines,
            "slices": evaluation.slices,
            "provenance": evaluation.provenance,
            "examples": [_write_example(scratch / "examples", n, e) for n, e in enumerate(evaluation.examples)],
        }
        write_json(scratch / "evaluation.json", _without_nan(kept))


def _write_example(folder: Path, number: int, example: Example) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    parts = {part: getattr(example, part) for part in ("source", "target", "result", "truth")}
    kept = {part: f"{number:03d}-{part}.png" for part, picture in parts.items() if picture is not None}
    for part, name in kept.items():
        (folder / name).write_bytes(encode_png(parts[part]))
    said = {name: getattr(example, name) for name in ("pair_id", "why", "by", "caption")}
    return {**said, "pictures": kept}


def _without_nan(value: Any) -> Any:
    """NaN and infinity become null: JSON has neither."""
    if isinstance(value, dict):
        return {k: _without_nan(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_evaluation(folder: Path) -> Evaluation:
    """Read what `write_evaluation` kept; SamaeError when it is unfinished or damaged."""
    read_manifest(folder).verify(folder)
    raw = read_json(folder / "evaluation.json")
    try:
        lists = {key: tuple(raw["pairs"][key]) for key in ("source_keys", "target_keys")}
        return Evaluation(
            name=raw["name"],
            pairs=PairList(**{**raw["pairs"], **lists}),
            rows=pq.read_table(folder / "rows.parquet"),
            metrics=tuple(MetricInfo(**info) for info in raw["metrics"]),
            summary=_with_nan(raw["summary"]),
            baselines={name: _with_nan(summary) for name, summary in raw["baselines"].items()},
            slices={label: _with_nan(raw["slices"][label]) for label in _in_slice_order(raw["slices"])},
            provenance=raw["provenance"],
            examples=tuple(_read_example(folder / "examples", one) for one in raw["examples"]),
            persons=raw["persons"],
        )
    except (KeyError, TypeError) as error:
        raise SamaeError(f"{folder} does not hold an evaluation of this version ({error}); evaluate again") from None


def _in_slice_order(labels: Iterable[str]) -> list[str]:
    """Labels in the order of SLICES (JSON keeps them by the alphabet); those of other versions last."""
    order = {part.label: place for place, part in enumerate(SLICES)}
    return sorted(labels, key=lambda label: order.get(label, len(order)))


def _with_nan(summary: Summary) -> Summary:
    numbers = ("mean", "low", "high")
    return {m: {k: math.nan if k in numbers and v is None else v for k, v in f.items()} for m, f in summary.items()}


def _read_example(folder: Path, raw: dict[str, Any]) -> Example:
    pictures = {part: decode_colour((folder / name).read_bytes()) for part, name in raw["pictures"].items()}
    truth = pictures.get("truth")
    parts = pictures["source"], pictures["target"], pictures["result"]
    return Example(raw["pair_id"], raw["why"], *parts, truth, raw["caption"], raw.get("by", "identity_similarity"))
