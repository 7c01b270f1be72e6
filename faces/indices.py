"""Index tables are looked at before a kernel follows them: kernels read memory without asking whose it is. Ours."""

from typing import TypeVar

import numpy as np
import torch

from faces.errors import SamaeError

Array = TypeVar("Array", np.ndarray, torch.Tensor)


def check_triangles(triangles: Array, n_vertices: int) -> Array:
    """The given (T, 3) vertex indices, when they are whole numbers in 0..n_vertices - 1 (two passes over the table).

    Raises:
        SamaeError: another shape, numbers with a fraction, or an index beyond the vertices (another head's triangles).
    """
    if 0 in triangles.shape:
        return triangles
    whole = triangles.dtype.kind in "iu" if isinstance(triangles, np.ndarray) else not triangles.is_floating_point()
    if not whole or triangles.ndim != 2 or triangles.shape[1] != 3:
        raise SamaeError(
            f"triangles must be (T, 3) whole numbers, but are {tuple(triangles.shape)} {triangles.dtype}: pass the "
            "triangles of a head"
        )
    low, high = int(triangles.min()), int(triangles.max())
    if low < 0 or high >= n_vertices:
        raise SamaeError(
            f"triangles name vertices {low}..{high}, but the mesh has 0..{n_vertices - 1}: pass the triangles of the "
            "same head"
        )
    return triangles


def check_shown(triangle: Array, n_triangles: int) -> None:
    """Raise a SamaeError when a raster's triangle indices (-1 for none) go beyond the triangles that are given."""
    if 0 not in triangle.shape and int(triangle.max()) >= n_triangles:
        raise SamaeError(
            f"the raster shows triangle {int(triangle.max())}, but {n_triangles} triangles were passed: pass those "
            "that it was drawn with"
        )
