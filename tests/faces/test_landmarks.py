"""Landmarks, the similarity that fits them best, and the crops of FFHQ and ArcFace."""

import numpy as np
import pytest

from faces import landmarks as lm


def upright_face() -> np.ndarray:
    """68 points with eyes at (40, 50) and (60, 50), mouth corners at (42, 80) and (58, 80), nose tip at (50, 65)."""
    points = np.full((68, 2), 50.0)
    points[lm.EYE_RIGHT] = [40, 50]
    points[lm.EYE_LEFT] = [60, 50]
    points[lm.NOSE_TIP] = [50, 65]
    points[lm.MOUTH_CORNER_RIGHT], points[lm.MOUTH_CORNER_LEFT] = [42, 80], [58, 80]
    return points


def similarity(scale: float, angle_rad: float, shift: tuple[float, float]) -> np.ndarray:
    c, s = scale * np.cos(angle_rad), scale * np.sin(angle_rad)
    return np.array([[c, -s, shift[0]], [s, c, shift[1]]])


def test_five_points() -> None:
    np.testing.assert_allclose(lm.five_points(upright_face()), [[40, 50], [60, 50], [50, 65], [42, 80], [58, 80]])
    assert lm.five_points(np.stack([upright_face()] * 3)).shape == (3, 5, 2)


def test_ffhq_quad_by_hand() -> None:
    """eye_to_eye (20, 0), eye_to_mouth (0, 30): x = (20, 0) + (30, 0), length max(40, 54); centre (50, 53)."""
    np.testing.assert_allclose(lm.ffhq_quad(upright_face()), [[-4, -1], [-4, 107], [104, 107], [104, -1]], atol=1e-9)


def test_ffhq_quad_turns_and_moves_with_the_face() -> None:
    move = similarity(1.7, 0.4, (30, -12))
    np.testing.assert_allclose(
        lm.ffhq_quad(lm.transform_points(move, upright_face())),
        lm.transform_points(move, lm.ffhq_quad(upright_face())),
        atol=1e-9,
    )


def test_ffhq_transform_takes_the_quad_to_the_picture() -> None:
    face = lm.transform_points(similarity(2.2, -0.3, (5, 9)), upright_face())
    corners = lm.transform_points(lm.ffhq_transform(face, 256), lm.ffhq_quad(face))
    np.testing.assert_allclose(corners, [[0, 0], [0, 256], [256, 256], [256, 0]], atol=1e-9)


def test_umeyama_recovers_a_similarity() -> None:
    rng = np.random.default_rng(0)
    source, move = rng.normal(size=(9, 2)), similarity(0.3, 2.1, (100, -7))
    np.testing.assert_allclose(lm.umeyama(source, lm.transform_points(move, source)), move, atol=1e-12)


def test_umeyama_is_the_least_squares_similarity_and_never_mirrors() -> None:
    rng = np.random.default_rng(1)
    source = rng.normal(size=(4, 7, 2))
    target = rng.normal(size=(4, 7, 2))
    best = lm.umeyama(source, target)

    def error(matrix: np.ndarray) -> np.ndarray:
        return ((lm.transform_points(matrix, source) - target) ** 2).sum((1, 2))

    for _ in range(50):
        nudge = rng.normal(0, 0.05, (4, 4))
        other = best.copy()
        other[:, 0, 0] += nudge[:, 0]
        other[:, 1, 1] += nudge[:, 0]
        other[:, 1, 0] += nudge[:, 1]
        other[:, 0, 1] -= nudge[:, 1]
        other[:, :, 2] += nudge[:, 2:]
        assert (error(best) <= error(other) + 1e-12).all()
    assert (np.linalg.det(lm.umeyama(source, source * [-1, 1])[:, :, :2]) >= 0).all()


def test_arcface_template_is_recovered() -> None:
    """A face whose five points are the template, moved away: its crop has them at the template again."""
    face = np.zeros((68, 2))
    points = lm.arcface_template(112)
    face[lm.EYE_RIGHT], face[lm.EYE_LEFT], face[lm.NOSE_TIP] = points[:3]
    face[lm.MOUTH_CORNER_RIGHT], face[lm.MOUTH_CORNER_LEFT] = points[3:]
    move = similarity(3.3, 0.5, (400, 220))
    moved = lm.transform_points(move, face)
    np.testing.assert_allclose(lm.arcface_transform(moved), lm.invert_transform(move), atol=1e-9)
    batch = lm.arcface_transform(np.stack([face, moved]))
    np.testing.assert_allclose(batch[0], [[1, 0, 0], [0, 1, 0]], atol=1e-9)


def test_arcface_template_sizes_follow_insightface() -> None:
    np.testing.assert_allclose(lm.arcface_template(112), lm.ARCFACE_112 + 0.5)
    np.testing.assert_allclose(lm.arcface_template(224), 2 * lm.ARCFACE_112 + 0.5)
    np.testing.assert_allclose(lm.arcface_template(128), lm.ARCFACE_112 + np.array([8.5, 0.5]))
    np.testing.assert_allclose(lm.arcface_template(256), 2 * lm.ARCFACE_112 + np.array([16.5, 0.5]))


