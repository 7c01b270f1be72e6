"""Persons, scenes and their colours: pure functions of the seed, in the ranges that they promise."""

import dataclasses

import numpy as np
import pytest

from faces.errors import SamaeError
from faces.synthetic import skin
from faces.synthetic.background import draw_background
from faces.synthetic.person import STYLE_ODDS, person_from_seed
from faces.synthetic.pictures import default_people, picture_of
from faces.synthetic.scene import BACKGROUNDS, scene_from_seed


def test_a_person_is_a_pure_function_of_seed_and_number() -> None:
    assert person_from_seed(5, 17) == person_from_seed(5, 17)
    assert person_from_seed(5, 17) != person_from_seed(6, 17)
    assert person_from_seed(5, 17) != person_from_seed(5, 18)


def test_a_scene_is_a_pure_function_of_seed_number_and_owner() -> None:
    owner = person_from_seed(1, 2)
    assert scene_from_seed(1, 3, owner) == scene_from_seed(1, 3, owner)
    assert scene_from_seed(1, 3, owner) != scene_from_seed(1, 4, owner)
    assert scene_from_seed(1, 3) == scene_from_seed(1, 3)


def test_skin_lightness_is_spread_evenly() -> None:
    lightness = np.array([person_from_seed(0, i).lightness for i in range(160)])
    low, high = skin.SKIN_L_RANGE
    counts, _ = np.histogram(lightness, 8, (low, high))
    assert counts.tolist() == [20] * 8


def test_skin_gets_darker_with_lower_lightness_and_stays_brown() -> None:
    colours = np.array([skin.skin_colour_linear(x) for x in np.linspace(*skin.SKIN_L_RANGE, 20)])
    assert (np.diff(colours, axis=0) > 0).all()
    assert (colours[:, 0] > colours[:, 1]).all()
    assert (colours[:, 1] > colours[:, 2]).all()


def test_pigment_darkens_and_keeps_colours_positive() -> None:
    plain = skin.skin_colour_linear(60.0)
    assert (skin.with_pigment(plain, 0.5, 0.0) < plain).all()
    red = skin.with_pigment(plain, 0.0, 0.5)
    assert red[0] / plain[0] > red[1] / plain[1]


def test_white_and_black_of_lab() -> None:
    assert skin.lab_to_linear(100, 0, 0) == pytest.approx([1, 1, 1], abs=1e-3)
    assert skin.lab_to_linear(0, 0, 0) == pytest.approx([0, 0, 0], abs=1e-6)


def test_fair_hair_is_rare_on_dark_skin() -> None:
    names, dark = skin.hair_odds(30.0)
    _, fair = skin.hair_odds(70.0)
    blond = names.index("blond")
    assert dark[blond] == 0.0
    assert fair[blond] > 0.05
    assert dark.sum() == pytest.approx(1.0)


def test_beards_and_lipstick_go_with_presentation() -> None:
    people = [person_from_seed(2, i) for i in range(80)]
    assert all(p.beard_style == "none" for p in people if p.masculinity < 0)
    assert any(p.beard_style != "none" for p in people if p.masculinity > 0.5)
    scenes = [scene_from_seed(2, i, p) for i, p in enumerate(people)]
    assert all(s.lipstick == 0.0 for s, p in zip(scenes, people, strict=True) if p.masculinity > 0)
    assert all(s.hair_style in STYLE_ODDS for s in scenes)


def test_every_number_of_a_scene_is_finite() -> None:
    for i in range(50):
        for value in dataclasses.asdict(scene_from_seed(3, i, person_from_seed(3, i))).values():
            if isinstance(value, float):
                assert np.isfinite(value)


def test_poses_are_mostly_frontal() -> None:
    yaw = np.degrees([scene_from_seed(4, i).yaw_rad for i in range(300)])
    assert 0.85 < (np.abs(yaw) < 35).mean() < 1.0
    assert np.abs(yaw).max() < 60


def test_every_block_of_pictures_shows_everybody_once() -> None:
    people = 7
    for block in range(3):
        shown = [picture_of(9, index, people)[0] for index in range(block * people, (block + 1) * people)]
        assert sorted(shown) == list(range(people))
    assert [picture_of(9, i, people) for i in range(20)] == [picture_of(9, i, people) for i in range(20)]
    assert default_people(100) == 25
    assert default_people(1) == 1


def test_a_picture_that_cannot_exist_is_refused() -> None:
    with pytest.raises(SamaeError, match="does not exist"):
        picture_of(0, -1, 4)


@pytest.mark.parametrize("kind", BACKGROUNDS)
def test_backgrounds_are_muted_and_repeatable(kind: str) -> None:
    first, second = (draw_background(kind, 31, 48) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert first.shape == (48, 48, 3)
    mean = np.mean([draw_background(kind, seed, 24).mean((0, 1)) for seed in range(12)], axis=0)
    assert mean.max() < 4.5 * mean.min()


@pytest.mark.parametrize("seed", [-1, 0.5, float("nan")])
def test_seeds_below_zero_and_broken_ones_are_one_sentence(seed: int) -> None:
    for draw in (person_from_seed, scene_from_seed, lambda seed, index: picture_of(seed, index, 4)):
        with pytest.raises(SamaeError, match=r"seeds and numbers .* whole, from 0 up"):
            draw(seed, 0)
