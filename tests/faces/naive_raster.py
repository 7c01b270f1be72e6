"""The rasteriser as it is defined, without any cleverness: one triangle after the other, every pixel of the picture.

Rules: faces/render/rasterize.py. Every backend must give the same index, and barycentrics and depth to 1e-5.
"""

import numpy as np

ONE = 1024
NEAR_MM, FAR_MM, LIMIT_PX = 1.0, 1e9, 524288.0


def naive_rasterize(vertices: np.ndarray, triangles: np.ndarray, height: int, width: int) -> tuple[np.ndarray, ...]:
    """One mesh, (V, 3) float32 and (T, 3) -> triangle (H, W), barycentric (H, W, 3), depth (H, W)."""
    vertices = np.asarray(vertices, np.float32)
    best = np.zeros((height, width), np.float32)
    triangle = np.full((height, width), -1, np.int32)
    barycentric = np.zeros((height, width, 3), np.float32)
    depth = np.full((height, width), np.inf, np.float32)
    x, y = np.meshgrid(np.arange(width) * ONE + ONE // 2, np.arange(height) * ONE + ONE // 2)
    for t, corners in enumerate(triangles):
        points = vertices[corners]
        if not all(usable(point) for point in points):
            continue
        a, b, c = (snapped(point) for point in points)
        area = edge(a, b, *c)
        if area == 0:
            continue
        nearness = 1.0 / points[:, 2].astype(np.float64)
        sides = ((b, c), (c, a), (a, b))
        e = [edge(p, q, x, y) for p, q in sides]
        sign = 1 if area > 0 else -1
        inside = np.ones((height, width), bool)
        for value, (p, q) in zip(e, sides, strict=True):
            inside &= (sign * value > 0) | ((value == 0) & is_top_or_left(p, q, sign))
        near = ((e[0] * nearness[0] + e[1] * nearness[1] + e[2] * nearness[2]) * (1.0 / area)).astype(np.float32)
        wins = inside & ((triangle < 0) | (near > best))
        weight = np.stack([e[i] * nearness[i] for i in range(3)], -1)
        with np.errstate(all="ignore"):
            total = weight.sum(-1)
            best[wins], triangle[wins] = near[wins], t
            barycentric[wins] = (weight / total[..., None])[wins]
            depth[wins] = (area / total)[wins]
    return triangle, barycentric, depth


def usable(point: np.ndarray) -> bool:
    """Finite, in front of the camera, and within the range of positions."""
    return bool(NEAR_MM < point[2] < FAR_MM and abs(point[0]) < LIMIT_PX and abs(point[1]) < LIMIT_PX)


def snapped(point: np.ndarray) -> tuple[int, int]:
    """Position in whole 1/1024 px."""
    position = np.floor(point[:2] * np.float32(ONE) + np.float32(0.5))
    return int(position[0]), int(position[1])


def edge(p: tuple[int, int], q: tuple[int, int], x: np.ndarray | int, y: np.ndarray | int) -> np.ndarray | int:
    """Twice the signed area of p, q and (x, y), exact."""
    return (q[0] - p[0]) * (y - p[1]) - (q[1] - p[1]) * (x - p[0])


def is_top_or_left(p: tuple[int, int], q: tuple[int, int], sign: int) -> bool:
    """Whether the side from p to q of a triangle whose area has this sign is a top or a left one (v points down)."""
    dx, dy = sign * (q[0] - p[0]), sign * (q[1] - p[1])
    return dy < 0 or (dy == 0 and dx > 0)
