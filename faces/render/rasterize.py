"""Triangle index, perspective-correct barycentrics and depth of a batch of meshes.

Rules, the same for numba, Triton and the naive reference in tests/faces/naive_raster.py (PyTorch3D has its own fill
rule and edges: raster_pytorch3d.py):

* A vertex is rounded to 1/1024 px (floor(1024 u + 0.5)); edge functions of these whole numbers are exact.
* A pixel is covered when its centre (column + 0.5, row + 0.5) lies inside, or on a top or left edge of, the triangle:
  two triangles that share an edge never both cover a pixel nor leave one between them. Both orientations are drawn.
* 1 / depth is linear on the screen: ((e0 k0 + e1 k1) + e2 k2) in float64 with k = (1 / depth) / area, then rounded to
  float32. The largest wins; equal ones go to the lowest triangle index.
* Dropped whole, nothing is clipped: triangles with a vertex that is not finite, at depth <= 1 mm (behind the camera
  too) or >= 1e9 mm, or 524,288 px or more away from the picture's corner; and triangles whose area is zero.

Barycentrics belong to the rounded positions (at most 1/2048 px from the given ones). Everything here is ours.
"""

import importlib.util
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import torch

from faces.compiled import over_faces
from faces.errors import SamaeError
from faces.indices import check_shown, check_triangles
from faces.render import kernels

Array = TypeVar("Array", np.ndarray, torch.Tensor)

#: Names that `rasterize` accepts. "numba" uses all cores, "numba-one-core" the calling thread alone.
BACKENDS = ("auto", "numba", "numba-one-core", "triton", "pytorch3d")


@dataclass(frozen=True)
class Raster(Generic[Array]):
    """What each pixel of N pictures shows; numpy arrays, or tensors when the vertices were a tensor.

    Attributes:
        triangle: (N, H, W) int32, index of the visible triangle, -1 where there is none.
        barycentric: (N, H, W, 3) float32, weights of its corners, perspective-correct, sum 1 (0 where there is none).
        depth_mm: (N, H, W) float32, camera z, inf where there is none.
    """

    triangle: Array
    barycentric: Array
    depth_mm: Array

    @property
    def covered(self) -> Array:
        """(N, H, W) bool: pixels that show the mesh."""
        return self.triangle >= 0


def rasterize(
    vertices_px: Array, triangles: Array, height_px: int, width_px: int, backend: str = "auto"
) -> "Raster[Array]":
    """Draw N meshes of one topology.

    Args:
        vertices_px: (N, V, 3) float32 u_px, v_px, depth_mm as `faces.camera.project` gives them.
        triangles: (T, 3) int32 vertex indices in 0..V-1.
        height_px, width_px: size of the pictures, at least 1.
        backend: one of BACKENDS; "auto" takes Triton for a CUDA tensor and numba for everything else.
    Returns:
        The raster; tensors (on the device of the vertices) for a tensor, else numpy arrays. Not differentiable: use
        `barycentric_at` for gradients of the geometry.
    """
    if backend not in BACKENDS:
        raise SamaeError(f"no rasteriser is called {backend!r}; choose one of {', '.join(BACKENDS)}")
    if isinstance(vertices_px, torch.Tensor):
        return _rasterize_tensor(vertices_px, triangles, height_px, width_px, backend)
    vertices, faces = _checked(vertices_px, triangles, height_px, width_px)
    if backend in ("triton", "pytorch3d"):
        drawn = _rasterize_tensor(torch.from_numpy(vertices), torch.from_numpy(faces), height_px, width_px, backend)
        return Raster(drawn.triangle.cpu().numpy(), drawn.barycentric.cpu().numpy(), drawn.depth_mm.cpu().numpy())
    return _rasterize_numba(vertices, faces, height_px, width_px, 1 if backend == "numba-one-core" else None)


def _rasterize_numba(
    vertices: np.ndarray, triangles: np.ndarray, height_px: int, width_px: int, threads: int | None
) -> "Raster[np.ndarray]":
    shape = (len(vertices), height_px, width_px)
    raster = Raster(np.empty(shape, np.int32), np.empty((*shape, 3), np.float32), np.empty(shape, np.float32))

    def draw(first: int, step: int) -> None:
        """Every step-th mesh, in a thread's own working memory."""
        scratch = Scratch(vertices.shape[1], height_px, width_px)
        for n in range(first, len(vertices), step):
            scratch.draw(vertices[n], triangles, raster.triangle[n], raster.barycentric[n], raster.depth_mm[n])

    over_faces(draw, len(vertices), threads)
    return raster


