"""What a camera sees of fitted heads: the raster, the normals and the visible face, from coefficients alone.

Fitting, albedo and masks all look at the same view, so that a pixel means the same thing to each of them.
"""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from faces.camera import Camera
from faces.errors import SamaeError
from faces.morphable.base import MorphableHead
from faces.render.mesh_image import posed_vertices
from faces.render.rasterize import Raster, interpolate, rasterize
from faces.render.shading import make_unit

#: Faces drawn at once: bounds the memory at any batch size.
CHUNK = 16


@dataclass(frozen=True, eq=False)
class FaceView:
    """N heads in pictures of S x S px under Camera.centred(S).

    Attributes:
        raster: triangles, barycentrics and depth.
        normals: (N, S, S, 3) float32 unit normals, world frame of faces/render/shading.py; 0 off the mesh.
        face: (N, S, S) bool, pixels whose nearest triangle belongs to the face region.
    """

    raster: Raster[np.ndarray]
    normals: np.ndarray
    face: np.ndarray


def check_images(images: np.ndarray, count: int | None = None) -> np.ndarray:
    """Pictures must be (N, S, S, 3) uint8 (and N = count where that is given)."""
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[3] != 3 or images.shape[1] != images.shape[2] or images.dtype != np.uint8:
        found = f"{images.shape} {images.dtype}"
        raise SamaeError(f"pictures must be (N, S, S, 3) uint8, but are {found}; crop them square")
    if count is not None and len(images) != count:
        raise SamaeError(f"{len(images)} pictures do not match {count} faces; pass one picture a face")
    return images


@lru_cache(maxsize=8)
def skin_triangles(head: MorphableHead) -> np.ndarray:
    """(T,) bool: triangles of the face region that carry skin (not lips, eyeballs, teeth, gums, tongue or mouth)."""
    words = ("lip", "eye", "sclera", "iris", "cornea", "teeth", "tooth", "gum", "tongue", "mouth", "cavity", "lash")
    bare = np.array([not any(word in name.lower() for word in words) for name in head.part_names])
    return head.face_triangles & bare[head.parts]


def view_faces(coefficients: np.ndarray, head: MorphableHead, size_px: int) -> FaceView:
    """(N, D) float32 -> the view of N heads at size_px (N small: every pixel's normals are kept)."""
    vertices_px, vertex_normals = posed_vertices(head, coefficients, Camera.centred(size_px))
    raster = rasterize(vertices_px, head.triangles, size_px, size_px)
    normals = interpolate(vertex_normals, head.triangles, raster)
    make_unit(normals)
    return FaceView(raster, normals, head.face_triangles[raster.triangle] & (raster.triangle >= 0))


def fill_holes(mask: np.ndarray) -> np.ndarray:
    """(S, S) bool -> bool: regions that do not reach the picture's edge are filled (open mouths, eyes)."""
    padded = np.pad(mask.astype(np.uint8), 1)
    cv2.floodFill(padded, None, (0, 0), 2)
    return padded[1:-1, 1:-1] != 2


def fill_all_holes(masks: np.ndarray) -> np.ndarray:
    """(N, S, S) bool -> bool: `fill_holes` of each, by one flood round all of them laid in a strip."""
    count, size_px = len(masks), masks.shape[1]
    strip = np.zeros((count * (size_px + 1) + 1, size_px + 2), np.uint8)
    inner = strip[1:].reshape(count, size_px + 1, size_px + 2)[:, :size_px, 1:-1]
    inner[:] = masks
    cv2.floodFill(strip, None, (0, 0), 2)
    return inner != 2


def shrink_images(images: np.ndarray, size_px: int) -> np.ndarray:
    """(N, S, S, 3) uint8 -> (N, size_px, size_px, 3) float32 sRGB 0..1, area-averaged when smaller."""
    how = cv2.INTER_AREA if images.shape[1] > size_px else cv2.INTER_LINEAR
    small = [cv2.resize(image, (size_px, size_px), interpolation=how) for image in images]
    return np.stack(small).astype(np.float32) / 255.0
