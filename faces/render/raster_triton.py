"""The rasteriser on CUDA (Triton). Imported only for CUDA tensors; the rules are those of faces/render/rasterize.py.

Two kernels. The first gives every triangle one lane: it walks its bounding box and enters a 64-bit key, nearness above
inverted index, by an atomic maximum, so that depth and ties are settled as on the CPU whatever the order. The second
gives every pixel one lane and solves barycentrics. Positions are whole numbers and edge functions 64-bit integers;
nearness is float64 with products and sums rounded separately (no fused multiply-add), so the index is the CPU's bit for
bit. Bytes that must move, per face: 12 V + 12 T + 16 H W (keys, twice) + 20 H W, see `bytes_moved`.

Never run on a GPU so far: Triton's interpreter (TRITON_INTERPRET=1) gave the reference's index, barycentrics and depth
to the bit, and the test marked `gpu` holds a real device to it.
"""

import torch
import triton
import triton.language as tl

from faces.errors import SamaeError

_LANES = 128


@triton.jit
def _corner(vertices, triangles, mesh, t, k: tl.constexpr, n_vertices, live):  # type: ignore[no-untyped-def]
    """Position in 1/1024 px (int64), 1 / depth (float64) and usability of corner k of triangles t."""
    vertex = tl.load(triangles + 3 * t + k, mask=live, other=0).to(tl.int64)
    base = vertices + (mesh.to(tl.int64) * n_vertices + vertex) * 3
    u, v = tl.load(base, mask=live, other=0.0), tl.load(base + 1, mask=live, other=0.0)
    depth = tl.load(base + 2, mask=live, other=0.0)
    usable = live & (depth > 1.0) & (depth < 1.0e9) & (tl.abs(u) < 524288.0) & (tl.abs(v) < 524288.0)
    x = tl.floor(tl.where(usable, u, 0.0) * 1024.0 + 0.5).to(tl.int64)
    y = tl.floor(tl.where(usable, v, 0.0) * 1024.0 + 0.5).to(tl.int64)
    return x, y, 1.0 / tl.where(usable, depth, 1.0).to(tl.float64), usable


@triton.jit
def _bias(dx, dy):  # type: ignore[no-untyped-def]
    """0 for a top or left edge, whose points belong to the triangle, else -1."""
    return tl.where((dy < 0) | ((dy == 0) & (dx > 0)), 0, -1).to(tl.int64)


@triton.jit
def _draw(vertices, triangles, keys, n_vertices, n_triangles, width, height, lanes: tl.constexpr):  # type: ignore[no-untyped-def]
    mesh = tl.program_id(1)
    t = tl.program_id(0) * lanes + tl.arange(0, lanes)
    live = t < n_triangles
    ax, ay, na, a_ok = _corner(vertices, triangles, mesh, t, 0, n_vertices, live)
    bx, by, nb, b_ok = _corner(vertices, triangles, mesh, t, 1, n_vertices, live)
    cx, cy, nc, c_ok = _corner(vertices, triangles, mesh, t, 2, n_vertices, live)
    area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    live = a_ok & b_ok & c_ok & (area != 0)
    sign = tl.where(area < 0, -1, 1).to(tl.int64)
    inverse = 1.0 / tl.where(area != 0, area, 1).to(tl.float64)
    left = tl.maximum((tl.minimum(tl.minimum(ax, bx), cx) + 511) >> 10, 0)
    right = tl.minimum((tl.maximum(tl.maximum(ax, bx), cx) + 511) >> 10, width)
    top = tl.maximum((tl.minimum(tl.minimum(ay, by), cy) + 511) >> 10, 0)
    bottom = tl.minimum((tl.maximum(tl.maximum(ay, by), cy) + 511) >> 10, height)
    across = tl.where(live, tl.maximum(right - left, 0), 0)
    count = across * tl.maximum(bottom - top, 0)
    bias0 = _bias(sign * (cx - bx), sign * (cy - by))
    bias1 = _bias(sign * (ax - cx), sign * (ay - cy))
    bias2 = _bias(sign * (bx - ax), sign * (by - ay))
    base = keys + mesh.to(tl.int64) * width * height
    for step in range(0, tl.max(count, 0)):
        row = step // tl.maximum(across, 1)
        x, y = left + step - row * across, top + row
        px, py = x * 1024 + 512, y * 1024 + 512
        e0 = (cx - bx) * (py - by) - (cy - by) * (px - bx)
        e1 = (ax - cx) * (py - cy) - (ay - cy) * (px - cx)
        e2 = (bx - ax) * (py - ay) - (by - ay) * (px - ax)
        inside = (step < count) & (((sign * e0 + bias0) | (sign * e1 + bias1) | (sign * e2 + bias2)) >= 0)
        near = (e0.to(tl.float64) * na + e1.to(tl.float64) * nb + e2.to(tl.float64) * nc) * inverse
        bits = near.to(tl.float32).to(tl.int32, bitcast=True).to(tl.int64)
        tl.atomic_max(base + y * width + x, (bits << 32) | (2147483647 - t), mask=inside)


