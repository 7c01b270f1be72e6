"""Perforation confusion: what it may and may not do, and that one generator gives one result."""

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from faces.errors import SamaeError
from faces.perforation import PerforationSettings, dilate, perforate


def ovals(count: int, size_px: int, wider: float = 0.0) -> np.ndarray:
    masks = np.zeros((count, size_px, size_px), np.float32)
    for n, mask in enumerate(masks):
        axes = (int(size_px * (0.20 + 0.01 * (n % 5) + wider)), int(size_px * 0.3))
        cv2.ellipse(mask, (size_px // 2, int(size_px * 0.55)), axes, 0, 0, 360, 1, -1)
    return masks


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), size_px=st.sampled_from([16, 32, 64, 128]))
def test_a_pixel_of_the_face_is_never_unmasked(seed, size_px):
    mask = ovals(6, size_px)
    mask = np.minimum(mask, np.float32(0.3) + ovals(6, size_px, -0.03))
    out = perforate(mask, ovals(6, size_px, 0.06), np.random.default_rng(seed))
    assert (out >= mask).all()
    assert set(np.unique(out)) <= {0.0, np.float32(0.3), 1.0}


def test_the_same_seed_gives_the_same_masks_in_every_kind_of_array():
    mask, other = ovals(16, 64), ovals(16, 64, 0.05)
    first = perforate(mask, other, np.random.default_rng(5))
    np.testing.assert_array_equal(first, perforate(mask, other, np.random.default_rng(5)))
    assert (first != perforate(mask, other, np.random.default_rng(6))).any()
    tensor = perforate(torch.from_numpy(mask)[:, None], torch.from_numpy(other)[:, None], np.random.default_rng(5))
    assert tensor.shape == (16, 1, 64, 64)
    np.testing.assert_array_equal(tensor[:, 0].numpy(), first)
    whole = perforate((mask * 255).astype(np.uint8), other, np.random.default_rng(5))
    assert whole.dtype == np.uint8
    np.testing.assert_array_equal(whole > 127, first > 0.5)
    bytes_ = perforate(torch.from_numpy((mask * 255).astype(np.uint8)), other, np.random.default_rng(5))
    assert bytes_.dtype == torch.uint8
    np.testing.assert_array_equal(bytes_.numpy(), whole)


def test_faces_before_do_not_change_faces_after():
    """Each face uses its own row of random numbers, whatever branch the others take."""
    mask, other = ovals(8, 64), ovals(8, 64, 0.05)
    changed = mask.copy()
    changed[0] = 0
    a, b = (perforate(m, other, np.random.default_rng(1)) for m in (mask, changed))
    np.testing.assert_array_equal(a[1:], b[1:])


def test_switched_off_it_is_the_mask_and_the_generator_still_moves_on():
    mask, rng = ovals(3, 32), np.random.default_rng(0)
    np.testing.assert_array_equal(perforate(mask, None, rng, PerforationSettings(enabled=False)), mask)
    after = np.random.default_rng(0)
    perforate(mask, None, after)
    assert rng.random() == after.random()


def test_the_outline_says_little_about_the_face():
    """The share of the mask's border that is the face's own border is small on average."""
    mask, other = ovals(200, 64), ovals(200, 64, 0.06)
    out = perforate(mask, other, np.random.default_rng(0))
    grown = out.sum((1, 2)) / mask.sum((1, 2))
    assert grown.mean() > 1.25
    assert (grown > 1.02).mean() > 0.9
    assert grown.std() > 0.15


def test_other_shape_box_and_holes_do_what_they_say():
    mask, other = ovals(12, 64), ovals(12, 64, 0.08)
    still = {"dilate_px": 0.0, "box_probability": 0.0, "hole_probability": 0.0}
    rng = np.random.default_rng(0)
    only_other = perforate(mask, other, rng, PerforationSettings(other_shape_probability=1.0, **still))
    np.testing.assert_array_equal(only_other, np.maximum(mask, other))
    boxed = perforate(mask, other, rng, PerforationSettings(**{**still, "box_probability": 1.0}, box_margin=0.0))
    for one in boxed:
        rows, columns = np.flatnonzero(one.any(1)), np.flatnonzero(one.any(0))
        assert one[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
    plain = PerforationSettings(other_shape_probability=1.0, dilate_px=0.0, box_probability=0.0, hole_probability=1.0)
    holed = perforate(mask, other, rng, plain)
    assert (holed.sum((1, 2)) < np.maximum(mask, other).sum((1, 2))).all()


def test_occluders_are_left_out_before_the_dilation():
    mask, other, cover = ovals(4, 64), ovals(4, 64, 0.1), np.zeros((4, 64, 64), np.float32)
    cover[:, :, 40:] = 1
    mask *= 1 - cover
    quiet = PerforationSettings(other_shape_probability=1.0, dilate_px=0.0, box_probability=0.0, hole_probability=0.0)
    assert perforate(mask, other, np.random.default_rng(0), quiet, occluders=cover)[cover > 0].max() == 0
    assert perforate(mask, other, np.random.default_rng(0), quiet)[cover > 0].max() == 1


def test_an_empty_mask_stays_empty_without_another_silhouette():
    empty = np.zeros((3, 32, 32), np.float32)
    assert perforate(empty, None, np.random.default_rng(0)).sum() == 0


@pytest.mark.parametrize("radius_px", [0.0, 1.0, 2.0, 3.5, 6.0])
def test_dilation_matches_the_slow_way(radius_px):
    mask = np.zeros((24, 24), np.uint8)
    mask[10, 5], mask[14:16, 16] = 1, 1
    rows, columns = np.mgrid[:24, :24]
    slow = np.zeros_like(mask)
    for row, column in np.argwhere(mask):
        slow |= ((rows - row) ** 2 + (columns - column) ** 2 <= radius_px**2 + 1e-9).astype(np.uint8)
    assert (dilate(mask, radius_px) != slow).sum() <= 0.03 * slow.sum() + 1e-9


def test_settings_refuse_nonsense():
    with pytest.raises(SamaeError, match="holes"):
        PerforationSettings(holes=(5, 2))
    with pytest.raises(SamaeError, match="at most"):
        PerforationSettings(grown_shapes=(1, 99))
    for name in ("other_shape_probability", "stroke_probability", "box_probability", "hole_probability"):
        for value in (7.0, -0.1, float("nan")):
            with pytest.raises(SamaeError, match=f"{name} is .* a probability in 0..1"):
                PerforationSettings(**{name: value})
    for name in ("dilate_px", "box_margin"):
        for value in (-1.0, float("nan"), float("inf")):
            with pytest.raises(SamaeError, match=f"{name} is .* a number from 0 up"):
                PerforationSettings(**{name: value})
    with pytest.raises(SamaeError, match="blob_radius_px"):
        PerforationSettings(blob_radius_px=(8.0, float("inf")))


def test_the_dilation_scales_with_the_picture() -> None:
    settings = PerforationSettings(
        other_shape_probability=1.0, box_probability=0.0, hole_probability=0.0, dilate_px=32.0
    )
    reach = {}
    for size_px in (64, 128):
        mask = np.zeros((40, size_px, size_px), np.float32)
        mask[:, size_px // 4 : -size_px // 4, size_px // 4 : -size_px // 4] = 1
        grown = perforate(mask, mask, np.random.default_rng(0), settings)
        reach[size_px] = (grown.any((0, 2)).sum() - size_px // 2) / 2
    assert 6 <= reach[64] <= 8  # 32 px at 256
    assert 13 <= reach[128] <= 16
