"""Where things are on the built-in head: feature maps in its planar layout, materials, hair roots, baked occlusion.
Ours.

Made once a process from the head's mean and its layout; people and pictures only weigh what is here.
"""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from faces.morphable.base import MorphableHead
from faces.morphable.builtin_layout import catmull_rom
from faces.morphable.builtin_mesh import HAIRLINE, PART_NAMES, Mesh, mesh
from faces.synthetic import shading as s
from faces.synthetic.numerics import mesh_normals, smoothstep, soft_normals
from faces.synthetic.occlusion import baked_occlusion

#: Window of the layout that the feature maps cover: a0, b0 (top) and its side, mm.
WINDOW_A, WINDOW_B, WINDOW_MM = -118.0, 92.0, 236.0
MAP_SIDE = 512
#: Centre of the skull in the head frame, mm: hair grows round it.
SKULL_CENTRE = np.array([0.0, 18.0, -72.0], np.float32)
#: Middle line of the subject's left brow in the layout (a, b) with the half-width there, mm; right is its mirror image.
BROW_LINE = np.array(
    [
        (9.5, 18.2, 3.6),
        (14, 20.2, 4.5),
        (22, 22.6, 4.3),
        (31, 24.6, 3.8),
        (40, 24.9, 3.1),
        (47, 22.8, 2.3),
        (54, 18.6, 1.0),
    ]
)


@dataclass(frozen=True, eq=False)
class Anatomy:
    """Static facts of the head. V vertices, T triangles, R hair roots.

    Attributes:
        features: (512, 512, N_FEATURES) int32, channels as in shading.py: distances -8 .. 8 mm, densities 0..1 as 8-bit
            numbers; each packs the four corners of its texel's square: own, right, below, below right.
        uv: (V, 2) float32 of the window, 0..1.  scalp_mm: (V,) float32 signed distance to the hairline, > 0 in the
            hair.
        occlusion: (V,) float32 0..1, share of the sky a vertex sees.  material: (T,) int8.  fine: (T,) bool, shaded at
            every sample.  eye_of: (V,) 0 right, 1 left, -1 none.
        roots_triangle, roots_weight: (R,) int32, (R, 3) float32 hair roots, in random order.
        roots_chart: (R, 2) layout.  roots_scalp_mm: (R,) distance to the hairline.
        face_weight: (V,) float32, 1 where a swap takes the source's shape, falling to 0 at hair, ears and neck.
        body_weight: (V,) float32, 0 on the head .. 1 on the shoulders.
        first: (V,) the first vertex at the same place: on the middle of the crown each half has its own.
        welded: (T, 3) triangles of first vertices; light needs normals that know both halves.
    """

    mesh: Mesh
    features: np.ndarray
    uv: np.ndarray
    scalp_mm: np.ndarray
    occlusion: np.ndarray
    material: np.ndarray
    fine: np.ndarray
    eye_of: np.ndarray
    roots_triangle: np.ndarray
    roots_weight: np.ndarray
    roots_chart: np.ndarray
    roots_scalp_mm: np.ndarray
    face_weight: np.ndarray
    body_weight: np.ndarray
    first: np.ndarray
    welded: np.ndarray

    def normals(self, vertices_mm: np.ndarray, passes: int = 0) -> np.ndarray:
        """(V, 3) of one mesh -> (V, 3) float32 unit normals, smoothed `passes` times: light that spreads under skin."""
        return soft_normals(mesh_normals(vertices_mm, self.welded), self.welded, passes)[self.first]


def _to_texels(chart: np.ndarray) -> np.ndarray:
    """Layout (.., 2) mm -> texels (column, row) of the feature maps."""
    column = (chart[..., 0] - WINDOW_A) / WINDOW_MM * MAP_SIDE
    row = (WINDOW_B - chart[..., 1]) / WINDOW_MM * MAP_SIDE
    return np.stack([column, row], -1)


def _filled(*polygons: np.ndarray) -> np.ndarray:
    """Union of closed layout polygons as a (4 S, 4 S) mask, and from it the signed distance in mm at (S, S)."""
    big = np.zeros((MAP_SIDE * 2, MAP_SIDE * 2), np.uint8)
    for polygon in polygons:
        cv2.fillPoly(big, [np.round(_to_texels(polygon) * 2 * 16 - 8).astype(np.int32)], 1, cv2.LINE_8, 4)
    inside = cv2.distanceTransform(big, cv2.DIST_L2, 5)
    outside = cv2.distanceTransform(1 - big, cv2.DIST_L2, 5)
    distance = (inside - outside) * (WINDOW_MM / MAP_SIDE / 2)
    return cv2.resize(distance.astype(np.float32), (MAP_SIDE, MAP_SIDE), interpolation=cv2.INTER_AREA)


