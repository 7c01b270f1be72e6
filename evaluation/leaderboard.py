"""The leaderboard page's values: recipes side by side on the same pairs, with intervals, grid, scatter and profile."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from evaluation import charts
from evaluation import report_parts as parts
from evaluation.ablations import ablations
from evaluation.evaluation import Evaluation, MetricInfo
from evaluation.gate import GateSettings
from evaluation.reading import reading
from faces.errors import SamaeError

#: What the leaderboard shows of slices, where it was measured.
SLICED = ("identity_similarity", "pose_degrees", "skin_delta_e", "truth_face_psnr_db")
#: What recipes are ordered by: the figure that the gate asks for first.
RANKED_BY = GateSettings.primary


def leaderboard_page(
    evaluations: Sequence[Evaluation], curves: parts.Curves | None, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Every value that leaderboard.html needs; SamaeError when the evaluations are of different pairs."""
    if len({e.pairs.digest for e in evaluations}) > 1:
        raise SamaeError("these evaluations are of different pair lists; evaluate all recipes on the same frozen pairs")
    ranked = best_first(evaluations)
    first = ranked[0]
    colours = {e.name: charts.SERIES[i % len(charts.SERIES)] for i, e in enumerate(ranked)}
    infos = parts.main_metrics(first)
    return {
        "title": "Leaderboard · Samae",
        "wide": True,
        "heading": f"{len(ranked)} recipes, one judge" if len(ranked) > 1 else f"{first.name}, judged",
        "lead": _lead(ranked),
        "facts": _facts(first, settings),
        "table_note": "Means with 95 % paired bootstrap intervals, recipes ordered by identity, those that failed a "
        "pair last. Bold: the best recipe of a row among those that failed no pair. Red: fewer pairs than the list "
        "has, because they failed or could not be measured. No single row decides: a pasted source wins identity and "
        "loses everything else.",
        "failures": parts.failure_notes(ranked),
        "systems": [{"name": e.name, "colour": colours[e.name]} for e in ranked],
        "baselines": list(first.baselines),
        "rows": [_failed_row(ranked), *(_row(info, ranked) for info in infos)],
        "grids": _grid(ranked, colours),
        "scatter": parts.scatter_of(
            [(e.name, colours[e.name], e) for e in ranked], "identity_similarity", "skin_delta_e", first, 120
        ),
        "scatter_note": "Each faint dot is a pair. A good method stands where the true swap stands: as much of the "
        "source's identity as can be seen, in the target's colours.",
        "parallel": parts.profile(ranked, infos, colours),
        "legend": [(e.name, colours[e.name]) for e in ranked],
        "slices": [_slices(ranked, info) for info in infos if info.name in SLICED],
        "ablations": ablations(ranked, infos),
        "curves": parts.curve_charts(curves, colours),
        "reading": reading(first),
        "provenance": [{"title": "The judge", "rows": parts.judge_rows(first)}, *parts.setting_groups(settings)],
    }


def best_first(evaluations: Sequence[Evaluation]) -> list[Evaluation]:
    """By identity, the best first; those that failed a pair after all others, as their means are over fewer pairs.

    Among these, what cannot be said comes last.
    """
    return sorted(evaluations, key=_place)


def _place(evaluation: Evaluation) -> tuple[bool, float]:
    mean = float(evaluation.summary.get(RANKED_BY, {}).get("mean", math.nan))
    return evaluation.failed() > 0, -mean if math.isfinite(mean) else math.inf


def _lead(ranked: Sequence[Evaluation]) -> str:
    """Who leads, and whether the interval says so too."""
    first, total = ranked[0], len(ranked[0].pairs)
    figure = first.summary[RANKED_BY]
    if not math.isfinite(figure["mean"]):
        return f"There is nothing to judge: {_losses(ranked)}." + parts.own_judge_warning(ranked)
    second = ranked[1] if len(ranked) > 1 else None
    if second and second.failed() and not first.failed():
        text = (
            f"{first.name} alone failed none of {total} frozen pairs; its identity similarity is {figure['mean']:.2f}"
        )
        return f"{text} ({_losses(ranked[1:])})." + parts.own_judge_warning(ranked)
    text = f"{first.name} carries the most of the source's identity ({figure['mean']:.2f})"
    if first.failed():
        text += f" on the {total - first.failed()} pairs that it did not fail"
    if second is None:
        return text + "." + parts.own_judge_warning(ranked)
    other = second.summary[RANKED_BY]
    if not math.isfinite(other["mean"]):
        text += f"; {_losses(ranked[1:])}."
    else:
        sure = "clear of" if figure["low"] > other["high"] else "not clearly ahead of"
        text += f", {sure} {second.name} ({other['mean']:.2f}) on {total} frozen pairs."
    return text + _nearest_to_truth(ranked) + parts.own_judge_warning(ranked)


def _losses(evaluations: Sequence[Evaluation]) -> str:
    return ", ".join(f"{e.name} failed {e.failed()} of {len(e.pairs)} pairs" for e in evaluations)


