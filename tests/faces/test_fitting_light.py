"""Light and albedo from pixels: known light comes back, occluders are survived, and the split is a prior's."""

import cv2
import numpy as np
import pytest
from toy_head import toy_head
from toy_pictures import toy_coefficients, toy_landmarks, toy_pictures

from faces.errors import SamaeError
from faces.fitting import FitSettings, fit
from faces.fitting.photometric import (
    MAX_PIXELS,
    FacePixels,
    face_pixels,
    pixel_weights,
    skin_prior,
    slope,
    solve_light,
    split_tone,
    tukey,
)
from faces.fitting.view import fill_all_holes, fill_holes, shrink_images, skin_triangles, view_faces
from faces.morphable.registry import load_head
from faces.render.mesh_image import check_coefficients
from faces.render.shading import constant_light, directional_light, sh_basis, to_linear, to_srgb

SIZE_PX = 128


@pytest.fixture(scope="module")
def portraits():
    head = toy_head()
    coefficients = toy_coefficients(head, 8, seed=2, yaw_rad=0.3)
    return head, coefficients, toy_pictures(head, coefficients, SIZE_PX), toy_landmarks(head, coefficients, SIZE_PX)


def sphere_pixels(light: np.ndarray, albedo: np.ndarray) -> FacePixels:
    """A sphere's front half under a known light."""
    y, x = np.mgrid[-0.95:0.95:40j, -0.95:0.95:40j]
    inside = x**2 + y**2 < 0.9
    normals = np.stack([x[inside], y[inside], np.sqrt(1 - x[inside] ** 2 - y[inside] ** 2)], -1)
    basis = sh_basis(normals)
    mean = np.broadcast_to(albedo, normals.shape)
    colour = mean * np.maximum(basis @ light.reshape(3, 9).T, 0)
    return FacePixels(colour, basis, mean, np.zeros((len(normals), 3), int), np.zeros((len(normals), 3)))


def test_the_light_on_a_sphere_comes_back():
    light = constant_light(0.4) + directional_light(np.array([0.4, 0.5, 0.8]), np.array([0.5, 0.45, 0.4]))
    pixels = sphere_pixels(light, np.array([0.5, 0.4, 0.3]))
    found = solve_light(pixels, pixels.mean, FitSettings(pixel_noise=0.01))
    assert np.linalg.norm(found.reshape(27) - light) / np.linalg.norm(light) < 0.01


