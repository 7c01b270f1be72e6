"""Masks of a face: the visible face, the mask of a swap, soft edges, random mesh scaling; perforation is re-exported.

SAMAE's M is the mesh silhouette minus occluders (docs/methods.md); the silhouette is that of head.face_triangles with
eyes and an open mouth filled in. Masks are 0..1 float or 0..255 uint8, (N, S, S) or (N, 1, S, S), numpy or torch.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import torch

from faces.camera import Camera
from faces.compiled import on_one_blas_thread
from faces.errors import SamaeError
from faces.fitting.view import CHUNK, check_images, fill_holes
from faces.morphable.base import MorphableHead
from faces.occluders import OccluderSettings, find_occluders, without_islands
from faces.perforation import REFERENCE_PX, PerforationSettings, like, numpy_masks, perforate
from faces.render.mesh_image import check_coefficients, posed_vertices, project_landmarks
from faces.render.rasterize import rasterize

__all__ = [
    "MeshScaleSettings", "OccluderSettings", "PerforationSettings", "face_mask", "feather",
    "mesh_scales", "occluder_mask", "perforate", "silhouette", "swap_mask",
]  # fmt: skip

#: Over which shares of the way from the ends of the jaw line to the chin the dilation of a swap's mask sets in (ours).
JAW_SHARES = (0.3, 0.7)


@on_one_blas_thread
def silhouette(coefficients: np.ndarray, head: MorphableHead, size_px: int) -> np.ndarray:
    """(N, D) -> (N, S, S) float32 0..1: share of a pixel that shows the face region (2 x 2 samples, holes filled)."""
    coefficients = check_coefficients(coefficients, head)
    parts = []
    for start in range(0, len(coefficients), CHUNK):
        vertices_px, _ = posed_vertices(head, coefficients[start : start + CHUNK], Camera.centred(2 * size_px))
        triangle = rasterize(vertices_px, head.triangles, 2 * size_px, 2 * size_px).triangle
        shown = head.face_triangles[triangle] & (triangle >= 0)
        filled = np.stack([fill_holes(one) for one in shown]).astype(np.float32)
        rows = filled[:, 0::2] + filled[:, 1::2]
        parts.append(0.25 * (rows[:, :, 0::2] + rows[:, :, 1::2]))
    return np.concatenate(parts) if parts else np.zeros((0, size_px, size_px), np.float32)


@on_one_blas_thread
def occluder_mask(
    images: np.ndarray,
    coefficients: np.ndarray,
    head: MorphableHead,
    settings: OccluderSettings | None = None,
    silhouettes: np.ndarray | None = None,
) -> np.ndarray:
    """(N, S, S, 3) uint8, (N, D) -> (N, S, S) float32 0..1: what covers the fitted face (see faces/occluders.py).

    silhouettes: those of the fits where they are known; they are drawn where they are needed otherwise.
    """
    coefficients = check_coefficients(coefficients, head)
    images, settings = check_images(images, len(coefficients)), settings or OccluderSettings()
    size = (images.shape[1], images.shape[1])
    large = []
    for start in range(0, len(images), CHUNK):
        rows = slice(start, start + CHUNK)
        found = find_occluders(images[rows], coefficients[rows], head, settings)
        large += [cv2.resize(one, size, interpolation=cv2.INTER_LINEAR) for one in found]
    covers = np.stack(large) if large else np.zeros((0, *size), np.float32)
    if settings.islands:
        return covers
    faces = silhouette(coefficients, head, size[0]) if silhouettes is None else silhouettes
    return without_islands(covers, faces, project_landmarks(coefficients, head, size[0]))


def face_mask(
    images: np.ndarray, coefficients: np.ndarray, head: MorphableHead, settings: OccluderSettings | None = None
) -> np.ndarray:
    """The visible face, M_ras - M_occ (SAMAE, docs/methods.md).

    Args:
        images: (N, S, S, 3) uint8 sRGB.
        coefficients: (N, D) float32 of `fit` with pictures (own light and albedo predict what bare skin looks like).
    Returns:
        (N, S, S) uint8 coverage 0..255.
    """
    faces = silhouette(coefficients, head, images.shape[1])
    bare = faces * (1.0 - occluder_mask(images, coefficients, head, settings, faces))
    return np.rint(255.0 * bare).astype(np.uint8)


@dataclass(frozen=True, kw_only=True)
class MeshScaleSettings:
    """Random mesh scaling (docs/methods.md; the paper's range is unknown, so both numbers are ours).

    Attributes:
        spread: the scale is uniform in 1 - spread .. 1 + spread.
        probability: with which a face is scaled at all.
    """

    spread: float = 0.1
    probability: float = 0.8

    def __post_init__(self) -> None:
        if not (0.0 <= self.spread < 1.0 and 0.0 <= self.probability <= 1.0):
            raise SamaeError(f"mesh scaling {self.spread}, {self.probability}: both must lie in 0..1, spread below 1")


def mesh_scales(draws: np.ndarray, settings: MeshScaleSettings | None = None) -> np.ndarray:
    """(N, 2) uniform 0..1 (whether, how much) -> (N,) float64 scales of meshes, exactly 1 for the faces left alone."""
    settings = settings or MeshScaleSettings()
    scales = 1 + settings.spread * (2 * draws[:, 1] - 1)
    return np.where(draws[:, 0] < settings.probability, scales, 1.0)


def swap_mask(
    target_mask: np.ndarray | torch.Tensor,
    swapped_silhouette: np.ndarray | torch.Tensor,
    occluders: np.ndarray | torch.Tensor | None = None,
    dilate_px: float = 6.0,
    landmarks_px: np.ndarray | torch.Tensor | None = None,
) -> np.ndarray | torch.Tensor:
    """What a swap may change: (M_ras^tgt u M_ras^swap) - M_occ^tgt, dilated (docs/methods.md; nothing random).

    With landmarks it is dilated round the jaw alone, where beards stand out beyond the mesh: at temples and forehead a
    wider hole takes hair for skin (ours; docs/results.md has what it is worth).

    Args:
        target_mask: silhouette or visible face of the target.
        swapped_silhouette: silhouette of the source's shape under the target's pose and expression.
        occluders: what lies in front of the target's face; taken out before and, because it must stay in front, again
            after the dilation (ours).
        dilate_px: 4..8 px at 256 (ours); scales with the size.
        landmarks_px: (N, 68, 2) of the target, px of the masks.
    Returns:
        Like `target_mask`, 0 or 1 (0 or 255 for uint8).
    """
    union = np.maximum(numpy_masks(target_mask), numpy_masks(swapped_silhouette))
    hidden = np.zeros_like(union) if occluders is None else numpy_masks(occluders)
    radius = dilate_px * union.shape[1] / REFERENCE_PX
    open_ = ((union >= 0.5) & (hidden < 0.5)).astype(np.uint8)
    away = np.array([cv2.distanceTransform(1 - one, cv2.DIST_L2, 5) for one in open_]).reshape(open_.shape)
    share = 1.0 if landmarks_px is None else _by_the_jaw(np.asarray(landmarks_px, np.float64), open_.shape[1])
    grown = away <= radius * share
    return like((grown * (hidden < 0.5)).astype(np.float32), target_mask)


def _by_the_jaw(landmarks_px: np.ndarray, size_px: int) -> np.ndarray:
    """(N, 68, 2) -> (N, S, S) 0..1: rises over JAW_SHARES of the way from the ends of the jaw line to the chin."""
    ends, chin = landmarks_px[:, [0, 16]].mean(1), landmarks_px[:, 8]
    way = chin - ends
    way /= np.maximum((way**2).sum(1, keepdims=True), 1e-6)
    y, x = np.mgrid[:size_px, :size_px] + 0.5
    across, down = (way[:, None, None, k] * (axis - ends[:, None, None, k]) for k, axis in enumerate((x, y)))
    return np.clip((across + down - JAW_SHARES[0]) / (JAW_SHARES[1] - JAW_SHARES[0]), 0, 1)


def feather(mask: np.ndarray | torch.Tensor, px: float) -> np.ndarray | torch.Tensor:
    """A soft edge INSIDE the mask, so that nothing outside it changes (output = result * M + target * (1 - M)).

    The value rises smoothly (3t^2 - 2t^3) from 0 at the border to 1 at `px` pixels inside (of this picture); the
    picture's own edge is no border. px <= 0 gives the mask back. Values between 0 and 1 stay an upper bound.
    """
    masks = numpy_masks(mask)
    if px <= 0:
        return like(masks.copy(), mask)
    soft = np.empty_like(masks)
    for n, one in enumerate(masks):
        inside = (one >= 0.5).astype(np.uint8)
        if inside.all():
            soft[n] = one
            continue
        ramp = np.clip((cv2.distanceTransform(inside, cv2.DIST_L2, 5) - 0.5) / px, 0.0, 1.0)
        soft[n] = np.minimum(ramp * ramp * (3.0 - 2.0 * ramp), one)
    return like(soft, mask)
