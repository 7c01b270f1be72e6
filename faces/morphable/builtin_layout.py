"""Where the vertices of the built-in head's skin lie in its planar layout, and how they are triangulated. Ours.

Rings of vertices round the eye, the mouth and the nostril are given; the rest is a graded hexagonal fill, relaxed.
Triangulation happens on a flat map of the left half (`flatten`: the layout itself below the dome, and the dome seen
from the side above), which is convex and nearly true to length, so that SciPy's Delaunay needs no constraints.
"""

from dataclasses import dataclass

import numpy as np
from scipy.spatial import Delaunay, cKDTree

from faces.morphable import builtin_points as table
from faces.morphable.builtin_surface import (
    CREASE_RING,
    DOME_Y,
    LAYOUT_RADIUS,
    NOSTRIL_CENTRE,
    NOSTRIL_RADII,
    OPENING_HALF_MM,
    lid_depth,
    unroll,
)

BOTTOM_B = -262.0
HALF_WIDTH = LAYOUT_RADIUS * np.pi / 2
LEVELS_MM = (1.25, 1.75, 2.5, 3.5, 5.0, 7.0, 10.0)


def flatten(chart: np.ndarray) -> np.ndarray:
    """(V, 2) layout (a >= 0) -> (V, 2) flat map of the left half, millimetres; the front midline is at +HALF_WIDTH."""
    e = np.stack([HALF_WIDTH - chart[:, 0], chart[:, 1]], 1)
    up = chart[:, 1] > DOME_Y
    theta, phi = chart[up, 0] / LAYOUT_RADIUS, (chart[up, 1] - DOME_Y) / LAYOUT_RADIUS
    dx, dy, dz = np.cos(phi) * np.sin(theta), np.sin(phi), np.cos(phi) * np.cos(theta)
    psi = np.arccos(np.clip(dx, -1, 1)) * LAYOUT_RADIUS
    length = np.maximum(np.hypot(dy, dz), 1e-12)
    e[up] = np.stack([psi * dz / length, DOME_Y + psi * dy / length], 1)
    return e


def unflatten(e: np.ndarray) -> np.ndarray:
    """The inverse of `flatten`."""
    chart = np.stack([HALF_WIDTH - e[:, 0], e[:, 1]], 1)
    up = e[:, 1] > DOME_Y
    z, y = e[up, 0], e[up, 1] - DOME_Y
    psi = np.hypot(z, y)
    s = np.sin(psi / LAYOUT_RADIUS) / np.maximum(psi, 1e-12)
    dx, dy, dz = np.cos(psi / LAYOUT_RADIUS), y * s, z * s
    phi = np.arcsin(np.clip(dy, -1, 1))
    chart[up] = np.stack([LAYOUT_RADIUS * np.arctan2(dx, dz), DOME_Y + LAYOUT_RADIUS * phi], 1)
    return chart


def _beyond(chart: np.ndarray, a: float, b: float, ra: float, rb: float) -> np.ndarray:
    """Distance (mm, roughly) of layout points outside an ellipse; 0 inside."""
    q = np.hypot((chart[:, 0] - a) / ra, (chart[:, 1] - b) / rb)
    return np.maximum(q - 1, 0) * min(ra, rb)


def spacing_mm(chart: np.ndarray) -> np.ndarray:
    """Wanted distance between neighbouring vertices at layout points, mm."""
    h = 10.5 + 0.0 * chart[:, 0]
    for a, b, ra, rb, size, growth in (
        (32.5, 1, 19, 13, 1.5, 0.13),  # eye
        (35, 22, 26, 6, 2.0, 0.3),  # brow
        (0, -66, 29, 12, 1.5, 0.13),  # mouth
        (0, -40, 21, 9, 1.25, 0.15),  # base of the nose
        (0, -16, 17, 24, 2.1, 0.15),  # bridge
        (0, -30, 62, 78, 3.2, 0.13),  # face
        (0, -95, 30, 20, 3.1, 0.15),  # chin
        (60, -90, 62, 34, 4.6, 0.1),  # jaw
    ):
        h = np.minimum(h, size + growth * _beyond(chart, a, b, ra, rb))
    return h


def catmull_rom(points: np.ndarray, count: int, closed: bool) -> np.ndarray:
    """(P, D) knots -> (count, D) samples, evenly by chord length, of the curve through them."""
    knots = np.concatenate([points, points[:1]]) if closed else points
    pad = (
        np.concatenate([points[-1:], knots, points[1:2]]) if closed else np.concatenate([knots[:1], knots, knots[-1:]])
    )
    t = np.arange((len(knots) - 1) * 24 + 1) / 24.0
    i = np.minimum(t.astype(int), len(knots) - 2)
    u = (t - i)[:, None]
    p0, p1, p2, p3 = pad[i], pad[i + 1], pad[i + 2], pad[i + 3]
    fine = 0.5 * (2 * p1 + (p2 - p0) * u + (2 * p0 - 5 * p1 + 4 * p2 - p3) * u**2 + (3 * p1 - p0 - 3 * p2 + p3) * u**3)
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(fine, axis=0), axis=1))])
    where = np.linspace(0, length[-1], count + 1)[:-1] if closed else np.linspace(0, length[-1], count)
    return np.stack([np.interp(where, length, fine[:, k]) for k in range(points.shape[1])], 1)


