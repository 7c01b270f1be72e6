"""Masks: silhouette, occluders, the swap's mask, soft edges, mesh scaling."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from toy_head import toy_head
from toy_pictures import toy_coefficients, toy_landmarks, toy_pictures

from faces.camera import Camera
from faces.errors import SamaeError
from faces.fitting import fit
from faces.fitting.maps import feature_map, predicted_images
from faces.fitting.view import view_faces
from faces.masks import (
    MeshScaleSettings,
    OccluderSettings,
    face_mask,
    feather,
    mesh_scales,
    occluder_mask,
    silhouette,
    swap_mask,
)  # fmt: skip
from faces.morphable.base import MorphableHead
from faces.occluders import clean_regions, deviations, without_islands
from faces.render.mesh_image import project_landmarks, render_mesh
from faces.render.rasterize import interpolate
from faces.render.shading import to_linear, to_srgb
from faces.treatment import PHOTOGRAPH_OCCLUDERS

SIZE_PX = 128


@pytest.fixture(scope="module")
def portraits():
    head = toy_head()
    truth = toy_coefficients(head, 5, seed=7, yaw_rad=0.3)
    pictures, points = toy_pictures(head, truth, SIZE_PX), toy_landmarks(head, truth, SIZE_PX)
    return head, pictures, points, fit(pictures, points, head, SIZE_PX).coefficients


def test_silhouette_agrees_with_the_mesh_picture(portraits):
    head, _, _, coefficients = portraits
    mine = silhouette(coefficients, head, SIZE_PX)
    theirs = render_mesh(head, coefficients, Camera.centred(SIZE_PX)).mask
    assert mine.shape == theirs.shape
    assert np.abs(mine - theirs).mean() < 1e-3
    assert silhouette(coefficients[:0], head, 16).shape == (0, 16, 16)


def test_a_bare_face_is_its_silhouette(portraits):
    head, pictures, _, coefficients = portraits
    mask = face_mask(pictures, coefficients, head)
    assert mask.dtype == np.uint8
    whole = np.rint(255 * silhouette(coefficients, head, SIZE_PX))
    assert np.abs(mask - whole).sum() / whole.sum() < 0.03


def test_a_painted_hand_and_a_strand_are_taken_out(portraits):
    head, pictures, points, _ = portraits
    covered, truth = pictures.copy(), np.zeros(pictures.shape[:3], np.uint8)
    for picture, cover, face in zip(covered, truth, points, strict=True):
        place = tuple(int(v) for v in face[[4, 48]].mean(0))
        for canvas, colour in ((picture, (40, 110, 170)), (cover, 1)):
            cv2.circle(canvas, place, 11, colour, -1)
            top = tuple(int(v) for v in face[19] + [0, -14])
            cv2.line(canvas, top, tuple(int(v) for v in face[[27, 31]].mean(0)), colour, 4)
    coefficients = fit(covered, points, head, SIZE_PX).coefficients
    # The network knows people; what this head shows is the residual's.
    residual = OccluderSettings(method="residual")
    found = occluder_mask(covered, coefficients, head, residual) > 0.5
    face = silhouette(coefficients, head, SIZE_PX) > 0.5
    true = (truth > 0) & face
    overlap = (found & true).sum() / (found | true).sum()
    assert overlap > 0.6
    mask = face_mask(covered, coefficients, head, residual)
    assert mask[true].mean() / 255 < 0.15
    assert mask[face & ~true].mean() / 255 > 0.9


def test_each_of_many_faces_has_its_own_occluders(portraits) -> None:
    """Faces are worked on in chunks: the seventeenth has its own picture."""
    head, pictures, points, coefficients = portraits
    rows, residual = np.arange(18) % 5, OccluderSettings(method="residual")
    covered = pictures[rows]
    for n, picture in enumerate(covered):
        cv2.circle(picture, tuple(int(v) for v in points[rows[n], 2 + n % 13]), 12, (20, 90, 30), -1)
    many = occluder_mask(covered, coefficients[rows], head, residual)
    for n in (0, 16, 17):
        np.testing.assert_array_equal(many[n], occluder_mask(covered[[n]], coefficients[rows[[n]]], head, residual)[0])
        assert many[n].any()


def test_only_strong_and_large_regions_of_a_face_are_occluders() -> None:
    face, deviation = np.zeros((48, 48), bool), np.zeros((48, 48), np.float32)
    face[4:44, 4:44] = True
    deviation[6:12, 6:12] = 4.0
    deviation[20:22, 6:8] = 9.0
    deviation[30:36, 30:44], deviation[33, 33] = 4.0, 6.0
    due = np.zeros((48, 48), np.uint8)
    due[30:36, 30:44] = 1
    plain = OccluderSettings(method="residual", grow_px=0.0)
    np.testing.assert_array_equal(clean_regions(deviation, face, plain), due > 0)
    cross = cv2.dilate(due, cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))) > 0
    np.testing.assert_array_equal(clean_regions(deviation, face, OccluderSettings(method="residual")), cross & face)


def test_a_shadow_and_a_beard_are_forgiven_and_eyeballs_do_not_count(portraits) -> None:
    head, _, _, _ = portraits
    settings = OccluderSettings(method="residual")
    coefficients = toy_coefficients(head, 1, seed=7, yaw_rad=0.0)
    view = view_faces(coefficients, head, 96)
    bare = predicted_images(coefficients, view, head)
    height = interpolate(head.mean_mm[:, 1:2], head.triangles, view.raster)[0, ..., 0]
    features = interpolate(feature_map(head, settings.feature_mm), head.triangles, view.raster)[0, ..., 0]
    plain = view.face[0] & (features < 0.05)
    cheek, chin = plain & (height > -30) & (height < 20), plain & (height < -85)
    assert min(cheek.sum(), chin.sum()) > 40

    def seen(factor: float, where: np.ndarray, of: MorphableHead = head) -> np.ndarray:
        shown = np.where(where[..., None], to_srgb(factor * to_linear(bare)), bare).astype(np.float32)
        return deviations(shown, coefficients, view, of, settings)[0]

    for factor in (0.8, 1.2):
        assert np.median(seen(factor, cheek)[cheek]) < 0.2
    assert np.median(seen(0.3, cheek)[cheek]) > settings.strong
    assert np.median(seen(0.3, chin)[chin]) < settings.weak
    assert np.median(seen(2.5, chin)[chin]) > settings.strong
    glass = replace(head, parts=np.ones_like(head.parts), part_names=("skin", "eye_left"))
    assert seen(0.3, cheek, glass).max() == 0


def test_brows_eyes_and_lips_may_differ_more(portraits) -> None:
    head, _, _, _ = portraits
    settings = OccluderSettings(method="residual", shadow=(1.0, 1.0), beard=1.0)
    coefficients = toy_coefficients(head, 1, seed=7, yaw_rad=0.0)
    view = view_faces(coefficients, head, 96)
    shown = predicted_images(coefficients, view, head) + np.float32(0.2)
    features = interpolate(feature_map(head, settings.feature_mm), head.triangles, view.raster)[0, ..., 0]
    found = deviations(shown, coefficients, view, head, settings)[0]
    away, near = view.face[0] & (features < 0.02), view.face[0] & (features > 0.95)
    assert np.median(found[away]) == pytest.approx(1 / 1.4826, rel=0.05)
    assert np.median(found[near]) == pytest.approx(1 / 1.4826 / settings.feature_tolerance, rel=0.1)


def test_masks_are_the_same_in_any_batch(portraits):
    head, pictures, _, coefficients = portraits
    whole = face_mask(pictures, coefficients, head)
    np.testing.assert_array_equal(face_mask(pictures[2:3], coefficients[2:3], head)[0], whole[2])


def test_swap_mask_is_the_dilated_union_without_occluders():
    target, source, cover = (np.zeros((1, 64, 64), np.float32) for _ in range(3))
    target[0, 20:40, 20:40] = 1
    source[0, 25:45, 10:30] = 1
    cover[0, 18:28, 30:50] = 1
    mask = swap_mask(target, source, cover, dilate_px=8.0)
    union = np.maximum(target, source)
    assert (mask[cover > 0] == 0).all()
    assert (mask[(union > 0) & (cover == 0)] == 1).all()
    far = cv2.distanceTransform((union[0] * (1 - cover[0]) < 0.5).astype(np.uint8), cv2.DIST_L2, 5) > 2.5
    assert (mask[0][far] == 0).all()
    assert mask.sum() > (union * (1 - cover)).sum()
    np.testing.assert_array_equal(swap_mask(target, source, None, 0.0), union)


def test_a_swap_mask_does_not_come_out_behind_an_occluder() -> None:
    target, cover = np.zeros((1, 64, 64), np.float32), np.zeros((1, 64, 64), np.float32)
    target[0, 20:40, 20:40], cover[0, 16:44, 32:40] = 1, 1
    mask = swap_mask(target, target, cover, dilate_px=8.0)[0]
    assert not mask[:, 32:].any()
    assert mask[20:40, 18:32].all()


def test_with_landmarks_a_swap_mask_is_dilated_round_the_jaw_alone():
    target = np.zeros((2, 64, 64), np.float32)
    target[:, 20:40, 20:40] = 1
    marks = np.zeros((2, 68, 2), np.float32)
    marks[0, [0, 16, 8]] = [[20, 20], [40, 20], [30, 40]]  # upright: sets in from row 26 to row 34
    marks[1, [0, 16, 8]] = [[40, 20], [40, 40], [20, 30]]  # lying: from column 34 down to column 26
    plain, jaw = swap_mask(target, target, None, 16.0), swap_mask(target, target, None, 16.0, marks)
    rows, columns = np.mgrid[:64, :64] + 0.5
    for index, (above, below) in enumerate(((rows < 26, rows > 34), (columns > 34, columns < 26))):
        np.testing.assert_array_equal(jaw[index][above], target[index][above])
        away = cv2.distanceTransform((target[index] < 0.5).astype(np.uint8), cv2.DIST_L2, 5)
        np.testing.assert_array_equal(jaw[index][below] > 0, (away <= 4.0)[below])
        assert (jaw[index] <= np.maximum(plain[index], away <= 4.0)).all()
        between = ~above & ~below & (target[index] < 0.5)
        assert 0 < jaw[index][between].sum() < (away <= 4.0)[between].sum()
    nowhere = swap_mask(target[:1], target[:1], None, 8.0, np.zeros((1, 68, 2), np.float32))
    np.testing.assert_array_equal(nowhere, target[:1])


def test_kinds_of_masks_go_in_and_come_out():
    mask = np.zeros((2, 32, 32), np.uint8)
    mask[:, 8:24, 8:24] = 255
    assert swap_mask(mask, mask).dtype == np.uint8
    tensor = torch.from_numpy(mask[:, None] / np.float32(255))
    out = swap_mask(tensor, tensor, tensor * 0)
    assert torch.is_tensor(out)
    assert out.shape == (2, 1, 32, 32)
    np.testing.assert_array_equal(out[:, 0].numpy() > 0, swap_mask(mask, mask) > 0)
    with pytest.raises(SamaeError, match="N, 1, S, S"):
        swap_mask(np.zeros((4, 4)), np.zeros((4, 4)))


def test_feather_is_soft_inside_and_nothing_outside():
    mask = np.zeros((1, 64, 64), np.float32)
    mask[0, 10:54, 10:54] = 1
    soft = feather(mask, 6.0)
    assert (soft[mask == 0] == 0).all()
    assert soft[0, 32, 32] == 1
    profile = soft[0, 32, 10:18]
    assert (np.diff(profile) >= 0).all()
    assert 0 < profile[0] < 0.2
    np.testing.assert_array_equal(feather(mask, 0.0), mask)
    full = np.ones((1, 8, 8), np.float32)
    np.testing.assert_array_equal(feather(full, 3.0), full)


def test_a_feather_rises_over_its_width_and_stays_below_the_mask() -> None:
    mask = np.zeros((1, 64, 64), np.float32)
    mask[0, 10:54, 10:54] = 1
    mask[0, 28:36, 28:36] = 0.6
    soft = feather(mask, 6.0)
    assert (soft <= mask).all()
    np.testing.assert_allclose(soft[0, 28:36, 28:36], 0.6)
    assert soft[0, 20, 17] == 1
    assert soft[0, 20, 13] == pytest.approx(0.5, abs=0.15)


def test_openings_of_the_face_region_are_filled(portraits) -> None:
    head, _, _, coefficients = portraits
    eye = np.linalg.norm(head.mean_mm - head.mean_mm[head.landmarks[36:42]].mean(0), axis=1) < 14
    opened = replace(head, face_region=head.face_region & ~eye)
    assert opened.face_triangles.sum() < head.face_triangles.sum()
    whole = silhouette(coefficients, head, SIZE_PX)
    np.testing.assert_array_equal(silhouette(coefficients, opened, SIZE_PX), whole)


def test_mesh_scales_are_drawn_as_stated():
    draws = np.random.default_rng(0).random((4000, 2))
    scales = mesh_scales(draws)
    assert abs((scales == 1).mean() - 0.2) < 0.03
    assert scales.min() >= 0.9
    assert scales.max() <= 1.1
    assert abs(scales.mean() - 1) < 0.01
    np.testing.assert_array_equal(scales == 1, draws[:, 0] >= 0.8)
    assert (mesh_scales(draws, MeshScaleSettings(probability=0.0)) == 1).all()
    with pytest.raises(SamaeError, match="spread"):
        MeshScaleSettings(spread=1.5)


def drawn_face() -> tuple[np.ndarray, np.ndarray]:
    """A round silhouette (1, 100, 100) and landmarks in it: brows at the height 32, eyes 40 apart at 40, ridge's middle
    at 50, chin at 85."""
    y, x = np.mgrid[:100, :100] + 0.5
    marks = np.full((1, 68, 2), 50.0)
    marks[0, 17:27, 1], marks[0, 36:48, 1], marks[0, 29, 1], marks[0, 8, 1] = 32, 40, 50, 85
    marks[0, 36, 0], marks[0, 45, 0] = 30, 70
    return ((np.hypot(x - 50, y - 50) < 40)[None]).astype(np.float32), marks


def test_islands_are_no_cover_but_for_glasses_and_what_reaches_in_is() -> None:
    face, marks = drawn_face()
    covers = np.zeros((1, 100, 100), np.float32)
    covers[0, 70:76, 40:60] = 0.8  # a mouth
    covers[0, 60:64, 48:52] = 0.3  # a nostril
    covers[0, 38:44, 29:45] = 0.7  # a rim, 0.4 of the eyes' distance wide
    covers[0, 30:46, 55] = 0.2  # another, as high
    covers[0, 35:50, 60:75] = 0.9  # an eye
    covers[0, 66:68, 4:30] = 0.9  # a finger, from the left
    covers[0, 95:, :] = 0.6  # off the face
    left = without_islands(covers, face, marks)
    wanted = covers.copy()
    wanted[0, 60:76, 40:60] = wanted[0, 35:50, 60:75] = 0
    np.testing.assert_array_equal(left, wanted)
    np.testing.assert_array_equal(covers[0, 70:76, 40:60], np.float32(0.8))


@pytest.mark.parametrize(("gap", "stays"), [(0, True), (1, True), (2, False)])
def test_what_ends_just_inside_the_outline_reaches_in(gap: int, stays: bool) -> None:
    """By less than two pixels of 256; the outline of a fit is not surer than that."""
    face, marks = np.zeros((1, 256, 256), np.float32), drawn_face()[1] * 2.56
    face[:, 20:240, 20:240] = 1
    covers = np.zeros_like(face)
    covers[0, 180:190, 20 + gap : 60] = 1
    assert bool(without_islands(covers, face, marks).any()) == stays


@pytest.mark.parametrize(("rows", "stays"), [(slice(88, 100), True), (slice(80, 97), False)])
def test_what_comes_over_the_pictures_own_edge_reaches_in(rows: slice, stays: bool) -> None:
    """A hand from below before a face that the lower edge cuts."""
    covers, marks = np.zeros((1, 100, 100), np.float32), drawn_face()[1]
    covers[0, rows, 40:60] = 1
    assert bool(without_islands(covers, np.ones_like(covers), marks).any()) == stays


def test_no_rim_of_an_island_is_left() -> None:
    """Cover fades out; what is fainter than an island's pixels goes with it, next to what stays it does not."""
    face, marks = drawn_face()
    covers = np.zeros((1, 100, 100), np.float32)
    covers[0, 69:77, 39:61] = 0.08
    covers[0, 70:76, 40:60] = 0.8
    covers[0, 78:82, 4:60] = 0.9  # a finger, two pixels below
    left = without_islands(covers, face, marks)
    assert not left[0, 66:78].any()
    np.testing.assert_array_equal(left[0, 78:], covers[0, 78:])


