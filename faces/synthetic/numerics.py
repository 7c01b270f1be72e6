"""Small array helpers of the generator."""

import numpy as np

from faces.morphable.base import vertex_normals


def unit(vectors: np.ndarray) -> np.ndarray:
    """(..., 3) -> unit length, same dtype; a zero vector stays zero."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)


def smoothstep(low: float, high: float, values: np.ndarray) -> np.ndarray:
    """Hermite ramp 0..1 from `low` to `high` (either may be the larger)."""
    t = np.clip((values - low) / (high - low), 0.0, 1.0)
    return t * t * (3 - 2 * t)


def mesh_normals(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """(V, 3), (T, 3) -> (V, 3) float32 area-weighted unit normals of one mesh."""
    return vertex_normals(vertices[None], triangles)[0]