def covered(vertices_px: np.ndarray, triangles: np.ndarray, height_px: int, width_px: int) -> np.ndarray:
    """(N, V, 3) float32, (T, 3) int32 -> (N, H, W) bool: `rasterize(...).covered`, without finding out which triangle
    it is and where in it; in the calling thread alone."""
    vertices, faces = _checked(vertices_px, triangles, height_px, width_px)
    scratch, shown = Scratch(vertices.shape[1], height_px, width_px), []
    for one in vertices:
        scratch.find_nearest(one, faces)
        shown.append(scratch.keys.reshape(height_px, width_px) >= 0)
    return np.stack(shown) if shown else np.zeros((0, height_px, width_px), bool)


class Scratch:
    """Working memory of one thread for meshes of V vertices in pictures of one size (about 20 V + 8 H W bytes)."""

    def __init__(self, n_vertices: int, height_px: int, width_px: int) -> None:
        block = kernels.PITCH
        self.size = width_px, height_px
        self.xs, self.ys, self.cells = np.empty((3, n_vertices), np.int32)
        self.nearness = np.empty(n_vertices)
        self.ints, self.floats = np.empty(23 * block, np.int32), np.empty(3 * block)
        self.near, self.key = np.empty(4 * block, np.float32), np.empty(block, np.int64)
        self.keys = np.empty(width_px * height_px, np.int64)

    def draw(
        self,
        vertices: np.ndarray,
        triangles: np.ndarray,
        triangle: np.ndarray,
        barycentric: np.ndarray,
        depth: np.ndarray,
    ) -> None:
        """One mesh, (V, 3) float32 and (T, 3) int32, both contiguous, into (H, W), (H, W, 3) and (H, W)."""
        self.find_nearest(vertices, triangles)
        kernels.resolve_face(
            triangles.reshape(-1).view(np.uint32), self.xs, self.ys, self.nearness, self.size[0], self.keys,
            self.ints, self.floats, self.near, triangle.reshape(-1), barycentric.reshape(-1), depth.reshape(-1),
        )  # fmt: skip

    def find_nearest(self, vertices: np.ndarray, triangles: np.ndarray) -> None:
        """One mesh's nearest triangle at each pixel into `keys` (see kernels.py); -1 where there is none."""
        corners, placed = triangles.reshape(-1).view(np.uint32), (self.xs, self.ys, self.nearness)
        kernels.snap_vertices(vertices.reshape(-1), *placed)
        kernels.find_cells(*placed, *self.size, self.cells)
        kernels.draw_face(
            corners, *placed, self.cells, *self.size,
            self.ints, self.floats, self.near, self.near.view(np.int32), self.key, self.keys,
        )  # fmt: skip


def _rasterize_tensor(
    vertices: torch.Tensor, triangles: torch.Tensor, height_px: int, width_px: int, backend: str
) -> "Raster[torch.Tensor]":
    triangles = torch.as_tensor(triangles)
    if backend == "auto":
        backend = "triton" if vertices.is_cuda else "numba"
    _check_mesh(vertices, triangles, height_px, width_px)
    if backend == "triton":
        from faces.render.raster_triton import rasterize_triton

        return Raster(*rasterize_triton(vertices.detach(), triangles, height_px, width_px))
    if backend == "pytorch3d":
        from faces.render.raster_pytorch3d import rasterize_pytorch3d

        return Raster(*rasterize_pytorch3d(vertices.detach(), triangles, height_px, width_px))
    drawn = rasterize(vertices.detach().cpu().numpy(), triangles.cpu().numpy(), height_px, width_px, backend)
    parts = (drawn.triangle, drawn.barycentric, drawn.depth_mm)
    return Raster(*(torch.from_numpy(part).to(vertices.device) for part in parts))


def _checked(
    vertices_px: np.ndarray, triangles: np.ndarray, height_px: int, width_px: int
) -> tuple[np.ndarray, np.ndarray]:
    vertices = np.ascontiguousarray(vertices_px, np.float32)
    faces = np.asarray(triangles)
    _check_mesh(vertices, faces, height_px, width_px)
    return vertices, np.ascontiguousarray(faces, np.int32).reshape(-1, 3)


def _check_mesh(vertices: Array, triangles: Array, height_px: int, width_px: int) -> None:
    if vertices.ndim != 3 or vertices.shape[2] != 3:
        found = tuple(vertices.shape)
        raise SamaeError(f"vertices must be (N, V, 3), but are {found}; add a batch axis for a single mesh")
    if height_px < 1 or width_px < 1:
        raise SamaeError(f"a picture of {width_px} x {height_px} px has no pixel; ask for at least 1 x 1")
    check_triangles(triangles, vertices.shape[1])


