"""The smooth skin of the built-in head: an analytic skull carried to the control points by a radial spline. Ours.

The planar layout (a, b), in millimetres: a = 75 θ, where θ is the angle about the vertical axis of the skull (0 in
front, positive to the subject's left), b = height below `DOME_Y`, and arc length up the dome above it. `skull` maps it
to a cylinder under half an ellipsoid; the residual of the control points to it is interpolated with the polyharmonic
spline r³ over the skull's surface (smoother than thin plates: Duchon 1977), so that there is no seam and no pole.
"""

from functools import lru_cache
from itertools import pairwise

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.spatial.distance import cdist

from faces.morphable import builtin_points as table

LAYOUT_RADIUS = 75.0
SKULL_X, SKULL_Z, SKULL_HEIGHT = 74.0, 92.0, 83.0
AXIS_Z, DOME_Y = -68.0, 35.0


def skull(chart: np.ndarray) -> np.ndarray:
    """(V, 2) layout (a, b) -> (V, 3) points of the analytic skull, millimetres."""
    theta, phi = chart[:, 0] / LAYOUT_RADIUS, np.clip((chart[:, 1] - DOME_Y) / LAYOUT_RADIUS, 0, np.pi / 2)
    height = np.where(chart[:, 1] > DOME_Y, DOME_Y + SKULL_HEIGHT * np.sin(phi), chart[:, 1])
    return np.stack([SKULL_X * np.sin(theta) * np.cos(phi), height, AXIS_Z + SKULL_Z * np.cos(theta) * np.cos(phi)], 1)


def unroll(points: np.ndarray) -> np.ndarray:
    """(V, 3) points near the skull -> (V, 2) layout (a, b): the plain unrolling, used where a table names no layout."""
    theta = np.arctan2(points[:, 0] / SKULL_X, (points[:, 2] - AXIS_Z) / SKULL_Z)
    phi = np.arcsin(np.clip((points[:, 1] - DOME_Y) / SKULL_HEIGHT, 0, 1))
    b = np.where(points[:, 1] > DOME_Y, DOME_Y + LAYOUT_RADIUS * phi, points[:, 1])
    return np.stack([LAYOUT_RADIUS * theta, b], 1)


def lid_depth(xy: np.ndarray) -> np.ndarray:
    """(V, 2) x, y of the left lid margin -> (V,) z: on the eyeball in the middle, running out to the two corners."""
    cx = table.EYE_CENTRE[0]
    x, y = xy[:, 0] - cx, xy[:, 1]
    reach = table.EYE_RADIUS_MM + 1.7
    ball = np.sqrt(np.clip(reach**2 - x**2 - y**2, 0, None))
    corner = np.where(x < 0, table.INNER_CANTHUS_Z, table.OUTER_CANTHUS_Z)
    blend = np.clip((np.abs(x) - 9.0) / 5.5, 0, 1)
    blend = blend * blend * (3 - 2 * blend)
    return ball * (1 - blend) + corner * blend


@lru_cache(maxsize=1)
def control_points() -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """Names, (C, 3) positions and (C, 2) layout of the left half's control points."""
    names, points, charts = [], [], []
    for name, (y, row) in table.ROWS.items():
        for i, (x, z) in enumerate(row):
            names.append(f"{name}_{i}")
            points.append((x, y, z))
            charts.append((np.nan, np.nan))
    for name, values in table.POINTS.items():
        names.append(name)
        points.append((values[0], values[1], values[2]))
        charts.append(values[3:] if len(values) == 5 else (np.nan, np.nan))
    opening = np.array(table.EYE_OPENING)
    for i, (x, y, z) in enumerate(np.column_stack([opening, lid_depth(opening)])):
        names.append(f"lid_{i}")
        points.append((x, y, z))
        charts.append((np.nan, np.nan))
    position, chart = np.array(points, dtype=np.float64), np.array(charts, dtype=np.float64)
    plain = np.isnan(chart[:, 0])
    chart[plain] = unroll(position[plain])
    return tuple(names), position, chart


class Spline:
    """Residual of the control points to the skull, interpolated with r³ and an affine part over skull points."""

    def __init__(self) -> None:
        names, position, chart = control_points()
        stiffness = np.array([table.stiffness(name) for name in names])
        twin = position[:, 0] > 1e-9
        mirror = np.array([-1.0, 1.0, 1.0])
        source = skull(chart)
        residual = position - source
        self.nodes = np.concatenate([source, source[twin] * mirror])
        values = np.concatenate([residual, residual[twin] * mirror])
        count = len(self.nodes)
        system = np.zeros((count + 4, count + 4))
        system[:count, :count] = cdist(self.nodes, self.nodes) ** 3
        system[np.arange(count), np.arange(count)] += np.concatenate([stiffness, stiffness[twin]])
        system[:count, count:] = self._affine(self.nodes)
        system[count:, :count] = system[:count, count:].T
        self.weights = np.linalg.solve(system, np.concatenate([values, np.zeros((4, 3))]))

    @staticmethod
    def _affine(points: np.ndarray) -> np.ndarray:
        return np.concatenate([np.ones((len(points), 1)), points / 100.0], 1)

    def __call__(self, chart: np.ndarray) -> np.ndarray:
        """(V, 2) layout -> (V, 3) millimetres."""
        source = skull(chart)
        kernel = np.concatenate([cdist(source, self.nodes) ** 3, self._affine(source)], 1)
        return source + kernel @ self.weights


