"""The head that needs no download and carries no licence but the project's: "builtin-1". Ours, made from tables.

Which file holds what: builtin_points.py the shape (named control points), builtin_layout.py vertices and triangles,
builtin_parts.py and builtin_ear.py eyes, mouth, teeth, ears, builtin_identity_table.py identity, builtin_expressions.py
expressions, builtin_albedo.py colours. Use it through faces.morphable.registry.load_head("builtin").
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from faces.files import sha256_bytes
from faces.morphable import builtin_points as table
from faces.morphable.base import MorphableHead
from faces.morphable.builtin_albedo import albedo_modes, brow_polylines, mean_albedo
from faces.morphable.builtin_ear import OUTLINE
from faces.morphable.builtin_expressions import NAMES, expression_modes
from faces.morphable.builtin_identity import identity_modes
from faces.morphable.builtin_layout import BOTTOM_B
from faces.morphable.builtin_mesh import HAIRLINE, PART_NAMES, Mesh, face_polygon, jawline, mesh, polygon_mask
from faces.morphable.builtin_surface import LAYOUT_RADIUS, NOSTRIL_CENTRE, NOSTRIL_RADII, control_points, surface

EDITION = "builtin-1"
LICENCE = "Apache-2.0 (the project's own)"
#: the layout (a, b) in millimetres fills u in 0..0.8 and v in 0..1; the other parts have tiles at u > 0.8.
LAYOUT_U, TOP_B = 0.8, 160.0
TILES = {
    "eye_left": (0.9, 0.9),
    "eye_right": (0.9, 0.7),
    "ear": (0.9, 0.5),
    "teeth": (0.9, 0.3),
    "mouth": (0.9, 0.15),
    "tongue": (0.9, 0.05),
}


def layout_to_uv(chart: np.ndarray) -> np.ndarray:
    """(..., 2) layout (a, b) millimetres -> (..., 2) uv in 0..1; u grows to the subject's left, v grows upwards."""
    u = (np.asarray(chart)[..., 0] / (2 * np.pi * LAYOUT_RADIUS) + 0.5) * LAYOUT_U
    v = (np.asarray(chart)[..., 1] - BOTTOM_B) / (TOP_B - BOTTOM_B)
    return np.stack([u, v], -1)


def uv_to_layout(uv: np.ndarray) -> np.ndarray:
    """The inverse of `layout_to_uv`."""
    a = (np.asarray(uv)[..., 0] / LAYOUT_U - 0.5) * (2 * np.pi * LAYOUT_RADIUS)
    return np.stack([a, np.asarray(uv)[..., 1] * (TOP_B - BOTTOM_B) + BOTTOM_B], -1)


def _uv(m: Mesh) -> np.ndarray:
    uv = layout_to_uv(m.chart)
    for name in ("eye_left", "eye_right"):
        on = m.is_piece(name)
        angle, turn = m.local[on].T
        radius = 0.09 * angle / np.pi
        uv[on] = np.array(TILES[name]) + np.stack([radius * np.cos(turn), radius * np.sin(turn)], 1)
    side = np.where(m.side < 0, -1.0, 1.0)
    for piece, tile, scale in (
        ("ear", "ear", 0.0012),
        ("teeth_upper", "teeth", 0.012),
        ("teeth_lower", "teeth", 0.012),
        ("tongue", "tongue", 0.04),
        ("mouth", "mouth", 0.008),
    ):
        on = m.is_piece(piece)
        local = m.local[on] * scale
        uv[on] = np.array(TILES[tile]) + np.stack([side[on] * (np.abs(local[:, 1]) + 0.004), local[:, 0]], 1)
    return np.clip(uv, 0, 1).astype(np.float32)


def _nearest(m: Mesh, targets: np.ndarray) -> np.ndarray:
    """Vertices of the left half's skin nearest to (L, 3) points."""
    skin = np.flatnonzero(m.is_piece("skin") & (m.side >= 0))
    distance = np.linalg.norm(m.points[skin][None] - targets[:, None], axis=2)
    return skin[np.argmin(distance, axis=1)]


