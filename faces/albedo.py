"""Neutral albedo and skin colour: what SAMAE's generator may know of a face's surface (docs/faces.md).

The albedo of a face mixes identity (texture) with skin tone. It is neutralised in one of two readings, and the tone
returns as three numbers only: more would leak identity.
"""

import numpy as np

from faces.compiled import on_one_blas_thread
from faces.errors import SamaeError
from faces.fitting.photometric import tukey
from faces.fitting.view import CHUNK, check_images, shrink_images, skin_triangles, view_faces
from faces.morphable.base import MorphableHead
from faces.perforation import numpy_masks
from faces.render.mesh_image import check_coefficients
from faces.render.rasterize import interpolate
from faces.render.shading import irradiance, to_linear, to_srgb

READINGS = ("mean", "flat")
#: Side of the picture in which skin colour is measured, px.
SKIN_PX = 96
#: Fewer skin pixels say nothing of a tone.
LEAST_PIXELS = 8


@on_one_blas_thread
def neutral_albedo(
    images: np.ndarray, coefficients: np.ndarray, head: MorphableHead, reading: str = "mean"
) -> np.ndarray:
    """gamma_neu, without light, on each face's own geometry.

    Args:
        images: (N, S, S, 3) uint8 sRGB.
        coefficients: (N, D) float32.
        reading: "mean": the head's mean albedo, the same for everyone, so that only geometry shows (our default);
            "flat": the picture's own skin colour (`skin_colour`) spread flat: tone, but no texture.
    Returns:
        (N, S, S, 3) uint8 sRGB, 0 outside the visible face region.
    """
    if reading not in READINGS:
        raise SamaeError(f"no reading of the neutral albedo is called {reading!r}; choose one of {', '.join(READINGS)}")
    coefficients = check_coefficients(coefficients, head)
    images = check_images(images, len(coefficients))
    out = np.zeros(images.shape, np.uint8)
    for start in range(0, len(images), CHUNK):
        rows = slice(start, start + CHUNK)
        view = view_faces(coefficients[rows], head, images.shape[1])
        if reading == "mean":
            shown = interpolate(head.albedo_mean, head.triangles, view.raster)
        else:
            tone = skin_colour(images[rows], coefficients[rows], None, head)
            shown = np.broadcast_to(tone[:, None, None], images[rows].shape)
        out[rows] = np.rint(255.0 * to_srgb(shown) * view.face[..., None]).astype(np.uint8)
    return out


@on_one_blas_thread
def skin_colour(
    images: np.ndarray, coefficients: np.ndarray, masks: np.ndarray | None, head: MorphableHead
) -> np.ndarray:
    """Three numbers of a face: the robust mean of its skin pixels after the light is divided out.

    Args:
        images: (N, S, S, 3) uint8 sRGB.
        coefficients: (N, D) float32; their light is the one that is divided out.
        masks: (N, S, S) visible face (`face_mask`), 0..255 or 0..1; None trusts the robust mean alone.
    Returns:
        (N, 3) float32 linear RGB in 0..1. A face of fewer than LEAST_PIXELS usable ones gets `mean_skin`.
    """
    coefficients = check_coefficients(coefficients, head)
    images = check_images(images, len(coefficients))
    size_px = min(SKIN_PX, images.shape[1])
    light = head.layout.take(coefficients, "light")
    bare = None if masks is None else shrink_masks(numpy_masks(masks), size_px)
    tones = np.empty((len(images), 3), np.float32)
    for start in range(0, len(images), CHUNK):
        rows = slice(start, start + CHUNK)
        view = view_faces(coefficients[rows], head, size_px)
        shading = irradiance(view.normals, light[rows])
        linear = to_linear(shrink_images(images[rows], size_px))
        skin = (view.raster.triangle >= 0) & skin_triangles(head)[view.raster.triangle] & (view.normals[..., 2] > 0.3)
        if bare is not None:
            skin &= bare[rows] > 0.9
        # by channels: numpy's own minimum is slow along so short an axis
        lowest = np.minimum(np.minimum(shading[..., 0], shading[..., 1]), shading[..., 2])
        highest = np.maximum(np.maximum(linear[..., 0], linear[..., 1]), linear[..., 2])
        for n in range(len(linear)):
            usable = skin[n] & (lowest[n] > 0.05) & (highest[n] < 0.98)
            enough = usable.sum() >= LEAST_PIXELS
            tones[start + n] = robust_tone(linear[n][usable] / shading[n][usable]) if enough else mean_skin(head)
    return tones


def shrink_masks(masks: np.ndarray, size_px: int) -> np.ndarray:
    """(N, S, S) float32 0..1 -> (N, size_px, size_px), area-averaged."""
    coloured = np.repeat(np.rint(255 * masks)[..., None], 3, axis=-1).astype(np.uint8)
    return shrink_images(coloured, size_px)[..., 0]


def mean_skin(head: MorphableHead) -> np.ndarray:
    """(3,) float32 linear RGB: what `skin_colour` says of a face of the head's mean albedo, skin vertices alone.

    Lips, eyes and the mouth do not count: they are not skin, and their colour would shift the tone.
    """
    return robust_tone(head.albedo_mean[np.unique(head.triangles[skin_triangles(head)])])


def robust_tone(colours: np.ndarray) -> np.ndarray:
    """(P, 3) reflectances, P at least 1 -> (3,) float32: Tukey-weighted mean round the median, in log colour. Ours."""
    logs = np.log(np.maximum(colours, 1e-3))
    centre = np.median(logs, axis=0)
    for _ in range(5):
        away = np.linalg.norm(logs - centre, axis=-1)
        weights = tukey(away, max(4.685 * float(np.median(away)) / 1.18, 0.05))
        centre = (weights[:, None] * logs).sum(0) / weights.sum()
    return np.clip(np.exp(centre), 0.0, 1.0).astype(np.float32)
