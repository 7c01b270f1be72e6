"""68 landmarks -> pose, identity and expression: a robust, batched Gauss-Newton in float64.

Unknowns a face: rotation 3, translation 3, identity with the prior N(0, s_id^2), expression with N(0, s_exp^2) inside
0..1 or the head's own limits (held at the bound by an active set). Cost: sum over points of weight * |projected -
observed|^2 / noise^2 plus the priors; Geman-McClure weights (Geman and McClure 1987), whose scale shrinks step by step,
keep a few wrong points from spoiling it. The start is closed form: an affine camera by iteratively reweighted least
squares, made orthonormal.
The camera is Camera.centred of faces/camera.py. Choice of weights and schedule: ours.
"""

from dataclasses import dataclass

import numpy as np

from faces.camera import AXIS_SIGNS, Camera
from faces.compiled import over_faces
from faces.fitting.contour import contour_places, outward_directions, points_at
from faces.fitting.settings import FitSettings
from faces.fitting.tables import LandmarkTables

SIGNS = np.asarray(AXIS_SIGNS)
#: Faces solved together; a chunk's matrices stay in a core's cache.
CHUNK = 16


@dataclass(frozen=True)
class LandmarkSolution:
    """What the landmarks say of N faces: rotation (N, 3, 3) in the head frame, translation_mm (N, 3), identity (N, K),
    expression (N, E), fitted_px (N, 68, 2); all float64."""

    rotation: np.ndarray
    translation_mm: np.ndarray
    identity: np.ndarray
    expression: np.ndarray
    fitted_px: np.ndarray

    @property
    def rotation_rad(self) -> np.ndarray:
        """(N, 3) pitch, yaw, roll."""
        return angles_of(self.rotation)


def angles_of(rotation: np.ndarray) -> np.ndarray:
    """(N, 3, 3) rotations R = Rz Ry Rx -> (N, 3) pitch, yaw, roll in radians."""
    pitch = np.arctan2(rotation[:, 2, 1], rotation[:, 2, 2])
    yaw = -np.arcsin(np.clip(rotation[:, 2, 0], -1, 1))
    return np.stack([pitch, yaw, np.arctan2(rotation[:, 1, 0], rotation[:, 0, 0])], -1)


def small_rotations(omega_rad: np.ndarray) -> np.ndarray:
    """(N, 3) rotation vectors -> (N, 3, 3) matrices (Rodrigues' formula)."""
    angle = np.linalg.norm(omega_rad, axis=-1)[:, None, None]
    cross = cross_matrices(omega_rad)
    safe = np.maximum(angle, 1e-9)
    return np.eye(3) + np.sin(safe) / safe * cross + (1 - np.cos(safe)) / safe**2 * (cross @ cross)


def cross_matrices(vectors: np.ndarray) -> np.ndarray:
    """(..., 3) -> (..., 3, 3) matrices of the cross product from the left."""
    x, y, z = np.moveaxis(vectors, -1, 0)
    zero = np.zeros_like(x)
    return np.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(*vectors.shape[:-1], 3, 3)


