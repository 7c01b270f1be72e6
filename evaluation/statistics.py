"""Means with paired bootstrap intervals, and slices. Pairs are what is drawn, so differences of systems stay paired.

Percentile bootstrap (Efron and Tibshirani 1993, chapter 13), seeded, and stretched where people repeat (`widening`):
pairs that share a person are no independent draws. A failed pair has NaN and is left out of the mean, but it is
counted and shown beside it: `n` and `failed` always add up to the pairs of the list.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from scipy.special import stdtrit

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


@dataclass(frozen=True, eq=False)
class PairGroups:
    """What N pairs have in common. Make it by `evaluation.pairs.draw_groups`.

    Attributes:
        source, target: (N,) int numbers of people, one numbering for both sides.
        clip: (N,) int numbers of clips, which are drawn whole; None where pairs stand alone.
    """

    source: np.ndarray
    target: np.ndarray
    clip: np.ndarray | None = None

    @property
    def unit(self) -> np.ndarray:
        """(N,) int number of what the bootstrap draws: the pair's clip, or the pair."""
        return np.arange(len(self.source)) if self.clip is None else self.clip

    @property
    def people(self) -> int:
        """How many people the sources are, or the targets, whichever are fewer."""
        return min(len(np.unique(side)) for side in (self.source, self.target))

    def at(self, where: np.ndarray) -> "PairGroups":
        """The pairs at a (N,) bool."""
        return PairGroups(self.source[where], self.target[where], None if self.clip is None else self.clip[where])

    def own_squares(self, values: np.ndarray) -> np.ndarray:
        """(N, M) -> (M,) sum of the squares of what the bootstrap draws: of pairs, or of clips."""
        return _squares(values, self.unit)

    def shared_squares(self, values: np.ndarray) -> np.ndarray:
        """(N, M) -> (M,) sum of the products of any two pairs (and of each with itself) that share a person."""
        first, last = np.minimum(self.source, self.target), np.maximum(self.source, self.target)
        two = first != last
        each = _squares(np.concatenate([values, values[two]]), np.concatenate([first, last[two]]))
        both = _squares(values[two], first[two] * (last.max() + 1) + last[two])
        return each - both  # pairs that share two people are in `each` twice


