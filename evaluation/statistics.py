"""Means with paired bootstrap intervals, and slices. Pairs are what is drawn, so differences of systems stay paired.

Percentile bootstrap (Efron and Tibshirani 1993, chapter 13), seeded. A failed pair has NaN and is left out of the
mean, but it is counted and shown beside it: `n` and `failed` always add up to the pairs of the list.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

DRAWS = 2000
LEVEL = 0.95


@dataclass(frozen=True)
class Figure:
    """A mean with its interval: `low` and `high` are the bounds at LEVEL; n pairs measured, `failed` pairs not."""

    mean: float
    low: float
    high: float
    n: int
    failed: int

    def as_dict(self) -> dict[str, float | int]:
        """The same as a dictionary."""
        return asdict(self)


def bootstrap_weights(count: int, seed: int, draws: int = DRAWS) -> np.ndarray:
    """(draws, count) float32: how often each pair is drawn; the same seed and count give the same resamples."""
    rng = np.random.Generator(np.random.PCG64(seed))
    return rng.multinomial(count, np.full(count, 1 / count), size=draws).astype(np.float32)


def summarise(
    values: np.ndarray, seed: int = 0, draws: int = DRAWS, level: float = LEVEL, clips: np.ndarray | None = None
) -> list[Figure]:
    """(N, M) numbers, NaN where a pair failed -> M figures, all from the same resamples.

    clips: (N,) int numbers of clips; whole clips are drawn then (cluster bootstrap, Davison and Hinkley 1997, 3.8).
    """
    values = np.asarray(values, np.float64)
    valid = np.isfinite(values)
    count = len(values)
    if count == 0:
        return [Figure(np.nan, np.nan, np.nan, 0, 0) for _ in range(values.shape[1])]
    if clips is None:
        weights = bootstrap_weights(count, seed, draws).astype(np.float64)
    else:
        names, place = np.unique(clips, return_inverse=True)
        weights = bootstrap_weights(len(names), seed, draws).astype(np.float64)[:, place]
    with np.errstate(invalid="ignore", divide="ignore"):
        means = (weights @ np.where(valid, values, 0.0)) / (weights @ valid)
        middle = np.where(valid, values, 0.0).sum(axis=0) / valid.sum(axis=0)
    tail = 50 * (1 - level)
    figures = []
    for column in range(values.shape[1]):
        drawn = means[:, column][np.isfinite(means[:, column])]
        low, high = np.percentile(drawn, [tail, 100 - tail]) if len(drawn) else (np.nan, np.nan)
        n = int(valid[:, column].sum())
        figures.append(Figure(float(middle[column]), float(low), float(high), n, count - n))
    return figures


def paired_difference(
    challenger: np.ndarray, champion: np.ndarray, seed: int = 0, clips: np.ndarray | None = None
) -> Figure:
    """(N,), (N,) of the same pairs in the same order -> challenger minus champion; failed by one is failed.

    clips: (N,) int numbers of clips, which are drawn whole then (see `summarise`).
    """
    gains = np.asarray(challenger, np.float64) - np.asarray(champion, np.float64)
    return summarise(gains[:, None], seed, clips=clips)[0]


@dataclass(frozen=True)
class Slice:
    """Pairs whose `column` lies in [low, high); the label is for people."""

    column: str
    label: str
    low: float
    high: float


#: Fixed bounds, so that slices of different runs compare (ours).
SLICES: tuple[Slice, ...] = (
    Slice("pose_difference_degrees", "pose differs < 15°", 0, 15),
    Slice("pose_difference_degrees", "pose differs 15–30°", 15, 30),
    Slice("pose_difference_degrees", "pose differs ≥ 30°", 30, np.inf),
    Slice("target_yaw_degrees", "target yaw < 15°", 0, 15),
    Slice("target_yaw_degrees", "target yaw ≥ 15°", 15, np.inf),
    Slice("shape_difference", "shapes alike (< 6)", 0, 6),
    Slice("shape_difference", "shapes differ (6–7)", 6, 7),
    Slice("shape_difference", "shapes differ much (≥ 7)", 7, np.inf),
    Slice("target_occlusion", "target's face free (< 5 % hidden)", 0, 0.05),
    Slice("target_occlusion", "target's face hidden (≥ 5 %)", 0.05, 1.01),
    Slice("source_skin_lightness", "dark source skin (L* < 45)", 0, 45),
    Slice("source_skin_lightness", "medium source skin (45–65)", 45, 65),
    Slice("source_skin_lightness", "light source skin (L* ≥ 65)", 65, 101),
    Slice("skin_difference", "skin tones alike (ΔE < 10)", 0, 10),
    Slice("skin_difference", "skin tones differ (ΔE ≥ 10)", 10, np.inf),
)


def slice_figures(
    columns: Mapping[str, np.ndarray], metrics: Sequence[str], slices: Sequence[Slice] = SLICES, seed: int = 0,
    clips: np.ndarray | None = None,
) -> dict[str, dict[str, Figure]]:  # fmt: skip
    """Columns of one system's rows -> label of every non-empty slice -> metric -> figure."""
    table: dict[str, dict[str, Figure]] = {}
    for part in slices:
        if part.column not in columns:
            continue
        where = (columns[part.column] >= part.low) & (columns[part.column] < part.high)
        if where.any():
            values = np.stack([columns[m][where] for m in metrics], axis=1)
            drawn = summarise(values, seed, clips=None if clips is None else clips[where])
            table[part.label] = dict(zip(metrics, drawn, strict=True))
    return table
