"""What covers a fitted face, read by a small network: hair, glasses, dark lenses, hands, anything in front. Ours.

The network sees a square close to the face: the photograph, the fitted render (own albedo and light), the silhouette,
and where brows, eyes, nostrils, lips, the lower face and the eyeballs are by the mesh. It was trained on generated
people (training/reading/occluders.py), whose coverage is known exactly; photographs have weights of their own. One face
at a time, on one thread: a mask is the same with any number of threads, and in any batch but for a grey level in some
hundred thousand pixels (what goes in is made batch by batch, and the last bits of the mesh depend on its size).
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn

from faces.camera import Camera
from faces.fitting.maps import feature_map, lower_face, own_surface, predicted_images
from faces.fitting.view import FaceView, fill_holes
from faces.landmarks import invert_transform, warp
from faces.morphable.base import MorphableHead
from faces.readers.blocks import SmallUNet, each_face
from faces.readers.weights import FOLDER, load_reader
from faces.render.mesh_image import posed_vertices
from faces.render.rasterize import interpolate, rasterize
from faces.render.shading import make_unit

WEIGHTS = FOLDER / "occluders.safetensors"
PHOTOGRAPH_WEIGHTS = FOLDER / "occluders-photographs.safetensors"
#: Side of the square that the network is trained on, of the one it reads in (larger: frames and strands are thin; more
#: than 176 px loses beards), and how much larger than the face the square is.
CLOSE_PX = 144
READ_PX = 176
CLOSE_MARGIN = 1.2
#: photograph 3, render 3, silhouette, features, lower face, eyeballs and open mouth.
CHANNELS = 10
WIDTHS = (16, 32, 64, 64)


class CoverNetwork(SmallUNet):
    """(N, 10, S, S) in 0..1 -> (N, 1, S, S) logits of "covered"; S a multiple of 16."""

    def __init__(self) -> None:
        super().__init__(CHANNELS, 1, WIDTHS)


@dataclass(frozen=True, eq=False)
class CloseViews:
    """N faces in squares. `matrices` (N, 2, 3) lead from the picture to its square, our pixels."""

    view: FaceView
    matrices: np.ndarray


def close_views(coefficients: np.ndarray, head: MorphableHead, size_px: int, side_px: int) -> CloseViews:
    """(N, D) fits of pictures of size_px -> the meshes in squares of side_px about their face regions."""
    vertices_px, vertex_normals = posed_vertices(head, coefficients, Camera.centred(size_px))
    region = vertices_px[:, head.face_region, :2]
    low, high = region.min(1), region.max(1)
    side = np.maximum(CLOSE_MARGIN * (high - low).max(-1), 4.0)
    zoom = np.nan_to_num(side_px / side, nan=1.0)
    shift = np.nan_to_num(0.5 * side_px - zoom[:, None] * (low + high) / 2, posinf=0.0, neginf=0.0)
    matrices = np.zeros((len(zoom), 2, 3))
    matrices[:, 0, 0] = matrices[:, 1, 1] = zoom
    matrices[..., 2] = shift
    close = vertices_px.copy()
    close[..., :2] = vertices_px[..., :2] * zoom[:, None, None] + shift[:, None]
    raster = rasterize(close.astype(np.float32), head.triangles, side_px, side_px)
    normals = interpolate(vertex_normals, head.triangles, raster)
    make_unit(normals)
    face = head.face_triangles[raster.triangle] & (raster.triangle >= 0)
    return CloseViews(FaceView(raster, normals, face), matrices)


def closely(picture: np.ndarray, matrix: np.ndarray, side_px: int = CLOSE_PX) -> np.ndarray:
    """(S, S[, C]) uint8 and its matrix -> (side_px, side_px[, C]) uint8; averaged first where it shrinks much."""
    shrink = int(1.0 / max(float(matrix[0, 0]), 1e-3))
    if shrink >= 2:
        side = max(len(picture) // shrink, 1)
        ratio = side / len(picture)
        picture = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
        matrix = np.concatenate([matrix[:, :2] / ratio, matrix[:, 2:]], 1)
    return warp(picture, matrix, side_px)


def network_inputs(
    images: np.ndarray, coefficients: np.ndarray, head: MorphableHead, side_px: int = CLOSE_PX
) -> tuple[np.ndarray, np.ndarray]:
    """(N, S, S, 3) uint8, (N, D) -> (N, side_px, side_px, CHANNELS) uint8 and the matrices (N, 2, 3)."""
    close = close_views(coefficients, head, images.shape[1], side_px)
    view = close.view
    maps = np.concatenate([feature_map(head, 7.0), lower_face(head)], 1)
    planes = np.zeros((len(images), side_px, side_px, CHANNELS), np.float32)
    planes[..., 3:6] = predicted_images(coefficients, view, head)
    planes[..., 7:9] = interpolate(maps, head.triangles, view.raster)
    planes[..., 9] = (own_surface(head)[view.raster.triangle] < 0.5) & (view.raster.triangle >= 0)
    for n, one in enumerate(view.face):
        planes[n, ..., 6] = fill_holes(one)
    np.clip(planes, 0.0, 1.0, out=planes)
    planes *= 255.0
    inputs = np.rint(planes, out=planes).astype(np.uint8)
    for n, image in enumerate(images):
        inputs[n, ..., :3] = closely(image, close.matrices[n], side_px)
    return inputs, close.matrices


@lru_cache(maxsize=2)
def load_cover(path: Path = WEIGHTS) -> nn.Module:
    """A shipped network, ready to read; SamaeError when its weights are missing or damaged."""
    return load_reader(CoverNetwork(), path)


def read_cover(
    images: np.ndarray, coefficients: np.ndarray, head: MorphableHead, weights: Path = WEIGHTS
) -> np.ndarray:
    """(N, S, S, 3) uint8, (N, D) -> (N, S, S) float32 0..1: how surely something covers the fitted face there.

    0 outside the square about the face. The same bits with any number of threads; in another batch, see the module.
    """
    network, size_px = load_cover(weights), images.shape[1]
    inputs, matrices = network_inputs(images, coefficients, head, READ_PX)
    back = invert_transform(matrices)
    out = np.zeros(images.shape[:3], np.float32)

    def read(n: int) -> None:
        """One face."""
        planes = torch.from_numpy(inputs[n : n + 1]).permute(0, 3, 1, 2).float() / 255.0
        close = torch.sigmoid(network(planes.contiguous(memory_format=torch.channels_last)))[0, 0].numpy()
        out[n] = warp(close, back[n], size_px)

    each_face(read, len(images))
    return out
