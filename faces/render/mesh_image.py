"""A lit, antialiased picture of a head: SAMAE's I_ras, its mask, and random mesh scaling (docs/methods.md).

Light is computed at the vertices and interpolated in linear RGB; samples are averaged in linear RGB and only the
average becomes sRGB. Fast enough to render inside the training loop.
"""

from dataclasses import dataclass

import numpy as np

from faces.camera import Camera, head_to_camera, project, rotation_matrices
from faces.compiled import over_faces
from faces.errors import SamaeError
from faces.morphable.base import MorphableHead, vertex_normals
from faces.morphable.normals import sum_face_normals
from faces.render.paint import light_face, paint_face
from faces.render.rasterize import Scratch
from faces.render.shading import SH_CONSTANTS, to_srgb

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


def check_coefficients(coefficients: np.ndarray, head: MorphableHead) -> np.ndarray:
    """(N, D) or (D,) -> (N, D) float32; another head's width or a number that is not finite is an error."""
    coefficients = np.atleast_2d(np.asarray(coefficients, np.float32))
    head.layout.take(coefficients, "light")
    if not np.isfinite(coefficients).all():
        raise SamaeError("coefficients hold numbers that are not finite; drop the faces whose fit is not ok")
    return coefficients


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
        The pictures, none for no faces. Own light (coefficients) is applied; see faces/render/shading.py for its frame.
    Raises:
        SamaeError: another head's coefficients, or ones that are not finite.
    """
    coefficients = check_coefficients(coefficients, head)
    if antialias < 1:
        raise SamaeError(f"antialias is {antialias}, but must be a whole number of at least 1")
    take, size_px = head.layout.take, camera.size_px
    vertices = head.vertices(
        take(coefficients, "identity"), take(coefficients, "expression"), take(coefficients, "gaze_rad")
    )
    translation = take(coefficients, "translation_mm")
    if scale is not None:
        translation = scaled_translation(head, coefficients, scale, vertices)
    inputs = _Posed(
        vertices=vertices.reshape(len(vertices), 3 * vertices.shape[1]),
        pose=rotation_matrices(take(coefficients, "rotation_rad")).astype(np.float32).reshape(-1, 9),
        shift=np.ascontiguousarray(translation, np.float32),
        light=(take(coefficients, "light") * np.tile(np.asarray(SH_CONSTANTS, np.float32), 3)).astype(np.float32),
        albedo=vertex_albedo(head, coefficients, albedo),
        triangles=np.ascontiguousarray(head.triangles, np.int32),
        in_mask=head.face_triangles,
        camera=camera.resized(size_px * antialias),
    )
    pictures = np.empty((len(coefficients), size_px, size_px, 6), np.float32)
    over_faces(lambda first, step: _paint(inputs, first, step, pictures), len(pictures))
    return MeshImage(pictures[..., :3], pictures[..., 3], pictures[..., 4], pictures[..., 5])


@dataclass(frozen=True)
class _Posed:
    """N decoded faces and all that is needed to draw them; the camera is that of the finer, supersampled picture."""

    vertices: np.ndarray
    pose: np.ndarray
    shift: np.ndarray
    light: np.ndarray
    albedo: np.ndarray
    triangles: np.ndarray
    in_mask: np.ndarray
    camera: Camera


def _paint(posed: _Posed, first: int, step: int, pictures: np.ndarray) -> None:
    """Faces first, first + step, ... into pictures (N, S, S, 6); one thread, working memory of its own."""
    camera, corners = posed.camera, posed.triangles.reshape(-1).view(np.uint32)
    fine_px, length = camera.size_px, posed.vertices.shape[1]
    scratch = Scratch(length // 3, fine_px, fine_px)
    normals, projected, colours = np.empty((3, length), np.float32)
    triangle, weights = np.empty(fine_px**2, np.int32), np.empty(3 * fine_px**2, np.float32)
    depth = np.empty(fine_px**2, np.float32)
    lens = np.array([camera.focal_px, camera.centre_x_px, camera.centre_y_px], np.float32)
    for n in range(first, len(pictures), step):
        sum_face_normals(posed.vertices[n], corners, normals)
        albedo = np.ascontiguousarray(posed.albedo[n]).reshape(-1)
        light_face(
            posed.vertices[n], normals, posed.pose[n], posed.shift[n], lens, albedo, posed.light[n], projected, colours
        )
        scratch.draw(projected.reshape(-1, 3), posed.triangles, triangle, weights, depth)
        paint_face(
            corners, triangle, weights, depth, colours.reshape(-1, 3), posed.in_mask, fine_px // pictures.shape[1],
            SRGB_TABLE, pictures[n],
        )  # fmt: skip


def posed_vertices(
    head: MorphableHead, coefficients: np.ndarray, camera: Camera, scale: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """(N, D) -> (N, V, 3) u_px, v_px, depth_mm and (N, V, 3) unit normals in the world frame of shading.py."""
    take = head.layout.take
    rotation = take(coefficients, "rotation_rad")
    vertices = head.vertices(
        take(coefficients, "identity"), take(coefficients, "expression"), take(coefficients, "gaze_rad")
    )
    turn = rotation_matrices(rotation).astype(np.float32)
    normals = vertex_normals(vertices, head.triangles) @ turn.transpose(0, 2, 1)
    translation = take(coefficients, "translation_mm")
    if scale is not None:
        translation = scaled_translation(head, coefficients, scale, vertices)
    return project(head_to_camera(vertices, rotation, translation), camera), normals


def project_landmarks(coefficients: np.ndarray, head: MorphableHead, size_px: int) -> np.ndarray:
    """(N, D) -> (N, 68, 2) float32 px of the head's landmark vertices, Camera.centred(size_px)."""
    take = head.layout.take
    vertices = head.vertices(take(coefficients, "identity"), take(coefficients, "expression"))[:, head.landmarks]
    seen = head_to_camera(vertices, take(coefficients, "rotation_rad"), take(coefficients, "translation_mm"))
    return project(seen, Camera.centred(size_px))[..., :2].astype(np.float32)


def scaled_translation(
    head: MorphableHead, coefficients: np.ndarray, scale: np.ndarray, vertices: np.ndarray | None = None
) -> np.ndarray:
    """Random mesh scaling: (N, D) coefficients, (N,) scales -> (N, 3) float32 translations, millimetres.

    The head is moved along the ray through the centroid of its face region until that centroid's depth is 1 / scale of
    what it was: the mesh appears `scale` times larger there, the centroid stays on its pixel and the rotation is kept
    (docs/methods.md; perspective changes as it would if the head came nearer). `vertices` saves decoding them again.
    """
    scale = np.asarray(scale, np.float64).reshape(-1, 1)
    if not np.all(scale > 0):
        raise SamaeError(f"mesh scales must be positive, but the smallest is {np.min(scale)}")
    take = head.layout.take
    if vertices is None:
        vertices = head.vertices(take(coefficients, "identity"), take(coefficients, "expression"))
    region = vertices[:, head.face_region] if head.face_region.any() else vertices
    translation = take(coefficients, "translation_mm")
    centroid = head_to_camera(region.mean(1, keepdims=True), take(coefficients, "rotation_rad"), translation)[:, 0]
    return (translation + centroid * (1.0 / scale - 1.0)).astype(np.float32)


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