def start_pose(mean_mm: np.ndarray, observed_px: np.ndarray, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Weak perspective by reweighted least squares: (P, 3), (N, P, 2) -> rotation (N, 3, 3), translation_mm (N, 3)."""
    points = np.concatenate([mean_mm, np.ones((len(mean_mm), 1))], 1)
    weights = np.ones(observed_px.shape[:2])
    for _ in range(8):
        normal = np.einsum("np,pi,pj->nij", weights, points, points)
        right = np.einsum("np,pi,npc->nic", weights, points, observed_px)
        affine = np.linalg.solve(normal, right)
        away = np.linalg.norm(points @ affine - observed_px, axis=-1)
        weights = 1.0 / np.maximum(away, 0.02 * np.median(away, axis=1, keepdims=True) + 1e-3)
    across, up = affine[:, :3, 0], -affine[:, :3, 1]
    lengths = np.linalg.norm(across, axis=-1), np.linalg.norm(up, axis=-1)
    scale = np.maximum((lengths[0] + lengths[1]) / 2, 1e-6)
    rows = np.stack([across / scale[:, None], up / scale[:, None], np.cross(across, up) / scale[:, None] ** 2], 1)
    left, _, right_t = np.linalg.svd(rows)
    flip = np.linalg.det(left @ right_t)
    left[:, :, 2] *= flip[:, None]
    offset = (affine[:, 3] - [camera.centre_x_px, camera.centre_y_px]) / scale[:, None]
    return left @ right_t, np.concatenate([offset, camera.focal_px / scale[:, None]], 1)


class _Solver:
    """The state of one chunk of faces between Gauss-Newton steps."""

    def __init__(self, tables: LandmarkTables, observed_px: np.ndarray, camera: Camera, settings: FitSettings) -> None:
        self.tables, self.observed, self.camera, self.settings = tables, observed_px, camera, settings
        self.rotation, self.translation = start_pose(tables.mean[17:], observed_px[:, 17:], camera)
        self.coefficients = np.zeros((len(observed_px), tables.basis.shape[-1]))
        of_expressions = np.where(np.isnan(tables.sigma), settings.expression_sigma, tables.sigma)
        sigma = np.concatenate([np.full(tables.n_identity, settings.identity_sigma), of_expressions])
        self.precision = 1.0 / sigma**2
        self.point_weights = np.ones(68)
        self.point_weights[:17] = settings.contour_weight
        self.point_weights[27:31] = settings.ridge_weight
        self.point_weights[60:] = settings.lip_weight
        self.eyes_mm = float(np.linalg.norm(tables.mean[45] - tables.mean[36]))

    def points(self) -> tuple[np.ndarray, np.ndarray]:
        """The 68 points now: head frame (N, 68, 3) mm and jaw bases (N, 17, 3, M)."""
        fixed = self.tables.mean[17:] + np.einsum("pxm,nm->npx", self.tables.basis[17:], self.coefficients)
        jaw_mean, jaw_basis = points_at(self.tables, self.places())
        jaw = jaw_mean + (jaw_basis @ self.coefficients[:, None, :, None])[..., 0]
        return np.concatenate([jaw, fixed], 1), jaw_basis

    def places(self) -> np.ndarray:
        """Where the jaw points lie on their lines (N, 17)."""
        shape = self.tables.line_basis.shape
        lines = self.coefficients @ self.tables.line_basis.reshape(-1, shape[-1]).T
        lines = lines.reshape(-1, *shape[:3]) + self.tables.line_mean
        line_px = self.project(lines.reshape(len(lines), -1, 3))[0].reshape(*lines.shape[:3], 2)
        outward = outward_directions(self.tables, SIGNS[:, None] * self.rotation)
        return contour_places(self.settings.contour, line_px, outward, self.observed[:, :17])

    def project(self, points_mm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Head frame (N, P, 3) -> pixels (N, P, 2) and camera frame (N, P, 3)."""
        moved = (points_mm @ self.rotation.transpose(0, 2, 1)) * SIGNS + self.translation[:, None]
        depth = np.maximum(moved[..., 2:], 1.0)
        centre = np.array([self.camera.centre_x_px, self.camera.centre_y_px])
        return moved[..., :2] * (self.camera.focal_px / depth) + centre, moved

    def jacobian(self, points_mm: np.ndarray, moved: np.ndarray, jaw_basis: np.ndarray | None) -> np.ndarray:
        """(N, 68, 2, 6 [+ M]) derivatives of the pixels by rotation vector, translation and coefficients."""
        scale = self.camera.focal_px / np.maximum(moved[..., 2], 1.0)
        lens = np.zeros((*moved.shape[:2], 2, 3))
        lens[..., 0, 0] = lens[..., 1, 1] = scale
        lens[..., 2] = -moved[..., :2] * (scale / np.maximum(moved[..., 2], 1.0))[..., None]
        turned = points_mm @ self.rotation.transpose(0, 2, 1)
        by_turn = -(lens * SIGNS) @ cross_matrices(turned)
        if jaw_basis is None:
            return np.concatenate([by_turn, lens], -1)
        through = (lens * SIGNS) @ self.rotation[:, None]
        count, modes = len(moved), jaw_basis.shape[-1]
        out = np.empty((count, 68, 2, 6 + modes))
        out[..., :3], out[..., 3:6] = by_turn, lens
        np.matmul(through[:, :17], jaw_basis, out=out[:, :17, :, 6:])
        np.matmul(through[:, 17:], self.tables.basis[None, 17:], out=out[:, 17:, :, 6:])
        return out

    def weights(self, residual_px: np.ndarray, looseness: float) -> np.ndarray:
        """(N, 68, 2) residuals -> (N, 68) weights in 1/px^2; `looseness` multiplies the scale of doubt."""
        unit = 0.01 * self.eyes_mm * self.camera.focal_px / np.maximum(self.translation[:, 2:], 1.0)
        doubt = self.settings.robust_percent * looseness * unit
        robust = 1.0 / (1.0 + (residual_px**2).sum(-1) / doubt**2) ** 2
        return robust * self.point_weights / (self.settings.noise_percent * unit) ** 2

    def step(self, with_shape: bool, looseness: float) -> None:
        """One Gauss-Newton step of the pose, or of pose and shape."""
        points_mm, jaw_basis = self.points()
        pixels, moved = self.project(points_mm)
        residual = self.observed - pixels
        jacobian = self.jacobian(points_mm, moved, jaw_basis if with_shape else None)
        count, width = len(residual), jacobian.shape[-1]
        weight = np.repeat(np.sqrt(self.weights(residual, looseness)), 2, axis=1)
        jacobian = jacobian.reshape(count, 136, width) * weight[..., None]
        gradient = (jacobian.transpose(0, 2, 1) @ (residual.reshape(count, 136, 1) * weight[..., None]))[..., 0]
        normal = jacobian.transpose(0, 2, 1) @ jacobian
        diagonal = np.einsum("nii->ni", normal)
        diagonal[:, :6] *= 1.0 + 1e-4
        if with_shape:
            gradient[:, 6:] -= self.precision * self.coefficients
            diagonal[:, 6:] += self.precision
            self.hold_bounds(normal, gradient)
        self.apply(np.linalg.solve(normal, gradient[..., None])[..., 0])

    def hold_bounds(self, normal: np.ndarray, gradient: np.ndarray) -> None:
        """Take expressions at a limit that want to pass it out of the step (their row becomes the identity)."""
        first = 6 + self.tables.n_identity
        value = self.coefficients[:, self.tables.n_identity :]
        wish = gradient[:, first:]
        low, high = self.tables.limits.T
        held = ((value <= low) & (wish < 0.0)) | ((value >= high) & (wish > 0.0))
        free = np.ones(gradient.shape)
        free[:, first:] = ~held
        normal *= free[:, :, None] * free[:, None, :]
        np.einsum("nii->ni", normal)[...] += 1.0 - free
        gradient *= free

    def apply(self, delta: np.ndarray) -> None:
        """Add a step; the turn is limited to half a radian and the depth to a third of itself."""
        turn = delta[:, :3]
        turn = turn * np.minimum(1.0, 0.5 / np.maximum(np.linalg.norm(turn, axis=-1, keepdims=True), 1e-12))
        self.rotation = small_rotations(turn) @ self.rotation
        move = delta[:, 3:6].copy()
        limit = np.abs(self.translation[:, 2]) / 3
        move[:, 2] = np.clip(move[:, 2], -limit, limit)
        self.translation = self.translation + move
        if delta.shape[1] > 6:
            n = self.tables.n_identity
            self.coefficients = self.coefficients + delta[:, 6:]
            self.coefficients[:, :n] = np.clip(self.coefficients[:, :n], -4.0, 4.0)
            self.coefficients[:, n:] = np.clip(self.coefficients[:, n:], *self.tables.limits.T)


def solve_chunk(
    tables: LandmarkTables, observed_px: np.ndarray, camera: Camera, settings: FitSettings
) -> LandmarkSolution:
    """Landmarks (N, 68, 2) px, all finite -> the solution; N is small (use solve_landmarks)."""
    solver = _Solver(tables, observed_px.astype(np.float64), camera, settings)
    for k in range(settings.rigid_steps):
        solver.step(False, 4.0 - 2.0 * k / max(settings.rigid_steps - 1, 1))
    for k in range(settings.shape_steps):
        solver.step(True, 1.0 + 2.0 * max(0.0, 1.0 - 2.0 * k / settings.shape_steps))
    fitted = solver.project(solver.points()[0])[0]
    n = tables.n_identity
    return LandmarkSolution(
        solver.rotation, solver.translation, solver.coefficients[:, :n], solver.coefficients[:, n:], fitted
    )


def solve_landmarks(
    tables: LandmarkTables, observed_px: np.ndarray, camera: Camera, settings: FitSettings
) -> LandmarkSolution:
    """Landmarks (N, 68, 2) px in faces/camera.py's convention, all finite -> LandmarkSolution of N faces."""
    starts = range(0, len(observed_px), CHUNK)
    solved: dict[int, LandmarkSolution] = {}

    def solve(first: int, step: int) -> None:
        """Every step-th chunk of faces."""
        for start in starts[first::step]:
            solved[start] = solve_chunk(tables, observed_px[start : start + CHUNK], camera, settings)

    over_faces(solve, len(starts))
    parts = [solved[start] for start in starts]
    names = ("rotation", "translation_mm", "identity", "expression", "fitted_px")
    return LandmarkSolution(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))