#: contour points 8 (chin) up to 16 (beside the left ear).
CONTOUR = (
    (0, -109.5, 17), (14, -107.5, 12.5), (27, -102, 1.5), (38.5, -94, -14), (48, -83, -30), (55.5, -66, -42),
    (61.5, -46, -48), (66, -25, -50), (68, -3, -52),
)  # fmt: skip
BROW_POINTS = ((11, 19.5, 27), (21, 23, 26), (31, 25.2, 23.5), (41.5, 24.5, 17), (52.5, 18.2, 4))
NOSE_RIDGE = ((0, 3.5, 22.5), (0, -9, 27), (0, -22.5, 35.5), (0, -36.5, 45.6))
NOSE_BASE = ((0, -45.8, 31.5), (7.2, -46.0, 30.5), (14.2, -45, 27))


def _landmarks(m: Mesh) -> np.ndarray:
    """(68,) vertices in iBUG's order: 0 is beside the subject's right ear, 36..41 the subject's right eye."""
    mirror = m.mirror
    contour, brow = _nearest(m, np.array(CONTOUR)), _nearest(m, np.array(BROW_POINTS))
    ridge, base = _nearest(m, np.array(NOSE_RIDGE)), _nearest(m, np.array(NOSE_BASE))
    loop = m.layout.eye_loop
    xy = m.points[loop][:, :2]
    inner, outer = int(np.argmin(xy[:, 0])), int(np.argmax(xy[:, 0]))
    third = xy[inner, 0] + (xy[outer, 0] - xy[inner, 0]) * np.array([1 / 3, 2 / 3])
    top, low = loop[1:outer], loop[outer + 1 :]
    near = [[part[np.argmin(np.abs(m.points[part, 0] - x))] for x in third] for part in (top, low)]
    eye = np.array([loop[inner], near[0][0], near[0][1], loop[outer], near[1][1], near[1][0]])
    lip = m.layout
    up, low_in = lip.upper_inner, lip.lower_inner

    def at(ring: np.ndarray, x: float) -> int:
        return int(ring[np.argmin(np.abs(m.points[ring, 0] - x))])

    outer_up = [at(lip.upper_outer, x) for x in (0, 5.4, 14.5)]
    outer_low = [at(lip.lower_outer, x) for x in (0, 7.0, 15.0)]
    corner, corner_in = int(lip.upper_inner[-1]), at(up, 21.5)
    inner_up, inner_low = [at(up, x) for x in (0, 8.0)], [at(low_in, x) for x in (0, 8.0)]
    right = mirror
    points = [
        *right[contour[:0:-1]], *contour,
        *right[brow[::-1]], *brow, *ridge,
        right[base[2]], right[base[1]], base[0], base[1], base[2],
        *right[eye[[3, 2, 1, 0, 5, 4]]], *eye,
        right[corner], right[outer_up[2]], right[outer_up[1]], outer_up[0], outer_up[1], outer_up[2], corner,
        outer_low[2], outer_low[1], outer_low[0], right[outer_low[1]], right[outer_low[2]],
        right[corner_in], right[inner_up[1]], inner_up[0], inner_up[1], corner_in,
        inner_low[1], inner_low[0], right[inner_low[1]],
    ]  # fmt: skip
    return np.array(points, dtype=np.int32)


def _face_region(m: Mesh) -> np.ndarray:
    chart = m.chart.copy()
    chart[:, 0] = np.abs(chart[:, 0])
    region = polygon_mask(face_polygon(), np.nan_to_num(chart, nan=1e4))
    return region | m.is_piece("lid", "eye_left", "eye_right", "mouth", "teeth_upper", "teeth_lower", "tongue")


def code_digest() -> str:
    """16 hexadecimal digits of the tables and the code that make the head; comment lines and white space do not count.

    The text is hashed and not the numbers, so that two machines whose last bits differ agree on the edition.
    """
    text = []
    for path in sorted(Path(__file__).parent.glob("builtin*.py")):
        lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
        text += [path.name, *("".join(line.split()) for line in lines if not line.startswith("#"))]
    return sha256_bytes("".join(text).encode())[:16]


def build() -> MorphableHead:
    """Compute the head's tables (about a second). Use `load_head`, which keeps them."""
    m = mesh()
    return MorphableHead(
        edition=EDITION,
        digest=code_digest(),
        licence=LICENCE,
        mean_mm=m.points.astype(np.float32),
        identity_mm=identity_modes(m),
        expression_mm=expression_modes(m),
        expression_names=NAMES,
        albedo_mean=mean_albedo(m),
        albedo_modes=albedo_modes(m),
        triangles=m.triangles,
        uv=_uv(m),
        parts=m.parts,
        part_names=PART_NAMES,
        landmarks=_landmarks(m),
        eye_left=np.flatnonzero(m.is_piece("eye_left")),
        eye_right=np.flatnonzero(m.is_piece("eye_right")),
        face_region=_face_region(m),
    )