def _nearest_to_truth(ranked: Sequence[Evaluation]) -> str:
    """A sentence on face and identity against the true swap, empty where there is none: the source's alone can mislead.

    Among the recipes that failed no pair, where there are any: a mean over easy pairs alone is no smaller error.
    """
    compared = [e for e in ranked if not e.failed()] or ranked
    summaries = {e.name: e.summary for e in compared}
    faces, persons = (parts.means(summaries, name) for name in ("truth_face_psnr_db", "truth_identity"))
    if len(faces) < 2:
        return ""
    face = max(faces, key=lambda name: faces[name])
    text = f" Nearest to the true swap inside the face is {face} ({faces[face]:.1f} dB)"
    if len(persons) < 2:
        return text + "."
    person = max(persons, key=lambda name: persons[name])
    return f"{text}, in identity {'too' if person == face else person} ({persons[person]:.2f})."


def _facts(first: Evaluation, settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    facts = [("pairs", f"{len(first.pairs)} · {first.pairs.protocol}"), ("list", first.pairs.digest)]
    facts.append(("judged by", ", ".join(first.provenance.get("headline_encoders", []))))
    return facts + [(key, str(settings[key])) for key in ("commit", "date") if key in settings]


def _failed_row(ranked: Sequence[Evaluation]) -> dict[str, Any]:
    """How many pairs every recipe and baseline failed: what stands beside every mean."""
    lost = [e.failed() for e in ranked]
    return {
        "title": "Failed pairs",
        "arrow": parts.ARROWS["lower"],
        "unit": f"of {len(ranked[0].pairs)}",
        "cells": [{"value": str(n), "interval": "", "over": "", "best": False, "bad": n > 0} for n in lost],
        "baselines": [str(ranked[0].failed(name)) for name in ranked[0].baselines],
    }


def _row(info: MetricInfo, ranked: Sequence[Evaluation]) -> dict[str, Any]:
    """One metric over all recipes and baselines, the best recipe marked."""
    values = parts.means({e.name: e.summary for e in ranked if not e.failed()}, info.name)
    best = (min if info.direction == "lower" else max)(values.values(), default=math.nan)
    cells = []
    for evaluation in ranked:
        figure = evaluation.summary.get(info.name)
        text = ("–", "") if figure is None else (parts.number(figure["mean"], info), parts.interval(figure, info))
        is_best = len(ranked) > 1 and values.get(evaluation.name) == best
        few = figure is not None and figure["n"] < len(evaluation.pairs)
        over = f"over {parts.measured(figure, len(evaluation.pairs))}" if figure is not None and few else ""
        cells.append({"value": text[0], "interval": text[1], "over": over, "best": is_best, "bad": False})
    others = parts.means(ranked[0].baselines, info.name)
    return {
        "title": info.title,
        "arrow": parts.ARROWS[info.direction],
        "unit": info.unit,
        "cells": cells,
        "baselines": [parts.number(others.get(name, math.nan), info) for name in ranked[0].baselines],
    }


def _grid(ranked: Sequence[Evaluation], colours: Mapping[str, str]) -> list[dict[str, Any]]:
    """The pairs that every evaluation keeps (the fixed ones), one column a recipe."""
    kept = [{e.pair_id: e for e in one.examples if e.why == "fixed"} for one in ranked]
    common = [pair for pair in kept[0] if all(pair in other for other in kept)]
    if not common:
        return []
    with_truth = all(kept[0][pair].truth is not None for pair in common)
    titles = ["source (who)", "target (where)", *(e.name for e in ranked)] + ["true swap"] * with_truth
    rows = []
    for pair in common:
        shared = kept[0][pair]
        pictures = [shared.source, shared.target, *(other[pair].result for other in kept)]
        pictures += [shared.truth] if with_truth and shared.truth is not None else []
        rows.append(
            {
                "pictures": [
                    {"data": parts.picture_uri(picture), "alt": f"{title} of pair {pair}"}
                    for title, picture in zip(titles, pictures, strict=True)
                ]
            }
        )
    columns = [{"title": title, "colour": colours.get(title, "")} for title in titles]
    note = "The first pairs of the list, the same for every recipe: nobody chose them."
    return [{"title": "The swaps", "note": note, "columns": columns, "rows": rows}]


def _slices(ranked: Sequence[Evaluation], info: MetricInfo) -> dict[str, Any]:
    """One metric over the slices of the list: a row a slice, a cell a recipe, the best recipe of a row marked."""
    rows = []
    for label, figures in ranked[0].slices.items():
        values = parts.means({e.name: e.slices.get(label, {}) for e in ranked if not e.failed()}, info.name)
        best = (min if info.direction == "lower" else max)(values.values(), default=math.nan)
        count = figures[info.name]["n"] + figures[info.name]["failed"]
        listed = [(e.slices.get(label, {}).get(info.name), values.get(e.name) == best) for e in ranked]
        cells = [_sliced(figure, info, is_best, count) for figure, is_best in listed]
        rows.append({"label": label, "n": count, "cells": cells})
    return {"title": f"{info.title} {parts.ARROWS[info.direction]} {info.unit}", "rows": rows}


def _sliced(figure: Mapping[str, Any] | None, info: MetricInfo, best: bool, count: int) -> dict[str, Any]:
    if figure is None:
        return {"value": "–", "over": "", "best": False}
    over = f"over {parts.measured(figure, count)}" if figure["n"] < count else ""
    return {"value": parts.number(figure["mean"], info), "over": over, "best": best}
