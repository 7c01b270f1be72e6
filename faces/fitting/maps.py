"""What a fitted mesh says about each pixel of a view: its render, and which part of the face is there. Ours."""

from functools import lru_cache

import numpy as np

from faces.fitting.view import FaceView
from faces.morphable.base import MorphableHead
from faces.render.rasterize import interpolate
from faces.render.shading import shade, to_srgb


@lru_cache(maxsize=8)
def feature_map(head: MorphableHead, feature_mm: float) -> np.ndarray:
    """(V, 1) float32: 1 at brows, eyes, nostrils and lips of the mean head, falling to 0 over about `feature_mm`."""
    points = head.mean_mm[head.landmarks]
    runs = [(17, 22), (22, 27), (31, 36), (36, 42), (42, 48), (48, 60)]
    dense = [points[a:b] for a, b in runs] + [(points[a : b - 1] + points[a + 1 : b]) / 2 for a, b in runs]
    dense += [points[a:b].mean(0, keepdims=True) for a, b in runs[3:]]
    away = np.full(len(head.mean_mm), np.inf, np.float32)
    for point in np.concatenate(dense):
        np.minimum(away, np.linalg.norm(head.mean_mm - point, axis=-1), out=away)
    return np.exp(-0.5 * np.square(away / feature_mm))[:, None].astype(np.float32)


@lru_cache(maxsize=8)
def lower_face(head: MorphableHead) -> np.ndarray:
    """(V, 1) float32: 1 below the nose, where beards grow, 0 above it."""
    points = head.mean_mm[head.landmarks]
    base, lip = points[33, 1], points[51, 1]
    return np.clip((base - head.mean_mm[:, 1:2]) / max(base - lip, 1.0), 0.0, 1.0).astype(np.float32)


@lru_cache(maxsize=8)
def own_surface(head: MorphableHead) -> np.ndarray:
    """(T,) float32: 0 for eyeballs and what an open mouth shows, whose looks the albedo modes cannot say, else 1."""
    inside = np.array([any(word in name for word in ("eye", "mouth", "teeth", "tongue")) for name in head.part_names])
    return (~inside)[head.parts].astype(np.float32)


def predicted_images(coefficients: np.ndarray, view: FaceView, head: MorphableHead) -> np.ndarray:
    """The fitted render of a view, own albedo and light, (N, S, S, 3) float32 sRGB 0..1; 0 off the mesh."""
    colours = head.albedo(head.layout.take(coefficients, "albedo"))
    albedo = interpolate(colours, head.triangles, view.raster)
    return to_srgb(shade(albedo, view.normals, head.layout.take(coefficients, "light"))).astype(np.float32)