def _mirror(chart: np.ndarray) -> np.ndarray:
    return chart * np.array([-1.0, 1.0])


def _soft(polygon: tuple[tuple[float, float], ...], blur_mm: float, both: bool = True) -> np.ndarray:
    """Density 0..1 of a layout polygon (left half; mirrored with `both`) with soft edges."""
    left = np.array(polygon, float)
    distance = _filled(left, _mirror(left)) if both else _filled(left)
    return smoothstep(-blur_mm, blur_mm, distance).astype(np.float32)


def _bumps(spots: tuple[tuple[float, float, float, float, float], ...]) -> np.ndarray:
    """Sum of Gaussian spots (a, b, radius a, radius b, weight), mirrored, clipped to 0..1."""
    step = WINDOW_MM / MAP_SIDE
    a = (np.arange(MAP_SIDE) + 0.5) * step + WINDOW_A
    b = WINDOW_B - (np.arange(MAP_SIDE) + 0.5) * step
    total = np.zeros((MAP_SIDE, MAP_SIDE), np.float32)
    for ca, cb, ra, rb, weight in spots:
        column = np.exp(-(((b - cb) / rb) ** 2))[:, None]
        for sign in (1, -1) if ca else (1,):
            total += (weight * column * np.exp(-(((a - sign * ca) / ra) ** 2))[None]).astype(np.float32)
    return np.clip(total, 0, 1)


def _creases(lines: tuple[tuple[tuple[tuple[float, float], ...], float, float], ...]) -> np.ndarray:
    """Soft dark lines: (points (a, b), width mm, strength), mirrored; 0..1."""
    total = np.zeros((MAP_SIDE, MAP_SIDE), np.float32)
    for points, width, strength in lines:
        curve = catmull_rom(np.array(points, float), 60, closed=False)
        for side in (curve, _mirror(curve)):
            layer = np.zeros((MAP_SIDE, MAP_SIDE), np.float32)
            texels = np.round(_to_texels(side) * 16 - 8).astype(np.int32)
            cv2.polylines(layer, [texels], False, 1.0, 1, cv2.LINE_AA, 4)
            layer = cv2.GaussianBlur(layer, (0, 0), width / (WINDOW_MM / MAP_SIDE))
            total = np.maximum(total, layer / max(float(layer.max()), 1e-6) * strength)
    return total


_LINES = (
    (((19, -43), (25, -52), (30, -62), (32, -71)), 1.9, 0.85),
    (((12, -3), (17, -9), (24, -13), (32, -14.5)), 1.7, 0.7),
    (((51, 3), (58, 7), (64, 9)), 1.1, 0.6), (((51, 0), (59, 1), (66, 0)), 1.1, 0.6),
    (((50, -4), (57, -8), (63, -12)), 1.1, 0.5),
    (((0, 44), (16, 44.5), (33, 46), (46, 43)), 1.4, 0.6), (((0, 55), (18, 56), (36, 56)), 1.4, 0.5),
    (((0, 65), (16, 66), (30, 65)), 1.4, 0.4),
    (((4.5, 14), (4.0, 21), (5.5, 27)), 1.2, 0.5),
    (((31, -74), (32.5, -84), (31, -94)), 1.7, 0.45),
)  # fmt: skip
#: Hollows finer than the baked occlusion: layout (a, b), radii, share of light that they lose. Beside the nose, corner
#: of the mouth, under the lower lip, inner corner of the eye, under the chin.
_HOLLOWS = (
    (19.5, -40, 3.5, 7, 0.38), (28, -67, 5, 4, 0.12), (0, -83, 14, 4, 0.17), (14, 1, 4, 5, 0.18),
    (0, -119, 38, 9, 0.18),
)  # fmt: skip
_BEARD_CHEEK = (
    (-1, -80), (14, -80), (28, -78), (36, -68), (48, -56), (64, -46), (82, -34), (95, -16), (103, -10), (110, -24),
    (104, -52), (92, -84), (76, -104), (52, -118), (30, -128), (-1, -134),
)  # fmt: skip
_MOUSTACHE = (
    (-1, -49.5),
    (8, -49),
    (18, -50),
    (27, -56),
    (35, -67),
    (33, -76),
    (28, -72),
    (22, -64),
    (12, -58),
    (-1, -57.5),
)
_GOATEE = ((-1, -78), (10, -78), (22, -76), (30, -70), (34, -76), (32, -92), (26, -108), (14, -118), (-1, -122))
MASKS = {"full": (_BEARD_CHEEK, _MOUSTACHE), "goatee": (_GOATEE, _MOUSTACHE), "moustache": (_MOUSTACHE,)}


def beard_density(style: str) -> np.ndarray:
    """(512, 512) float32 0..1: where a beard style grows; stubble grows where a full beard does."""
    return _beard_maps()[{"stubble": "full"}.get(style, style)]


