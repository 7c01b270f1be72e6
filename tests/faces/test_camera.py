"""The conventions of space, checked by what one sees."""

import numpy as np
import pytest
import torch

from faces.camera import Camera, head_to_camera, project, rotation_matrices, rotation_matrices_torch

STRAIGHT = np.zeros((1, 3))
AWAY_MM = np.array([[0.0, 0.0, 1000.0]])
NOSE = np.array([[[0.0, 0.0, 100.0]]])


def seen(points_mm: np.ndarray, rotation_rad: np.ndarray | list[list[float]]) -> np.ndarray:
    """(1, V, 3) head points at one metre -> (V, 3) pixels and depth."""
    return project(head_to_camera(points_mm, np.asarray(rotation_rad), AWAY_MM), Camera.centred(200))[0]


def test_axes_of_the_head_on_the_screen() -> None:
    centre, right, up, out = seen(np.array([[[0, 0, 0], [10, 0, 0], [0, 10, 0], [0, 0, 10]]], float), STRAIGHT)
    np.testing.assert_allclose(centre, [100, 100, 1000])
    assert right[0] > 100
    assert right[1] == pytest.approx(100)
    assert up[1] < 100
    assert up[0] == pytest.approx(100)
    assert out[2] == pytest.approx(990)


def test_focal_length_is_deep3ds() -> None:
    camera = Camera.centred(224)
    assert camera.focal_px == pytest.approx(1015.0)
    assert np.degrees(2 * np.arctan(112 / camera.focal_px)) == pytest.approx(12.594, abs=1e-3)
    edge = project(np.array([[[112.0, 0.0, 1015.0]]]), camera)
    assert edge[0, 0, 0] == pytest.approx(224)


@pytest.mark.parametrize(
    ("rotation", "moves"),
    [([0.3, 0, 0], "down"), ([-0.3, 0, 0], "up"), ([0, 0.3, 0], "right"), ([0, -0.3, 0], "left")],
)
def test_where_the_nose_goes(rotation: list[float], moves: str) -> None:
    u, v, _ = seen(NOSE, [rotation])[0]
    axis, sign = {"down": (v, 1), "up": (v, -1), "right": (u, 1), "left": (u, -1)}[moves]
    assert sign * (axis - 100) > 10
    assert min(abs(u - 100), abs(v - 100)) < 1e-9


def test_positive_roll_is_anticlockwise_in_the_picture() -> None:
    crown = seen(np.array([[[0.0, 100.0, 0.0]]]), [[0, 0, 0.3]])[0]
    assert crown[0] < 90


def test_rotation_is_roll_yaw_pitch_and_orthonormal() -> None:
    angles = np.random.default_rng(0).normal(0, 0.7, (5, 3))
    for (pitch, yaw, roll), turn in zip(angles, rotation_matrices(angles), strict=True):
        alone = [rotation_matrices(np.eye(3)[k] * angle)[0] for k, angle in enumerate((pitch, yaw, roll))]
        np.testing.assert_allclose(turn, alone[2] @ alone[1] @ alone[0], atol=1e-12)
        np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(turn) == pytest.approx(1)


def test_project_is_undone_by_the_ray() -> None:
    camera = Camera(160, 700.0, 75.0, 92.0)
    points = np.random.default_rng(1).normal([0, 0, 900], [50, 50, 40], (1, 20, 3))
    u, v, depth = np.moveaxis(project(points, camera), -1, 0)
    back = np.stack([(u - 75) * depth / 700, (v - 92) * depth / 700, depth], -1)
    np.testing.assert_allclose(back, points)


def test_a_resized_camera_sees_the_same() -> None:
    points = np.random.default_rng(2).normal([0, 0, 900], 40, (1, 9, 3))
    small, large = Camera(100, 450.0, 48.0, 53.0), Camera(100, 450.0, 48.0, 53.0).resized(250)
    np.testing.assert_allclose(project(points, large)[..., :2], 2.5 * project(points, small)[..., :2])


def test_torch_equals_numpy_and_has_gradients() -> None:
    rng = np.random.default_rng(3)
    points, rotation = rng.normal(0, 50, (2, 7, 3)), rng.normal(0, 0.4, (2, 3))
    translation = rng.normal([0, 0, 1000], 20, (2, 3))
    camera = Camera.centred(128)
    inputs = tuple(torch.from_numpy(a).requires_grad_() for a in (points, rotation, translation))
    there = project(head_to_camera(*inputs), camera)
    np.testing.assert_allclose(
        there.detach().numpy(), project(head_to_camera(points, rotation, translation), camera), rtol=1e-12
    )
    np.testing.assert_allclose(rotation_matrices_torch(inputs[1]).detach().numpy(), rotation_matrices(rotation))
    assert torch.autograd.gradcheck(lambda *a: project(head_to_camera(*a), camera), inputs)
