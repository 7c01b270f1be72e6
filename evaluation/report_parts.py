"""What both report pages share: numbers as text, pictures as data URIs, groups of metrics, provenance as key and
value rows."""

import base64
import math
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import jinja2
import numpy as np
from markupsafe import Markup

from evaluation import charts
from evaluation.evaluation import Evaluation, MetricInfo, Summary
from evaluation.grids import resize
from evaluation.rows import column, in_order, system_rows
from faces.files import write_bytes

#: Loss name -> (kimg, value) points; or recipe -> the same.
Curve = Sequence[tuple[float, float]]
Curves = Mapping[str, Curve] | Mapping[str, Mapping[str, Curve]]
MAX_PICTURE_PX = 256
#: What stands side by side on the leaderboard and in every profile, where it was measured.
MAIN = (
    "identity_similarity", "identity_leak", "retrieval_top1", "pose_degrees", "expression_mm", "gaze_degrees",
    "shape_mm", "skin_delta_e", "background_psnr_db", "truth_identity", "truth_face_psnr_db", "truth_face_ssim",
)  # fmt: skip
DECIMALS = {"cosine": 3, "dB": 1, "ΔE00": 1, "%": 1, "degrees": 1, "mm": 2, "L*/px": 2, "% of eye distance": 2}
ARROWS = {"higher": "↑", "lower": "↓", "none": ""}
SPOKEN = {"higher": "higher is better", "lower": "lower is better", "none": ""}


def number(value: float, info: MetricInfo) -> str:
    """A mean as people read it, with the metric's decimals, a true minus sign, an en dash for 'not measured'."""
    if not math.isfinite(value):
        return "–"
    return f"{value * info.scale:.{DECIMALS.get(info.unit, 3)}f}".replace("-", "−")


def interval(figure: Mapping[str, float], info: MetricInfo) -> str:
    """The interval as text, empty when there is none."""
    if not (math.isfinite(figure["low"]) and math.isfinite(figure["high"])):
        return ""
    return f"{number(figure['low'], info)} … {number(figure['high'], info)}"


def measured(figure: Mapping[str, float], pairs: int) -> str:
    """How many pairs a mean is over: "20", or "12 of 20" where some failed or could not be measured."""
    return f"{figure['n']}" if figure["n"] == pairs else f"{figure['n']} of {pairs}"


def failure_notes(evaluations: Sequence[Evaluation]) -> list[str]:
    """A sentence for every recipe that failed pairs, and for every baseline that did."""
    lost = {e.name: (e.failed(), len(e.pairs)) for e in evaluations}
    lost |= {name: (evaluations[0].failed(name), len(evaluations[0].pairs)) for name in evaluations[0].baselines}
    return [
        f"{name} failed {failed} of {count} pairs: its means are over the {count - failed} that it could swap, and do "
        "not compare with those of a system that failed none."
        for name, (failed, count) in lost.items()
        if failed
    ]


def own_judges(evaluation: Evaluation) -> list[str]:
    """Encoders that trained the model and are in its headline all the same, because no other was at hand."""
    headline = evaluation.provenance.get("headline_encoders", [])
    encoders = evaluation.provenance.get("encoders", [])
    return [e["name"] for e in encoders if e.get("trained_the_model") and e["name"] in headline]


def own_judge_warning(evaluations: Sequence[Evaluation]) -> str:
    """A sentence that warns of identity figures by the encoder that trained the model; "" where there are none."""
    found = {e.name: ", ".join(names) for e in evaluations if (names := own_judges(e))}
    if not found:
        return ""
    said = "; ".join(f"{encoder} trained {name} and judges it" for name, encoder in found.items())
    return f" Beware: {said}, because no other encoder was at hand: identity figures flatter such a model."


def picture_uri(picture: np.ndarray, most_px: int = MAX_PICTURE_PX) -> str:
    """(S, S, 3) uint8 -> a data URI (WebP), at most `most_px` wide."""
    small = resize(picture, min(picture.shape[0], most_px))
    _, data = cv2.imencode(".webp", np.ascontiguousarray(small[..., ::-1]), [cv2.IMWRITE_WEBP_QUALITY, 90])
    return "data:image/webp;base64," + base64.b64encode(data.tobytes()).decode()


def means(summaries: Mapping[str, Summary], metric: str) -> dict[str, float]:
    """Mean of one metric by system, those that have it."""
    found = {name: s[metric]["mean"] for name, s in summaries.items() if metric in s}
    return {name: mean for name, mean in found.items() if math.isfinite(mean)}


def main_metrics(evaluation: Evaluation) -> list[MetricInfo]:
    """The metrics of MAIN that were measured, in its order."""
    infos = {info.name: info for info in evaluation.metrics}
    return [infos[name] for name in MAIN if name in infos]


def profile(ranked: Sequence[Evaluation], infos: Sequence[MetricInfo], colours: Mapping[str, str]) -> Markup:
    """Recipes, and the first one's baselines, over several metrics: each axis from worst to best among them."""
    summaries = {e.name: e.summary for e in ranked} | ranked[0].baselines
    lines: dict[str, list[float]] = {name: [] for name in summaries}
    for info in infos:
        values = means(summaries, info.name)
        low, high = min(values.values(), default=0.0), max(values.values(), default=1.0)
        for name in summaries:
            share = (values.get(name, math.nan) - low) / (high - low) if high > low else 0.5
            lines[name].append(1 - share if info.direction == "lower" else share)
    inks = {**{name: "var(--soft)" for name in ranked[0].baselines}, **colours}
    title = "Profile of every system over the main metrics"
    return Markup(charts.parallel(lines, [m.title for m in infos], inks, title))