@lru_cache(maxsize=1)
def _beard_maps() -> dict[str, np.ndarray]:
    lips = smoothstep(0.8, -1.0, _lip_distance(mesh()))
    return {
        name: (np.max([_soft(p, 5.0 if p is _BEARD_CHEEK else 2.0) for p in polygons], 0) * lips).astype(np.float32)
        for name, polygons in MASKS.items()
    }


def _lip_distance(m: Mesh) -> np.ndarray:
    """Signed distance to the outline of the lips, mm, > 0 on the lips."""
    upper, lower = m.chart[m.layout.upper_outer], m.chart[m.layout.lower_outer]
    half = np.concatenate([upper, lower[-2::-1]])
    return _filled(np.concatenate([half, _mirror(half)[::-1]]))


def _features(m: Mesh) -> np.ndarray:
    maps = np.zeros((MAP_SIDE, MAP_SIDE, s.N_FEATURES), np.float32)
    opening = m.chart[m.layout.eye_loop]
    lid = -_filled(opening, _mirror(opening))
    brow = np.concatenate(
        [BROW_LINE[:, :2] + [0, 1] * BROW_LINE[:, 2:], (BROW_LINE[:, :2] - [0, 1] * BROW_LINE[:, 2:])[::-1]]
    )
    maps[..., s.LIP] = _lip_distance(m)
    maps[..., s.BROW] = smoothstep(-1.6, 1.8, _filled(brow, _mirror(brow)))
    maps[..., s.LID] = lid
    maps[..., s.BEARD] = beard_density("full")
    maps[..., s.RUDDY] = _bumps(
        (
            (46, -27, 22, 18, 0.85),
            (0, -34, 13, 14, 0.85),
            (16, -40, 8, 9, 0.5),
            (0, -97, 18, 12, 0.35),
            (0, 52, 40, 18, 0.15),
        )
    )
    maps[..., s.SHADE] = np.clip(
        _bumps(((26, -12, 16, 7, 0.95), (14, 3, 7, 10, 0.6), (32, 9, 20, 7, 0.2), (0, -85, 14, 4, 0.25)))
        + 0.5 * smoothstep(3.0, 0.0, np.abs(lid)), 0, 1,
    )  # fmt: skip
    maps[..., s.LINES] = _creases(_LINES)
    maps[..., s.FRECKLE] = _bumps(
        ((38, -22, 26, 20, 1.0), (0, -18, 16, 20, 1.0), (0, 45, 50, 25, 0.5), (60, -40, 25, 25, 0.5))
    )
    maps[..., s.OIL] = _bumps(
        (
            (0, 48, 40, 22, 0.8),
            (0, -12, 8, 30, 0.9),
            (0, -36, 12, 9, 0.5),
            (42, -16, 16, 10, 0.6),
            (0, -96, 15, 10, 0.5),
        )
    )
    maps[..., s.SHADOW_LID] = _soft(((16, 2), (20, 8), (28, 13), (37, 13.5), (46, 10), (53, 4), (47, 0), (32, 4)), 3.0)
    for distance in (s.LIP, s.LID):
        maps[..., distance] = (maps[..., distance] + s.FEATURE_MM) / (2 * s.FEATURE_MM)
    texels = np.round(np.clip(maps, 0.0, 1.0) * 255).astype(np.uint8)
    corners = [np.roll(texels, (-dy, -dx), (0, 1)) for dy in (0, 1) for dx in (0, 1)]
    return np.ascontiguousarray(np.stack(corners, -1)).view(np.int32)[..., 0]


def _scalp_mm(m: Mesh) -> np.ndarray:
    """(V,) signed distance to the hairline in the layout, mm; far outside for pieces that are not skin."""
    line = catmull_rom(np.array(HAIRLINE, float), 400, closed=False)
    folded = np.abs(np.nan_to_num(m.chart, nan=0.0)) * [1, 0] + np.nan_to_num(m.chart, nan=-300.0) * [0, 1]
    from scipy.spatial import cKDTree

    distance, _ = cKDTree(line).query(folded)
    closed = np.concatenate([[[-5.0, 300.0], [-5.0, line[0, 1]]], line, [[300, line[-1, 1]], [300, 300]]])
    inside = np.array(
        [cv2.pointPolygonTest(closed.astype(np.float32), (float(a), float(b)), False) >= 0 for a, b in folded]
    )
    return np.where(m.is_piece("skin"), np.where(inside, distance, -distance), -60.0).astype(np.float32)


def _layout_uv(m: Mesh) -> np.ndarray:
    """(V, 2) window uv; ears borrow the cheek's skin, the rest a neutral spot."""
    chart = m.chart.copy()
    ear = m.is_piece("ear")
    local = np.nan_to_num(m.local)
    chart[ear] = np.array([52.0, -29.0]) + 0.3 * local[ear]
    chart = np.where(np.isnan(chart), [0.0, 52.0], chart)
    return (_to_texels(chart) / MAP_SIDE).astype(np.float32)


