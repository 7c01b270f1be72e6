"""Pictures of the toy head with everything known, for the tests of fitting, albedo and masks."""

import numpy as np

from faces.camera import Camera
from faces.morphable.base import MorphableHead
from faces.render.mesh_image import posed_vertices, render_mesh
from faces.render.shading import constant_light, directional_light


def toy_coefficients(head: MorphableHead, count: int, seed: int = 0, yaw_rad: float = 0.5) -> np.ndarray:
    """(count, D) float32: people of the prior, a fifth of the expressions active, an ambient and a white lamp."""
    rng = np.random.default_rng(seed)
    layout = head.layout
    light = np.tile(constant_light(0.65).reshape(3, 9), (count, 1, 1))
    for one in light:
        one += directional_light(rng.normal(size=3) * [0.8, 0.5, 0.2] + [0, 0.3, 0.9], np.full(3, 0.8)).reshape(3, 9)
    active = rng.random((count, layout.n_expression)) < 0.2
    place = np.stack([rng.uniform(-8, 8, count), rng.uniform(-25, -5, count), rng.uniform(1050, 1250, count)], 1)
    return layout.pack(
        identity=np.clip(rng.normal(size=(count, layout.n_identity)), -2.5, 2.5),
        expression=np.where(active, rng.random((count, layout.n_expression)), 0.0),
        albedo=np.clip(rng.normal(size=(count, layout.n_albedo)), -2, 2),
        rotation_rad=rng.uniform(-1, 1, (count, 3)) * [0.25, yaw_rad, 0.2],
        translation_mm=place,
        light=light.reshape(count, 27),
    )


def toy_landmarks(head: MorphableHead, coefficients: np.ndarray, size_px: int) -> np.ndarray:
    """(N, 68, 2) float64 px of the landmark vertices."""
    return posed_vertices(head, coefficients, Camera.centred(size_px))[0][:, head.landmarks, :2].astype(np.float64)


def toy_pictures(head: MorphableHead, coefficients: np.ndarray, size_px: int) -> np.ndarray:
    """(N, S, S, 3) uint8: the heads in their own albedo and light before a grey-blue wall."""
    shown = render_mesh(head, coefficients, Camera.centred(size_px), "own")
    wall = np.array([0.35, 0.45, 0.55], np.float32)
    covered = (shown.alpha > 0.5)[..., None]
    return np.rint(255 * np.where(covered, shown.image, wall)).astype(np.uint8)
