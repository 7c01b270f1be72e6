"""Who trains and who judges: the split of every person, and how many pairs the people of the test split give.

People are split by the hash of their names, so that one more folder moves nobody. A small set of one's own would have
too few people in its test split to be judged: it is filled up by the next hashes. As these are the first of the
hashes whatever the set's size, a set of FEW_PEOPLE or more that grows never judges on a person whom it trained on.
"""

import math
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

from assets.listing import folder_entries, photograph_counts
from assets.plan import Plan
from assets.planned import recipe_overrides
from assets.raw import empty_row
from assets.store import Store
from evaluation.pairs import LEAST_PAIRS
from faces.errors import SamaeError
from faces.synthetic.pictures import picture_of
from training.config import load_recipe
from training.shards import SPLITS, hash_position, split_of

#: The test split is filled up to people who give so many pairs, the default of SAMAE_PAIRS: eleven persons of one
#: picture each, for example (ours).
ENOUGH_PAIRS = 100
#: Sets of fewer people are dealt out by turns, not by hash (ours).
FEW_PEOPLE = 40
TURNS = ("test", "train", "train", "validation", "train", "test")
VALIDATION_SHARE = 0.05
#: Listings of more photographs have enough people (ours); they are not read before the first stage.
READ_AHEAD = 400


def split_people(person_of: Mapping[str, str], left_out: Collection[str] = ()) -> dict[str, str]:
    """Key -> its person, to key -> split.

    Args:
        person_of: the key itself where persons are unknown.
        left_out: keys that were refused; they count for no pair.

    Raises:
        SamaeError: the people are too few to train on some and judge on others.
    """
    people = sorted(set(person_of.values()))
    split = {person: split_of(person) for person in people}
    if len(people) < FEW_PEOPLE or set(split.values()) != set(SPLITS):
        split = {person: TURNS[i % len(TURNS)] for i, person in enumerate(people)}
    faces = Counter(person for key, person in person_of.items() if key not in left_out)
    if _fill(split, faces, sorted(people, key=hash_position)):
        least = max(1, round(VALIDATION_SHARE * len(people)))
        for person in sorted(people, key=hash_position):
            if list(split.values()).count("validation") < least and split[person] == "train":
                split[person] = "validation"
    given = pairs_given(split, faces)
    if given < LEAST_PAIRS or set(split.values()) != set(SPLITS):
        raise SamaeError(
            f"{sum(faces.values())} photographs of {len(people)} people are too few to train on some and judge on "
            "others: 7 photographs of different people are the fewest, or 4 people with 2 photographs each; 20 and "
            "more give something to look at"
        )
    return {key: split[person] for key, person in person_of.items()}


def _fill(split: dict[str, str], faces: Mapping[str, int], order: list[str]) -> bool:
    """Move people into the test split, in this order, until it gives enough pairs or holds a third; whether any did."""
    most, moved = max(2, len(split) // 3), False
    for person in order:
        if pairs_given(split, faces) >= ENOUGH_PAIRS or list(split.values()).count("test") >= most:
            break
        moved |= split[person] != "test"
        split[person] = "test"
    return moved


def pairs_given(split: Mapping[str, str], faces: Mapping[str, int]) -> int:
    """How many ordered pairs of faces of different people the test split holds. faces: person -> photographs."""
    counts = [faces.get(person, 0) for person, where in split.items() if where == "test"]
    return sum(counts) ** 2 - sum(count**2 for count in counts)


def people_listed(plan: Plan, store: Store) -> dict[str, str]:
    """Photograph -> person, as far as it is known before the first stage; empty where there are surely enough."""
    if plan.raw is None:
        count = plan.photographs if plan.photographs <= READ_AHEAD else 0
        return {f"{i:05d}": f"person-{picture_of(plan.seed, i, plan.people)[0]}" for i in range(count)}
    counts = photograph_counts(store)
    if sum(counts.values()) > READ_AHEAD:
        return {}
    rows = [empty_row(*item) for folder in counts for item in folder_entries(store, folder).items()]
    return {row["key"]: person_name(row) for row in rows}


def person_name(row: Mapping[str, Any]) -> str:
    """What a photograph's split hangs on: its person, or its key where persons are unknown."""
    return f"person-{row['person']}" if row["person"] >= 0 else str(row["key"])


def expected(plan: Plan, store: Store) -> str:
    """Before the first stage: one sentence where the people give fewer pairs than are asked for, else "".

    Raises:
        SamaeError: they are too few to be split, or to fill one batch of a recipe.
    """
    person_of = people_listed(plan, store)
    if not person_of:
        return ""
    split = split_people(person_of)
    require_batches(plan, list(split.values()).count("train"))
    people = {person_of[key]: where for key, where in split.items()}
    given = pairs_given(people, Counter(person_of.values()))
    if given >= plan.pairs:
        return ""
    return (
        f"{len(person_of)} photographs: {list(people.values()).count('test')} of {len(people)} people are kept for "
        f"judging, which gives at most {given} of {plan.pairs} pairs; more photographs give more"
    )


def require_batches(plan: Plan, trained_on: int) -> None:
    """SamaeError when so many photographs are fewer than a batch of one of the plan's recipes."""
    sizes = {name: load_recipe(name, recipe_overrides(plan, name)).train.batch_size for name in plan.recipes}
    large = [name for name, size in sizes.items() if size > trained_on]
    if large:
        fitting = 2 ** int(math.log2(trained_on))
        raise SamaeError(
            f"{trained_on} photographs are left to train on, fewer than a batch of {', '.join(large)} "
            f"({max(sizes.values())}): add photographs, or set SAMAE_OVERRIDES=train.batch_size={fitting}"
        )