def _hollows(m: Mesh) -> np.ndarray:
    """(V,) float32 share of light that the skin loses in _HOLLOWS."""
    column, row = np.split(_layout_uv(m) * MAP_SIDE - 0.5, 2, 1)
    depth = cv2.remap(_bumps(_HOLLOWS), column, row, cv2.INTER_LINEAR)[:, 0]
    return np.where(m.is_piece("skin"), depth, 0.0).astype(np.float32)


def _material(m: Mesh) -> np.ndarray:
    names = np.array(PART_NAMES)[m.parts]
    out = np.full(len(names), s.SKIN, np.int8)
    for name, value in (
        ("eye_right", s.EYE_RIGHT),
        ("eye_left", s.EYE_LEFT),
        ("teeth", s.TEETH),
        ("mouth", s.CAVITY),
        ("tongue", s.CAVITY),
    ):
        out[names == name] = value
    return out


def _roots(m: Mesh, scalp_mm: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Random, evenly spread hair roots on the scalp: triangle (R,) and weights (R, 3)."""
    rng = np.random.Generator(np.random.PCG64(77))
    inside = (scalp_mm[m.triangles].max(1) > -4.0) & (scalp_mm[m.triangles].min(1) > -50)
    corners = m.points[m.triangles]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) * inside
    front = 1.0 + 0.8 * smoothstep(-110.0, -20.0, corners.mean(1)[:, 2])
    odds = np.cumsum(area * front)
    triangle = np.searchsorted(odds, rng.random(count) * odds[-1])
    weight = rng.random((count, 2))
    weight = np.where(weight.sum(1, keepdims=True) > 1, 1 - weight, weight)
    return triangle.astype(np.int32), np.concatenate([1 - weight.sum(1, keepdims=True), weight], 1).astype(np.float32)


@lru_cache(maxsize=2)
def anatomy(head: MorphableHead) -> Anatomy:
    """The anatomy of the built-in head (cached)."""
    m = mesh()
    scalp = _scalp_mm(m)
    triangle, weight = _roots(m, scalp, 9000)
    corners = m.triangles[triangle]
    chart = np.nan_to_num(m.chart)[corners]
    points = m.points.astype(np.float32)
    first = _first_at_place(m)
    welded = first[m.triangles]
    occlusion = baked_occlusion(points, welded)[first]
    eye_of = np.full(len(points), -1)
    eye_of[m.is_piece("eye_right")], eye_of[m.is_piece("eye_left")] = 0, 1
    occlusion *= 1 - _hollows(m)
    occlusion[eye_of >= 0] = 0.7
    occlusion[m.is_piece("teeth_upper", "teeth_lower")] = 0.8
    occlusion[m.is_piece("mouth", "tongue")] = 0.6
    return Anatomy(
        mesh=m,
        features=_features(m),
        uv=_layout_uv(m),
        scalp_mm=scalp,
        occlusion=occlusion,
        material=_material(m),
        fine=np.isin(np.array(PART_NAMES)[m.parts], ("eye_left", "eye_right")),
        eye_of=eye_of,
        roots_triangle=triangle,
        roots_weight=weight,
        roots_chart=(chart * weight[..., None]).sum(1),
        roots_scalp_mm=(scalp[corners] * weight).sum(1),
        face_weight=_face_weight(m, scalp),
        body_weight=smoothstep(-125.0, -190.0, points[:, 1]).astype(np.float32),
        first=first,
        welded=welded,
    )


def _first_at_place(m: Mesh) -> np.ndarray:
    """(V,) int32: the first vertex of the skin at the same place, rounded to micrometres; else the vertex itself."""
    first, skin = np.arange(len(m.points)), np.flatnonzero(m.is_piece("skin"))
    _, found, place = np.unique(np.round(m.points[skin], 3), axis=0, return_index=True, return_inverse=True)
    first[skin] = skin[found[place.ravel()]]
    return first.astype(np.int32)


def _face_weight(m: Mesh, scalp_mm: np.ndarray) -> np.ndarray:
    """(V,) 1 on the face, 0 on scalp, ears, back and neck, over 25 mm."""
    a, b = np.abs(np.nan_to_num(m.chart[:, 0], nan=0.0)), np.nan_to_num(m.chart[:, 1], nan=-60.0)
    hair = smoothstep(2.0, -24.0, scalp_mm)
    side = smoothstep(112.0, 84.0, a)
    neck = smoothstep(-150.0, -122.0, b)
    weight = np.where(m.is_piece("ear"), 0.0, np.where(m.is_piece("skin", "lid"), hair * side * neck, 1.0))
    return weight.astype(np.float32)
