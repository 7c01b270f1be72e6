"""The interface of a morphable head: vertices and albedo of coefficients, and which vertices the 68 landmarks are.

Linear model (Blanz and Vetter 1999, section 2; the expression part as in Deep3DFaceRecon, section 3):
vertices = mean + identity · B_id + expression · B_exp, in millimetres in the head frame of faces/camera.py;
albedo = mean + albedo · B_alb, per vertex, linear RGB (not sRGB) in 0..1. Every coefficient is about N(0, 1), except
expressions, which are activations in 0..1 (ARKit's convention) unless the head gives `expression_limits` of its own.
Gaze turns the eyeballs about their centres. Heads that are not linear (FLAME's jaw) or whose colours are not (BFM)
override `vertices` and `albedo`; their tables are then the derivatives at rest.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch

from faces.errors import SamaeError
from faces.morphable.normals import normals_of


@dataclass(frozen=True)
class CoefficientLayout:
    """Where each group of numbers lies in a coefficient vector of one head.

    Order: identity, expression, albedo, rotation_rad (pitch, yaw, roll), translation_mm (x, y, z in the camera frame),
    light (27 second-order SH coefficients, 9 a colour channel, channel-major, linear RGB), gaze_rad (yaw, pitch of both
    eyes in the head frame). One float32 vector of `size` numbers a face.
    """

    n_identity: int
    n_expression: int
    n_albedo: int

    @cached_property
    def slices(self) -> dict[str, slice]:
        """Name of the group -> its slice."""
        widths = {
            "identity": self.n_identity,
            "expression": self.n_expression,
            "albedo": self.n_albedo,
            "rotation_rad": 3,
            "translation_mm": 3,
            "light": 27,
            "gaze_rad": 2,
        }
        slices, start = {}, 0
        for name, width in widths.items():
            slices[name] = slice(start, start + width)
            start += width
        return slices

    @property
    def size(self) -> int:
        """Length of the vector."""
        return self.slices["gaze_rad"].stop

    def pack(self, **groups: np.ndarray) -> np.ndarray:
        """Named groups, each (N, width) -> (N, size) float32; a group left out is zero; an unknown name is an error."""
        unknown = set(groups) - set(self.slices)
        if unknown:
            raise SamaeError(f"no coefficient group is called {sorted(unknown)}; the groups are {list(self.slices)}")
        count = len(next(iter(groups.values())))
        vector = np.zeros((count, self.size), np.float32)
        for name, values in groups.items():
            vector[:, self.slices[name]] = np.asarray(values).reshape(count, -1)
        return vector

    def take(self, coefficients: np.ndarray | torch.Tensor, name: str) -> np.ndarray | torch.Tensor:
        """One group out of (..., size): a view (..., width)."""
        if coefficients.shape[-1] != self.size:
            raise SamaeError(
                f"these coefficients have {coefficients.shape[-1]} numbers a face, but the head needs {self.size}: "
                "they come from another edition; fit them again with this head"
            )
        return coefficients[..., self.slices[name]]


@dataclass(frozen=True)
class DecodedHead:
    """What coefficients say about the heads of N people, in the head frame; arrays or tensors, as what went in.

    Attributes:
        vertices: (N, V, 3) millimetres.  normals: (N, V, 3) unit, outward.  albedo: (N, V, 3) linear RGB 0..1.
        landmarks: (N, 68, 3) millimetres, the iBUG points on the surface.
    """

    vertices: Any
    normals: Any
    albedo: Any
    landmarks: Any


@dataclass(frozen=True, eq=False)
class MorphableHead:
    """A head's tables. V vertices, T triangles, K identity, E expression and A albedo modes.

    Attributes:
        edition: name and version, e.g. "builtin-1"; recorded in every artefact that depends on the head.
        digest: 16 hexadecimal digits of the tables; two artefacts with different digests must not be mixed.
        licence: terms of the tables in one word or sentence.
        mean_mm: (V, 3) float32, head frame, millimetres.
        identity_mm: (K, V, 3) float32, one standard deviation each.
        expression_mm: (E, V, 3) float32, displacement at activation 1.
        expression_names: E ARKit names (jawOpen, mouthSmile_L, ...).
        albedo_mean: (V, 3) float32, linear RGB 0..1.  albedo_modes: (A, V, 3) float32, one standard deviation each.
        triangles: (T, 3) int32, anticlockwise seen from outside.
        uv: (V, 2) float32 in 0..1, a planar layout of the head (used for textures of people).
        parts: (T,) int8 index into part_names.
        landmarks: (68,) int32 vertex of each iBUG-68 landmark (frontal; contour points 0..16 slide in fitting).
        eye_left, eye_right: vertex indices of the eyeballs (empty when the head has none); left is the subject's.
        face_region: (V,) bool, what a swap replaces: skin of the face with lips and eyes, without ears, neck, scalp.
        expression_limits: (E, 2) least and greatest coefficient; None is 0..1.
        expression_sigma: (E,) prior standard deviation of the coefficients; None takes FitSettings.expression_sigma.
    """

    edition: str
    digest: str
    licence: str
    mean_mm: np.ndarray
    identity_mm: np.ndarray
    expression_mm: np.ndarray
    expression_names: tuple[str, ...]
    albedo_mean: np.ndarray
    albedo_modes: np.ndarray
    triangles: np.ndarray
    uv: np.ndarray
    parts: np.ndarray
    part_names: tuple[str, ...]
    landmarks: np.ndarray
    eye_left: np.ndarray
    eye_right: np.ndarray
    face_region: np.ndarray
    expression_limits: np.ndarray | None = None
    expression_sigma: np.ndarray | None = None
    _torch: dict = field(default_factory=dict, repr=False)

    @cached_property
    def layout(self) -> CoefficientLayout:
        """The layout of this head's coefficient vectors."""
        return CoefficientLayout(len(self.identity_mm), len(self.expression_mm), len(self.albedo_modes))

    @cached_property
    def face_triangles(self) -> np.ndarray:
        """(T,) bool: triangles whose three corners lie in the face region."""
        return self.face_region[self.triangles].all(axis=1)

    def part(self, kept: np.ndarray, drawn: np.ndarray) -> Self:
        """The head without some vertices: kept (V,) bool, drawn (T,) bool triangles. Landmarks are not kept."""
        number = np.cumsum(kept) - 1
        return replace(
            self,
            mean_mm=self.mean_mm[kept],
            identity_mm=np.ascontiguousarray(self.identity_mm[:, kept]),
            expression_mm=np.ascontiguousarray(self.expression_mm[:, kept]),
            albedo_mean=self.albedo_mean[kept],
            albedo_modes=np.ascontiguousarray(self.albedo_modes[:, kept]),
            triangles=number[self.triangles[drawn]].astype(np.int32),
            uv=self.uv[kept],
            parts=self.parts[drawn],
            landmarks=np.zeros(68, np.int32),
            eye_left=number[self.eye_left],
            eye_right=number[self.eye_right],
            face_region=self.face_region[kept],
            _torch={},
        )

    def decode(self, coefficients: np.ndarray | torch.Tensor) -> DecodedHead:
        """(N, `layout.size`) -> vertices, normals, albedo and landmarks; of tensors with gradients, on their device.

        Rotation, translation and light do not count here: the head stays in its own frame (faces/camera.py).
        Raises:
            SamaeError: vectors of another length, which are another head's.
        """
        if coefficients.ndim != 2 or coefficients.shape[1] != self.layout.size:
            raise SamaeError(
                f"coefficients of shape {tuple(coefficients.shape)} are not the head {self.edition}'s, which takes "
                f"(faces, {self.layout.size})"
            )
        shape = [self.layout.take(coefficients, name) for name in ("identity", "expression", "gaze_rad")]
        if isinstance(coefficients, torch.Tensor):
            moved = self.vertices_torch(*shape)  # type: ignore[arg-type]
            normals: Any = vertex_normals_torch(moved, torch.from_numpy(self.triangles).to(moved.device))
        else:
            moved = self.vertices(*shape)  # type: ignore[arg-type, assignment]
            normals = vertex_normals(moved, self.triangles)  # type: ignore[arg-type]
        albedo = self.albedo(self.layout.take(coefficients, "albedo"))
        return DecodedHead(moved, normals, albedo, moved[:, self.landmarks])

    def vertices(self, identity: np.ndarray, expression: np.ndarray, gaze_rad: np.ndarray | None = None) -> np.ndarray:
        """(N, K), (N, E), (N, 2) or None -> (N, V, 3) float32 vertices, head frame, millimetres.

        Fewer identity numbers than K are allowed (the rest is zero). gaze_rad is (yaw, pitch) in the head frame:
        positive yaw looks to +x, positive pitch looks DOWN, as the head's own pitch and yaw do.
        """
        identity, expression = np.atleast_2d(identity), np.atleast_2d(expression)
        count, n_vertices = len(identity), len(self.mean_mm)
        basis_id = self.identity_mm[: identity.shape[1]].reshape(identity.shape[1], -1)
        moved = identity.astype(np.float32) @ basis_id
        moved += expression.astype(np.float32) @ self.expression_mm.reshape(len(self.expression_mm), -1)
        vertices = moved.reshape(count, n_vertices, 3) + self.mean_mm
        if gaze_rad is not None:
            self._turn_eyes(vertices, np.atleast_2d(gaze_rad))
        return vertices

    def _turn_eyes(self, vertices: np.ndarray, gaze_rad: np.ndarray) -> None:
        from faces.camera import rotation_matrices

        angles = np.concatenate([gaze_rad[:, 1:2], gaze_rad[:, 0:1], np.zeros((len(gaze_rad), 1))], 1)
        turn = rotation_matrices(angles).astype(np.float32)
        for eye in (self.eye_left, self.eye_right):
            if len(eye):
                ball = vertices[:, eye]
                centre = (ball.max(axis=1, keepdims=True) + ball.min(axis=1, keepdims=True)) / 2
                vertices[:, eye] = (ball - centre) @ turn.transpose(0, 2, 1) + centre

    def vertices_torch(
        self, identity: torch.Tensor, expression: torch.Tensor, gaze_rad: torch.Tensor | None = None
    ) -> torch.Tensor:
        """As `vertices`, differentiable, on the device of `identity`."""
        tables = self._tables_on(identity.device)
        moved = identity @ tables["identity"][: identity.shape[1]] + expression @ tables["expression"]
        vertices = moved.reshape(len(identity), -1, 3) + tables["mean"]
        return vertices if gaze_rad is None else self._turn_eyes_torch(vertices, gaze_rad)

    def _turn_eyes_torch(self, vertices: torch.Tensor, gaze_rad: torch.Tensor) -> torch.Tensor:
        from faces.camera import rotation_matrices_torch

        angles = torch.cat([gaze_rad[:, 1:2], gaze_rad[:, 0:1], torch.zeros_like(gaze_rad[:, :1])], 1)
        turn = rotation_matrices_torch(angles)
        for eye in (self.eye_left, self.eye_right):
            if len(eye):
                index = torch.from_numpy(np.asarray(eye, np.int64)).to(vertices.device)
                ball = vertices[:, index]
                centre = (ball.amax(dim=1, keepdim=True) + ball.amin(dim=1, keepdim=True)) / 2
                vertices = vertices.index_copy(1, index, (ball - centre) @ turn.transpose(1, 2) + centre)
        return vertices

    def _tables_on(self, device: torch.device) -> dict[str, torch.Tensor]:
        if device not in self._torch:
            self._torch[device] = {
                "mean": torch.from_numpy(self.mean_mm).to(device),
                "identity": torch.from_numpy(self.identity_mm.reshape(len(self.identity_mm), -1)).to(device),
                "expression": torch.from_numpy(self.expression_mm.reshape(len(self.expression_mm), -1)).to(device),
                "albedo": torch.from_numpy(self.albedo_mean.reshape(-1)).to(device),
                "albedo_modes": torch.from_numpy(self.albedo_modes.reshape(-1, self.albedo_mean.size)).to(device),
            }
        return self._torch[device]

    def albedo(self, coefficients: Any) -> Any:
        """(N, A) array or tensor -> (N, V, 3) float32 linear RGB in 0..1, of the same kind."""
        if isinstance(coefficients, torch.Tensor):
            tables = self._tables_on(coefficients.device)
            shown = coefficients @ tables["albedo_modes"][: coefficients.shape[1]] + tables["albedo"]
            return shown.reshape(len(coefficients), -1, 3).clamp(0, 1)
        coefficients = np.atleast_2d(coefficients).astype(np.float32)
        modes = self.albedo_modes[: coefficients.shape[1]].reshape(coefficients.shape[1], self.albedo_mean.size)
        colours = (coefficients @ modes).reshape(len(coefficients), -1, 3) + self.albedo_mean
        return np.clip(colours, 0.0, 1.0)


def vertex_normals(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """(N, V, 3), (T, 3) -> (N, V, 3) float32 unit normals (area-weighted sums of face normals), pointing outward.

    The frame is that of the vertices. A vertex without triangles gets (0, 0, 1).
    """
    return normals_of(vertices, triangles)


def vertex_normals_torch(vertices: torch.Tensor, triangles: torch.Tensor) -> torch.Tensor:
    """As `vertex_normals`, differentiable: (N, V, 3), (T, 3) -> (N, V, 3), on the device of `vertices`."""
    corners = triangles.long()
    a, b, c = (vertices[:, corners[:, k]] for k in range(3))
    faces = torch.linalg.cross(b - a, c - a)
    sums = torch.zeros_like(vertices)
    for k in range(3):
        sums = sums.index_add(1, corners[:, k], faces)
    length = sums.norm(dim=-1, keepdim=True)
    none = torch.zeros_like(sums)
    none[..., 2] = 1
    return torch.where(length > 1e-12, sums / length.clamp_min(1e-12), none)
