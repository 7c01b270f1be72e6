"""The ablation table: every recipe that varies another one (its name goes on from the other's), against it.

Differences are paired: the same pairs, drawn together in the bootstrap, so that a small change shows although pairs
differ much among themselves.
"""

import math
from collections.abc import Sequence
from typing import Any

from evaluation import report_parts as parts
from evaluation.evaluation import Evaluation, MetricInfo
from evaluation.statistics import Figure, paired_difference


def base_of(name: str, names: Sequence[str]) -> str | None:
    """The recipe that `name` varies: the longest other name that it goes on from with a hyphen; None without one."""
    found = [other for other in names if name.startswith(f"{other}-")]
    return max(found, key=len, default=None)


def ablations(ranked: Sequence[Evaluation], infos: Sequence[MetricInfo]) -> dict[str, Any] | None:
    """{variants: [{name, base}], rows: [{title, arrow, unit, cells}]} for the leaderboard; None without a variant."""
    by_name = {evaluation.name: evaluation for evaluation in ranked}
    found = [(e, by_name[base]) for e in ranked if (base := base_of(e.name, list(by_name))) is not None]
    if not found:
        return None
    rows = [
        {
            "title": info.title,
            "arrow": parts.ARROWS[info.direction],
            "unit": info.unit,
            "cells": [_cell(variant, base, info) for variant, base in found],
        }
        for info in infos
    ]
    return {"variants": [{"name": v.name, "base": b.name} for v, b in found], "rows": rows}


def _cell(variant: Evaluation, base: Evaluation, info: MetricInfo) -> dict[str, str]:
    """Difference with its interval in display units; "good" or "bad" where the interval does not hold 0."""
    new, old = (parts.pair_values(one, one.name, info.name) for one in (variant, base))
    figure = paired_difference(new, old, seed=base.pairs.seed, groups=base.groups)
    return {
        "value": _signed(figure.mean, info),
        "interval": f"{_signed(figure.low, info)} … {_signed(figure.high, info)}" if figure.n else "",
        "verdict": _verdict(figure, info),
    }


def _signed(value: float, info: MetricInfo) -> str:
    """With its sign, one decimal more than a mean has; `value` is in display units already."""
    if not math.isfinite(value):
        return "–"
    decimals = min(parts.DECIMALS.get(info.unit, 3) + 1, 3)
    return f"{value:+.{decimals}f}".replace("-", "−") if round(value, decimals) else "0"


def _verdict(figure: Figure, info: MetricInfo) -> str:
    if info.direction == "none" or not figure.n or figure.low <= 0 <= figure.high:
        return ""
    return "good" if (figure.mean > 0) == (info.direction == "higher") else "bad"
