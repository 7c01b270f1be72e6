"""The metric-sanity table: baselines and graded corruptions of true swaps, and whether each metric moves as it must.

samae bench sanity                             48 pairs of 128 px (about two minutes on two cores)
samae bench sanity --set table=FILE.md         the whole table, as in docs/judging.md
"""

import tempfile
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from benchmarks import _evaluate_set as sets
from benchmarks._corruptions import CORRUPTIONS, ORDERS, UP, Corruption, Material
from evaluation.batch import JudgeContext, judge_batch
from evaluation.evaluation import MetricInfo
from evaluation.judge import ALL_BASELINES, make_context
from evaluation.measure import default_measurer
from evaluation.pairs import PairList
from evaluation.report_parts import number
from evaluation.rows import column, system_rows
from faces.errors import SamaeError
from faces.files import write_bytes
from faces.records import decode_colour
from training.batch import FaceBatch, SwapResult

SUMMARY = "The metric-sanity table: baselines and graded corruptions must move every metric the right way"
#: Pairs a task.
PART = 4
DEFAULTS: dict[str, Any] = {"pairs": 48, "size_px": 128, "workers": 2, "table": ""}


def name_of(family: int, step: int) -> str:
    """Name of a step's system."""
    return f"{CORRUPTIONS[family].name} {step + 1}"


@dataclass(frozen=True)
class Corrupted:
    """A "swapper" that gives the true swap, made worse by one step of a corruption."""

    pictures: sets.PictureSet
    strangers: dict[str, str]
    family: int
    step: int

    @property
    def name(self) -> str:
        """Family and step."""
        return name_of(self.family, self.step)

    @property
    def size_px(self) -> int:
        """Width of a picture."""
        return self.pictures.size_px

    def swap(self, source: FaceBatch, target: FaceBatch) -> SwapResult:
        """The corrupted true swaps of these pairs."""
        corruption = CORRUPTIONS[self.family]
        shots = [
            corruption.worsen(material(self.pictures, s, t, self.strangers[f"{s}-{t}"]), corruption.steps[self.step])
            for s, t in zip(source.keys, target.keys, strict=True)
        ]
        return SwapResult(torch.from_numpy(np.stack(shots)).permute(0, 3, 1, 2).float() / 255, target.mask)


@lru_cache(maxsize=32)
def material(pictures: sets.PictureSet, source: str, target: str, stranger: str) -> Material:
    """What the corruptions of one pair are made of, kept while system after system is judged on the same pairs."""
    name = f"{source}-{target}"
    places = (("truth", name), ("faces", target), ("truth", f"{stranger}-{target}"))
    truth, below, other = (decode_colour(pictures.picture(*place).read_bytes()) for place in places)
    known = pictures.known("truth", name)
    return Material(truth, below, other, known["landmarks_px"], known["mask"])


def run(settings: dict[str, Any]) -> dict[str, float | int | str]:
    """Settings: pairs, size_px, workers (1 judges in this process), table (a Markdown file to write)."""
    chosen = DEFAULTS | settings
    table = measure(int(chosen["pairs"]), int(chosen["size_px"]), int(chosen["workers"]))
    if chosen["table"]:
        write_bytes(Path(str(chosen["table"])), table.markdown().encode())
    broken = table.broken()
    return {
        "checks": table.checks,
        "broken": len(broken),
        "which": "; ".join(broken) or "none",
        "pairs": int(chosen["pairs"]),
        "size_px": int(chosen["size_px"]),
        "judges": ", ".join(table.judges),
    }