def interpolate(attributes: Array, triangles: Array, raster: "Raster[Array]") -> Array:
    """Vertex attributes at the pixels: (V, C) or (N, V, C) -> (N, H, W, C) float32, 0 where there is no mesh.

    Tensors give a tensor that is differentiable with respect to the attributes (and to the barycentrics).
    Triangles that are not the raster's or the attributes' are a SamaeError.
    """
    if isinstance(raster.triangle, torch.Tensor):
        return _interpolate_tensor(attributes, torch.as_tensor(triangles), raster)
    table = np.ascontiguousarray(attributes, np.float32)
    table = table[None] if table.ndim == 2 else table
    if table.ndim != 3 or len(table) not in (1, len(raster.triangle)):
        raise SamaeError(
            f"attributes {table.shape} do not fit {len(raster.triangle)} pictures; pass (V, C) or (N, V, C)"
        )
    faces = np.ascontiguousarray(check_triangles(np.asarray(triangles), table.shape[1]), np.int32)
    check_shown(raster.triangle, len(faces))
    out = np.empty((*raster.triangle.shape, table.shape[2]), np.float32)

    corners, channels = faces.reshape(-1).view(np.uint32), table.shape[2]

    def work(first: int, step: int) -> None:
        """Every step-th picture."""
        for n in range(first, len(out), step):
            shown, weights = raster.triangle[n].reshape(-1), raster.barycentric[n].reshape(-1)
            rows = table[n if len(table) > 1 else 0]
            kernels.interpolate_face(rows, corners, shown, weights, out[n].reshape(-1, channels))

    over_faces(work, len(out))
    return out


def _interpolate_tensor(
    attributes: torch.Tensor, triangles: torch.Tensor, raster: "Raster[torch.Tensor]"
) -> torch.Tensor:
    count = len(raster.triangle)
    table = attributes.expand(count, -1, -1) if attributes.ndim == 3 else attributes.expand(count, *attributes.shape)
    check_shown(raster.triangle, len(check_triangles(triangles, table.shape[1])))
    corners = triangles.to(raster.triangle.device).long()[raster.triangle.clamp_min(0).long()]
    batch = torch.arange(count, device=corners.device).view(-1, 1, 1, 1)
    return (table[batch, corners] * raster.barycentric[..., None].to(table.dtype)).sum(-2)


def barycentric_at(vertices_px: torch.Tensor, triangles: torch.Tensor, triangle: torch.Tensor) -> torch.Tensor:
    """Perspective-correct barycentrics of known triangles at the pixel centres, differentiable in the vertices.

    (N, V, 3) u_px, v_px, depth_mm; (T, 3); (N, H, W) index from `rasterize` -> (N, H, W, 3), 0 where the index is -1.
    Visibility is held fixed: gradients reach what is inside the silhouette, not its outline.
    """
    check_shown(triangle, len(check_triangles(triangles, vertices_px.shape[1])))
    count, height, width = triangle.shape
    corners = triangles.to(triangle.device).long()[triangle.clamp_min(0).long()]
    batch = torch.arange(count, device=triangle.device).view(-1, 1, 1, 1)
    points = vertices_px[batch, corners]
    columns = torch.arange(width, device=triangle.device, dtype=vertices_px.dtype) + 0.5
    rows = torch.arange(height, device=triangle.device, dtype=vertices_px.dtype) + 0.5
    centre = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), -1)
    to_corner = points[..., :2] - centre[None, :, :, None]
    after, before = to_corner.roll(-1, -2), to_corner.roll(-2, -2)
    edge = after[..., 0] * before[..., 1] - after[..., 1] * before[..., 0]
    weight = edge / points[..., 2]
    total = weight.sum(-1, keepdim=True)
    share = weight / torch.where(total == 0, torch.ones_like(total), total)
    return share * (triangle >= 0)[..., None]


def available_backends() -> dict[str, str]:
    """Name of each backend -> "ready", or why it cannot be used here. Cheap: nothing heavy is imported."""
    state = {"numba": "ready", "numba-one-core": "ready"}
    if importlib.util.find_spec("triton") is None:
        state["triton"] = "triton is not installed (it comes with CUDA builds of torch)"
    else:
        state["triton"] = "ready" if torch.cuda.is_available() else "no CUDA device"
    if importlib.util.find_spec("pytorch3d") is None:
        state["pytorch3d"] = "pytorch3d is not installed (optional: pip install 'samae[pytorch3d]')"
    else:
        state["pytorch3d"] = "ready"
    return state