@triton.jit
def _solve(vertices, triangles, keys, triangle, weights, depth, n_vertices, width, pixels, lanes: tl.constexpr):  # type: ignore[no-untyped-def]
    mesh = tl.program_id(1)
    p = tl.program_id(0) * lanes + tl.arange(0, lanes)
    live = p < pixels
    spot = mesh.to(tl.int64) * pixels + p
    key = tl.load(keys + spot, mask=live, other=-1)
    covered = live & (key >= 0)
    t = tl.where(covered, 2147483647 - (key & 2147483647), 0)
    ax, ay, na, _ = _corner(vertices, triangles, mesh, t, 0, n_vertices, covered)
    bx, by, nb, _ = _corner(vertices, triangles, mesh, t, 1, n_vertices, covered)
    cx, cy, nc, _ = _corner(vertices, triangles, mesh, t, 2, n_vertices, covered)
    px, py = (p % width).to(tl.int64) * 1024 + 512, (p // width).to(tl.int64) * 1024 + 512
    e0 = (cx - bx) * (py - by) - (cy - by) * (px - bx)
    e1 = (ax - cx) * (py - cy) - (ay - cy) * (px - cx)
    e2 = (bx - ax) * (py - ay) - (by - ay) * (px - ax)
    wa, wb, wc = e0.to(tl.float64) * na, e1.to(tl.float64) * nb, e2.to(tl.float64) * nc
    share = 1.0 / tl.where(covered, wa + wb + wc, 1.0)
    tl.store(triangle + spot, tl.where(covered, t, -1).to(tl.int32), mask=live)
    tl.store(weights + 3 * spot, tl.where(covered, wa * share, 0.0).to(tl.float32), mask=live)
    tl.store(weights + 3 * spot + 1, tl.where(covered, wb * share, 0.0).to(tl.float32), mask=live)
    tl.store(weights + 3 * spot + 2, tl.where(covered, wc * share, 0.0).to(tl.float32), mask=live)
    far = tl.where(covered, (e0 + e1 + e2).to(tl.float64) * share, float("inf"))
    tl.store(depth + spot, far.to(tl.float32), mask=live)


def rasterize_triton(
    vertices: torch.Tensor, triangles: torch.Tensor, height_px: int, width_px: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(N, V, 3) u_px, v_px, depth_mm and (T, 3) -> triangle, barycentric, depth as in `rasterize`, on the GPU."""
    if not torch.cuda.is_available():
        raise SamaeError("the Triton rasteriser needs a CUDA device; choose backend 'numba' here")
    device = vertices.device if vertices.is_cuda else torch.device("cuda")
    points = vertices.to(device, torch.float32).contiguous()
    faces = triangles.to(device, torch.int32).contiguous()
    count, n_vertices, pixels = len(points), points.shape[1], height_px * width_px
    keys = torch.full((count, pixels), -1, dtype=torch.int64, device=device)
    triangle = torch.empty((count, height_px, width_px), dtype=torch.int32, device=device)
    weights = torch.empty((count, height_px, width_px, 3), dtype=torch.float32, device=device)
    depth = torch.empty((count, height_px, width_px), dtype=torch.float32, device=device)
    if count and len(faces):
        grid = (triton.cdiv(len(faces), _LANES), count)
        _draw[grid](
            points, faces, keys, n_vertices, len(faces), width_px, height_px, lanes=_LANES, enable_fp_fusion=False
        )
    if count:
        grid = (triton.cdiv(pixels, _LANES), count)
        _solve[grid](
            points, faces, keys, triangle, weights, depth, n_vertices, width_px, pixels,
            lanes=_LANES, enable_fp_fusion=False,
        )  # fmt: skip
    return triangle, weights, depth


def bytes_moved(n_vertices: int, n_triangles: int, height_px: int, width_px: int) -> int:
    """Least bytes a face must move to and from memory: inputs once, keys written and read once, outputs once."""
    return 12 * n_vertices + 12 * n_triangles + (2 * 8 + 20) * height_px * width_px
