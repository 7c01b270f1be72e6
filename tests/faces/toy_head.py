"""A small made-up head for tests: an ellipsoid with a nose, smooth random modes and 68 landmarks. Own geometry.

Not human, but everything a MorphableHead promises: millimetres in the head frame, expressions as activations, albedo in
linear RGB, landmarks in iBUG's order. V is about 3,000; it is built in under 0.2 s.
"""

from functools import lru_cache

import numpy as np

from faces.files import digest_of
from faces.morphable.base import MorphableHead

#: Centre and half axes of the ellipsoid, mm.
CENTRE_MM = np.array([0.0, -25.0, -62.0])
RADII_MM = np.array([74.0, 100.0, 84.0])


def landmark_plan() -> np.ndarray:
    """(68, 2) x and y of the landmarks in mm, head frame, iBUG order (subject's right first)."""
    jaw = np.pi * np.linspace(1.0, 2.0, 17)
    rows = [np.stack([70 * np.cos(jaw), 5 + 105 * np.sin(jaw)], 1)]
    brow = np.linspace(-52, -16, 5)
    rows.append(np.stack([brow, 24 + 6 * np.sin(np.linspace(0.4, 2.6, 5))], 1))
    rows.append(np.stack([-brow[::-1], 24 + 6 * np.sin(np.linspace(2.6, 0.4, 5))], 1))
    rows.append(np.stack([np.zeros(4), np.linspace(4, -32, 4)], 1))
    rows.append(np.stack([np.linspace(-13, 13, 5), [-42, -44, -46, -44, -42]], 1))
    eye = np.array([[-15, 0], [-7, 6], [7, 6], [15, 0], [7, -5], [-7, -5]], float)
    rows += [eye - np.array([31, 0]), eye + np.array([31, 0])]
    rows.append(ellipse(12, 25, 10, -68))
    rows.append(ellipse(8, 19, 4, -68))
    return np.concatenate(rows)


def ellipse(count: int, half_width: float, half_height: float, y: float) -> np.ndarray:
    """Points round an ellipse from its left corner in the picture, over the top: (count, 2)."""
    angle = np.pi - np.arange(count) * 2 * np.pi / count
    return np.stack([half_width * np.cos(angle), y + half_height * np.sin(angle)], 1)


def grid(rows: int, columns: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A closed ellipsoid: vertices (V, 3), triangles (T, 3) anticlockwise from outside, uv (V, 2)."""
    polar = np.pi * (np.arange(rows) + 0.5) / rows
    around = 2 * np.pi * np.arange(columns) / columns
    p, a = np.meshgrid(polar, around, indexing="ij")
    unit = np.stack([np.sin(p) * np.sin(a), np.cos(p), np.sin(p) * np.cos(a)], -1).reshape(-1, 3)
    r, c = np.meshgrid(np.arange(rows - 1), np.arange(columns), indexing="ij")
    a0, a1 = r * columns + c, r * columns + (c + 1) % columns
    b0, b1 = a0 + columns, a1 + columns
    triangles = np.concatenate([np.stack([a0, b0, b1], -1), np.stack([a0, b1, a1], -1)]).reshape(-1, 3)
    uv = np.stack([((a / (2 * np.pi)) + 0.5) % 1.0, p / np.pi], -1).reshape(-1, 2)
    return unit * RADII_MM + CENTRE_MM, triangles, uv


def bumps(points: np.ndarray, centres: np.ndarray, width_mm: float) -> np.ndarray:
    """(V, 3), (M, 3) -> (M, V) Gaussian weights."""
    return np.exp(-0.5 * ((points[None] - centres[:, None]) ** 2).sum(-1) / width_mm**2)


@lru_cache(maxsize=4)
def toy_head(n_identity: int = 20, n_expression: int = 8, n_albedo: int = 12, seed: int = 0) -> MorphableHead:
    """The toy head; the same arguments give the same object."""
    rng = np.random.default_rng(seed)
    mean, triangles, uv = grid(56, 72)
    for y in np.linspace(0, -34, 6):  # a nose, so that depth can be seen
        mean[:, 2] += 7.0 * np.exp(-0.5 * ((mean[:, 0] / 9) ** 2 + ((mean[:, 1] - y) / 8) ** 2)) * (mean[:, 2] > 0)
    front = np.flatnonzero(mean[:, 2] > CENTRE_MM[2])
    plan = landmark_plan()
    away = ((mean[front, None, :2] - plan[None]) ** 2).sum(-1)
    landmarks = front[away.argmin(0)].astype(np.int32)

    skin = mean[front[rng.permutation(len(front))]]
    identity = bumps(mean, skin[:n_identity], 38.0)[..., None] * rng.normal(0, 2.2, (n_identity, 1, 3))
    around = np.concatenate([mean[landmarks[[48, 54, 51, 57, 19, 24, 8, 36]]]] * (n_expression // 8 + 1))
    expression = bumps(mean, around[:n_expression], 14.0)[..., None] * rng.normal(0, 7.0, (n_expression, 1, 3))
    expression *= np.array([1.0, 1.0, 0.3])
    albedo = bumps(mean, skin[-n_albedo:], 45.0)[..., None] * rng.normal(0, 0.03, (n_albedo, 1, 3))
    albedo[0] = np.array([-0.11, -0.09, -0.07])
    albedo[1] = np.array([0.02, -0.02, -0.02])
    region = (mean[:, 2] > CENTRE_MM[2] + 12) & (mean[:, 1] < 45) & (mean[:, 1] > -112)
    tables = dict(
        mean_mm=mean.astype(np.float32),
        identity_mm=identity.astype(np.float32),
        expression_mm=expression.astype(np.float32),
        albedo_mean=np.broadcast_to(np.float32([0.52, 0.33, 0.25]), mean.shape).copy(),
        albedo_modes=albedo.astype(np.float32),
    )
    return MorphableHead(
        edition="toy-1", digest=digest_of([n_identity, n_expression, n_albedo, seed]), licence="Apache-2.0",
        expression_names=tuple(f"toy{i}" for i in range(n_expression)),
        triangles=triangles.astype(np.int32), uv=uv.astype(np.float32),
        parts=np.zeros(len(triangles), np.int8), part_names=("skin",), landmarks=landmarks,
        eye_left=np.zeros(0, np.int64), eye_right=np.zeros(0, np.int64), face_region=region, **tables,
    )  # fmt: skip
