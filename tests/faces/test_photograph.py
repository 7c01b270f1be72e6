"""A real photograph with landmarks set by hand goes through fit, albedo and masks unchanged."""

import cv2
import numpy as np
import pytest

from faces.albedo import neutral_albedo, skin_colour
from faces.finding.detector import load_detector
from faces.fitting import fit
from faces.landmarks import ffhq_crop, ffhq_transform, transform_points
from faces.masks import OccluderSettings, face_mask, silhouette
from faces.morphable import load_head
from faces.pictures_photograph import astronaut
from faces.render.shading import to_srgb
from faces.treatment import PHOTOGRAPH_FIT, PHOTOGRAPH_OCCLUDERS


def test_a_photograph_is_fitted_from_hand_given_landmarks() -> None:
    pytest.importorskip("skimage", reason="scikit-image (extra `dev`) brings the photograph")
    image, landmarks = astronaut(256)
    head = load_head()
    found = fit(image[None], landmarks[None], head, 256, PHOTOGRAPH_FIT)
    assert found.ok.all()
    assert found.landmark_nme_percent[0] < 4.0
    assert found.photometric_error[0] < 0.12
    take = head.layout.take
    assert np.abs(np.degrees(take(found.coefficients, "rotation_rad"))).max() < 15
    smile = [head.expression_names.index(f"mouthSmile_{side}") for side in "LR"]
    assert take(found.coefficients, "expression")[0, smile].min() > 0.2
    mask = face_mask(image[None], found.coefficients, head, PHOTOGRAPH_OCCLUDERS)[0] / 255.0
    whole = silhouette(found.coefficients, head, 256)[0]
    x, y = np.rint(landmarks[[30, 2, 14, 51]].mean(0)).astype(int)
    assert mask[y - 10 : y + 10, x - 30 : x + 30].min() > 0.9
    brows = int(landmarks[17:27, 1].min())
    fringe = whole[: brows - 4] > 0.5
    assert mask[: brows - 4][fringe].mean() < 0.35
    skin = to_srgb(skin_colour(image[None], found.coefficients, mask[None], head))[0]
    red, _, blue = cv2.mean(image[y - 25 : y - 5, x - 30 : x + 30])[:3]
    assert skin[0] > skin[1] > skin[2]
    assert abs(skin[0] - red / 255) < 0.25
    assert abs(skin[2] - blue / 255) < 0.25
    assert np.isfinite(neutral_albedo(image[None], found.coefficients, head)).all()


def test_a_fringe_of_the_skins_brightness_stays_in_front_where_landmarks_are_read() -> None:
    """The weights for generated people leave three quarters of it in the mask."""
    skimage_data = pytest.importorskip("skimage.data", reason="scikit-image (extra `dev`) brings the photograph")
    head, whole = load_head(), skimage_data.astronaut()
    read = load_detector().faces(whole)[0]
    image, landmarks = ffhq_crop(whole, read, 256), transform_points(ffhq_transform(read, 256), read)
    found = fit(image[None], landmarks[None], head, 256, PHOTOGRAPH_FIT)
    above = slice(0, int(landmarks[17:27, 1].min()) - 4)
    fringe = silhouette(found.coefficients, head, 256)[0, above] > 0.5
    left = [
        face_mask(image[None], found.coefficients, head, settings)[0, above][fringe].mean() / 255
        for settings in (PHOTOGRAPH_OCCLUDERS, OccluderSettings())
    ]
    assert left[0] < 0.3 < 0.6 < left[1]