EYE_STEPS = 44
EYE_RINGS = ((1.0, 1.1), (2.1, 2.3), CREASE_RING, (4.6, 5.0), (6.0, 6.5))
MOUTH_STEPS = 27
LIP_RINGS = 5


def eye_opening(count: int = EYE_STEPS) -> np.ndarray:
    """(count, 2) layout of the left eye's opening, from the inner corner over the upper lid."""
    xy = catmull_rom(np.array(table.EYE_OPENING), count, closed=True)
    return unroll(np.column_stack([xy, lid_depth(xy)]))


def _named(names: tuple[str, ...]) -> np.ndarray:
    from faces.morphable.builtin_surface import control_points

    known, _, chart = control_points()
    return np.array([chart[known.index(n)] for n in names])


UPPER_INNER = ("stomion_upper", "stomion_upper_near", "stomion_upper_mid", "stomion_upper_far", "mouth_corner")
LOWER_INNER = ("stomion_lower", "stomion_lower_near", "stomion_lower_mid", "stomion_lower_far", "mouth_corner")
UPPER_OUTER = ("labrale_superius", "cupid_peak", "upper_border_mid", "upper_border_far")
LOWER_OUTER = ("labrale_inferius", "lower_border_near", "lower_border_mid", "lower_border_far")


def lip_line(names: tuple[str, ...], corner_mm: float = 0.0, count: int = MOUTH_STEPS) -> np.ndarray:
    """(count, 2) layout of one edge of the left half of a lip, midline to corner, closer spaced at the corner."""
    knots = _named(names)
    if corner_mm:
        knots = np.concatenate([knots, _named(("mouth_corner",)) + np.array([[corner_mm, 0.0]])])
    fine = catmull_rom(knots, 400, closed=False)
    where = np.sin(np.linspace(0, 1, count) ** 1.0 * np.pi / 2) * 399
    where = np.linspace(0, 1, count) * 0.45 * 399 + where * 0.55
    return np.stack([np.interp(where, np.arange(400), fine[:, k]) for k in (0, 1)], 1)


@dataclass(frozen=True)
class SkinLayout:
    """The left half's skin: layout (V, 2), triangles (T, 3), and the vertices of its loops (indices)."""

    chart: np.ndarray
    triangles: np.ndarray
    eye_loop: np.ndarray
    upper_inner: np.ndarray
    lower_inner: np.ndarray
    upper_outer: np.ndarray
    lower_outer: np.ndarray
    lip_upper: np.ndarray
    lip_lower: np.ndarray


def _lip_rings(inner: tuple[str, ...], outer: tuple[str, ...]) -> np.ndarray:
    """(LIP_RINGS, MOUTH_STEPS, 2) layout between the inner (first) and the outer edge of one lip."""
    first, last = lip_line(inner), lip_line(outer, corner_mm=1.6)
    t = np.linspace(0, 1, LIP_RINGS)[:, None, None]
    return first * (1 - t) + last * t


def _border() -> np.ndarray:
    """The edge of the flat map, spaced as the fill is: bottom, front midline, crown, back midline."""

    def march(curve: np.ndarray) -> np.ndarray:
        step = np.linalg.norm(np.diff(curve, axis=0), axis=1)
        density = step / spacing_mm(unflatten(curve))[1:]
        total = np.concatenate([[0], np.cumsum(density)])
        count = max(round(total[-1]), 1)
        return np.stack([np.interp(np.linspace(0, total[-1], count + 1), total, curve[:, k]) for k in (0, 1)], 1)

    t = np.linspace(0, np.pi, 2000)
    arc = np.stack([HALF_WIDTH * np.cos(t), DOME_Y + HALF_WIDTH * np.sin(t)], 1)
    up, across = np.linspace(BOTTOM_B, DOME_Y, 2000), np.linspace(-HALF_WIDTH, HALF_WIDTH, 500)
    parts = [
        march(np.stack([np.full(2000, HALF_WIDTH), up], 1)),
        march(arc),
        march(np.stack([np.full(2000, -HALF_WIDTH), up[::-1]], 1)),
        march(np.stack([across, np.full(500, BOTTOM_B)], 1)),
    ]
    return np.concatenate([p[:-1] for p in parts])


def _fill(fixed: np.ndarray) -> np.ndarray:
    """Graded hexagonal fill of the flat map that keeps its distance from the fixed points. (V, 2) flat map."""
    kept = fixed
    for i, level in enumerate(LEVELS_MM):
        rows = np.arange(BOTTOM_B, DOME_Y + HALF_WIDTH, level * 0.866)
        columns = np.arange(-HALF_WIDTH, HALF_WIDTH, level)
        x, y = np.meshgrid(columns, rows)
        grid = np.stack([(x + (np.arange(len(rows)) % 2)[:, None] * level / 2).ravel(), y.ravel()], 1)
        below = (np.abs(grid[:, 0]) < HALF_WIDTH) & (grid[:, 1] <= DOME_Y)
        grid = grid[below | ((grid[:, 1] > DOME_Y) & (np.hypot(grid[:, 0], grid[:, 1] - DOME_Y) < HALF_WIDTH))]
        h = spacing_mm(unflatten(grid))
        mine = np.argmin(np.abs(np.log(h[:, None] / np.array(LEVELS_MM))), axis=1) == i
        grid, h = grid[mine], h[mine]
        distance, _ = cKDTree(kept).query(grid)
        kept = np.concatenate([kept, grid[distance > 0.72 * h]])
    return kept[len(fixed) :]