@pytest.mark.parametrize(
    ("strip", "bridge_px", "is_covered"),
    [
        (slice(17, 22), 0, True),  # a fringe cuts a little off the top: hair of the skin's brightness
        (slice(17, 22), 2, True),
        (slice(17, 22), 4, False),  # skin that the face goes on in
        (slice(35, 39), 0, False),  # glasses cut the whole forehead off
        (slice(80, 84), 0, False),  # a scarf cuts the chin off
    ],
)
def test_skin_cut_off_above_the_brows_is_hair(strip: slice, bridge_px: int, is_covered: bool) -> None:
    face, marks = drawn_face()
    covers = np.zeros((1, 100, 100), np.float32)
    covers[0, strip] = 0.9
    covers[0, strip, 50 : 50 + bridge_px] = 0.3
    left = without_islands(covers, face, marks)
    assert (left[0, : strip.start][face[0, : strip.start] > 0.5] == float(is_covered)).all()
    np.testing.assert_array_equal(left[0, strip.stop :], covers[0, strip.stop :])


def test_no_rim_of_cut_off_skin_is_left() -> None:
    """Cover and silhouette fade: what is between the island and its edges goes with it, the face below does not."""
    face, marks = drawn_face()
    face = cv2.GaussianBlur(face[0], (0, 0), 0.7)[None]
    covers = np.zeros((1, 100, 100), np.float32)
    covers[0, 17:22] = 0.9
    covers = cv2.GaussianBlur(covers[0], (0, 0), 0.7)[None]
    left = without_islands(covers, face, marks)
    assert left[0, :16][face[0, :16] > 0.02].min() == 1
    assert covers[0, :16].max() < 0.1
    np.testing.assert_array_equal(left[0, 24:], covers[0, 24:])


