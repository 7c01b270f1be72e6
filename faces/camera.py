"""One perspective camera. Every convention of space is written here, once.

Head frame (also called rest or model space): millimetres, right-handed; +x to the subject's left (to the right in a
picture of somebody who faces the camera), +y up, +z out of the face. Origin: midway between the two eyeball centres of
the mean head.

Camera frame: millimetres, right-handed, OpenCV's axes: +x right, +y DOWN, +z forward, so depth is positive.
A head point p goes to  F · R · p + t  with F = diag(1, -1, -1) (the half turn that makes the face look at the camera),
R the head's rotation and t the translation of the origin (t_z is about 1,100 mm for an FFHQ crop).

Rotation: R = Rz(roll) · Ry(yaw) · Rx(pitch), radians, in the head frame. Positive pitch bows the head (the nose goes
down), positive yaw turns the nose towards +x (right in the picture), positive roll turns the head anticlockwise there.

Pixels: u right, v down, in pixels; the centre of the first pixel is (0.5, 0.5), so a picture of width W spans [0, W].
u = focal_px · x / z + centre_x_px,  v = focal_px · y / z + centre_y_px.

FFHQ's and OpenCV's landmark files put pixel centres at whole numbers; faces/landmarks.py adds 0.5 on reading.
"""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch

Array = TypeVar("Array", np.ndarray, torch.Tensor)

#: Focal length over picture width: Deep3DFaceRecon's 1015 / 224 (vertical field of view 12.594 degrees).
FOCAL_RATIO = 1015.0 / 224.0
#: F of the module docstring, as the signs of its diagonal.
AXIS_SIGNS = (1.0, -1.0, -1.0)


@dataclass(frozen=True)
class Camera:
    """A pinhole camera for a square picture.

    Attributes:
        size_px: width and height of the picture.
        focal_px: focal length in pixels.
        centre_x_px, centre_y_px: principal point in pixels (half of size_px when centred).
    """

    size_px: int
    focal_px: float
    centre_x_px: float
    centre_y_px: float

    @classmethod
    def centred(cls, size_px: int, focal_ratio: float = FOCAL_RATIO) -> "Camera":
        """The camera that fitting assumes: principal point in the middle, focal length `focal_ratio` widths."""
        return cls(size_px, focal_ratio * size_px, size_px / 2, size_px / 2)

    def resized(self, size_px: int) -> "Camera":
        """The same view in a picture of another size."""
        k = size_px / self.size_px
        return Camera(size_px, self.focal_px * k, self.centre_x_px * k, self.centre_y_px * k)


def rotation_matrices(rotation_rad: np.ndarray) -> np.ndarray:
    """(N, 3) pitch, yaw, roll in radians -> (N, 3, 3) float64 rotations, R of the module docstring."""
    rotation = torch.from_numpy(np.asarray(rotation_rad, dtype=np.float64).reshape(-1, 3))
    # Cosines and sines are torch's, so that both forms give the same bits; the rest would be ten times slower there.
    rows = _rotation_rows(*torch.cos(rotation).numpy().T, *torch.sin(rotation).numpy().T)
    return np.stack(rows, -1).reshape(-1, 3, 3)


def rotation_matrices_torch(rotation_rad: torch.Tensor) -> torch.Tensor:
    """(N, 3) pitch, yaw, roll in radians -> (N, 3, 3) rotations, differentiable; dtype and device of the input."""
    rows = _rotation_rows(*torch.cos(rotation_rad).unbind(-1), *torch.sin(rotation_rad).unbind(-1))
    return torch.stack(rows, -1).reshape(*rotation_rad.shape[:-1], 3, 3)


def _rotation_rows(cx: Array, cy: Array, cz: Array, sx: Array, sy: Array, sz: Array) -> tuple[Array, ...]:
    """The nine entries of R, row by row, from the cosines and sines of pitch, yaw and roll."""
    return (
        cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx,
        sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx,
        -sy, cy * sx, cy * cx,
    )  # fmt: skip


def head_to_camera(points_mm: Array, rotation_rad: Array, translation_mm: Array) -> Array:
    """Head frame -> camera frame. (N, V, 3), (N, 3), (N, 3) -> (N, V, 3) millimetres; torch in, torch out."""
    if isinstance(points_mm, torch.Tensor):
        signs = points_mm.new_tensor(AXIS_SIGNS)
        turned = points_mm @ rotation_matrices_torch(rotation_rad).transpose(-1, -2) * signs
        return turned + translation_mm[:, None, :]
    turn = rotation_matrices(rotation_rad) * np.asarray(AXIS_SIGNS)[:, None]
    moved = points_mm @ turn.transpose(0, 2, 1).astype(points_mm.dtype)
    return moved + translation_mm[:, None, :].astype(points_mm.dtype)


def project(points_mm: Array, camera: Camera) -> Array:
    """Camera frame (..., 3) mm -> (..., 3) = (u_px, v_px, depth_mm); torch in, torch out. Depth must be > 0."""
    if isinstance(points_mm, torch.Tensor):
        depth, centre = points_mm[..., 2:3], points_mm.new_tensor([camera.centre_x_px, camera.centre_y_px])
        return torch.cat([points_mm[..., :2] * (camera.focal_px / depth) + centre, depth], -1)
    depth = points_mm[..., 2]
    scale = camera.focal_px / depth
    placed = np.empty_like(points_mm)
    for axis, centre_px in enumerate((camera.centre_x_px, camera.centre_y_px)):
        np.multiply(points_mm[..., axis], scale, out=placed[..., axis])
        placed[..., axis] += points_mm.dtype.type(centre_px)
    placed[..., 2] = depth
    return placed
