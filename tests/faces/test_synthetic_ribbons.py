"""Ribbons: segments that are called hidden are exactly those that may be left out."""

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
    if widest_px < 3 and side > 4:
        assert not shown.all()
