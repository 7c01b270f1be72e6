"""`samae bench raster`: triangle index, barycentrics and depth of a head of 35,000 vertices and 70,000 triangles.

The head is a bumpy ellipsoid of human size (34,812 vertices, 69,620 triangles, closed, so half of it faces away), drawn
at 224 px as an FFHQ crop frames a head. Figures are medians over repeated calls of whole batches, outputs allocated in
each call as a caller's are; `best` is the quickest call, what an idle machine gives. Geometry and protocol: ours.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from faces.camera import Camera, head_to_camera, project
from faces.compiled import cores
from faces.render.rasterize import available_backends, rasterize

SUMMARY = "rasteriser: index, barycentrics and depth of a 70,000-triangle head at 224 px"
#: What `--set` may name.
SETTINGS: tuple[str, ...] = ("size_px", "batch", "repeats", "frequency")


def run(settings: dict[str, Any]) -> dict[str, float | int | str]:
    """Figures of this machine. Settings, all optional: size_px 224, batch 8, repeats 30, frequency 59 (of the mesh)."""
    size_px, batch, repeats = (int(settings.get(k, d)) for k, d in (("size_px", 224), ("batch", 8), ("repeats", 30)))
    vertices, triangles = geodesic_head(int(settings.get("frequency", 59)))
    views = head_views(vertices, batch, size_px)
    one, best = call_seconds(lambda: rasterize(views, triangles, size_px, size_px, "numba-one-core"), repeats)
    cpu, _ = call_seconds(
        lambda: rasterize(views, triangles, size_px, size_px, "numba-one-core"), repeats, time.thread_time
    )
    every, _ = call_seconds(lambda: rasterize(views, triangles, size_px, size_px, "numba"), repeats)
    figures: dict[str, float | int | str] = {
        "ms_per_face_one_core": round(1e3 * one / batch, 4),
        "ms_per_face_one_core_best": round(1e3 * best / batch, 4),
        "cpu_ms_per_face_one_core": round(1e3 * cpu / batch, 4),
        "faces_per_s_one_core": round(batch / one, 1),
        "faces_per_s_all_cores": round(batch / every, 1),
        "cores": cores(),
        "vertices": len(vertices),
        "triangles": len(triangles),
        "size_px": size_px,
        "batch_faces": batch,
    }
    return figures | gpu_figures(views, triangles, size_px, repeats)


def gpu_figures(views: np.ndarray, triangles: np.ndarray, size_px: int, repeats: int) -> dict[str, float | int | str]:
    """Faces a second on the GPU, and the share of the time that its memory needs for the bytes that must move."""
    state = available_backends()["triton"]
    if state != "ready":
        return {"gpu": state}
    from faces.render.raster_triton import bytes_moved

    points = torch.from_numpy(np.concatenate([views] * 8)).cuda()
    faces = torch.from_numpy(triangles).cuda()

    def draw() -> None:
        rasterize(points, faces, size_px, size_px)
        torch.cuda.synchronize()

    seconds, _ = call_seconds(draw, repeats)
    moved = bytes_moved(points.shape[1], len(faces), size_px, size_px) * len(points)
    block = torch.empty(2**28, dtype=torch.uint8, device="cuda")

    def copy() -> None:
        block.copy_(block.clone())
        torch.cuda.synchronize()

    bytes_per_s = 4 * block.numel() / call_seconds(copy, repeats)[0]
    return {
        "gpu": torch.cuda.get_device_name(),
        "faces_per_s_gpu": round(len(points) / seconds, 1),
        "faces_per_s_gpu_memory_floor": round(len(points) * bytes_per_s / moved, 1),
    }


def call_seconds(
    work: Callable[[], Any], repeats: int, clock: Callable[[], float] = time.perf_counter
) -> tuple[float, float]:
    """Median and least time of one call, after three calls to warm up; time.thread_time ignores what others run."""
    times = []
    for _ in range(3 + repeats):
        start = clock()
        work()
        times.append(clock() - start)
    return statistics.median(times[3:]), min(times[3:])


def head_views(vertices: np.ndarray, count: int, size_px: int) -> np.ndarray:
    """The head in `count` poses -> (count, V, 3) float32 u_px, v_px, depth_mm."""
    rotation = np.random.default_rng(0).normal(0, 0.2, (count, 3))
    turned = head_to_camera(np.repeat(vertices[None], count, 0), rotation, np.tile([0, 0, 1150.0], (count, 1)))
    return project(turned, Camera.centred(size_px)).astype(np.float32)


def geodesic_head(frequency: int) -> tuple[np.ndarray, np.ndarray]:
    """An icosahedron subdivided `frequency` times a side, blown up to a bumpy ellipsoid of a head's size.

    -> (10 f^2 + 2, 3) float32 millimetres and (20 f^2, 3) int32, anticlockwise seen from outside.
    """
    golden = (1 + 5**0.5) / 2
    base = np.array([v for s in (1, -1) for q in (golden, -golden) for v in ((0, s, q), (s, q, 0), (q, 0, s))])
    near = np.isclose(np.linalg.norm(base[:, None] - base[None], axis=-1), 2.0)
    sides = [
        (a, b, c) for a in range(12) for b in range(a) for c in range(b) if near[a, b] and near[b, c] and near[a, c]
    ]
    i, j = (m.ravel() for m in np.meshgrid(np.arange(frequency + 1), np.arange(frequency + 1), indexing="ij"))
    i, j = i[i + j <= frequency], j[i + j <= frequency]
    number = np.full((frequency + 2, frequency + 2), -1)
    number[i, j] = np.arange(len(i))
    up = np.stack([number[i, j], number[i + 1, j], number[i, j + 1]], -1)
    down = np.stack([number[i + 1, j], number[i + 1, j + 1], number[i, j + 1]], -1)
    local = np.concatenate([up[(up >= 0).all(1)], down[(down >= 0).all(1)]])
    local = local[np.argsort(local.min(1), kind="stable")]
    points: list[np.ndarray] = []
    triangles: list[np.ndarray] = []
    for corners in sides:
        a, b, c = base[list(corners)]
        b, c = (b, c) if np.dot(np.cross(b - a, c - a), a) > 0 else (c, b)
        triangles.append(local + len(i) * len(points))
        points.append((a * (frequency - i - j)[:, None] + b * i[:, None] + c * j[:, None]) / frequency)
    directions, faces = _merged(np.concatenate(points), np.concatenate(triangles))
    x, y, z = directions.T
    radius = 1 + 0.04 * np.sin(5 * x) * np.cos(7 * y) + 0.02 * np.sin(23 * z + 9 * y)
    return (directions * radius[:, None] * [75, 110, 95]).astype(np.float32), faces


def _merged(points: np.ndarray, triangles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unit directions with those of shared sides counted once, in the order of their first use."""
    unit = points / np.linalg.norm(points, axis=1, keepdims=True)
    _, first, inverse = np.unique(np.round(unit, 6) + 0.0, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return unit[first[order]], rank[inverse.ravel()][triangles].astype(np.int32)
