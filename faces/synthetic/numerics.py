"""Small array helpers of the generator."""

import numpy as np

from faces.compiled import kernel
from faces.errors import SamaeError
from faces.morphable.base import vertex_normals


def random_stream(kind: int, *numbers: int) -> np.random.Generator:
    """The generator that belongs to a kind of thing and to its seed and numbers; a pure function of them.

    Raises:
        SamaeError: a seed or number that is not a whole one from 0 up.
    """
    if not all(isinstance(number, int | np.integer) and number >= 0 for number in numbers):
        raise SamaeError(f"seeds and numbers of people and pictures are whole, from 0 up, not {list(numbers)}")
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([kind, *numbers])))


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


@kernel
def _spread(normals: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    out = normals.copy()
    for t in range(triangles.shape[0]):
        i, j, k = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        for axis in range(3):
            total = normals[i, axis] + normals[j, axis] + normals[k, axis]
            out[i, axis] += total
            out[j, axis] += total
            out[k, axis] += total
    for i in range(out.shape[0]):
        length = np.sqrt(out[i, 0] * out[i, 0] + out[i, 1] * out[i, 1] + out[i, 2] * out[i, 2])
        for axis in range(3):
            out[i, axis] /= max(length, np.float32(1e-9))
    return out


@kernel
def shift(points: np.ndarray, by: np.ndarray) -> None:
    """Add `by` (3,) to points (n, 3) in place, both float32 (numpy takes the three axes one point at a time)."""
    for i in range(np.uint64(points.shape[0])):
        points[i, 0] += by[0]
        points[i, 1] += by[1]
        points[i, 2] += by[2]


def soft_normals(normals: np.ndarray, triangles: np.ndarray, passes: int) -> np.ndarray:
    """(V, 3) float32 unit normals averaged with their neighbours' `passes` times: light that spreads under skin."""
    for _ in range(passes):
        normals = _spread(normals, triangles)
    return normals


@kernel
def blend_corners(table: np.ndarray, corners: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Points inside triangles: (V, 3) float32, (n, 3) vertex indices, (n, 3) float32 weights -> (n, 3) float32."""
    out = np.empty((corners.shape[0], 3), table.dtype)
    for i in range(corners.shape[0]):
        a, b, c = corners[i, 0], corners[i, 1], corners[i, 2]
        for axis in range(3):
            first = table[a, axis] * weight[i, 0] + table[b, axis] * weight[i, 1]
            out[i, axis] = first + table[c, axis] * weight[i, 2]
    return out
