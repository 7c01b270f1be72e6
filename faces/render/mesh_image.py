"""A lit, antialiased picture of a head: SAMAE's I_ras, its mask, and random mesh scaling (systems.md 1.2, 1.3).

Light is computed at the vertices and interpolated in linear RGB; samples are averaged in linear RGB and only the
average becomes sRGB. Fast enough to render inside the training loop.
"""

from dataclasses import dataclass

import numpy as np

from faces.camera import Camera, head_to_camera, project, rotation_matrices
from faces.compiled import over_faces
from faces.errors import SamaeError
from faces.morphable.base import MorphableHead, vertex_normals
from faces.render import kernels
from faces.render.rasterize import Scratch
from faces.render.shading import shade, to_srgb

#: sRGB at 4,097 equal steps of linear light, read with linear interpolation: at most 2e-5 from the formula.
SRGB_TABLE = to_srgb(np.linspace(0.0, 1.0, 4097)).astype(np.float32)
#: What `albedo` may be, apart from an array.
READINGS = ("mean", "own", "flat")


@dataclass(frozen=True)
class MeshImage:
    """N pictures of a head.

    Attributes:
        image: (N, H, W, 3) float32, sRGB 0..1, over black.
        mask: (N, H, W) float32 0..1, share of the pixel that shows the face region (head.face_triangles).
        alpha: (N, H, W) float32 0..1, share of the pixel that shows any part of the mesh. Lay the picture over another
            in linear light: to_linear(image) + (1 - alpha) * to_linear(other).
        depth: (N, H, W) float32, millimetres along the camera's axis, nearest sample; inf where there is no mesh.
    """

    image: np.ndarray
    mask: np.ndarray
    alpha: np.ndarray
    depth: np.ndarray


def render_mesh(
    head: MorphableHead,
    coefficients: np.ndarray,
    camera: Camera,
    albedo: str | np.ndarray = "mean",
    antialias: int = 2,
    scale: np.ndarray | None = None,
) -> MeshImage:
    """Render N faces of one head.

    Args:
        coefficients: (N, D) float32 in head.layout.
        camera: of the pictures; all N have camera.size_px.
        albedo: "mean" (the head's mean for everyone), "own" (from the coefficients), "flat" (the own albedo's mean
            over the face region, everywhere), or linear RGB that broadcasts to (N, V, 3).
        antialias: samples a pixel along each side, >= 1.
        scale: (N,) how much larger the mesh shall appear, rotation and projected centroid kept; None leaves it alone.
    Returns:
        The pictures. Own light (coefficients) is applied; see faces/render/shading.py for its frame.
    """
    coefficients = np.atleast_2d(np.asarray(coefficients, np.float32))
    if antialias < 1:
        raise SamaeError(f"antialias is {antialias}, but must be a whole number of at least 1")
    positions_px, normals = posed_vertices(head, coefficients, camera.resized(camera.size_px * antialias), scale)
    colours = shade(vertex_albedo(head, coefficients, albedo), normals, head.layout.take(coefficients, "light"))
    pictures = np.empty((len(coefficients), camera.size_px, camera.size_px, 6), np.float32)
    fine_px = camera.size_px * antialias
    positions_px = np.ascontiguousarray(positions_px, np.float32)
    triangles, colours = np.ascontiguousarray(head.triangles, np.int32), np.ascontiguousarray(colours, np.float32)

    def paint(first: int, step: int) -> None:
        scratch = Scratch(positions_px.shape[1], fine_px, fine_px)
        triangle, weights = np.empty(fine_px**2, np.int32), np.empty(3 * fine_px**2, np.float32)
        depth, corners = np.empty(fine_px**2, np.float32), triangles.reshape(-1).view(np.uint32)
        for n in range(first, len(pictures), step):
            scratch.draw(positions_px[n], triangles, triangle, weights, depth)
            kernels.paint_face(
                corners, triangle, weights, depth, colours[n], head.face_triangles, antialias, SRGB_TABLE, pictures[n]
            )

    over_faces(paint, len(pictures))
    return MeshImage(pictures[..., :3], pictures[..., 3], pictures[..., 4], pictures[..., 5])


def posed_vertices(
    head: MorphableHead, coefficients: np.ndarray, camera: Camera, scale: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """(N, D) -> (N, V, 3) u_px, v_px, depth_mm and (N, V, 3) unit normals in the world frame of shading.py."""
    take = head.layout.take
    rotation = take(coefficients, "rotation_rad")
    vertices = head.decode(
        take(coefficients, "identity"), take(coefficients, "expression"), take(coefficients, "gaze_rad")
    )
    turn = rotation_matrices(rotation).astype(np.float32)
    normals = vertex_normals(vertices, head.triangles) @ turn.transpose(0, 2, 1)
    in_camera = head_to_camera(vertices, rotation, take(coefficients, "translation_mm"))
    if scale is not None:
        in_camera += _enlarging_shift(in_camera, head.face_region, np.asarray(scale))[:, None, :]
    return project(in_camera, camera), normals


def _enlarging_shift(in_camera: np.ndarray, region: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """(N, V, 3), (V,) bool, (N,) -> (N, 3) shift along the ray of the region's centroid: divides its depth by scale."""
    if not np.all(scale > 0):
        raise SamaeError(f"mesh scales must be positive, but the smallest is {np.min(scale)}")
    centroid = (in_camera[:, region] if region.any() else in_camera).mean(1)
    return (centroid * (1.0 / scale.reshape(-1, 1) - 1.0)).astype(in_camera.dtype)


def scaled_translation(head: MorphableHead, coefficients: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Random mesh scaling on the coefficients: (N, D), (N,) -> (N, D) with only the translation changed.

    Depth is divided by `scale` along the ray of the face region's centroid, so that this centroid stays on its pixel
    and the mesh appears `scale` times larger there (perspective changes as it would if the head came nearer).
    """
    take = head.layout.take
    coefficients = np.atleast_2d(np.asarray(coefficients, np.float32))
    vertices = head.decode(take(coefficients, "identity"), take(coefficients, "expression"))
    in_camera = head_to_camera(vertices, take(coefficients, "rotation_rad"), take(coefficients, "translation_mm"))
    moved = coefficients.copy()
    moved[:, head.layout.slices["translation_mm"]] += _enlarging_shift(in_camera, head.face_region, np.asarray(scale))
    return moved


def vertex_albedo(head: MorphableHead, coefficients: np.ndarray, reading: str | np.ndarray) -> np.ndarray:
    """(N, D) and a reading of READINGS or an array -> (N, V, 3) float32 linear RGB (a view where all are equal)."""
    shape = (len(coefficients), *head.albedo_mean.shape)
    if not isinstance(reading, str):
        return np.broadcast_to(np.asarray(reading, np.float32), shape)
    if reading not in READINGS:
        raise SamaeError(f"no albedo reading is called {reading!r}; choose one of {', '.join(READINGS)} or an array")
    if reading == "mean":
        return np.broadcast_to(head.albedo_mean, shape)
    own = head.albedo(head.layout.take(coefficients, "albedo"))
    if reading == "own":
        return own
    return np.broadcast_to(own[:, head.face_region].mean(1, keepdims=True), shape)
