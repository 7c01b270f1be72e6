"""What a metric is: a name, a unit, a direction, what it needs, and a function from N pairs to N numbers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from evaluation.context import PairContext

Direction = Literal["higher", "lower", "none"]


@dataclass(frozen=True)
class Metric:
    """One number a pair.

    Attributes:
        name: column of the rows table, e.g. "skin_delta_e" or "identity_similarity.judge-1".
        title: a few words for people.
        unit: "cosine", "degrees", "dB", "ΔE00", "%", "mm", "L*/px" or "" for a plain ratio.
        direction: whether more is better; "none" for numbers that only describe.
        compute: PairContext of N pairs -> (N,) float; NaN where it cannot be said.
        about: one sentence, for reports.
        needs_truth: it compares with the true swap.  needs_fit: it compares fitted coefficients.
        scale: display multiplier (100 for shares shown in per cent).
    """

    name: str
    title: str
    unit: str
    direction: Direction
    compute: Callable[[PairContext], np.ndarray]
    about: str
    needs_truth: bool = False
    needs_fit: bool = False
    scale: float = 1.0
