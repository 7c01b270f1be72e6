"""Small array helpers of the generator."""

import math

import numpy as np

from faces.compiled import kernel


def unit(vectors: np.ndarray) -> np.ndarray:
    """(..., 3) -> unit length, same dtype; a zero vector stays zero."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)


def smoothstep(low: float, high: float, values: np.ndarray) -> np.ndarray:
    """Hermite ramp 0..1 from `low` to `high` (either may be the larger)."""
    t = np.clip((values - low) / (high - low), 0.0, 1.0)
    return t * t * (3 - 2 * t)


@kernel
def mesh_normals(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """(V, 3), (T, 3) -> (V, 3) float32 area-weighted unit normals."""
    out = np.zeros(vertices.shape, np.float32)
    for t in range(triangles.shape[0]):
        i, j, k = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        ax, ay, az = vertices[j, 0] - vertices[i, 0], vertices[j, 1] - vertices[i, 1], vertices[j, 2] - vertices[i, 2]
        bx, by, bz = vertices[k, 0] - vertices[i, 0], vertices[k, 1] - vertices[i, 1], vertices[k, 2] - vertices[i, 2]
        nx, ny, nz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
        for c in (i, j, k):
            out[c, 0] += nx
            out[c, 1] += ny
            out[c, 2] += nz
    for v in range(vertices.shape[0]):
        norm = math.sqrt(out[v, 0] ** 2 + out[v, 1] ** 2 + out[v, 2] ** 2)
        if norm > 1e-12:
            for c in range(3):
                out[v, c] /= norm
    return out
