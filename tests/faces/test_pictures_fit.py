"""The pictures of docs/ about fitting are made by one call, small enough to commit."""

import cv2
import numpy as np
import pytest

from faces.pictures_fit import draw_pictures, outlined, sheet


def test_five_small_pictures_are_drawn(tmp_path):
    pytest.importorskip("skimage", reason="scikit-image (extra `dev`) brings the photograph")
    paths = draw_pictures(tmp_path, count=1)
    assert [p.name for p in paths] == ["fits.jpg", "masks.jpg", "occluders.jpg", "perforation.jpg", "photograph.jpg"]
    for path in paths:
        assert path.stat().st_size <= 400_000
        assert cv2.imread(str(path)).std() > 10


def test_sheet_and_outline():
    rows = [np.zeros((2, 8, 8, 3), np.uint8)] * 3
    assert sheet(rows).shape == (3 * 12 - 4, 2 * 12 - 4, 3)
    mask = np.zeros((2, 8, 8), np.float32)
    mask[:, 2:6, 2:6] = 1
    drawn = outlined(rows[0], mask)
    assert drawn.any()
    assert not rows[0].any()
