"""Gaze from pixels: known gazes come back, a covered eye says nothing, and heads without eyeballs stay as they are."""

from dataclasses import replace

import numpy as np
import pytest
from toy_head import toy_head
from toy_pictures import toy_coefficients, toy_landmarks, toy_pictures

from evaluation.gaze import angle_degrees
from faces.camera import rotation_matrices
from faces.errors import SamaeError
from faces.fitting import FitSettings, fit
from faces.fitting.gaze import (
    AT_CAMERA_RAD,
    FURTHEST_RAD,
    EyePixels,
    best_gaze,
    gaze_grid,
    gaze_vectors,
    read_gaze,
    towards_camera,
)
from faces.landmarks import mirror_landmarks
from faces.morphable.registry import load_head
from faces.render.shading import constant_light

SIZE_PX = 160


@pytest.fixture(scope="module")
def faces():
    """Nine heads that look left to right and up and down, turned a little, in the built-in head's own colours."""
    head = load_head("builtin")
    gaze = gaze_grid(np.radians([-24.0, -10.0]), np.radians([24.0, 10.0]), np.radians(24.0))
    gaze = np.concatenate([gaze, [[0.0, 0.0], [0.3, 0.0], [-0.3, 0.05]]])
    count = len(gaze)
    rotation = np.stack([np.zeros(count), np.linspace(-0.25, 0.25, count), np.linspace(0.1, -0.1, count)], 1)
    coefficients = head.layout.pack(
        rotation_rad=rotation,
        translation_mm=np.tile([2.0, -20.0, 1120.0], (count, 1)),
        light=np.tile(constant_light(), (count, 1)),
        gaze_rad=gaze,
    )
    return head, coefficients, toy_pictures(head, coefficients, SIZE_PX), toy_landmarks(head, coefficients, SIZE_PX)


def apart_degrees(a_rad: np.ndarray, b_rad: np.ndarray) -> np.ndarray:
    return angle_degrees(gaze_vectors(a_rad), gaze_vectors(b_rad))


def test_where_the_eyes_look_comes_back(faces):
    head, truth, pictures, points = faces
    wanted = head.layout.take(truth, "gaze_rad")
    straight = truth.copy()
    straight[:, head.layout.slices["gaze_rad"]] = 0
    found = read_gaze(pictures, points, straight, head, FitSettings())
    assert apart_degrees(found, wanted).max() < 6.0
    assert apart_degrees(found, wanted).mean() < 3.0


def test_the_whole_fit_turns_the_eyes_unless_told_not_to(faces):
    head, truth, pictures, points = faces
    wanted = head.layout.take(truth, "gaze_rad")
    found = fit(pictures, points, head, SIZE_PX)
    assert apart_degrees(head.layout.take(found.coefficients, "gaze_rad"), wanted).mean() < 4.0
    blind = fit(pictures, points, head, SIZE_PX, FitSettings(gaze_px=0))
    assert not head.layout.take(blind.coefficients, "gaze_rad").any()
    for group in ("identity", "expression", "rotation_rad", "translation_mm"):
        assert np.array_equal(*(head.layout.take(f.coefficients, group) for f in (found, blind))), group
    without = fit(None, points, head, SIZE_PX)
    assert not head.layout.take(without.coefficients, "gaze_rad").any()


def test_the_pixels_of_eyes_count_for_less_where_landmarks_are_less_sure(faces) -> None:
    """Eyes that look aside are read towards the camera, further the less is sure; up to half a percent all is sure."""
    head, truth, pictures, points = faces
    take = head.layout.take
    camera = towards_camera(rotation_matrices(take(truth, "rotation_rad")), take(truth, "translation_mm"))
    found = [read_gaze(pictures, points, truth, head, FitSettings(noise_percent=n)) for n in (0.1, 0.5, 2.0, 1e4)]
    np.testing.assert_array_equal(found[0], found[1])
    away = [apart_degrees(one, camera) for one in found]
    assert away[2].mean() < away[1].mean() - 0.2
    assert away[3].max() < 0.5


def test_larger_pictures_show_the_same_gaze(faces) -> None:
    head, truth, pictures, points = faces
    large = np.kron(pictures[:4], np.ones((1, 2, 2, 1), np.uint8))
    found = read_gaze(pictures[:4], points[:4], truth[:4], head, FitSettings())
    assert apart_degrees(read_gaze(large, 2 * points[:4], truth[:4], head, FitSettings()), found).max() < 0.5


