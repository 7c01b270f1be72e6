"""The parts of the built-in head that are not skin: eyeballs, lid edges, mouth cavity, teeth, tongue, ears. Ours.

Every function makes the subject's left half or left part as a `Piece`; builtin_mesh.py mirrors it. Millimetres, head
frame. Triangles are anticlockwise seen from where the part is looked at (the mouth's cavity from inside the mouth).
"""

from dataclasses import dataclass

import numpy as np

from faces.morphable import builtin_points as table


@dataclass(frozen=True)
class Piece:
    """A part of the left half: (V, 3) positions, (T, 3) triangles, its name, and (V, 2) coordinates of its own."""

    points: np.ndarray
    triangles: np.ndarray
    part: str
    local: np.ndarray


def grid_triangles(rows: int, columns: int, closed: bool = False, flip: bool = False) -> np.ndarray:
    """Triangles of a rows x columns grid of vertices (row-major); `closed` joins the last column to the first."""
    r, c = np.meshgrid(np.arange(rows - 1), np.arange(columns if closed else columns - 1), indexing="ij")
    n = (c + 1) % columns
    a, b, d, e = r * columns + c, r * columns + n, (r + 1) * columns + c, (r + 1) * columns + n
    triangles = np.concatenate([np.stack([a, b, e], -1).reshape(-1, 3), np.stack([a, e, d], -1).reshape(-1, 3)])
    return triangles[:, ::-1] if flip else triangles


EYE_ANGLES_DEGREES = (4, 8, 11, 15, 19, 23, 26, 28.0, 30.0, 33, 38, 45, 54, 65, 78, 95, 120, 150)
EYE_SEGMENTS = 28


def eyeball() -> Piece:
    """The left eyeball: a sphere whose pole is the pupil. `local` = (angle from the pole, turn), radians."""
    angle = np.radians(EYE_ANGLES_DEGREES)
    turn = np.arange(EYE_SEGMENTS) * 2 * np.pi / EYE_SEGMENTS
    s, t = np.meshgrid(angle, turn, indexing="ij")
    local = np.concatenate([[[0.0, 0.0]], np.stack([s, t], -1).reshape(-1, 2), [[np.pi, 0.0]]])
    unit = np.stack(
        [np.sin(local[:, 0]) * np.cos(local[:, 1]), np.sin(local[:, 0]) * np.sin(local[:, 1]), np.cos(local[:, 0])], 1
    )
    rings = len(angle)
    body = grid_triangles(rings, EYE_SEGMENTS, closed=True, flip=True) + 1
    i = np.arange(EYE_SEGMENTS)
    n = (i + 1) % EYE_SEGMENTS
    last = 1 + (rings - 1) * EYE_SEGMENTS
    front = np.stack([np.zeros_like(i), i + 1, n + 1], 1)
    back = np.stack([np.full_like(i, 1 + rings * EYE_SEGMENTS), n + last, i + last], 1)
    points = np.array(table.EYE_CENTRE) + table.EYE_RADIUS_MM * unit
    return Piece(points, np.concatenate([front, body, back]), "eye_left", local)


def lid_edge(loop: np.ndarray) -> Piece:
    """Thickness of the lids: rings from the opening's edge (E, 3) to the eyeball and behind it. `local` = (ring, step).

    The first ring repeats the edge of the skin (the caller joins them); the corners become the pink flesh of the eye.
    """
    centre = np.array(table.EYE_CENTRE)
    offset = loop - centre
    length = np.linalg.norm(offset, axis=1, keepdims=True)
    rings = [loop]
    middle = np.array([1.0, 0.0, 0.0]) * (loop.mean(0) - centre)
    for inward, radius in ((0.05, 0.75), (0.07, 0.12), (0.0, -0.35), (-0.28, -0.5)):
        p = offset - np.array([1.0, 1.0, 0.0]) * (offset - middle) * inward
        p[:, 2] -= 1.2 * (radius < 0.3)
        q = p / np.linalg.norm(p, axis=1, keepdims=True)
        away = table.EYE_RADIUS_MM + radius
        reach = np.where(
            length > table.EYE_RADIUS_MM + 2.0, np.minimum(length, away + (length - away) * 0.25 * (radius > 0)), away
        )
        rings.append(centre + q * reach)
    points = np.concatenate(rings)
    steps = len(loop)
    local = np.stack(np.meshgrid(np.arange(len(rings)), np.arange(steps), indexing="ij"), -1).reshape(-1, 2)
    return Piece(points, grid_triangles(len(rings), steps, closed=True, flip=True), "skin", local.astype(float))