@dataclass(frozen=True)
class SanityTable:
    """Means of the baselines and of every step of every family, by name of the system and of the metric."""

    infos: dict[str, MetricInfo]
    means_of: dict[str, dict[str, float]]
    judges: tuple[str, ...]

    @property
    def checks(self) -> int:
        """Orders of baselines and moves of families that must hold."""
        return len(ORDERS) + sum(len(family.moves) for family in CORRUPTIONS)

    def means(self, family: int, metric: str) -> list[float]:
        """The truth's figure and those of the three steps."""
        steps = range(len(CORRUPTIONS[family].steps))
        return [self.means_of[name][metric] for name in ("true-swap", *(name_of(family, step) for step in steps))]

    def moves(self, family: int, metric: str) -> bool:
        """Whether no step takes a metric the wrong way and all of them together take it the right way.

        A rate of few pairs may stand still for a step.
        """
        change = np.diff(self.means(family, metric)) * CORRUPTIONS[family].moves[metric]
        return bool((change >= 0).all() and change.sum() > 0)

    def broken(self) -> list[str]:
        """What does not hold, in words."""
        said = [
            f"{metric}: {better} is not better than {worse}"
            for metric, better, worse in ORDERS
            if not self._better(metric, better, worse)
        ]
        for number_, family in enumerate(CORRUPTIONS):
            for metric in family.moves:
                if not self.moves(number_, metric):
                    values = ", ".join(f"{value:.3f}" for value in self.means(number_, metric))
                    said.append(f"{family.name}: {metric} goes {values}")
        return said

    def _better(self, metric: str, better: str, worse: str) -> bool:
        a, b = (self.means_of[name][metric] for name in (better, worse))
        return a > b if self.infos[metric].direction == "higher" else a < b

    def markdown(self) -> str:
        """Both tables as Markdown."""
        names = ALL_BASELINES
        lines = [f"| metric | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
        for metric, info in self.infos.items():
            cells = [number(self.means_of[name][metric], info) for name in names]
            lines.append(f"| `{metric}` | {' | '.join(cells)} |")
        lines += ["", "| corruption | steps | metric | must | truth | 1 | 2 | 3 | does |", "|---" * 9 + "|"]
        for family, corruption in enumerate(CORRUPTIONS):
            lines += [self._row(family, corruption, metric) for metric in corruption.moves]
        return "\n".join(lines) + "\n"

    def _row(self, family: int, corruption: Corruption, metric: str) -> str:
        cells = [number(value, self.infos[metric]) for value in self.means(family, metric)]
        steps = f"{', '.join(f'{step:g}' for step in corruption.steps)} {corruption.unit}"
        way = "↑" if corruption.moves[metric] == UP else "↓"
        done = "yes" if self.moves(family, metric) else "**no**"
        return f"| {corruption.name} | {steps} | `{metric}` | {way} | {' | '.join(cells)} | {done} |"


def measure(pairs_n: int, size_px: int, workers: int = 1) -> SanityTable:
    """Draw the pictures, judge the baselines and every step of every family."""
    from pipelines.ray_pool import RayPool

    pool = RayPool(address="local" if workers > 1 else "serial", cores=workers)
    try:
        with tempfile.TemporaryDirectory(prefix="samae-sanity-") as scratch:
            faces = max(8, pairs_n // 2)
            pictures = sets.PictureSet(Path(scratch), faces, max(4, faces // 2), size_px)
            return _measured(pictures, pictures.pairs(pairs_n), pool)
    finally:
        if workers > 1:
            pool.stop()


def _measured(pictures: sets.PictureSet, pairs: PairList, pool: Any) -> SanityTable:
    strangers = strangers_of(pictures, pairs)
    wrong = tuple(strangers[f"{s}-{t}"] for s, t in zip(pairs.source_keys, pairs.target_keys, strict=True))
    sets.prepare(pictures, pairs, pool)
    sets.prepare(pictures, replace(pairs, source_keys=wrong, digest=""), pool)
    context = _context(pictures, pairs, strangers, pool)
    every = list(zip(pairs.source_keys, pairs.target_keys, strict=True))
    chunks = [tuple(every[start : start + PART]) for start in range(0, len(every), PART)]
    rows = pa.concat_tables(pool.map(partial(judge_batch, context=context), chunks))
    failed = rows.filter(pc.equal(rows["status"], "failed"))
    if failed.num_rows:
        raise SamaeError(f"{failed.num_rows} pairs failed, the first with {failed['reason'][0]}: mend the corruption")
    infos = {m.name: MetricInfo.of(m) for m in context.metrics() if "." not in m.name}
    means = {name: _means(system_rows(rows, name), list(infos)) for name in context.systems}
    return SanityTable(infos, means, tuple(encoder.name for encoder in context.encoders))


def _means(rows: pa.Table, metrics: list[str]) -> dict[str, float]:
    return {metric: float(np.nanmean(column(rows, metric))) for metric in metrics}


def strangers_of(pictures: sets.PictureSet, pairs: PairList) -> dict[str, str]:
    """Name of a pair -> the key of a face of a third person."""
    person = {f"{i:05d}": sets.person_of(pictures, i) for i in range(pictures.faces)}
    found = {}
    for n, (source, target) in enumerate(zip(pairs.source_keys, pairs.target_keys, strict=True)):
        others = [key for key in person if person[key] not in (person[source], person[target])]
        found[f"{source}-{target}"] = others[n % len(others)]
    return found


def _context(pictures: sets.PictureSet, pairs: PairList, strangers: dict[str, str], pool: Any) -> JudgeContext:
    """The judge's context with the baselines and all corruptions as its systems: truths are looked at once for all."""
    from assets.plan import Plan
    from faces.identity.registry import load_encoder
    from faces.morphable.registry import load_head

    head, judges = load_head("builtin"), Plan.model_fields["judges"].default
    context = make_context(
        "copy-target", pairs, sets.Loader(pictures), tuple(load_encoder(name) for name in judges),
        sets.Truths(pictures), head, ALL_BASELINES, default_measurer(head), (), "sanity", pool.map,
    )  # fmt: skip
    every = [(family, step) for family, corruption in enumerate(CORRUPTIONS) for step in range(len(corruption.steps))]
    made: Any = {name_of(*one): Corrupted(pictures, strangers, *one) for one in every}
    return replace(context, systems=context.systems | made, system_digests=dict.fromkeys([*context.systems, *made], ""))
