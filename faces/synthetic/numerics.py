"""Small array helpers of the generator."""

import numpy as np

from faces.morphable.base import vertex_normals


def unit(vectors: np.ndarray) -> np.ndarray:
    """(..., 2 or 3) -> unit length, same dtype; a zero vector stays zero."""
    square = vectors[..., 0] * vectors[..., 0]
    for axis in range(1, vectors.shape[-1]):
        square = square + vectors[..., axis] * vectors[..., axis]
    return vectors / np.maximum(np.sqrt(square), 1e-9)[..., None]


def smoothstep(low: float, high: float, values: np.ndarray) -> np.ndarray:
    """Hermite ramp 0..1 from `low` to `high` (either may be the larger)."""
    t = np.clip((values - low) / (high - low), 0.0, 1.0)
    return t * t * (3 - 2 * t)


def mesh_normals(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """(V, 3), (T, 3) -> (V, 3) float32 area-weighted unit normals of one mesh."""
    return vertex_normals(vertices[None], triangles)[0]
