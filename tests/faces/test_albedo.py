"""Neutral albedo and skin colour."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from toy_head import toy_head
from toy_pictures import toy_coefficients, toy_landmarks, toy_pictures

from faces.albedo import mean_skin, neutral_albedo, robust_tone, skin_colour
from faces.errors import SamaeError
from faces.fitting import fit
from faces.fitting.view import view_faces
from faces.masks import face_mask
from faces.morphable.registry import load_head
from faces.render.shading import directional_light, to_linear

SIZE_PX = 96


@pytest.fixture(scope="module")
def portraits():
    head = toy_head()
    truth = toy_coefficients(head, 6, seed=4, yaw_rad=0.3)
    return head, truth, toy_pictures(head, truth, SIZE_PX), toy_landmarks(head, truth, SIZE_PX)


def test_mean_reading_is_the_same_colour_for_everyone_and_has_no_light(portraits):
    head, truth, pictures, _ = portraits
    shown = neutral_albedo(pictures, truth, head)
    assert shown.dtype == np.uint8
    assert shown.shape == pictures.shape
    inside = shown[shown.any(-1)]
    linear = to_linear(inside / 255.0)
    assert np.abs(linear - head.albedo_mean[0]).max() < 0.01
    other = truth.copy()
    other[:, head.layout.slices["light"]] *= 0.3
    other[:, head.layout.slices["albedo"]] = 2.0
    np.testing.assert_array_equal(neutral_albedo(pictures // 2, other, head), shown)


def test_flat_reading_is_one_tone_a_face_and_that_faces_own(portraits):
    head, truth, pictures, _ = portraits
    shown = neutral_albedo(pictures, truth, head, "flat")
    tones = skin_colour(pictures, truth, None, head)
    for one, tone in zip(shown, tones, strict=True):
        colours = np.unique(one[one.any(-1)], axis=0)
        assert len(colours) == 1
        np.testing.assert_allclose(to_linear(colours[0] / 255.0), tone, atol=0.01)


def test_unknown_reading_is_named(portraits):
    head, truth, pictures, _ = portraits
    with pytest.raises(SamaeError, match="mean, flat"):
        neutral_albedo(pictures, truth, head, "own")


def test_skin_colour_divides_the_true_light_out(portraits):
    head, truth, pictures, _ = portraits
    vertices = head.face_region
    own = np.median(head.albedo(head.layout.take(truth, "albedo"))[:, vertices], axis=1)
    found = skin_colour(pictures, truth, None, head)
    assert np.abs(np.log(found / own)).mean() < 0.08


def test_skin_colour_does_not_see_what_covers_the_face(portraits):
    head, _, pictures, points = portraits
    covered = pictures.copy()
    for picture, face in zip(covered, points, strict=True):
        cv2.circle(picture, tuple(int(v) for v in face[3]), 14, (30, 160, 40), -1)
    coefficients = fit(covered, points, head, SIZE_PX).coefficients
    masks = face_mask(covered, coefficients, head)
    bare = skin_colour(pictures, coefficients, None, head)
    assert np.abs(skin_colour(covered, coefficients, masks, head) - bare).max() < 0.03
    as_float = skin_colour(covered, coefficients, masks / np.float32(255), head)
    np.testing.assert_allclose(as_float, skin_colour(covered, coefficients, masks, head), atol=1e-3)


def test_each_of_many_faces_has_its_own_tone(portraits) -> None:
    """Faces are worked on in chunks: the seventeenth has its own picture, light and mask."""
    head, truth, pictures, _ = portraits
    rows = np.r_[0:6, 0:6, 0:6]
    masks = np.full((18, SIZE_PX, SIZE_PX), 255, np.uint8)
    masks[[0, 17]] = 0
    few, many = skin_colour(pictures, truth, None, head), skin_colour(pictures[rows], truth[rows], masks, head)
    np.testing.assert_allclose(many[1:17], few[rows[1:17]], atol=1e-5)
    np.testing.assert_allclose(many[[0, 17]], [mean_skin(head)] * 2, atol=1e-6)
    flat = neutral_albedo(pictures[rows], truth[rows], head, "flat")
    np.testing.assert_array_equal(flat[16:], neutral_albedo(pictures[4:], truth[4:], head, "flat"))


def test_white_spots_say_nothing_of_the_skin(portraits) -> None:
    """Overexposed pixels are left out, also where most of the face is."""
    head, truth, pictures, points = portraits
    burnt = pictures.copy()
    for picture, face in zip(burnt, points, strict=True):
        picture[: int(face[33, 1])] = 255
    away = np.log(skin_colour(burnt, truth, None, head) / skin_colour(pictures, truth, None, head))
    assert np.abs(away).max() < 0.15


def test_deep_shadow_says_nothing_of_the_skin(portraits) -> None:
    head, truth, _, _ = portraits
    lit = truth.copy()
    lit[:, head.layout.slices["light"]] = directional_light(np.array([0.6, 0.2, -1.0]), np.full(3, 4.0))
    own = np.median(head.albedo(head.layout.take(lit, "albedo"))[:, head.face_region], axis=1)
    found = skin_colour(toy_pictures(head, lit, SIZE_PX), lit, None, head)
    assert np.abs(np.log(found / own)).max() < 0.3


def test_neutral_albedo_is_of_the_face_alone(portraits) -> None:
    head, truth, pictures, _ = portraits
    shown = neutral_albedo(pictures, truth, head).any(-1)
    np.testing.assert_array_equal(shown, view_faces(truth, head, SIZE_PX).face)


def test_a_face_without_pixels_gets_the_heads_skin(portraits):
    head, truth, pictures, _ = portraits
    nothing = skin_colour(pictures[:1], truth[:1], np.zeros((1, SIZE_PX, SIZE_PX), np.uint8), head)
    np.testing.assert_allclose(nothing[0], head.albedo_mean[0], atol=1e-4)


def test_what_is_no_face_has_no_part_in_the_mean_skin() -> None:
    head = toy_head()
    face = np.unique(head.triangles[head.face_triangles])
    green = np.tile(np.float32([0.1, 0.6, 0.1]), (len(head.mean_mm), 1))
    green[face] = head.albedo_mean[face]
    assert len(face) < len(green) / 2
    np.testing.assert_allclose(mean_skin(replace(head, albedo_mean=green)), head.albedo_mean[0], atol=1e-5)


def test_robust_tone_ignores_a_quarter_of_outliers():
    colours = np.tile([0.5, 0.3, 0.2], (100, 1)) * np.exp(np.random.default_rng(0).normal(size=(100, 1)) * 0.05)
    colours[:25] = [0.02, 0.02, 0.3]
    np.testing.assert_allclose(robust_tone(colours), [0.5, 0.3, 0.2], rtol=0.05)


def test_the_mean_heads_own_skin_is_found_on_a_picture_of_it():
    """What tints a render (training/methods/mesh_inputs.py) is measured in the picture: both must mean one tone."""
    head = load_head("builtin")
    coefficients = toy_coefficients(head, 3, seed=2)
    coefficients[:, head.layout.slices["albedo"]] = 0
    found = skin_colour(toy_pictures(head, coefficients, SIZE_PX), coefficients, None, head)
    np.testing.assert_allclose(found, np.tile(mean_skin(head), (3, 1)), rtol=0.03)
