"""How much of the sky each vertex of a mesh sees. Ours."""

import numpy as np

from faces.morphable.base import vertex_normals
from faces.render.rasterize import rasterize
from faces.synthetic.numerics import unit


def baked_occlusion(points: np.ndarray, triangles: np.ndarray, directions: int = 80, side: int = 160) -> np.ndarray:
    """(V, 3), (T, 3) -> (V,) float32: cosine-weighted share of the sky that each vertex sees, by depth maps."""
    normals = vertex_normals(points[None].astype(np.float32), triangles)[0]
    k = np.arange(directions) + 0.5
    z = 1 - 2 * k / directions
    turn = k * np.pi * (3 - np.sqrt(5))
    rays = np.stack([np.sqrt(1 - z * z) * np.cos(turn), z, np.sqrt(1 - z * z) * np.sin(turn)], 1)
    seen, total = np.zeros(len(points)), np.zeros(len(points))
    for ray in rays:
        right = unit(np.cross([0.0, 1.0, 0.01], ray))
        axes = np.stack([right, np.cross(ray, right), ray])
        p = points @ axes.T
        scale = (side - 2) / 420.0
        px = np.concatenate([(p[:, :2] - p[:, :2].mean(0)) * scale + side / 2, 1000 - p[:, 2:]], 1).astype(np.float32)
        depth = rasterize(px[None], triangles, side, side, "numba-one-core").depth_mm[0]
        c, r = np.clip(px[:, 0].astype(int), 0, side - 1), np.clip(px[:, 1].astype(int), 0, side - 1)
        cosine = np.maximum(normals @ ray, 0)
        visible = px[:, 2] - depth[r, c] < 3.0 + 4.0 * (1 - cosine)
        seen += cosine * visible
        total += cosine
    return (seen / np.maximum(total, 1e-6)).astype(np.float32)