def _relax(fixed: np.ndarray, free: np.ndarray, rounds: int = 5) -> np.ndarray:
    """Move free points to the mean of their Delaunay neighbours; rounded, so that machines agree."""
    for _ in range(rounds):
        points = np.concatenate([fixed, free])
        start, neighbours = Delaunay(points).vertex_neighbor_vertices
        total = np.add.reduceat(points[neighbours], start[:-1], axis=0)
        mean = total / np.diff(start)[:, None]
        free = np.round(0.3 * free + 0.7 * mean[len(fixed) :], 4)
    return free


def _inside(polygon: np.ndarray, points: np.ndarray) -> np.ndarray:
    from matplotlib.path import Path

    return Path(polygon).contains_points(points)


def skin_layout() -> SkinLayout:
    """Lay out and triangulate the left half of the skin."""
    opening = eye_opening()
    centre = unroll(np.array([[31.0, 0.0, 12.0]]))[0]
    rings = [centre + (opening - centre) * (1 + np.array(grow) / np.array(OPENING_HALF_MM)) for grow in EYE_RINGS]
    upper, lower = _lip_rings(UPPER_INNER, UPPER_OUTER), _lip_rings(LOWER_INNER, LOWER_OUTER)
    angle = np.linspace(0, 2 * np.pi, 18, endpoint=False)
    circle = np.stack([np.cos(angle), np.sin(angle)], 1)
    nostril = [NOSTRIL_CENTRE + NOSTRIL_RADII * circle[:: (2 if k < 0.5 else 1)] * k for k in (0.35, 0.72, 1.0, 1.35)]
    blocks = [opening, *rings, upper[:, :-1].reshape(-1, 2), upper[:, -1], lower[:, :-1].reshape(-1, 2)]
    given = np.concatenate([*blocks, *nostril])
    given[np.abs(given[:, 0]) < 1e-9, 0] = 0.0
    border = _border()
    on_lip = (np.abs(border[:, 0] - HALF_WIDTH) < 1e-9) & (border[:, 1] < -56.0) & (border[:, 1] > -77.2)
    fixed = np.concatenate([flatten(given), border[~on_lip]])
    free = _relax(fixed, _fill(np.concatenate([fixed, flatten(_eye_hole(opening))])))
    flat = np.concatenate([fixed, free])
    triangles = Delaunay(flat).simplices
    chart = unflatten(flat)
    chart[np.abs(chart[:, 0]) < 1e-6, 0] = 0.0
    return _cut(chart, flat, triangles, len(upper), upper, lower)


def _eye_hole(opening: np.ndarray) -> np.ndarray:
    """Points that keep the fill out of the eye's opening."""
    centre = opening.mean(0)
    return np.concatenate([centre + (opening - centre) * k for k in (0.2, 0.45, 0.7, 0.88)])


def _cut(
    chart: np.ndarray, flat: np.ndarray, triangles: np.ndarray, rings: int, upper: np.ndarray, lower: np.ndarray
) -> SkinLayout:
    """Number the loops, cut the openings of eye and mouth out, and turn triangles anticlockwise seen from outside."""
    base = EYE_STEPS * (1 + len(EYE_RINGS))
    steps = MOUTH_STEPS - 1
    up = np.arange(rings * steps).reshape(rings, steps) + base
    corners = np.arange(rings) + base + rings * steps
    low = np.arange(rings * steps).reshape(rings, steps) + base + rings * steps + rings
    lip_upper = np.concatenate([up, corners[:, None]], 1)
    lip_lower = np.concatenate([low, corners[:, None]], 1)
    eye = np.arange(EYE_STEPS)
    mouth_hole = np.concatenate([chart[lip_upper[0]], chart[lip_lower[0, :-1]][::-1]])
    centroid = chart[triangles].mean(1)
    keep = ~_inside(chart[eye], centroid) & ~_inside(mouth_hole, centroid)
    e = flat[triangles]
    area = np.cross(e[:, 1] - e[:, 0], e[:, 2] - e[:, 0])
    triangles = triangles[keep & (np.abs(area) > 1e-7)]
    area = area[keep & (np.abs(area) > 1e-7)]
    # In the flat map +x is the subject's right, so a triangle that is clockwise there is anticlockwise on the head.
    triangles = np.where(area[:, None] < 0, triangles, triangles[:, [0, 2, 1]])
    return SkinLayout(
        chart, triangles, eye, lip_upper[0], lip_lower[0], lip_upper[-1], lip_lower[-1], lip_upper, lip_lower
    )
