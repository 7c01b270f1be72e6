"""`write_report`: one self-contained HTML page for a judged recipe, or for several side by side (the leaderboard).

Nothing is loaded from anywhere: styles inline, pictures as data URIs, charts as inline SVG; light and dark, readable
on a phone, printable, with a text for every picture.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evaluation import report_parts as parts
from evaluation.evaluation import Evaluation, Example, MetricInfo
from evaluation.leaderboard import leaderboard_page
from evaluation.reading import reading
from faces.errors import SamaeError

GROUPS = (
    ("Identity of the source", ("identity_", "retrieval_", "shape_")),
    ("Attributes of the target", ("pose_", "expression_", "gaze_", "light_", "skin_", "background_", "seam")),
    ("Against the true swap", ("truth_",)),
    ("From frame to frame", ("warp_", "temporal_", "landmark_")),
    ("Of the whole set", ("frechet_", "kernel_", "fid", "kid")),
)
#: First four of these that were measured become the headline.
HEADLINE = (
    "identity_similarity", "retrieval_top1", "truth_face_psnr_db", "pose_degrees", "skin_delta_e", "background_psnr_db",
    "identity_leak",
)  # fmt: skip
#: Pictures in the strips of best, median and worst pairs, which are shown small.
STRIP_PX = 160
SLICED = ("identity_similarity", "identity_leak", "skin_delta_e", "truth_face_psnr_db")


def write_report(
    evaluations: Evaluation | Sequence[Evaluation],
    curves: parts.Curves | None,
    settings: Mapping[str, Any] | None,
    out_html: Path,
) -> None:
    """Write the page of one evaluation, or the leaderboard of several.

    Args:
        evaluations: one, or several of the same pairs.
        curves: loss name -> (kimg, value) points; for several, recipe -> the same.
        settings: what to print under "What made this": plain values and titled mappings. "trained", "commit" and "date"
            also stand in the header.
        out_html: the file.
    """
    listed = [evaluations] if isinstance(evaluations, Evaluation) else list(evaluations)
    if not listed:
        raise SamaeError("there is nothing to report: evaluate a recipe first")
    settings = dict(settings or {})
    commit = settings.get("commit")
    if len(listed) == 1:
        values = recipe_page(listed[0], curves, settings)
        parts.write_page(out_html, "report.html", commit=commit, **values)
    else:
        values = leaderboard_page(listed, curves, settings)
        parts.write_page(out_html, "leaderboard.html", commit=commit, **values)


def recipe_page(evaluation: Evaluation, curves: parts.Curves | None, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Every value that report.html needs."""
    infos = {m.name: m for m in evaluation.metrics}
    return {
        "title": f"{evaluation.name} · Samae evaluation",
        "wide": False,
        "name": evaluation.name,
        "lead": lead(evaluation, infos),
        "facts": _facts(evaluation, settings),
        "cards": [_card(evaluation, infos[name]) for name in HEADLINE if name in infos][:4],
        "grids": _grids(evaluation),
        "n_pairs": len(evaluation.pairs),
        "baseline_names": list(evaluation.baselines),
        "groups": _groups(evaluation),
        "failures": parts.failure_notes([evaluation]),
        "scatter": parts.scatter_of(
            [(evaluation.name, "var(--accent)", evaluation)], "identity_similarity", "skin_delta_e", evaluation
        ),
        "scatter_note": "The seesaw of the field: a copy of the target sits at one end, a pasted source at the other. "
        "Each faint dot is a pair. A good swap stands where the true swap stands.",
        "profile": parts.profile([evaluation], parts.main_metrics(evaluation), {evaluation.name: "var(--accent)"}),
        "slices": _slices(evaluation, infos),
        "slice_metrics": [f"{infos[m].title} {parts.ARROWS[infos[m].direction]}" for m in SLICED if m in infos],
        "curves": parts.curve_charts(curves),
        "reading": reading(evaluation),
        "provenance": [
            {"title": "The judge", "rows": parts.judge_rows(evaluation)},
            *parts.setting_groups(settings),
        ],
    }


def lead(evaluation: Evaluation, infos: Mapping[str, MetricInfo]) -> str:
    """One or two sentences that say what the figures say."""
    if evaluation.failed() == len(evaluation.pairs):
        return f"It failed every one of the {len(evaluation.pairs)} pairs: there is nothing to judge."
    own = evaluation.summary["identity_similarity"]["mean"]
    copy, truth = (
        evaluation.baselines.get(name, {}).get("identity_similarity", {}).get("mean")
        for name in ("copy-target", "true-swap")
    )
    sentences = []
    if copy is not None and truth is not None and truth > copy:
        share = 100 * (own - copy) / (truth - copy)
        sentences.append(f"On identity it goes {share:.0f} % of the way from an untouched target to the true swap")
        if share > 105:
            sentences.append(" (more than the true swap has is no gain)")
    else:
        sentences.append(f"Its results have an identity similarity of {own:.2f} to their sources")
    rate = evaluation.summary["retrieval_top1"]["mean"]
    sentences.append(f"; {100 * rate:.0f} % of the results find their source's person first among all faces.")
    skin = parts.number(evaluation.summary["skin_delta_e"]["mean"], infos["skin_delta_e"])
    background = evaluation.summary["background_psnr_db"]["mean"]
    kept = "left untouched" if background > 59 else f"kept to {background:.0f} dB"
    sentences.append(f" The target's skin colour is met within ΔE {skin}, and the background is {kept}.")
    return "".join(sentences) + parts.own_judge_warning([evaluation])