@lru_cache(maxsize=1)
def spline() -> Spline:
    """The one spline of the head, solved once a process."""
    return Spline()


def surface(chart: np.ndarray) -> np.ndarray:
    """(V, 2) layout of the left half -> (V, 3) skin, with lids that lie on the eyeball and nostrils. Millimetres."""
    points = spline()(np.asarray(chart, dtype=np.float64))
    points = _over_eyeball(points)
    points = _lid_crease(points)
    points = _alar_groove(points, chart)
    return _nostril(points, chart)


def _over_eyeball(points: np.ndarray) -> np.ndarray:
    offset = points - np.array(table.EYE_CENTRE)
    near = (np.abs(offset[:, 0]) < 17) & (np.abs(offset[:, 1]) < 16) & (offset[:, 2] > -2)
    distance = np.linalg.norm(offset, axis=1)
    reach, soft = table.EYE_RADIUS_MM + 1.35, 0.45
    lifted = reach + soft * np.logaddexp(0, (distance - reach) / soft)
    scale = np.where(near, lifted / np.maximum(distance, 1e-9), 1.0)
    return np.array(table.EYE_CENTRE) + offset * scale[:, None]


#: the fold of the upper lid runs along the third ring of vertices round the eye's opening: growth along x and y, mm.
CREASE_RING = (3.3, 3.6)
OPENING_HALF_MM = (15.5, 5.3)


@lru_cache(maxsize=1)
def _crease_curve() -> np.ndarray:
    xy = np.array(table.EYE_OPENING)[:10] - [31.0, 0.0]
    return xy * (1 + np.array(CREASE_RING) / np.array(OPENING_HALF_MM)) + [31.0 - table.EYE_CENTRE[0], 0.0]


def crease_height(x_from_centre: np.ndarray) -> np.ndarray:
    """Height of the fold of the left upper lid over the eye's centre, mm, at x (positive towards the outer corner)."""
    curve = _crease_curve()
    return PchipInterpolator(curve[:, 0], curve[:, 1])(np.clip(x_from_centre, curve[0, 0], curve[-1, 0]))


def _lid_crease(points: np.ndarray) -> np.ndarray:
    x, y = points[:, 0] - table.EYE_CENTRE[0], points[:, 1]
    above = y - crease_height(x)
    along = np.clip(1 - (np.abs(x - 0.8) / 17.0) ** 4, 0, 1) * (points[:, 2] > -5)
    groove = -1.1 * np.exp(-((above / 1.0) ** 2)) + 0.8 * np.exp(-(((above - 2.6) / 1.9) ** 2))
    moved = points.copy()
    moved[:, 2] += groove * along
    return moved


#: groove behind the wing of the nose in the layout, and where the wing itself is full.
ALAR_GROOVE = ((11.5, -31.2), (15.0, -32.0), (18.4, -34.2), (20.0, -38.0), (20.0, -42.0), (18.2, -45.8))


def to_line(points: np.ndarray, line: np.ndarray) -> np.ndarray:
    """(V,) distance of (V, 2) points to a polyline (P, 2)."""
    best = np.full(len(points), np.inf)
    for a, b in pairwise(line):
        t = np.clip(((points - a) @ (b - a)) / ((b - a) @ (b - a)), 0, 1)
        best = np.minimum(best, np.linalg.norm(points - a - t[:, None] * (b - a), axis=1))
    return best


def _alar_groove(points: np.ndarray, chart: np.ndarray) -> np.ndarray:
    near = to_line(chart, np.array(ALAR_GROOVE))
    fade = np.clip((chart[:, 0] - 10.0) / 5.0, 0, 1)
    full = np.exp(-((((chart - [14.6, -39.0]) / [3.6, 4.6]) ** 2).sum(1)))
    moved = points.copy()
    moved[:, 2] += -1.3 * fade * np.exp(-((near / 1.5) ** 2)) + 0.7 * full
    moved[:, 0] += 0.5 * full
    return moved


NOSTRIL_CENTRE, NOSTRIL_RADII = np.array([7.7, -43.6]), np.array([3.3, 2.5])


def _nostril(points: np.ndarray, chart: np.ndarray) -> np.ndarray:
    inside = (((chart - NOSTRIL_CENTRE) / NOSTRIL_RADII) ** 2).sum(1)
    depth = np.clip(1 - inside / 1.15, 0, 1)
    depth = depth * depth * (3 - 2 * depth)
    return points + depth[:, None] * np.array([-0.4, 7.5, -2.5])
