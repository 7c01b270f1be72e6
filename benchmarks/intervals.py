"""How often the judge's 95 % intervals hold the truth when people repeat in a list of pairs: a simulation.

samae bench intervals --json                   eight lists, six kinds of person effects, 2,000 repetitions of each
samae bench intervals --set repetitions=500    faster, and less exact

A pair's figure is an effect of the source person, one of the target person, and noise of its own, all normal, of
variance 1 together; the true mean is 0. Differences of two systems on the same pairs are such figures, too. Lists are
made by the judge's own protocols of invented people, pictures and coefficients.
"""

from typing import Any

import numpy as np

from evaluation.pairs import FaceIndex, choose_pairs, draw_groups
from evaluation.statistics import Figure, PairGroups, summarise

SUMMARY = "How often the judge's 95 % intervals hold the truth when people repeat in a list"
DEFAULTS: dict[str, Any] = {"repetitions": 2000, "seed": 5}
#: Name -> protocol, people, pictures of each, pairs.
LISTS: dict[str, tuple[str, int, int, int]] = {
    "nobody_repeats": ("cross", 1000, 1, 100),
    "cross_60_people": ("cross", 60, 1, 100),
    "cross_25_people": ("cross", 25, 4, 100),
    "cross_6_people": ("cross", 6, 4, 16),
    "large_shape_100_people": ("large-shape", 100, 1, 100),
    "occlusion_100_people": ("occlusion", 100, 1, 100),
    "consistency_60_people": ("consistency", 60, 1, 100),
    "same_25_people": ("same", 25, 4, 100),
}
#: Shares of the variance that the source and the target person hold, and the correlation of one person's two effects.
EFFECTS = ((0.0, 0.0, 0.0), (0.4, 0.0, 0.0), (0.0, 0.4, 0.0), (0.25, 0.25, 0.0), (0.25, 0.25, 0.7), (0.15, 0.15, 0.5))


def run(settings: dict[str, Any]) -> dict[str, float | int | str]:
    """Percent of intervals that hold the truth, the least and the most over EFFECTS, by list; `pairs_alone`: before."""
    chosen = DEFAULTS | settings
    repetitions, seed = int(chosen["repetitions"]), int(chosen["seed"])
    figures: dict[str, float | int | str] = {}
    for name, spec in LISTS.items():
        groups = list_of(*spec, seed)
        figures[f"{name}_sources"] = len(np.unique(groups.source))
        figures[f"{name}_targets"] = len(np.unique(groups.target))
        for how, given in (("pairs_alone", None), ("people", groups)):
            shares = [
                covered(summarise(values_of(groups, *effect, repetitions, seed), seed, groups=given))
                for effect in EFFECTS
            ]
            figures[f"{name}_{how}_least_percent"] = round(100 * min(shares), 1)
            figures[f"{name}_{how}_most_percent"] = round(100 * max(shares), 1)
    return figures


def list_of(protocol: str, people: int, pictures: int, pairs: int, seed: int) -> PairGroups:
    """The people of a frozen list of invented faces."""
    rng = np.random.default_rng(seed)
    keys = tuple(f"{number:05d}" for number in range(people * pictures))
    person = np.arange(people).repeat(pictures)
    identity = rng.normal(size=(people, 20))[person]
    faces = FaceIndex(keys, person, identity=identity, occlusion=rng.beta(0.7, 4, len(keys)))
    return draw_groups(
        choose_pairs(faces, pairs, seed, protocol), dict(zip(keys, (int(p) for p in person), strict=True))
    )


def values_of(
    groups: PairGroups, source_share: float, target_share: float, correlation: float, repetitions: int, seed: int
) -> np.ndarray:
    """(N, repetitions) figures of the pairs, anew in every column: other people, other noise."""
    rng = np.random.default_rng(seed)
    people = 1 + max(int(groups.source.max()), int(groups.target.max()))
    as_source, other = rng.normal(size=(2, people, repetitions))
    as_target = correlation * as_source + np.sqrt(1 - correlation**2) * other
    noise = np.sqrt(1 - source_share - target_share) * rng.normal(size=(len(groups.source), repetitions))
    persons = np.sqrt(source_share) * as_source[groups.source] + np.sqrt(target_share) * as_target[groups.target]
    return persons + noise


def covered(figures: list[Figure]) -> float:
    """Share of the intervals that hold 0."""
    return float(np.mean([figure.low <= 0 <= figure.high for figure in figures]))
