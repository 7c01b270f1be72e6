"""Ribbons: segments that are called hidden are exactly those that may be left out, and a veil covers what it says."""

import numpy as np
import pytest

from faces.synthetic import ribbons


@pytest.mark.parametrize(
    ("side", "longest_px", "widest_px"), [(64, 12.0, 2.5), (96, 90.0, 0.4), (33, 5.0, 9.0), (2, 3.0, 2.0)]
)
def test_hidden_segments_may_be_left_out(side: int, longest_px: float, widest_px: float) -> None:
    rng = np.random.default_rng(side)
    steps = rng.normal(0, 1, (300, 6, 3)) * [longest_px / 3, longest_px / 3, 6.0]
    points = np.cumsum(
        np.concatenate([rng.uniform(-5, side + 5, (300, 1, 2)), steps[:, :1, :1] * 0 + 1000], -1) + steps, 1
    )
    points = points.astype(np.float32)
    width_px = rng.uniform(0.1, widest_px, (300, 6)).astype(np.float32)
    colours, alpha = rng.random((300, 6, 3), np.float32), rng.choice([0.6, 1.0], 300).astype(np.float32)
    depth = rng.choice([985.0, 1000.0, np.inf], (side, side)).astype(np.float32)
    shown = ribbons.visible_segments(depth, points, width_px, 0.5, np.ones((300, 5), bool))
    drawn = []
    for chosen in (shown, np.ones_like(shown)):
        picture, depth_mm, ids = np.zeros((side, side, 3), np.float32), depth.copy(), np.zeros((side, side), np.uint8)
        ribbons.draw_strands(picture, depth_mm, ids, points, width_px, colours, alpha, 0.5, 5, chosen)
        drawn.append((picture, depth_mm, ids))
    for left_out, whole in zip(*drawn, strict=True):
        np.testing.assert_array_equal(left_out, whole)
    assert (drawn[0][2] == 5).any()
    shown = ribbons.visible_segments(depth, points, width_px + np.float32(1), 0.5, np.ones((300, 5), bool))
    veils = []
    for chosen in (shown, np.ones_like(shown)):
        picture, veil = np.zeros((side, side, 3), np.float32), np.zeros((side, side, 2), np.float32)
        ribbons.veil_strands(picture, veil, depth, points, width_px, colours, alpha, 0.5, chosen)
        veils.append((picture, veil))
    for left_out, whole in zip(*veils, strict=True):
        np.testing.assert_array_equal(left_out, whole)
    assert veils[0][1][..., 0].max() > 0.5
    if widest_px < 3 and side > 4:
        assert not shown.all()


def one_ribbon(width_px: float, upright: bool) -> tuple[np.ndarray, np.ndarray]:
    """A straight ribbon over a picture of 12 x 12 samples, 900 mm away: points (1, 2, 3), width_px (1, 2)."""
    ends = np.array([[5.3, -3.0], [5.3, 15.0]] if upright else [[-3.0, 5.3], [15.0, 5.3]])
    points = np.concatenate([ends, np.full((2, 1), 900.0)], 1)[None].astype(np.float32)
    return points, np.full((1, 2), width_px, np.float32)


@pytest.mark.parametrize("upright", [True, False])
@pytest.mark.parametrize(("width_px", "alpha"), [(0.3, 1.0), (0.8, 0.6), (3.7, 0.9)])
def test_a_veil_covers_its_width_and_stays_behind_what_is_nearer(width_px: float, alpha: float, upright: bool) -> None:
    points, widths = one_ribbon(width_px, upright)
    picture, veil = np.full((12, 12, 3), 0.2, np.float32), np.zeros((12, 12, 2), np.float32)
    near = np.zeros((12, 12), bool)
    near[2, :], near[:, 2] = upright, not upright
    depth = np.where(near, 800, 1000).astype(np.float32)
    colours, covers = np.full((1, 2, 3), 0.9, np.float32), np.full(1, alpha, np.float32)
    ribbons.veil_strands(picture, veil, depth, points, widths, colours, covers, 0.5, np.ones((1, 1), bool))
    cover = veil[..., 0]
    across = (cover if upright else cover.T).sum(1)
    np.testing.assert_allclose(np.delete(across, 2), width_px * alpha, atol=1e-5)
    assert not veil[near].any()
    np.testing.assert_allclose(veil[..., 1], cover * 899.5, atol=1e-3)
    np.testing.assert_allclose(picture, np.repeat(0.2 + cover[..., None] * 0.7, 3, 2), atol=1e-6)


def test_ribbons_of_a_veil_add_up_and_share_their_first_colour() -> None:
    points, widths = one_ribbon(1.0, True)
    points[..., 0] = 5.5
    picture, veil = np.zeros((12, 12, 3), np.float32), np.zeros((12, 12, 2), np.float32)
    depth, shown = np.full((12, 12), np.inf, np.float32), np.ones((4, 1), bool)
    shown[1] = False
    colours = np.stack([np.full((2, 3), 1.0), np.full((2, 3), 0.5)]).astype(np.float32)
    ribbons.veil_strands(
        picture, veil, depth, points.repeat(4, 0), widths.repeat(4, 0), colours, np.full(4, 0.5, np.float32), 0.5, shown
    )
    np.testing.assert_allclose(veil[:, 5, 0], 1 - 0.5**3, atol=1e-6)
    np.testing.assert_allclose(picture[:, 5, 0], ((0.5 * 1.0) * 0.5 + 0.25) * 0.5 + 0.25, atol=1e-6)


@pytest.mark.parametrize(("cover", "quarters"), [(0.1, 0), (0.2, 1), (0.4, 2), (0.6, 2), (0.7, 3), (0.9, 4)])
def test_a_pixel_belongs_to_a_veil_by_its_coverage_in_quarters(cover: float, quarters: int) -> None:
    ids, depth = np.full((8, 8), 3, np.uint8), np.full((8, 8), 900, np.float32)
    depth[:4] = 700
    veil = np.full((8, 8), cover, np.float32)[..., None] * np.array([1.0, 799.5], np.float32)
    ribbons.own_veil(ids, depth, veil, 0.5, 5)
    owned = (ids == 5).reshape(4, 2, 4, 2).sum((1, 3))
    assert (owned == quarters).all()
    assert ((ids == 3) | (ids == 5)).all()
    np.testing.assert_allclose(depth[:4], 700)
    np.testing.assert_allclose(depth[4:], np.where(ids[4:] == 5, 800, 900), atol=1e-3)
