"""Bootstrap intervals: right on known distributions, paired, seeded, honest about failures."""

import numpy as np
import pytest

from evaluation.statistics import bootstrap_weights, paired_difference, slice_figures, summarise


def test_the_interval_is_that_of_the_mean() -> None:
    values = np.random.default_rng(0).normal(3, 2, (400, 1))
    figure = summarise(values)[0]
    error = values.std(ddof=1) / 20
    assert figure.mean == pytest.approx(values.mean())
    assert figure.low == pytest.approx(values.mean() - 1.96 * error, abs=0.15 * error)
    assert figure.high == pytest.approx(values.mean() + 1.96 * error, abs=0.15 * error)


def test_it_covers_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    hits = sum(f.low <= 0 <= f.high for f in summarise(rng.normal(size=(100, 300)), draws=500))
    assert 0.88 <= hits / 300 <= 0.99


def test_the_same_seed_gives_the_same_interval() -> None:
    values = np.random.default_rng(2).normal(size=(50, 2))
    assert summarise(values, seed=4) == summarise(values, seed=4)
    assert summarise(values, seed=4) != summarise(values, seed=5)
    assert bootstrap_weights(50, 4).sum(axis=1).tolist() == [50] * 2000


def test_pairing_removes_what_both_share() -> None:
    rng = np.random.default_rng(3)
    hard = rng.normal(0, 5, 200)
    champion, challenger = hard + rng.normal(0, 0.1, 200), hard + 0.1 + rng.normal(0, 0.1, 200)
    figure = paired_difference(challenger, champion)
    assert 0 < figure.low < 0.1 < figure.high
    alone = summarise(challenger[:, None])[0]
    assert alone.high - alone.low > 10 * (figure.high - figure.low)


def test_a_difference_draws_whole_clips() -> None:
    """Five videos of ten equal frames hold five draws, not fifty."""
    per_clip = np.array([0.1, 0.3, -0.2, 0.4, 0.2])
    old = np.linspace(0, 1, 50)
    figure = paired_difference(old + np.repeat(per_clip, 10), old, clips=np.repeat(np.arange(5), 10))
    five = summarise(per_clip[:, None])[0]
    assert (figure.mean, figure.low, figure.high) == pytest.approx((five.mean, five.low, five.high))


def test_failures_are_counted() -> None:
    values = np.array([[1.0, np.nan], [np.nan, np.nan], [3.0, np.nan]])
    first, second = summarise(values)
    assert (first.mean, first.n, first.failed) == (2, 2, 1)
    assert np.isnan(second.mean)
    assert (second.n, second.failed) == (0, 3)
    assert paired_difference(np.array([1.0, np.nan]), np.array([np.nan, 1.0])).failed == 2
    assert summarise(np.zeros((0, 1)))[0].n == 0


def test_slices_split_by_fixed_bounds() -> None:
    columns = {"pose_difference_degrees": np.array([5.0, 20, 40, 60]), "m": np.array([1.0, 2, 3, 5])}
    table = slice_figures(columns, ["m"])
    assert {label: f["m"].mean for label, f in table.items()} == {
        "pose differs < 15°": 1,
        "pose differs 15–30°": 2,
        "pose differs ≥ 30°": 4,
    }