@pytest.mark.parametrize("size_px", [50, 100, 200])
def test_how_much_may_be_cut_off_does_not_depend_on_the_size(size_px: int) -> None:
    """A cap of 6 % of the face is covered, one of 11 % is not."""
    unit = size_px / 100
    y, x = (np.mgrid[:size_px, :size_px] + 0.5) / unit
    face = (np.hypot(x - 50, y - 50) < 40)[None].astype(np.float32)
    for height, is_covered in ((9, True), (13.5, False)):
        covers = np.zeros((1, size_px, size_px), np.float32)
        start = round((10 + height) * unit)
        covers[0, start : start + round(5 * unit)] = 0.9
        left = without_islands(covers, face, drawn_face()[1] * unit)
        top = face[0, :start] > 0.5
        assert abs(left[0, :start][top].mean() - is_covered) < 0.03


def test_every_face_has_its_own_islands_and_a_turned_one_its_own_down() -> None:
    face, marks = drawn_face()
    covers = np.zeros((2, 100, 100), np.float32)
    covers[:, 70:76, 40:60] = 1
    upside_down = 100 - marks
    left = without_islands(covers, np.repeat(face, 2, 0), np.concatenate([marks, upside_down]))
    assert not left[0].any()
    np.testing.assert_array_equal(left[1], covers[1])


def test_photographs_lose_no_mouths_to_what_seems_to_cover_them(portraits, monkeypatch: pytest.MonkeyPatch) -> None:
    head, pictures, _, coefficients = portraits
    mouths = project_landmarks(coefficients, head, SIZE_PX)[:, 48:].mean(1).astype(int)

    def blots(images: np.ndarray, *_: object) -> np.ndarray:
        covers = np.zeros(images.shape[:3], np.float32)
        for cover, (x, y) in zip(covers, mouths, strict=True):
            cover[y - 2 : y + 3, x - 4 : x + 5] = 1
        return covers

    monkeypatch.setattr("faces.masks.find_occluders", blots)
    assert occluder_mask(pictures, coefficients, head).sum((1, 2)).min() == 45
    assert not occluder_mask(pictures, coefficients, head, PHOTOGRAPH_OCCLUDERS).any()
    whole = np.rint(255 * silhouette(coefficients, head, SIZE_PX))
    np.testing.assert_array_equal(face_mask(pictures, coefficients, head, PHOTOGRAPH_OCCLUDERS), whole)
    assert occluder_mask(pictures[:0], coefficients[:0], head, PHOTOGRAPH_OCCLUDERS).shape == (0, SIZE_PX, SIZE_PX)
