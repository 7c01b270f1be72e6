"""What the landmark solve needs of a head: its bases at 51 fixed points and along 17 lines that cross the jaw.

The outline that annotators (and dlib) mark is not a set of vertices: when the head turns, the visible edge of the face
moves across the cheek. Each jaw point therefore has a line on the surface, sampled at LINE_FRACTIONS from the inner
cheek to behind the jaw: horizontal above the mouth, radial round the mouth below it ("parallels" of the 3DDFA family;
this construction is ours and works for any head, because it only casts rays).
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from faces.morphable.base import MorphableHead

#: Angle along a line, 1 at the landmark itself; values above 1 go behind the jaw (used by the lower points only).
LINE_FRACTIONS = np.array([0.35, 0.45, 0.55, 0.62, 0.69, 0.76, 0.82, 0.88, 0.94, 1.0, 1.05, 1.1])
#: Index of the landmark itself on its line.
HOME = 9


@dataclass(frozen=True, eq=False)
class LandmarkTables:
    """Bases at the landmarks of one head, float64, head frame, mm. K identity, E expression modes, C samples a line.

    Attributes:
        mean: (68, 3), basis: (68, 3, K + E) of the landmark vertices.
        line_mean: (17, C, 3), line_basis: (17, C, 3, K + E) along the jaw lines.
        limits: (E, 2) bounds of the expressions.  sigma: (E,) their prior, NaN where the settings' number holds.
    """

    mean: np.ndarray
    basis: np.ndarray
    line_mean: np.ndarray
    line_basis: np.ndarray
    n_identity: int
    limits: np.ndarray
    sigma: np.ndarray


def ray_hits(origins: np.ndarray, rays: np.ndarray, corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Outermost hit of each ray: (M, 3), (M, 3), corners (T, 3, 3) -> triangle (M,) int (-1: none), weights (M, 3)."""
    edge1, edge2 = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    hit, weights = np.full(len(rays), -1), np.zeros((len(rays), 3))
    for m, (origin, ray) in enumerate(zip(origins, rays, strict=True)):
        normal = np.cross(ray, edge2)
        determinant = (edge1 * normal).sum(-1)
        scale = 1.0 / np.where(np.abs(determinant) < 1e-12, np.inf, determinant)
        offset = origin - corners[:, 0]
        u = (offset * normal).sum(-1) * scale
        cross = np.cross(offset, edge1)
        v = (cross @ ray) * scale
        far = (edge2 * cross).sum(-1) * scale
        far = np.where((u >= -1e-9) & (v >= -1e-9) & (u + v <= 1 + 1e-9) & (determinant != 0), far, -np.inf)
        best = int(far.argmax())
        if far[best] > 0:
            hit[m], weights[m] = best, (1 - u[best] - v[best], u[best], v[best])
    return hit, weights


def line_rays(landmarks_mm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(68, 3) -> origins (17, C, 3) and unit rays (17, C, 3) of the jaw lines, head frame."""
    jaw = landmarks_mm[:17]
    mouth_y = landmarks_mm[[48, 54], 1].mean()
    depth = np.minimum(jaw[[1, 2, 14, 15], 2].mean(), jaw[8, 2] - 30.0)
    centre = np.stack([np.zeros(17), np.maximum(jaw[:, 1], mouth_y), np.full(17, depth)], -1)
    outward = jaw - centre
    front = np.array([0.0, 0.0, 1.0])
    side = outward - (outward @ front)[:, None] * front
    side /= np.linalg.norm(side, axis=-1, keepdims=True)
    angle = np.arctan2((outward * side).sum(-1), outward @ front)
    limit = np.where((np.arange(17) >= 5) & (np.arange(17) <= 11), LINE_FRACTIONS.max(), 1.0)
    turned = angle[:, None] * np.minimum(LINE_FRACTIONS[None], limit[:, None])
    rays = np.cos(turned)[..., None] * front + np.sin(turned)[..., None] * side[:, None]
    return np.broadcast_to(centre[:, None], rays.shape), rays


@lru_cache(maxsize=8)
def landmark_tables(head: MorphableHead, n_identity: int) -> LandmarkTables:
    """The tables of a head with its first `n_identity` identity modes; made once per process."""
    n_identity = min(n_identity, len(head.identity_mm))
    modes = [head.identity_mm[:n_identity], head.expression_mm]
    vertices, weights = _line_points(head)
    picked = head.landmarks
    basis = np.concatenate([m[:, picked] for m in modes]).astype(np.float64)
    n_expression = len(head.expression_mm)
    limits = np.tile([0.0, 1.0], (n_expression, 1)) if head.expression_limits is None else head.expression_limits
    sigma = np.full(n_expression, np.nan) if head.expression_sigma is None else head.expression_sigma
    lines = np.concatenate([np.einsum("mjckx,jck->mjcx", m[:, vertices].astype(np.float64), weights) for m in modes])
    return LandmarkTables(
        mean=head.mean_mm[picked].astype(np.float64),
        basis=np.ascontiguousarray(basis.transpose(1, 2, 0)),
        line_mean=np.einsum("jckx,jck->jcx", head.mean_mm[vertices].astype(np.float64), weights),
        line_basis=np.ascontiguousarray(lines.transpose(1, 2, 3, 0)),
        n_identity=n_identity,
        limits=np.asarray(limits, np.float64),
        sigma=np.asarray(sigma, np.float64),
    )


def _line_points(head: MorphableHead) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (17, C, 3) and weights (17, C, 3) of the jaw lines; a ray without a hit stays on the landmark."""
    mean = head.mean_mm.astype(np.float64)
    origins, rays = line_rays(mean[head.landmarks])
    box = mean[head.landmarks]
    middle = mean[head.triangles].mean(1)
    near = (middle[:, 2] > box[:17, 2].min() - 15) & (middle[:, 1] < box[:17, 1].max() + 15)
    near &= middle[:, 1] > box[:17, 1].min() - 40
    triangles = head.triangles[near]
    hit, weights = ray_hits(origins.reshape(-1, 3), rays.reshape(-1, 3), mean[triangles])
    home = np.repeat(head.landmarks[:17], len(LINE_FRACTIONS))
    vertices = np.where(hit[:, None] < 0, home[:, None], triangles[hit])
    weights[hit < 0] = (1.0, 0.0, 0.0)
    at_home = np.tile(np.arange(len(LINE_FRACTIONS)) == HOME, 17)
    vertices[at_home], weights[at_home] = home[at_home, None], (1.0, 0.0, 0.0)
    shape = (17, len(LINE_FRACTIONS), 3)
    return vertices.reshape(shape), weights.reshape(shape)
