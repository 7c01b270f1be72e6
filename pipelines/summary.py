"""The figures that matter, in words: likeness to the source and to the true swap, closeness to it, skin colour."""

import math
from typing import Any

from assets.evaluation import read_kept
from assets.models import EXPORT
from faces.files import read_json
from pipelines.settings import Settings

#: (metric, what it says, decimals, baseline to stand beside, how to name that baseline)
FIGURES = (
    ("identity_similarity", "looks like the source (cosine, higher is better)", 3, "copy-target", "copy of the target"),
    ("truth_identity", "looks like the true swap (cosine, 1 is perfect)", 3, "copy-target", "copy of the target"),
    (
        "truth_face_psnr_db",
        "close to the true swap in the face (PSNR in dB, higher is better)",
        1,
        "copy-target",
        "copy of the target",
    ),
    ("skin_delta_e", "skin colour kept (ΔE00, lower is better)", 1, "paste-source", "pasted source"),
)


def figures_that_matter(settings: Settings) -> list[str]:
    """One line a figure: every recipe, and the baseline."""
    evaluations = {recipe: read_kept(settings.store, recipe) for recipe in settings.recipes}
    lines = []
    for metric, words, decimals, baseline, called in FIGURES:
        shown = [f"{recipe} {_value(e.summary, metric, decimals)}" for recipe, e in evaluations.items()]
        first = next(iter(evaluations.values()))
        shown.append(f"{called} {_value(first.baselines.get(baseline, {}), metric, decimals)}")
        lines.append(f"  {words + ':':<66} {', '.join(shown)}")
    judged = len(next(iter(evaluations.values())).pairs)
    if judged < settings.pairs:
        lines.append(f"  judged on {judged} pairs, all that the test split gives ({settings.pairs} were asked for)")
    return lines


def _value(summary: dict[str, Any], metric: str, decimals: int) -> str:
    mean = summary.get(metric, {}).get("mean", math.nan)
    return f"{mean:.{decimals}f}" if math.isfinite(mean) else "not measured"


def started_from(settings: Settings) -> list[str]:
    """Where training began: from which weights, how to begin anew, and which recipes had no such start."""
    origins = {recipe: _origin(settings, recipe) for recipe in settings.recipes}
    lines = []
    for recipe, origin in origins.items():
        if origin:
            before = f"{origin['name']} ({origin['samples_seen'] / 1000:.1f} kimg of other people)"
            lines.append(f"  {recipe} went on from {before}; SAMAE_FROM_SCRATCH=true trains it from the beginning")
    anew = [recipe for recipe, origin in origins.items() if not origin]
    if lines and anew:
        lines.append(f"  {', '.join(anew)} began with random weights: these rows do not compare the methods")
    return lines


def _origin(settings: Settings, recipe: str) -> dict[str, Any]:
    config = read_json(settings.store.folder("swap_model", recipe) / EXPORT / "config.json")
    return dict(config["metadata"].get("init_from") or {})