def test_a_fifth_of_wrong_pixels_does_not_move_the_light():
    light = constant_light(0.5) + directional_light(np.array([-0.5, 0.3, 0.8]), np.full(3, 0.4))
    pixels = sphere_pixels(light, np.array([0.5, 0.4, 0.3]))
    pixels.colour[: len(pixels.colour) // 5] = [0.02, 0.01, 0.01]
    found = solve_light(pixels, pixels.mean, FitSettings())
    assert np.linalg.norm(found.reshape(27) - light) / np.linalg.norm(light) < 0.08


def test_clipped_pixels_do_not_dim_the_light() -> None:
    light = constant_light(0.6) + directional_light(np.array([0.3, 0.2, 0.9]), np.full(3, 2.2))
    pixels = sphere_pixels(light, np.array([0.5, 0.4, 0.3]))
    assert 0.15 < (pixels.colour > 0.98).any(1).mean() < 0.7
    np.minimum(pixels.colour, 1.0, out=pixels.colour)
    found = solve_light(pixels, pixels.mean, FitSettings(pixel_noise=0.01))
    assert np.linalg.norm(found.reshape(27) - light) / np.linalg.norm(light) < 0.03


def test_pixels_are_thinned_over_the_whole_face(portraits) -> None:
    head, truth, pictures, _ = portraits
    view = view_faces(truth[:1], head, SIZE_PX)
    mean = np.broadcast_to(head.albedo_mean[0], pictures.shape[1:])
    pixels = face_pixels(view, 0, pictures[0] / 255.0, head, mean)
    assert len(pixels.colour) == MAX_PIXELS < view.face.sum()
    height = head.mean_mm[pixels.corners[:, 0], 1]
    region = head.mean_mm[head.face_region, 1]
    assert height.min() < np.quantile(region, 0.1)
    assert height.max() > np.quantile(region, 0.9)


def test_a_narrow_prior_keeps_the_albedo_near_the_mean(portraits) -> None:
    head, _, pictures, points = portraits
    wide, narrow = (
        head.layout.take(fit(pictures, points, head, SIZE_PX, FitSettings(albedo_sigma=sigma)).coefficients, "albedo")
        for sigma in (1.0, 0.1)
    )
    assert (np.linalg.norm(narrow, axis=1) < 0.6 * np.linalg.norm(wide, axis=1)).all()


def test_without_rounds_the_albedo_is_the_mean(portraits) -> None:
    head, _, pictures, points = portraits
    found = fit(pictures[:2], points[:2], head, SIZE_PX, FitSettings(light_rounds=0))
    assert found.ok.all()
    assert not head.layout.take(found.coefficients, "albedo").any()


def test_the_fit_explains_the_picture(portraits):
    head, truth, pictures, points = portraits
    found = fit(pictures, points, head, SIZE_PX)
    assert found.ok.all(), found.reason
    assert found.photometric_error.max() < 0.02
    lights = [head.layout.take(c, "light") for c in (found.coefficients, truth)]
    away = np.linalg.norm(lights[0] - lights[1], axis=1) / np.linalg.norm(lights[1], axis=1)
    assert np.median(away) < 0.3


def test_geometry_does_not_depend_on_the_picture(portraits):
    head, _, pictures, points = portraits
    with_picture = fit(pictures, points, head, SIZE_PX).coefficients
    without = fit(None, points, head, SIZE_PX)
    for group in ("identity", "expression", "rotation_rad", "translation_mm"):
        both = [head.layout.take(c, group) for c in (with_picture, without.coefficients)]
        np.testing.assert_array_equal(*both)
    assert np.isnan(without.photometric_error).all()


def test_each_of_many_faces_has_its_own_light(portraits) -> None:
    """Pictures are worked on in chunks; a face that is refused moves nobody."""
    head, _, pictures, points = portraits
    rows = np.r_[0:8, 0:8, 3:6]
    many_points = points[rows].copy()
    many_points[16] = np.nan
    many = fit(pictures[rows], many_points, head, SIZE_PX)
    few = fit(pictures, points, head, SIZE_PX)
    light = [head.layout.take(found.coefficients, "light") for found in (many, few)]
    np.testing.assert_allclose(light[0][[8, 15, 17, 18]], light[1][[0, 7, 4, 5]], atol=2e-3)
    np.testing.assert_allclose(many.photometric_error[17:], few.photometric_error[4:6], atol=1e-4)
    assert np.isnan(many.photometric_error[16])
    assert not many.coefficients[16].any()


def test_an_occluder_hardly_moves_the_light(portraits):
    head, _, pictures, points = portraits
    covered = pictures.copy()
    for picture, face in zip(covered, points, strict=True):
        centre = tuple(int(v) for v in face[[3, 31]].mean(0))
        cv2.circle(picture, centre, 12, (20, 90, 30), -1)
    found = [fit(p, points, head, SIZE_PX) for p in (pictures, covered)]
    assert found[1].photometric_error.max() < 0.02
    bare, hidden = (one.coefficients for one in found)
    bare, hidden = head.layout.take(bare, "light"), head.layout.take(hidden, "light")
    assert np.median(np.linalg.norm(bare - hidden, axis=1) / np.linalg.norm(bare, axis=1)) < 0.12


def test_a_white_picture_and_a_black_one_stay_finite(portraits):
    head, _, pictures, points = portraits
    plain = np.stack([np.zeros_like(pictures[0]), np.full_like(pictures[0], 255)])
    found = fit(plain, points[:2], head, SIZE_PX)
    assert np.isfinite(found.coefficients).all()


def test_a_face_off_the_picture_is_refused(portraits):
    head, _, pictures, points = portraits
    found = fit(pictures[:1], points[:1] + 140.0, head, SIZE_PX)
    assert not found.ok[0]
    assert "skin" in found.reason[0]
    np.testing.assert_allclose(head.layout.take(found.coefficients, "light")[0], constant_light(), atol=1e-6)


def test_a_strict_threshold_is_a_reason(portraits):
    head, _, pictures, points = portraits
    found = fit(pictures[:2], points[:2], head, SIZE_PX, FitSettings(max_photometric_error=1e-6))
    assert not found.ok.any()
    assert found.reason[0].startswith("bad fit: colour error")


def test_the_split_gives_colour_to_the_skin_and_level_to_both():
    """A greenish cast goes to the skin when the prior of the light is narrow, brightness is shared."""
    head = toy_head()
    light = constant_light(0.85).reshape(3, 9) * np.array([1.3, 1.0, 0.8])[:, None]
    pixels = sphere_pixels(light, head.albedo_mean[0])
    narrow = split_tone(pixels, light, head, FitSettings(light_chroma_sigma=1e-3))
    assert np.ptp(np.log(narrow[:, 0])) < 0.02
    wide = split_tone(pixels, light, head, FitSettings(light_chroma_sigma=10.0, light_level_sigma=10.0))
    np.testing.assert_allclose(wide[:, 0], light[:, 0], rtol=0.02)
    mean, spread = skin_prior(head)
    assert mean[0] > mean[1] > mean[2]
    assert (np.linalg.eigvalsh(spread) > 0).all()


def test_weights_fall_to_zero_and_slope_is_the_derivative():
    np.testing.assert_allclose(tukey(np.array([0.0, 0.5, 1.0, 7.0]), 1.0), [1.0, 0.5625, 0.0, 0.0])
    shown, predicted = np.full((10, 3), 0.5), np.full((10, 3), 0.5)
    shown[0] = 0.0
    weights, residual = pixel_weights(shown, predicted, 0.1)
    assert weights[0] == 0.0
    assert (weights[1:] == 1.0).all()
    assert residual[0] > 0.5
    for level, far in ((0.01, 0.05), (0.1, 0.3)):  # as far as the floor, or as this face's own spread, says
        shown = to_linear(np.full((9, 3), 0.5) + np.array([level] * 8 + [far])[:, None])
        weights, _ = pixel_weights(shown, to_linear(np.full((9, 3), 0.5)), 0.1)
        reach = max(0.1, 4.685 * level)
        np.testing.assert_allclose(
            weights[[0, 8]], [(1 - (away / reach) ** 2) ** 2 for away in (level, far)], atol=1e-3
        )
    linear = np.array([0.05, 0.2, 0.6])
    numeric = (to_srgb(linear + 1e-6) - to_srgb(linear)) / 1e-6
    np.testing.assert_allclose(slope(linear), numeric, rtol=0.1)


def test_view_shows_the_face_with_unit_normals(portraits):
    head, truth, _, _ = portraits
    view = view_faces(truth[:2], head, 64)
    assert view.face.any((1, 2)).all()
    assert (view.face <= view.raster.covered).all()
    np.testing.assert_allclose(np.linalg.norm(view.normals[view.face], axis=-1), 1.0, atol=1e-5)
    assert view.normals[view.face][:, 2].mean() > 0.5


def test_lips_eyes_and_mouth_are_no_skin() -> None:
    head = load_head("builtin")
    skin = skin_triangles(head)
    names = np.array(head.part_names)[head.parts]
    assert set(names[skin]) == {"skin"}
    assert skin.sum() > 0.5 * head.face_triangles.sum()
    assert not (skin & ~head.face_triangles).any()


def test_helpers_refuse_and_fill(portraits):
    head, truth, _, _ = portraits
    with pytest.raises(SamaeError, match="another edition"):
        check_coefficients(truth[:, :-1], head)
    broken = truth.copy()
    broken[0, 0] = np.nan
    with pytest.raises(SamaeError, match="finite"):
        check_coefficients(broken, head)
    ring = np.zeros((9, 9), bool)
    ring[2:7, 2:7] = True
    ring[4, 4] = False
    assert fill_holes(ring).sum() == 25
    several = np.stack([ring, ~ring, np.roll(ring, 20, 0), np.zeros_like(ring), np.ones_like(ring)])
    np.testing.assert_array_equal(fill_all_holes(several), [fill_holes(one) for one in several])
    assert shrink_images(np.full((1, 8, 8, 3), 255, np.uint8), 4).tolist() == np.ones((1, 4, 4, 3)).tolist()
