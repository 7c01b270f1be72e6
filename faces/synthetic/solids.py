"""Small solid things (frames of glasses): tubes as meshes, lit sample by sample; and soft shadows. Ours.

They are drawn into the picture's samples with its depth test, inside the window that they cover.
"""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from faces.compiled import kernel
from faces.render.rasterize import rasterize
from faces.synthetic.lighting import Rig
from faces.synthetic.numerics import mesh_normals, unit
from faces.synthetic.windows import window_of, window_of_mask

#: Edges of a tube's section.
SIDES = 8


@dataclass(frozen=True)
class Solid:
    """A mesh of one stuff.

    Attributes:
        points: (V, 3) float32, mm.  normals: (V, 3) float32, unit.  triangles: (T, 3) int32.
        albedo: (V, 3) float32 linear RGB.  gloss: 0..1.
    """

    points: np.ndarray
    normals: np.ndarray
    triangles: np.ndarray
    albedo: np.ndarray
    gloss: float


def tube(
    path: np.ndarray, across: np.ndarray, half: np.ndarray, squareness: float = 2.0, closed: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Mesh of a bar along a path: points (n SIDES, 3) and triangles.

    path (n, 3) mm.  across (3,): direction of the first half width; the second is square to it and the path.
    half (2,) or (n, 2): half widths, mm.  squareness: exponent of the superellipse.  closed: the path is a loop whose
    last point does not repeat the first.
    """
    heading = np.roll(path, -1, 0) - np.roll(path, 1, 0) if closed else np.gradient(path, axis=0)
    second = np.cross(heading, across)
    second, first = unit(second), unit(np.cross(second, heading))
    turn = np.linspace(0, 2 * np.pi, SIDES + 1)[:-1] + np.pi / SIDES
    x, y = (np.sign(v) * np.abs(v) ** (2 / squareness) for v in (np.cos(turn), np.sin(turn)))
    wide = np.broadcast_to(half, (len(path), 2))[:, None]
    ring = wide[..., :1] * x[None, :, None] * first[:, None] + wide[..., 1:] * y[None, :, None] * second[:, None]
    return (path[:, None] + ring).reshape(-1, 3).astype(np.float32), _tube_triangles(len(path), closed)


@lru_cache(maxsize=32)
def _tube_triangles(count: int, closed: bool) -> np.ndarray:
    """(T, 3) int32 of a tube with `count` rings."""
    i = np.arange(count if closed else count - 1)[:, None] * SIDES
    j = np.arange(SIDES)[None]
    a, b = i + j, i + (j + 1) % SIDES
    c, d = (a + SIDES) % (count * SIDES), (b + SIDES) % (count * SIDES)
    triangles = np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([b, d, c], -1).reshape(-1, 3)])
    return triangles.astype(np.int32)


def joined(tubes: list[tuple[np.ndarray, np.ndarray]], albedo: np.ndarray, gloss: float) -> Solid:
    """Tubes of one colour (3,) as one solid."""
    points, triangles = (list(part) for part in zip(*tubes, strict=True))
    starts = np.cumsum([0] + [len(p) for p in points[:-1]])
    faces = np.concatenate([t + np.int32(start) for t, start in zip(triangles, starts, strict=True)])
    every = np.concatenate(points)
    colour = np.tile(np.asarray(albedo, np.float32), (len(every), 1))
    return Solid(every, mesh_normals(every, faces), faces, colour, gloss)


@kernel
def _light_solid(
    triangle: np.ndarray, near: np.ndarray, weight: np.ndarray, faces: np.ndarray, normals: np.ndarray,
    albedo: np.ndarray, gloss: float, lamps: np.ndarray, ambient: np.ndarray, bias_mm: float, identity: int,
    colour: np.ndarray, depth: np.ndarray, ids: np.ndarray,
) -> None:  # fmt: skip
    """Shade the raster of a window into that window of the picture, in place, where nothing is nearer."""
    height, width = triangle.shape
    for y in range(height):
        for x in range(width):
            t = triangle[y, x]
            if t < 0 or near[y, x] - bias_mm >= depth[y, x]:
                continue
            a, b, c = faces[t, 0], faces[t, 1], faces[t, 2]
            w0, w1, w2 = weight[y, x, 0], weight[y, x, 1], weight[y, x, 2]
            nx = w0 * normals[a, 0] + w1 * normals[b, 0] + w2 * normals[c, 0]
            ny = w0 * normals[a, 1] + w1 * normals[b, 1] + w2 * normals[c, 1]
            nz = w0 * normals[a, 2] + w1 * normals[b, 2] + w2 * normals[c, 2]
            norm = np.sqrt(nx * nx + ny * ny + nz * nz) + 1e-6
            nx, ny, nz = nx / norm, ny / norm, nz / norm
            depth[y, x] = min(near[y, x], depth[y, x])
            ids[y, x] = identity
            up = 0.5 + 0.5 * ny
            sky = min(1.0, max(0.0, 0.5 + 2.0 * ny * nz))
            mirror = gloss * (0.02 + 0.20 * (1.0 - max(nz, 0.0)) ** 4)
            for k in range(3):
                base = w0 * albedo[a, k] + w1 * albedo[b, k] + w2 * albedo[c, k]
                total = base * (ambient[0, k] * up + ambient[1, k] * (1 - up))
                total += mirror * (ambient[0, k] * sky + 0.4 * ambient[1, k] * (1 - sky))
                for j in range(lamps.shape[0]):
                    cosine = max(0.0, nx * lamps[j, 0] + ny * lamps[j, 1] + nz * lamps[j, 2])
                    half = max(0.0, nx * lamps[j, 7] + ny * lamps[j, 8] + nz * lamps[j, 9])
                    total += lamps[j, 3 + k] * (base * cosine + gloss * 0.5 * half**28)
                colour[y, x, k] = total


def draw_solid(
    colour: np.ndarray, depth_mm: np.ndarray, ids: np.ndarray, solid: Solid, pixels: np.ndarray, normals: np.ndarray,
    rig: Rig, bias_mm: float, identity: int,
) -> None:  # fmt: skip
    """Draw a solid, in place. pixels (V, 3): u, v in samples and depth in mm; normals (V, 3): world frame."""
    window = window_of(pixels, ids.shape, 1.0)
    if window is None:
        return
    seen = pixels - np.array([window.left, window.top, 0.0], np.float32)
    size = window.bottom - window.top, window.right - window.left
    raster = rasterize(seen[None], solid.triangles, *size, "numba-one-core")
    part = window.part
    _light_solid(
        raster.triangle[0], raster.depth_mm[0], raster.barycentric[0], solid.triangles, normals, solid.albedo,
        solid.gloss, rig.lamps, rig.ambient, bias_mm, identity, colour[part], depth_mm[part], ids[part],
    )  # fmt: skip


def soft_shadow(
    colour: np.ndarray, cover: np.ndarray, spared: np.ndarray, sigma: float, shift: tuple[float, float], strength: float
) -> None:
    """Darken what lies near a thing, in place: the share of the sky that it hides.

    cover (H, W) uint8: 1 where the thing is.  spared (H, W) bool: samples that stay.  sigma, shift (right, down): in
    samples.  strength: 0..1 under the middle of a large thing.
    """
    window = window_of_mask(cover, 3 * sigma + max(abs(shift[0]), abs(shift[1])))
    if window is None:
        return
    part = window.part
    soft = cv2.GaussianBlur(cover[part].astype(np.float32), (0, 0), sigma)
    move = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float32)
    soft = cv2.warpAffine(soft, move, soft.shape[::-1])
    soft[spared[part]] = 0.0
    colour[part] *= (1.0 - strength * soft)[..., None]