def test_mirror_is_an_involution_and_swaps_sides() -> None:
    assert sorted(lm.MIRROR) == list(range(68))
    np.testing.assert_array_equal(lm.MIRROR[lm.MIRROR], np.arange(68))
    points = np.random.default_rng(2).uniform(0, 100, (68, 2))
    mirrored = lm.mirror_landmarks(points, 100)
    np.testing.assert_allclose(mirrored[lm.EYE_LEFT].mean(0) * [-1, 1] + [100, 0], points[lm.EYE_RIGHT].mean(0))
    np.testing.assert_allclose(mirrored[36], [100 - points[45, 0], points[45, 1]])
    np.testing.assert_allclose(lm.mirror_landmarks(mirrored, 100), points)


def test_warp_keeps_our_pixel_centres() -> None:
    """Doubling a picture: output pixel (x + 0.5) looks at input (x + 0.5) / 2, so a ramp stays a ramp."""
    ramp = np.tile(np.arange(32, dtype=np.float32) + 0.5, (32, 1))
    doubled = lm.warp(ramp, np.array([[2.0, 0, 0], [0, 2.0, 0]]), 64)
    np.testing.assert_allclose(doubled[4, 2:-2], (np.arange(64) + 0.5)[2:-2] / 2, atol=0.02)
    picture = np.random.default_rng(3).integers(0, 256, (16, 16, 3), np.uint8)
    np.testing.assert_array_equal(lm.warp(picture, np.array([[1.0, 0, 0], [0, 1.0, 0]]), 16), picture)
    np.testing.assert_array_equal(
        lm.warp(picture, np.array([[1.0, 0, 3], [0, 1.0, -2]]), 16)[:14, 3:], picture[2:, :13]
    )


def test_whole_pixels() -> None:
    np.testing.assert_allclose(lm.from_whole_pixels([0, 7]), [0.5, 7.5])
    np.testing.assert_allclose(lm.to_whole_pixels(lm.from_whole_pixels([3.2, 1])), [3.2, 1])


def dots(size_px: int, points: np.ndarray, radius_px: float) -> np.ndarray:
    """Bright soft dots on a dark smooth ground."""
    v, u = np.mgrid[:size_px, :size_px] + 0.5
    picture = np.full((size_px, size_px), 40.0)
    for x, y in points:
        picture += 200 * np.exp(-((u - x) ** 2 + (v - y) ** 2) / (2 * radius_px**2))
    return np.repeat(np.clip(picture, 0, 255).astype(np.uint8)[..., None], 3, -1)


@pytest.mark.parametrize("scale", [2.0, 9.0])
def test_ffhq_crop_puts_points_where_its_transform_says(scale: float) -> None:
    """Also with the picture shrunk first (scale 9: a square of 970 px becomes a crop of 128 px)."""
    face = lm.transform_points(similarity(scale, 0.2, (40 * scale, 20 * scale)), upright_face())
    marks = lm.five_points(face)[[0, 2, 4]]
    crop = lm.ffhq_crop(dots(int(170 * scale), marks, 1.5 * scale), face, 128)
    assert crop.shape == (128, 128, 3)
    for x, y in lm.transform_points(lm.ffhq_transform(face, 128), marks):
        window = crop[int(y) - 4 : int(y) + 5, int(x) - 4 : int(x) + 5, 0].astype(float) - 40
        rows, columns = np.mgrid[int(y) - 4 : int(y) + 5, int(x) - 4 : int(x) + 5] + 0.5
        assert (window * columns).sum() / window.sum() == pytest.approx(x, abs=0.35)
        assert (window * rows).sum() / window.sum() == pytest.approx(y, abs=0.35)


def test_ffhq_crop_beyond_the_border_is_filled_smoothly() -> None:
    """The square leaves the picture on the left: what is made up has no black, and the picture's part is kept."""
    rng = np.random.default_rng(4)
    picture = np.clip(rng.normal(150, 20, (220, 220, 3)), 0, 255).astype(np.uint8)
    face = lm.transform_points(similarity(2.0, 0.0, (-60, 20)), upright_face())
    crop = lm.ffhq_crop(picture, face, 64)
    assert crop.min() > 60
    assert crop[:, :8].std() < crop[20:44, 30:50].std()
    inside = lm.transform_points(lm.invert_transform(lm.ffhq_transform(face, 64)), np.array([[40.5, 32.5]]))[0]
    u, v = inside.astype(int)
    assert crop[32, 40].mean() == pytest.approx(picture[v - 2 : v + 3, u - 2 : u + 3].mean(), abs=14)


def test_ffhq_crop_of_a_face_wholly_outside_still_returns_a_picture() -> None:
    picture = np.full((30, 30, 3), 90, np.uint8)
    crop = lm.ffhq_crop(picture, upright_face() + 500, 32)
    assert crop.shape == (32, 32, 3)
