"""Vertex normals of many meshes of one topology (numba): `faces.morphable.base.vertex_normals` calls this."""

# mypy: disable-error-code="call-overload"

import numpy as np

from faces.compiled import kernel, over_faces
from faces.indices import check_triangles

_F, _U1, _U2, _U3 = np.float32, np.uint64(1), np.uint64(2), np.uint64(3)


@kernel
def sum_face_normals(flat: np.ndarray, corners: np.ndarray, normals: np.ndarray) -> None:
    """(3 V,) float32, (3 T,) uint32 -> (3 V,) float32 unit normals; (0, 0, 1) where they cancel or are missing."""
    normals[:] = 0
    for t in range(np.uint64(corners.shape[0] // 3)):
        a, b, c = _U3 * corners[_U3 * t], _U3 * corners[_U3 * t + _U1], _U3 * corners[_U3 * t + _U2]
        ax, ay, az = flat[a], flat[a + _U1], flat[a + _U2]
        bx, by, bz = flat[b] - ax, flat[b + _U1] - ay, flat[b + _U2] - az
        cx, cy, cz = flat[c] - ax, flat[c + _U1] - ay, flat[c + _U2] - az
        x, y, z = by * cz - bz * cy, bz * cx - bx * cz, bx * cy - by * cx
        for corner in (a, b, c):
            normals[corner] += x
            normals[corner + _U1] += y
            normals[corner + _U2] += z
    for i in range(np.uint64(flat.shape[0] // 3)):
        j = _U3 * i
        x, y, z = normals[j], normals[j + _U1], normals[j + _U2]
        length = np.sqrt(x * x + y * y + z * z)
        known = length > _F(1e-12)
        inverse = _F(1) / (length if known else _F(1))
        normals[j], normals[j + _U1], normals[j + _U2] = x * inverse, y * inverse, z * inverse if known else _F(1)


def normals_of(vertices: np.ndarray, triangles: np.ndarray, threads: int | None = None) -> np.ndarray:
    """(N, V, 3), (T, 3) -> (N, V, 3) float32 unit normals (area-weighted sums of face normals), pointing outward.

    Raises:
        SamaeError: triangles that name vertices beyond V (another head's).
    """
    flat = np.ascontiguousarray(vertices, np.float32).reshape(len(vertices), -1)
    checked = check_triangles(np.asarray(triangles), vertices.shape[1])
    corners = np.ascontiguousarray(checked, np.int32).reshape(-1).view(np.uint32)
    normals = np.empty_like(flat)

    def work(first: int, step: int) -> None:
        """Every step-th mesh."""
        for n in range(first, len(flat), step):
            sum_face_normals(flat[n], corners, normals[n])

    over_faces(work, len(flat), threads)
    return normals.reshape(vertices.shape)
