"""Shape distance: how far the fitted neutral faces of the result and of the SOURCE lie apart.

Root mean square distance, in millimetres, over the vertices of the face region (every eighth), between the neutral
heads of the two fits, after both are centred and brought to the same size (a picture tells size from distance badly).
Range 0 upwards, lower is better. Not comparable with figures of other heads. Source: ours; the field takes the L2 of
identity coefficients (ReliableSwap: 3DDFA, 40 numbers), but on the surface directions that the landmarks cannot see
count less.
"""

import numpy as np

from evaluation.context import PairContext
from evaluation.metrics.base import Metric


def neutral_faces(identity: np.ndarray, mean_mm: np.ndarray, basis_mm: np.ndarray) -> np.ndarray:
    """(N, K) identity, (V, 3), (K, V, 3) -> (N, V, 3) neutral faces, centred, each of the mean face's size."""
    faces = mean_mm + np.einsum("nk,kvc->nvc", identity.astype(np.float64), basis_mm.astype(np.float64))
    faces -= faces.mean(axis=1, keepdims=True)
    size = np.sqrt((faces**2).sum(axis=-1).mean(axis=-1))
    mean_size = np.sqrt(((mean_mm - mean_mm.mean(axis=0)) ** 2).sum(axis=-1).mean())
    return faces * (mean_size / size)[:, None, None]


def compute(context: PairContext) -> np.ndarray:
    """(N,) millimetres."""
    measured = context.measured
    assert measured is not None, "needs_fit metrics are only computed where there is a fit"
    head = measured.head
    vertices = np.flatnonzero(head.face_region)[::8]
    mean, basis = head.mean_mm[vertices], head.identity_mm[:, vertices]
    result, source = (
        neutral_faces(head.layout.take(side, "identity"), mean, basis) for side in (measured.result, measured.source)
    )
    return np.sqrt(((result - source) ** 2).sum(axis=-1).mean(axis=-1))


METRIC = Metric(
    "shape_mm", "Shape distance", "mm", "lower", compute,
    "How far the fitted neutral faces of result and source lie apart.", needs_fit=True,
)  # fmt: skip
