"""Which person is on which picture, and pictures and true swaps by key. Everything is a pure function of the seed.

A true swap (ours) is the picture that a perfect swap would give: the source person under the target picture's
attributes. * Taken from the source: shape of the face and jaw, albedo detail, eye colour, brows, lips' pigment,
moles, freckles, age
  lines, facial hair.
* Kept from the target: pose, gaze, expression, framing, light, hair, hairline, make-up, glasses, occluders, clothes,
  background, film; and the shape of skull, ears and neck, so that hair and silhouette outside the face do not move.
* Skin tone: kept from the target in the reading "face" (as SAMAE defines a swap), the source's on all skin in "full".
"""

from functools import lru_cache

import numpy as np

from faces.errors import SamaeError
from faces.synthetic.numerics import random_stream
from faces.synthetic.person import Person, person_from_seed
from faces.synthetic.portrait import READINGS, Portrait, render_person, render_swaps
from faces.synthetic.scene import Scene, scene_from_seed

__all__ = ["READINGS", "default_people", "person_and_scene", "picture_of", "render_picture", "true_swap", "true_swaps"]


def default_people(count: int) -> int:
    """People in a set of `count` pictures when nobody says: about four pictures a person, at least one person."""
    return max(1, count // 4)


def picture_of(seed: int, index: int, people: int) -> tuple[int, int]:
    """Index of a picture -> (person_id, picture_id).

    Every block of `people` pictures shows everybody once, shuffled.
    """
    if index < 0 or people < 1:
        raise SamaeError(f"picture {index} of {people} people does not exist; the index starts at 0, people at 1")
    block, place = divmod(index, people)
    return int(_order(seed, people, block)[place]), index


@lru_cache(maxsize=4)
def _order(seed: int, people: int, block: int) -> np.ndarray:
    """(people,) who is on the pictures of one block."""
    rng = random_stream(0x91C, seed, people, block)
    return rng.permutation(people)


def person_and_scene(seed: int, index: int, people: int) -> tuple[Person, Scene]:
    """The person and the scene of one picture of a set."""
    person_id, picture_id = picture_of(seed, index, people)
    person = person_from_seed(seed, person_id)
    return person, scene_from_seed(seed, picture_id, person)


def render_picture(seed: int, index: int, people: int, size_px: int) -> Portrait:
    """One picture of a set, with its truth."""
    person, scene = person_and_scene(seed, index, people)
    return render_person(person, scene, size_px)


def true_swap(
    seed: int, source_key: str | int, target_key: str | int, people: int, size_px: int, reading: str = "face"
) -> Portrait:
    """The exact picture of the source's person under the target's attributes (see the module docstring).

    Keys are picture indices, as numbers or as FFHQ's five digits. `Portrait.changed` marks what may differ from the
    target's own picture; outside it the two agree byte for byte. A key that is no number is a SamaeError.
    """
    return true_swaps(seed, source_key, target_key, people, size_px, (reading,))[1][reading]


def true_swaps(
    seed: int,
    source_key: str | int,
    target_key: str | int,
    people: int,
    size_px: int,
    readings: tuple[str, ...] = READINGS,
) -> tuple[Portrait, dict[str, Portrait]]:
    """The target's own picture and the true swap in each reading, from one call; see `true_swap`."""
    source, _ = person_and_scene(seed, _index_of(source_key), people)
    owner, scene = person_and_scene(seed, _index_of(target_key), people)
    return render_swaps(owner, source, scene, size_px, readings)


def _index_of(key: str | int) -> int:
    try:
        return int(key)
    except ValueError:
        raise SamaeError(
            f"{key!r} is no picture of a generated set; its key is the picture's number, such as 00042"
        ) from None