def bar(evaluation: Evaluation, info: MetricInfo) -> Markup:
    """The range bar of one metric."""
    figure = evaluation.summary[info.name]
    others = means(evaluation.baselines, info.name)
    spoken = ", ".join(f"{name} {number(v, info)}" for name, v in others.items())
    title = f"{info.title}: {evaluation.name} {number(figure['mean'], info)} {interval(figure, info)}; {spoken}"
    return Markup(charts.range_bar(figure, others, title))


def pair_values(evaluation: Evaluation, system: str, metric: str) -> np.ndarray:
    """(N,) values of one system, in the list's order, in display units."""
    scale = next((m.scale for m in evaluation.metrics if m.name == metric), 1.0)
    return scale * column(in_order(system_rows(evaluation.rows, system), evaluation.pairs.ids), metric)


def scatter_of(
    entries: Sequence[tuple[str, str, Evaluation]], x: str, y: str, baselines_of: Evaluation, most_pairs: int = 300
) -> Markup:
    """Systems (name, colour, evaluation) and the baselines of one of them, metric x against metric y."""
    info = {m.name: m for m in baselines_of.metrics}
    clouds = [
        charts.Cloud(name, "var(--soft)", [], (others[x]["mean"], others[y]["mean"]), charts.MARKS.get(name, "square"))
        for name, others in baselines_of.baselines.items()
    ]
    for name, colour, evaluation in entries:
        points = list(zip(*(pair_values(evaluation, evaluation.name, m).tolist() for m in (x, y)), strict=True))
        mean = (evaluation.summary[x]["mean"], evaluation.summary[y]["mean"])
        clouds.append(charts.Cloud(name, colour, points[:most_pairs], mean))
    labels = [f"{info[m].title} ({info[m].unit}) {ARROWS[info[m].direction]}" for m in (x, y)]
    better = "bottom right" if info[y].direction == "lower" else "top right"
    return Markup(charts.scatter(clouds, labels[0], labels[1], f"{labels[0]} against {labels[1]}", better))


def curve_charts(curves: Curves | None, colours: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
    """One small chart a loss: that of one method, or a line a recipe (recipe -> loss -> points) in its colour.

    Of several recipes, the losses that most of them have come first.
    """
    lines: dict[str, dict[str, Curve]] = {}
    for name, value in (curves or {}).items():
        for loss, points in value.items() if isinstance(value, Mapping) else [(name, value)]:
            if len(points) > 1:
                lines.setdefault(loss, {})[name] = points
    return [
        {
            "title": loss if len(colours or {}) < 2 or len(named) > 1 else f"{next(iter(named))} · {loss}",
            "chart": Markup(charts.line_chart(named, "kimg", f"{loss} over pictures seen", colours)),
        }
        for loss, named in sorted(lines.items(), key=lambda item: -len(item[1]))
    ]


def judge_rows(evaluation: Evaluation) -> list[tuple[str, str]]:
    """Pairs, digests, encoders and head as rows for the last section."""
    kept, pairs = evaluation.provenance, evaluation.pairs
    rows = [
        ("pairs", f"{pairs.name}, {len(pairs)} pairs, protocol {pairs.protocol}, seed {pairs.seed}"),
        ("pairs digest", pairs.digest),
        ("data digest", pairs.shards_digest or "–"),
        ("judge digest", str(kept.get("judge_digest", "–"))),
        ("metric version", str(kept.get("metric_version", "–"))),
    ]
    for encoder in kept.get("encoders", []):
        role = _role(encoder["name"], bool(encoder.get("trained_the_model")), kept.get("headline_encoders", []))
        rows.append((f"encoder {encoder['name']}", f"{encoder['digest']} · licence: {encoder['licence']} · {role}"))
    head = kept.get("head")
    rows.append(("head", f"{head['edition']}, {head['digest']}" if head else "none"))
    rows.append(("fitted metrics", "measured" if kept.get("fitted") else "left out: results were not fitted"))
    rows.append(("true swaps", "rendered" if kept.get("truth") else "none exist for these pictures"))
    return rows


def _role(name: str, trained: bool, headline: Sequence[str]) -> str:
    if not trained:
        return "independent"
    if name in headline:
        return "trained the model; in the headline all the same, because no other was at hand"
    return "trained the model; not in the headline"


def setting_groups(settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every mapping of the settings as a titled group of dotted keys; plain values together as 'This run'."""
    plain = [(key, str(value)) for key, value in settings.items() if not isinstance(value, Mapping)]
    groups = [{"title": "This run", "rows": plain}] if plain else []
    for title, value in settings.items():
        if isinstance(value, Mapping):
            groups.append({"title": title, "rows": list(flatten(value))})
    return groups


def flatten(value: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested mappings -> (dotted key, text) rows."""
    rows: list[tuple[str, str]] = []
    for key, item in value.items():
        if isinstance(item, Mapping):
            rows += flatten(item, f"{prefix}{key}.")
        else:
            rows.append((f"{prefix}{key}", f"{item:g}" if isinstance(item, float) else str(item)))
    return rows


@cache
def _templates() -> jinja2.Environment:
    here = jinja2.FileSystemLoader(Path(__file__).parent)
    return jinja2.Environment(loader=here, autoescape=True, trim_blocks=True, undefined=jinja2.StrictUndefined)


def write_page(out_html: Path, template: str, **values: Any) -> None:
    """Render a template of this folder and write the page atomically."""
    marks = [(name, Markup(charts.mark(shape, 7, 7))) for name, shape in charts.MARKS.items()]
    page = _templates().get_template(template).render(marks=marks, **values)
    write_bytes(out_html, page.encode())