def _facts(evaluation: Evaluation, settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    pairs = evaluation.pairs
    names = evaluation.provenance.get("headline_encoders", [])
    facts = [("pairs", f"{len(pairs)} · {pairs.protocol}"), ("list", pairs.digest), ("judged by", ", ".join(names))]
    facts += [(key, str(settings[key])) for key in ("trained", "commit", "date") if key in settings]
    return facts


def _card(evaluation: Evaluation, info: MetricInfo) -> dict[str, Any]:
    figure = evaluation.summary[info.name]
    span = parts.interval(figure, info)
    return {
        "title": f"{info.title} {parts.ARROWS[info.direction]}",
        "value": parts.number(figure["mean"], info),
        "unit": info.unit,
        "span": f"95 %: {span}" if span else "",
        "bar": parts.bar(evaluation, info),
    }


def _groups(evaluation: Evaluation) -> list[dict[str, Any]]:
    groups: list[dict[str, Any]] = []
    plain = [m for m in evaluation.metrics if "." not in m.name]
    for title, prefixes in GROUPS:
        rows = [_row(evaluation, m) for m in plain if m.name.startswith(prefixes)]
        groups.append({"title": title, "rows": rows})
    single = [_row(evaluation, m) for m in evaluation.metrics if "." in m.name]
    groups.append({"title": "Encoder by encoder", "rows": single})
    return [group for group in groups if group["rows"]]


def _row(evaluation: Evaluation, info: MetricInfo) -> dict[str, Any]:
    figure = evaluation.summary[info.name]
    others = [b.get(info.name, {"mean": float("nan")})["mean"] for b in evaluation.baselines.values()]
    return {
        "title": info.title,
        "arrow": parts.ARROWS[info.direction],
        "direction": parts.SPOKEN[info.direction],
        "unit": info.unit,
        "about": info.about if "." not in info.name else "",
        "value": parts.number(figure["mean"], info),
        "interval": parts.interval(figure, info),
        "measured": parts.measured(figure, len(evaluation.pairs)),
        "few": figure["n"] < len(evaluation.pairs),
        "baselines": [parts.number(value, info) for value in others],
        "bar": parts.bar(evaluation, info),
    }


def _grids(evaluation: Evaluation) -> list[dict[str, Any]]:
    fixed = [e for e in evaluation.examples if e.why == "fixed"]
    notes = [(fixed, "The swaps", "The first pairs of the list, the same in every report: nobody chose them.")]
    for info in evaluation.metrics:
        ranked = [e for e in evaluation.examples if e.why != "fixed" and e.by == info.name]
        notes.append((ranked, f"By {info.title[0].lower()}{info.title[1:]}", info.about))
    return [_grid(evaluation.name, some, title, note) for some, title, note in notes if some]


def _grid(name: str, examples: Sequence[Example], title: str, note: str) -> dict[str, Any]:
    shown = ["source", "target", "result"] + (["truth"] if all(e.truth is not None for e in examples) else [])
    titles = {"source": "source (who)", "target": "target (where)", "result": name, "truth": "true swap"}
    compact = all(example.why != "fixed" for example in examples)
    rows = []
    for number, example in enumerate(examples, 1):
        pictures = [
            {
                "data": parts.picture_uri(getattr(example, part), STRIP_PX if compact else parts.MAX_PICTURE_PX),
                "alt": f"{titles[part]} of pair {example.pair_id}",
            }
            for part in shown
        ]
        why = f"Pair {number}" if example.why == "fixed" else example.why.capitalize()
        rows.append({"why": why, "caption": example.caption, "pictures": pictures})
    columns = [{"title": titles[part], "own": part == "result"} for part in shown]
    return {"title": title, "note": note, "columns": columns, "rows": rows, "compact": compact}


def _sliced(figure: Mapping[str, Any]) -> str:
    return parts.measured(figure, figure["n"] + figure["failed"])


def _slices(evaluation: Evaluation, infos: Mapping[str, MetricInfo]) -> list[dict[str, Any]]:
    return [
        {
            "label": label,
            "n": _sliced(figures["identity_similarity"]),
            "cells": [
                (parts.number(figures[m]["mean"], infos[m]), parts.interval(figures[m], infos[m]))
                for m in SLICED
                if m in figures
            ],
        }
        for label, figures in evaluation.slices.items()
    ]
