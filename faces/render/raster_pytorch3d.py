"""PyTorch3D as a rasteriser, where somebody has built it. Imported only when that backend is asked for.

PyTorch3D keeps its own fill rule and float32 edges, so pixels on the border between two triangles may differ from the
other backends; it also computes no tie rule. Use it to compare, not where pixels must be the same everywhere.
"""

import torch

from faces.errors import SamaeError
from faces.render.kernels import FAR_MM, LIMIT_PX, NEAR_MM


def rasterize_pytorch3d(
    vertices: torch.Tensor, triangles: torch.Tensor, height_px: int, width_px: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(N, V, 3) u_px, v_px, depth_mm and (T, 3) -> triangle, barycentric, depth as in `rasterize`."""
    try:
        from pytorch3d.renderer.mesh import rasterize_meshes
        from pytorch3d.structures import Meshes
    except ImportError as error:
        raise SamaeError(
            "pytorch3d is not installed; choose backend 'numba', or pip install 'samae[pytorch3d]'"
        ) from error
    usable = vertices.isfinite().all(-1) & (vertices[..., 2] > float(NEAR_MM)) & (vertices[..., 2] < float(FAR_MM))
    usable &= (vertices[..., :2].abs() < float(LIMIT_PX)).all(-1)
    faces = triangles.to(vertices.device).long()
    kept = [faces[ok[faces].all(-1)] for ok in usable]
    origin = [torch.nonzero(ok[faces].all(-1))[:, 0] for ok in usable]
    # PyTorch3D: x to the left, y up, the shorter side spans [-1, 1].
    half = min(height_px, width_px) / 2
    screen = torch.stack([(width_px / 2 - vertices[..., 0]) / half, (height_px / 2 - vertices[..., 1]) / half], -1)
    points = torch.cat([screen, vertices[..., 2:]], -1).nan_to_num(0, 0, 0)
    index, depth, weights, _ = rasterize_meshes(
        Meshes(list(points), kept), (height_px, width_px), blur_radius=0.0, faces_per_pixel=1, perspective_correct=True
    )
    index, covered = index[..., 0], index[..., 0] >= 0
    triangle = torch.where(covered, torch.cat(origin)[index.clamp_min(0)], -1).int()
    far = torch.full_like(depth[..., 0], torch.inf)
    return triangle, weights[..., 0, :] * covered[..., None], torch.where(covered, depth[..., 0], far)
