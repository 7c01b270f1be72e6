"""What lies in front of a fitted face (hair, glasses, hands): pixels that the fitted render cannot explain.

The head's own render, with the fitted light and albedo, predicts every pixel of bare skin. A pixel that differs by many
robust standard deviations, together with neighbours that do too, is not skin. Brows, eyes, lips, nostrils and the mouth
always differ (the albedo modes are smooth), so the scale grows near them. Light is forgiven where a shadow explains it:
a pixel is compared with the prediction times its own best factor within `shadow`. A dark lower face may be a beard,
which is the face's own, if its hue is the skin's; an open mouth and the eyeballs never count. All numbers are ours.
"""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from faces.fitting.view import FaceView, shrink_images, view_faces
from faces.morphable.base import MorphableHead
from faces.render.rasterize import interpolate
from faces.render.shading import shade, to_linear, to_srgb


@dataclass(frozen=True, kw_only=True)
class OccluderSettings:
    """How occluders are found.

    Attributes:
        working_px: side of the picture in which they are looked for.
        least_scale: smallest robust standard deviation of a bare pixel, sRGB 0..1.
        weak, strong: a region of pixels above `weak` standard deviations counts when it holds one above `strong`.
        blur_px: smoothing of the residual, px of the working picture.
        least_share: smaller regions than this share of the face are dropped.
        feature_tolerance: how many times larger the scale is at brows, eyes, lips and nostrils.
        feature_mm: how far from a landmark that reaches.
        shadow: smallest and largest factor of light that is forgiven.
        beard: smallest factor below the nose, where dark pixels of the skin's own hue may be a beard.
        grow_px: regions grow by this much (px of the working picture), to cover their soft edge.
    """

    working_px: int = 96
    least_scale: float = 0.028
    weak: float = 3.0
    strong: float = 5.0
    blur_px: float = 0.8
    least_share: float = 0.006
    feature_tolerance: float = 3.0
    feature_mm: float = 7.0
    shadow: tuple[float, float] = (0.75, 1.25)
    beard: float = 0.12
    grow_px: float = 1.0


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


def residuals(pictures: np.ndarray, predicted: np.ndarray, least: np.ndarray, most: float) -> np.ndarray:
    """sRGB difference (N, S, S) float32 after the best factor of light in least..most; least is (N, S, S)."""
    seen, bare = to_linear(pictures), to_linear(predicted)
    factor = (seen * bare).sum(-1) / np.maximum(np.square(bare).sum(-1), 1e-6)
    forgiven = np.clip(factor, least, most)[..., None]
    away = np.sqrt(np.square(pictures - to_srgb(forgiven * bare)).mean(-1))
    return away.astype(np.float32)


def predicted_images(coefficients: np.ndarray, view: FaceView, head: MorphableHead) -> np.ndarray:
    """The fitted render, own albedo and light, (N, S, S, 3) float32 sRGB 0..1; 0 off the mesh."""
    colours = head.albedo(head.layout.take(coefficients, "albedo"))
    albedo = interpolate(colours, head.triangles, view.raster)
    return to_srgb(shade(albedo, view.normals, head.layout.take(coefficients, "light"))).astype(np.float32)


def deviations(
    pictures: np.ndarray, coefficients: np.ndarray, view: FaceView, head: MorphableHead, settings: OccluderSettings
) -> np.ndarray:
    """How many robust standard deviations each pixel lies from the fitted render: (N, S, S) float32, 0 off the face."""
    predicted = predicted_images(coefficients, view, head)
    maps = np.concatenate([feature_map(head, settings.feature_mm), lower_face(head)], 1)
    features, lower = np.moveaxis(interpolate(maps, head.triangles, view.raster), -1, 0)
    least = settings.shadow[0] + (min(settings.beard, settings.shadow[0]) - settings.shadow[0]) * lower
    away = residuals(pictures, predicted, least, settings.shadow[1]) * own_surface(head)[view.raster.triangle]
    out = np.zeros(away.shape, np.float32)
    for n in range(len(away)):
        face = view.face[n]
        if not face.any():
            continue
        scale = max(1.4826 * float(np.median(away[n][face])), settings.least_scale)
        tolerance = scale * (1.0 + (settings.feature_tolerance - 1.0) * features[n])
        smooth = cv2.GaussianBlur(away[n] * face, (0, 0), settings.blur_px)
        cover = cv2.GaussianBlur(face.astype(np.float32), (0, 0), settings.blur_px)
        out[n] = smooth / np.maximum(cover, 1e-3) / tolerance * face
    return out


def clean_regions(deviation: np.ndarray, face: np.ndarray, settings: OccluderSettings) -> np.ndarray:
    """(S, S) deviations -> (S, S) bool: connected regions, strong somewhere and large enough, grown a little."""
    weak = (deviation > settings.weak).astype(np.uint8)
    count, labels = cv2.connectedComponents(weak, connectivity=8)
    if count < 2:
        return np.zeros(face.shape, bool)
    area = np.bincount(labels.ravel(), minlength=count)
    peak = np.zeros(count)
    np.maximum.at(peak, labels.ravel(), deviation.ravel())
    kept = (area >= settings.least_share * face.sum()) & (peak > settings.strong)
    kept[0] = False
    region = kept[labels].astype(np.uint8)
    if region.any() and settings.grow_px >= 1:
        region = (cv2.distanceTransform(1 - region, cv2.DIST_L2, 5) <= settings.grow_px).astype(np.uint8)
    return region.astype(bool) & face


def find_occluders(
    images: np.ndarray, coefficients: np.ndarray, head: MorphableHead, settings: OccluderSettings
) -> np.ndarray:
    """(N, S, S, 3) uint8, (N, D) -> (N, w, w) float32 0..1 at the working size: 1 where something covers the face."""
    size_px = min(settings.working_px, images.shape[1])
    view = view_faces(coefficients, head, size_px)
    deviation = deviations(shrink_images(images, size_px), coefficients, view, head, settings)
    regions = [clean_regions(deviation[n], view.face[n], settings) for n in range(len(images))]
    return np.stack(regions).astype(np.float32)