#: rings of the cavity behind the lips: (outward along y, back along z, narrowing of x), millimetres and a factor.
CAVITY_RINGS = (
    (0.3, 1.6, 1.0),
    (1.6, 3.2, 0.99),
    (6.0, 5.0, 0.97),
    (11.0, 9.0, 0.93),
    (14.0, 20.0, 0.86),
    (13.0, 38.0, 0.7),
    (5.0, 50.0, 0.4),
)


def mouth_cavity(upper: np.ndarray, lower: np.ndarray) -> Piece:
    """The bag behind the lips, from the inner edges (M, 3) of upper and lower lip, midline to corner.

    `local` = (ring, 1 above .. -1 below). The first ring repeats the lips' edge; the last vertex is the throat.
    """
    edge = np.concatenate([upper, lower[-2::-1]])
    side = np.concatenate([np.linspace(1, 0, len(upper)), -np.linspace(0, 1, len(lower))[1:]])
    lift = np.sign(side) * np.sqrt(np.abs(side))
    rings = [edge]
    for out, back, narrow in CAVITY_RINGS:
        wide = edge * [narrow, 1, 1]
        front = np.clip(edge[:, 2], None, 30)
        depth = front + (edge[0, 2] - 2.0 - front) * min(back / 60, 0.0)
        rings.append(np.stack([wide[:, 0], edge[:, 1] + out * lift, depth - back], 1))
    points = np.concatenate([*rings, [[0.0, -68.0, -34.0]]])
    count, last = len(edge), (len(rings) - 1) * len(edge)
    local = np.concatenate([np.stack([np.full(count, r, float), side], 1) for r in range(len(rings))])
    local = np.concatenate([local, [[float(len(rings)), 0.0]]])
    i = np.arange(count - 1) + last
    throat = np.stack([i, np.full(count - 1, len(points) - 1), i + 1], 1)
    triangles = np.concatenate([grid_triangles(len(rings), count, flip=True), throat])
    return Piece(points, triangles, "mouth", local)


#: width of the left half's teeth from the midline, mm, upper and lower.
TOOTH_WIDTHS = {True: (8.6, 6.8, 7.8, 7.0, 6.8, 9.5), False: (5.4, 6.0, 7.0, 7.0, 7.2, 10.0)}
TOOTH_HEIGHTS = {True: (10.2, 9.2, 9.8, 8.6, 8.0, 7.5), False: (8.8, 8.8, 9.6, 8.6, 8.0, 7.5)}
ARCH_FRONT_Z = {True: 21.6, False: 19.4}
EDGE_Y = {True: -68.6, False: -66.7}
#: how the biting edges rise from the midline backwards (the smile's curve), mm at the last tooth.
SMILE_CURVE_MM = {True: 3.2, False: 1.6}


def _arch(length: np.ndarray, front_z: float, width: float = 26.0, depth: float = 44.0) -> np.ndarray:
    """(V,) arc length from the midline -> (V, 2) x, z of the dental arch (a catenary-like curve)."""
    x = np.linspace(0, width, 800)
    z = front_z - depth * (0.35 * (x / width) ** 2 + 0.65 * (x / width) ** 4.2)
    arc = np.concatenate([[0], np.cumsum(np.hypot(np.diff(x), np.diff(z)))])
    return np.stack([np.interp(length, arc, x), np.interp(length, arc, z)], 1)


