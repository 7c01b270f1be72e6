"""Small sets are filled up so that they can be judged; sets that gave enough pairs are split as they always were."""

from collections import Counter
from pathlib import Path

import pytest

from assets.plan import Plan
from assets.splits import ENOUGH_PAIRS, expected, pairs_given, people_listed, split_people
from assets.store import Store
from faces.errors import SamaeError
from faces.files import write_json
from faces.photographs import LISTING_NAME
from training.shards import split_of


def unknown(count: int) -> dict[str, str]:
    return {f"{i:05d}": f"{i:05d}" for i in range(count)}


@pytest.mark.parametrize("count", [33, 40, 50, 60, 80, 100, 150])
def test_photographs_of_unknown_people_give_all_pairs(count: int) -> None:
    split = split_people(unknown(count))
    parts = Counter(split.values())
    assert pairs_given(split, dict.fromkeys(split, 1)) >= ENOUGH_PAIRS
    assert parts["train"] >= count / 2
    assert parts["validation"] >= 1


@pytest.mark.parametrize("count", [7, 12, 20, 30])
def test_fewer_give_as_many_as_a_third_of_them_has(count: int) -> None:
    split = split_people(unknown(count))
    assert 4 <= pairs_given(split, dict.fromkeys(split, 1)) < ENOUGH_PAIRS


def test_a_set_that_gave_enough_pairs_is_split_as_before() -> None:
    people = {f"{i:05d}": f"person-{i % 250}" for i in range(1000)}
    assert split_people(people) == {key: split_of(person) for key, person in people.items()}


def test_a_set_that_grows_never_judges_whom_it_trained_on() -> None:
    before = split_people(unknown(45))
    for count in (60, 100, 200, 400):
        after = split_people(unknown(count))
        assert not [key for key in before if before[key] == "train" and after[key] == "test"]
        before = after


def test_refused_photographs_count_for_no_pair() -> None:
    first = [key for key, where in split_people(unknown(60)).items() if where == "test"]
    split = split_people(unknown(60), left_out=first[:5])
    assert pairs_given(split, dict.fromkeys(set(split) - set(first[:5]), 1)) >= ENOUGH_PAIRS


@pytest.mark.parametrize("count", [0, 1, 4, 6])
def test_too_few_is_one_sentence(count: int) -> None:
    with pytest.raises(SamaeError, match="7 photographs of different people are the fewest"):
        split_people(unknown(count))


def test_what_the_demo_says_before_its_first_stage(tmp_path: Path) -> None:
    store = Store(tmp_path, "people")
    assert len(set(people_listed(Plan(photographs=16), store).values())) == 4
    assert expected(Plan(), store) == ""
    small = Plan(photographs=16, overrides=("train.batch_size=4",))
    assert "2 of 4 people are kept for judging, which gives at most 32 of 100 pairs" in expected(small, store)
    with pytest.raises(SamaeError, match=r"^4 photographs are left .* or set SAMAE_OVERRIDES=train.batch_size=4$"):
        expected(Plan(photographs=16), store)
    with pytest.raises(SamaeError, match="8 photographs of 2 people are too few"):
        expected(Plan(photographs=8), store)


@pytest.mark.parametrize(("count", "said"), [(20, "gives at most 42 of 100 pairs"), (40, "")])
def test_a_listing_of_plain_photographs_is_looked_at(tmp_path: Path, count: int, said: str) -> None:
    write_json(
        tmp_path / LISTING_NAME, {str(i): {"image": {"file_path": f"images/00000/{i:05d}.png"}} for i in range(count)}
    )
    plan = Plan(raw=tmp_path, overrides=("train.batch_size=8",))
    found = expected(plan, Store(tmp_path / "home", "set", tmp_path))
    assert said in found
    assert bool(found) == bool(said)