def test_a_head_beside_the_camera_must_turn_its_eyes_to_it() -> None:
    place = np.array([[220.0, 0.0, 1100.0], [0.0, 110.0, 1100.0], [220.0, 0.0, 1100.0]])
    turns = rotation_matrices(np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.1, 0.0]]))
    side, up = np.arctan(0.2), np.arctan(0.1)
    np.testing.assert_allclose(towards_camera(turns, place), [[-side, 0], [0, -up], [-side - 0.1, 0]], atol=1e-9)


def test_a_mirrored_face_looks_the_other_way(faces):
    head, truth, pictures, points = faces
    flipped = truth.copy()
    where = head.layout.slices
    flipped[:, where["rotation_rad"]] *= [1, -1, -1]
    flipped[:, where["translation_mm"]] *= [-1, 1, 1]
    found = read_gaze(pictures, points, truth, head, FitSettings())
    other = read_gaze(
        np.ascontiguousarray(pictures[:, :, ::-1]), mirror_landmarks(points, SIZE_PX), flipped, head, FitSettings()
    )
    assert apart_degrees(other * [-1, 1], found).max() < 2.0


def test_covered_eyes_look_into_the_camera(faces):
    head, truth, pictures, points = faces
    covered = pictures.copy()
    for picture, marks in zip(covered, points, strict=True):
        low, high = marks[36:48].min(0).astype(int) - 6, marks[36:48].max(0).astype(int) + 6
        picture[low[1] : high[1], low[0] : high[0]] = 18
    found = read_gaze(covered, points, truth, head, FitSettings())
    turns = np.zeros((1, 3, 3)) + np.eye(3)
    assert np.allclose(towards_camera(turns, np.array([[0.0, 0.0, 1100.0]])), 0, atol=1e-9)
    nose = head.layout.take(truth, "rotation_rad")
    assert np.abs(found[:, 0] + nose[:, 1]).max() < 2 * AT_CAMERA_RAD
    assert best_gaze([], np.eye(3), np.array([0.2, -0.1])) == pytest.approx([0.2, -0.1], abs=0.01)


def test_an_eye_of_one_colour_or_of_hidden_pixels_is_no_reason_to_fail(faces):
    head, truth, pictures, points = faces
    shut = points[:2].copy()
    shut[:, 36:48, 1] = shut[:, 36:48, 1].mean(1, keepdims=True)
    outside = points[:2] + 3 * SIZE_PX
    for marks in (shut, outside):
        found = read_gaze(pictures[:2], marks, truth[:2], head, FitSettings())
        assert (np.abs(found) <= FURTHEST_RAD).all()
    plain = EyePixels(np.tile([0.0, 0.0, -1.0], (9, 1)), np.ones(9), np.full((9, 3), 0.4), 10.0)
    assert np.abs(best_gaze([plain, plain], np.eye(3), np.zeros(2))).max() < AT_CAMERA_RAD


def test_a_head_without_eyeballs_has_no_gaze():
    head = toy_head()
    head = replace(head, eye_left=np.zeros(0, int), eye_right=np.zeros(0, int))
    coefficients = toy_coefficients(head, 2)
    pictures, points = toy_pictures(head, coefficients, 96), toy_landmarks(head, coefficients, 96)
    assert not read_gaze(pictures, points, coefficients, head, FitSettings()).any()


def test_generated_people_are_read_far_better_than_straight_ahead():
    from faces.synthetic.pictures import render_picture

    head = load_head("builtin")
    portraits = [render_picture(977, index, 96, 128) for index in range(10)]
    truth = head.layout.take(np.stack([p.coefficients for p in portraits]), "gaze_rad")
    found = fit(np.stack([p.image for p in portraits]), np.stack([p.landmarks_px for p in portraits]), head, 128)
    away = apart_degrees(head.layout.take(found.coefficients, "gaze_rad"), truth)
    assert away.mean() < 0.45 * apart_degrees(0 * truth, truth).mean()


def test_a_negative_side_is_refused():
    with pytest.raises(SamaeError, match="gaze_px"):
        FitSettings(gaze_px=-1)