@dataclass(frozen=True)
class Chart:
    """The planar layout of the head for whoever paints on it.

    Attributes:
        points: name -> (uv (2,), rest position (3,) mm) of every control point (subject's left half; suffix _R right).
        lines: name -> (P, 2) uv polyline. Closed: lip_outer, lip_inner, eye_opening_L/R, nostril_L/R, face, ear_L/R (in
            the ear's own tile). Open: brow_upper_L/R and brow_lower_L/R (inner to outer end), hairline (right nape over
            the forehead to the left nape), jawline (right ear over the chin to the left ear), lid_crease_L/R.
        tiles: part -> uv centre of the tile of parts that are not skin. An eyeball's tile is polar about the pupil:
            radius = 0.09 · angle / π.
        layout_radius_mm: uv of the skin is an unrolled cylinder of this radius (see layout_to_uv).
    """

    points: dict[str, tuple[np.ndarray, np.ndarray]]
    lines: dict[str, np.ndarray]
    tiles: dict[str, tuple[float, float]]
    layout_radius_mm: float = LAYOUT_RADIUS


def _both(half: np.ndarray) -> np.ndarray:
    """A polyline of the left half that starts at the midline -> the whole one, from the right end to the left end."""
    mirrored = half[::-1] * [-1.0, 1.0]
    return np.concatenate([mirrored[:-1] if abs(half[0, 0]) < 1e-6 else mirrored, half])


@lru_cache(maxsize=1)
def chart() -> Chart:
    """The planar layout: named points and polylines in uv (see Chart)."""
    m = mesh()
    names, position, where = control_points()
    points = {}
    for name, p, c in zip(names, position, where, strict=True):
        points[name] = (layout_to_uv(c), p)
        if p[0] > 1e-6:
            points[f"{name}_R"] = (layout_to_uv(c * [-1, 1]), p * [-1, 1, 1])
    lip = {
        key: m.layout.chart[ring]
        for key, ring in (
            ("ou", m.layout.upper_outer),
            ("ol", m.layout.lower_outer),
            ("iu", m.layout.upper_inner),
            ("il", m.layout.lower_inner),
        )
    }
    turn = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    upper_brow, lower_brow = brow_polylines()
    flat = {
        "lip_outer": np.concatenate([_both(lip["ou"]), _both(lip["ol"])[-2:0:-1]]),
        "lip_inner": np.concatenate([_both(lip["iu"]), _both(lip["il"])[-2:0:-1]]),
        "hairline": _both(np.array(HAIRLINE, dtype=float)),
        "jawline": _both(jawline()),
        "face": _both(face_polygon()[1:-1]),
    }
    for side, sign in (("L", 1.0), ("R", -1.0)):
        flip = np.array([sign, 1.0])
        flat[f"eye_opening_{side}"] = m.layout.chart[m.layout.eye_loop] * flip
        flat[f"brow_upper_{side}"], flat[f"brow_lower_{side}"] = upper_brow * flip, lower_brow * flip
        flat[f"nostril_{side}"] = (NOSTRIL_CENTRE + NOSTRIL_RADII * np.stack([np.cos(turn), np.sin(turn)], 1)) * flip
        flat[f"lid_crease_{side}"] = _crease() * flip
    lines = {name: layout_to_uv(line) for name, line in flat.items()}
    for side, sign in (("L", 1.0), ("R", -1.0)):
        plane = np.array(OUTLINE) * 0.0012
        lines[f"ear_{side}"] = np.array(TILES["ear"]) + np.stack([sign * (np.abs(plane[:, 1]) + 0.004), plane[:, 0]], 1)
    return Chart(points, lines, TILES)


def _crease() -> np.ndarray:
    from faces.morphable.builtin_surface import crease_height, unroll

    x = np.linspace(-14, 14, 30)
    xy = np.stack([x + table.EYE_CENTRE[0], crease_height(x)], 1)
    line = unroll(np.column_stack([xy, np.full(30, 11.0)]))
    for _ in range(8):
        line = line + (xy - surface(line)[:, :2])
    return line