def _sums(values: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """(N, M), (N,) int numbers -> (G, M) sums of the values of each number."""
    names, place = np.unique(numbers, return_inverse=True)
    totals = np.zeros((len(names), values.shape[1]))
    np.add.at(totals, place.ravel(), values)
    return totals


def _squares(values: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    return (_sums(values, numbers) ** 2).sum(axis=0)


def widening(rest: np.ndarray, valid: np.ndarray, groups: PairGroups, level: float = LEVEL) -> np.ndarray:
    """How many times an interval must be as wide as that of independent draws, because people repeat.

    The root of the design effect, 1 at least: the variance of the mean when any two pairs that share a person may be
    correlated (dyadic cluster-robust, Aronow, Samii and Assenova 2015; pairs that share two people count once, as in
    Cameron, Gelbach and Miller 2011) over that of independent draws, both divided by what they lose in expectation as
    the mean is fitted (ours). Times Student's quantile at the people of the smaller side less one over that at the
    draws less one (after Cameron and Miller 2015). Exactly 1 where nobody repeats.

    Args:
        rest: (N, M) values less their mean, 0 where a pair failed.  valid: (N, M) bool, where it did not.

    Returns:
        (M,) factors, infinite where a side is one person or all pairs share somebody: nothing is known of others then.
    """
    there, n = valid.astype(np.float64), valid.sum(axis=0)
    draws = (_sums(there, groups.unit) > 0).sum(axis=0)
    people = np.min([(_sums(there, side) > 0).sum(axis=0) for side in (groups.source, groups.target)], axis=0)
    people = np.minimum(people, draws)
    shared, alone = (squares(there) / np.maximum(n, 1) for squares in (groups.shared_squares, groups.own_squares))
    unknown = (people < 2) | (shared >= n)
    with np.errstate(invalid="ignore", divide="ignore"):
        effect = groups.shared_squares(rest) / (1 - shared / n) / (groups.own_squares(rest) / (1 - alone / n))
    tail = (1 + level) / 2
    student = stdtrit(np.maximum(people - 1, 1), tail) / stdtrit(np.maximum(draws - 1, 1), tail)
    return np.where(unknown, np.inf, np.sqrt(np.fmax(effect, 1)) * student)  # fmax: equal values everywhere are 0 / 0


def bootstrap_weights(count: int, seed: int, draws: int = DRAWS) -> np.ndarray:
    """(draws, count) float32: how often each pair is drawn; the same seed and count give the same resamples."""
    rng = np.random.Generator(np.random.PCG64(seed))
    return rng.multinomial(count, np.full(count, 1 / count), size=draws).astype(np.float32)


def summarise(
    values: np.ndarray, seed: int = 0, draws: int = DRAWS, level: float = LEVEL, groups: PairGroups | None = None
) -> list[Figure]:
    """(N, M) numbers, NaN where a pair failed -> M figures, all from the same resamples.

    groups: what the N pairs have in common. Whole clips are drawn (cluster bootstrap, Davison and Hinkley 1997, 3.8),
        and where people repeat the interval is stretched about the mean by `widening`, as far as the values go. Without
        them every pair is a draw of its own.
    """
    values = np.asarray(values, np.float64)
    valid = np.isfinite(values)
    count = len(values)
    if count == 0:
        return [Figure(np.nan, np.nan, np.nan, 0, 0) for _ in range(values.shape[1])]
    names, place = np.unique(np.arange(count) if groups is None else groups.unit, return_inverse=True)
    weights = bootstrap_weights(len(names), seed, draws).astype(np.float64)[:, place]
    with np.errstate(invalid="ignore", divide="ignore"):
        means = (weights @ np.where(valid, values, 0.0)) / (weights @ valid)
        middle = np.where(valid, values, 0.0).sum(axis=0) / valid.sum(axis=0)
    rest = np.where(valid, values - middle, 0.0)
    wider = np.ones(values.shape[1]) if groups is None else widening(rest, valid, groups, level)
    figures = []
    for column in range(values.shape[1]):
        own, drawn = values[valid[:, column], column], means[:, column]
        low, high = _ends(drawn[np.isfinite(drawn)], own, float(middle[column]), float(wider[column]), level)
        figures.append(Figure(float(middle[column]), low, high, len(own), count - len(own)))
    return figures


def _ends(drawn: np.ndarray, own: np.ndarray, middle: float, wider: float, level: float) -> tuple[float, float]:
    """Ends of an interval `wider` times as wide as the drawn means', within the values that there are."""
    if not len(own):
        return np.nan, np.nan
    if np.isinf(wider):
        return float(own.min()), float(own.max())
    tail = 50 * (1 - level)
    low, high = (middle + wider * (end - middle) for end in np.percentile(drawn, [tail, 100 - tail]))
    return float(max(low, own.min())), float(min(high, own.max()))


def paired_difference(
    challenger: np.ndarray, champion: np.ndarray, seed: int = 0, groups: PairGroups | None = None
) -> Figure:
    """(N,), (N,) of the same pairs in the same order -> challenger minus champion; failed by one is failed.

    groups: what the pairs have in common (see `summarise`).
    """
    gains = np.asarray(challenger, np.float64) - np.asarray(champion, np.float64)
    return summarise(gains[:, None], seed, groups=groups)[0]


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
    groups: PairGroups | None = None,
) -> dict[str, dict[str, Figure]]:  # fmt: skip
    """Columns of one system's rows -> label of every non-empty slice -> metric -> figure."""
    table: dict[str, dict[str, Figure]] = {}
    for part in slices:
        if part.column not in columns:
            continue
        where = (columns[part.column] >= part.low) & (columns[part.column] < part.high)
        if where.any():
            values = np.stack([columns[m][where] for m in metrics], axis=1)
            drawn = summarise(values, seed, groups=None if groups is None else groups.at(where))
            table[part.label] = dict(zip(metrics, drawn, strict=True))
    return table