#: section of a tooth: (from the gum's edge 0 to the biting edge 1, outward mm): gum, crown, edge, back face.
TOOTH_SECTION = (
    (-1.2, -2.6), (-0.45, -0.4), (-0.08, 0.7), (0.0, 0.0), (0.3, 0.55), (0.65, 0.4), (0.93, -0.3), (1.0, -0.9),
    (0.9, -2.2), (0.3, -3.8),
)  # fmt: skip
ACROSS_A_TOOTH = (0.0, 0.06, 0.25, 0.5, 0.75, 0.94, 1.0)


def _tooth_columns(upper: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Along the left half of the arch: arc length mm, tooth number + across, height mm, bulge (0 between two teeth)."""
    columns, start = [], 0.0
    for number, (width, height) in enumerate(zip(TOOTH_WIDTHS[upper], TOOTH_HEIGHTS[upper], strict=True)):
        for t in ACROSS_A_TOOTH[(1 if number else 0) :]:
            columns.append((start + width * t, number + min(t, 0.999), height, 1 - (2 * t - 1) ** 6))
        start += width
    table_of = np.array(columns)
    return table_of[:, 0], table_of[:, 1], table_of[:, 2], table_of[:, 3]


def teeth(upper: bool) -> Piece:
    """The left half of one row of teeth with its gum. `local` = (0 gum .. 1 edge, tooth number + across)."""
    arc, where, height, bulge = _tooth_columns(upper)
    xz = _arch(arc, ARCH_FRONT_Z[upper])
    tangent = np.gradient(xz, axis=0)
    normal = np.stack([-tangent[:, 1], tangent[:, 0]], 1) / np.linalg.norm(tangent, axis=1, keepdims=True)
    sign, curve = -1.0 if upper else 1.0, SMILE_CURVE_MM[upper] * (where / len(TOOTH_WIDTHS[upper])) ** 1.3
    rows, local = [], []
    for down, out in TOOTH_SECTION:
        outward = out - (1 - bulge) * (0.8 if down >= 0 else 0.0)
        round_off = 0.4 * (1 - bulge) if down > 0.8 else 0.0  # the biting edge is rounded between two teeth
        y = EDGE_Y[upper] + curve - sign * (height * (1 - down) + round_off)
        rows.append(np.stack([xz[:, 0] + normal[:, 0] * outward, y, xz[:, 1] + normal[:, 1] * outward], 1))
        rows[-1][arc < 1e-9, 0] = 0.0
        local.append(np.stack([np.full(len(arc), down), where], 1))
    triangles = grid_triangles(len(TOOTH_SECTION), len(arc), flip=upper)
    return Piece(np.concatenate(rows), triangles, "teeth", np.concatenate(local))


def tongue() -> Piece:
    """The left half of the tongue: half an ellipsoid behind the lower teeth. `local` = (along, across)."""
    along, across = np.linspace(0, 1, 9), np.linspace(0, 1, 7)
    u, v = np.meshgrid(along, across, indexing="ij")
    phi = v * np.pi / 2
    width = 17.0 * np.sqrt(np.clip(1 - (1 - u) ** 3, 0.3, 1))
    x = width * np.sin(phi)
    y = (
        -73.5
        + 6.0 * np.sin(np.pi * np.clip(u, 0, 0.7)) * np.cos(phi) ** 0.8
        + (np.cos(phi) - 1) * 3
        - 0.8 * np.exp(-((x / 2.5) ** 2))
    )
    z = 13.5 - 42 * u - (x / 17.0) ** 2 * 3.0
    rows, local = np.stack([x, y, z], -1), np.stack([u, v], -1)
    under = rows[:1] * [0.9, 1.0, 1.0] - [0.0, 5.0, 2.0]  # the underside of the tip closes it in front
    points = np.concatenate([under, rows]).reshape(-1, 3)
    points[np.abs(points[:, 0]) < 1e-9, 0] = 0.0
    return Piece(points, grid_triangles(10, 7), "tongue", np.concatenate([local[:1], local]).reshape(-1, 2))
