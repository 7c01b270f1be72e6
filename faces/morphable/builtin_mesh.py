"""The built-in head's mean mesh: left half, mirrored, joined, and its named regions. Ours.

`mesh()` is the one place that knows which vertex is what; modes of shape and colour (builtin_identity.py,
builtin_expressions.py, builtin_albedo.py) read its fields.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from matplotlib.path import Path
from scipy.spatial import cKDTree

from faces.morphable import builtin_parts
from faces.morphable.builtin_ear import ear
from faces.morphable.builtin_layout import SkinLayout, skin_layout
from faces.morphable.builtin_parts import Piece
from faces.morphable.builtin_surface import LAYOUT_RADIUS, control_points, surface

PART_NAMES = (
    "skin", "lips", "eye_left", "eye_right", "mouth", "teeth", "tongue", "ear", "neck", "scalp", "shoulders",
)  # fmt: skip
#: edge of the hair in the layout (a, b), left half, from the middle of the forehead to the nape.
HAIRLINE = (
    (0, 77), (16, 78), (32, 77), (46, 70), (56, 59), (66, 49), (78, 40), (88, 28), (94, 14), (100, 0), (107, -14),
    (113, -26), (117, -27), (119, -8), (120, 14), (128, 26), (140, 26), (150, 14), (157, -10), (165, -40), (180, -72),
    (208, -82), (235.5, -84),
)  # fmt: skip
#: lower edge of the face in the layout: chin, edge of the jaw, ear lobe.
JAWLINE_NAMES = (
    "menton", "jaw_edge_1", "jaw_edge_2", "jaw_edge_3", "jaw_edge_4", "jaw_edge_5", "gonion", "ramus",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Mesh:
    """Both halves of the mean head. V vertices, T triangles.

    Attributes:
        points: (V, 3) float64, millimetres, head frame.
        triangles: (T, 3); parts: (T,) index into PART_NAMES.
        piece: (V,) name of the piece a vertex belongs to: "skin", "lid", "eye_left", "eye_right", "mouth",
            "teeth_upper", "teeth_lower", "tongue" or "ear".
        chart: (V, 2) planar layout (a, b) of skin and lids, a < 0 on the right; NaN elsewhere.
        local: (V, 2) the piece's own coordinates (see builtin_parts.py), NaN on the skin.
        side: (V,) +1 left half, -1 right half, 0 midline.
        left: (V,) the vertex at the same place of the left half.
        mirror: (V,) the vertex at the mirrored place.
        layout: the left half's skin layout (its indices are those of the first vertices).
    """

    points: np.ndarray
    triangles: np.ndarray
    parts: np.ndarray
    piece: np.ndarray
    chart: np.ndarray
    local: np.ndarray
    side: np.ndarray
    left: np.ndarray
    mirror: np.ndarray
    layout: SkinLayout

    def is_piece(self, *names: str) -> np.ndarray:
        """(V,) bool: vertices of the named pieces."""
        return np.isin(self.piece, names)


def polygon_mask(polygon: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(V,) bool: which (V, 2) layout points lie inside a polygon."""
    return Path(polygon).contains_points(points)


def jawline() -> np.ndarray:
    """(J, 2) layout of the left half's jaw line, from the chin to the ear."""
    names, _, chart = control_points()
    return np.concatenate([[chart[names.index(n)] for n in JAWLINE_NAMES], [[119.0, -34.0]]])


def face_polygon() -> np.ndarray:
    """(P, 2) layout of the left half's face: between hair, ear and jaw; closed through the midline."""
    hair = np.array(HAIRLINE[:12], dtype=float) + np.array([0.0, -3.0])
    hair[:, 0] = np.minimum(hair[:, 0], 108.0)
    return np.concatenate([[[-1.0, hair[0, 1]]], hair, jawline()[::-1], [[-1.0, -110.5]]])


@dataclass
class _Half:
    points: np.ndarray
    chart: np.ndarray
    local: np.ndarray
    piece: list[str]
    triangles: list[np.ndarray]
    parts: list[np.ndarray]

    def add(self, piece: Piece, name: str, weld: bool = False) -> None:
        """Append a piece; with `weld`, vertices that repeat a skin vertex use it instead."""
        count = len(self.points)
        index = np.arange(len(piece.points)) + count
        chart = np.full((len(piece.points), 2), np.nan)
        new = np.ones(len(piece.points), bool)
        if weld:
            distance, nearest = cKDTree(self.points).query(piece.points)
            new = distance > 1e-6
            index = np.where(new, np.cumsum(new) - 1 + count, nearest)
        if name == "lid":
            steps = int(piece.local[:, 1].max()) + 1
            chart = self.chart[nearest[:steps]][piece.local[:, 1].astype(int)]
        self.points = np.concatenate([self.points, piece.points[new]])
        self.chart = np.concatenate([self.chart, chart[new]])
        self.local = np.concatenate([self.local, piece.local[new]])
        self.piece += [name] * int(new.sum())
        self.triangles.append(index[piece.triangles])
        self.parts.append(np.full(len(piece.triangles), PART_NAMES.index(piece.part)))


def _skin_parts(layout: SkinLayout, points: np.ndarray) -> np.ndarray:
    """(T,) part of each skin triangle of the left half."""
    centre = layout.chart[layout.triangles].mean(1)
    height = points[layout.triangles].mean(1)[:, 1]
    parts = np.full(len(centre), PART_NAMES.index("neck"))
    jaw, hair = jawline(), np.array(HAIRLINE, dtype=float)
    above_jaw = np.concatenate([[[-1, 300]], [[-1, -110.5]], jaw, hair[12:], [[240, -84]], [[240, 300]]])
    scalp = np.concatenate([[[-1, 300], [-1, 77]], hair, [[240, -84]], [[240, 300]]])
    parts[polygon_mask(above_jaw, centre)] = PART_NAMES.index("skin")
    parts[polygon_mask(scalp, centre)] = PART_NAMES.index("scalp")
    parts[height < -176] = PART_NAMES.index("shoulders")
    lip = np.zeros(len(points), bool)
    lip[np.concatenate([layout.lip_upper.ravel(), layout.lip_lower.ravel()])] = True
    parts[lip[layout.triangles].all(1)] = PART_NAMES.index("lips")
    return parts


def _seal_lips(points: np.ndarray, layout: SkinLayout) -> None:
    """Bring the inner edges of both lips onto one smooth line (in place); the lips' rings follow, less and less.

    The edges overlap by a tenth of a millimetre, so that nothing shines through the shut mouth.
    """
    line = (points[layout.upper_inner] + points[layout.lower_inner]) / 2
    for _ in range(2):
        line[1:-1] = 0.5 * line[1:-1] + 0.25 * (line[:-2] + line[2:])
    fade = np.linspace(1, 0, len(layout.lip_upper))[:, None, None] ** 1.5
    for rings, gap in ((layout.lip_upper, -0.05), (layout.lip_lower, 0.05)):
        edge = line + np.array([0.0, gap, 0.0]) * (np.arange(len(line)) < len(line) - 1)[:, None]
        points[rings[:, :-1]] += (fade * (edge - points[rings[0]]))[:, :-1]
    points[layout.upper_inner[-1]] = line[-1]


def _half() -> tuple[_Half, SkinLayout]:
    layout = skin_layout()
    points = surface(layout.chart)
    points[np.abs(layout.chart[:, 0]) < 1e-9, 0] = 0.0
    points[np.abs(layout.chart[:, 0] - np.pi * LAYOUT_RADIUS) < 1e-6, 0] = 0.0
    _seal_lips(points, layout)
    half = _Half(
        points, layout.chart, np.full((len(points), 2), np.nan), ["skin"] * len(points), [layout.triangles],
        [_skin_parts(layout, points)],
    )  # fmt: skip
    half.add(builtin_parts.lid_edge(points[layout.eye_loop]), "lid", weld=True)
    half.add(builtin_parts.mouth_cavity(points[layout.upper_inner], points[layout.lower_inner]), "mouth", weld=True)
    half.add(builtin_parts.teeth(upper=True), "teeth_upper")
    half.add(builtin_parts.teeth(upper=False), "teeth_lower")
    half.add(builtin_parts.tongue(), "tongue")
    half.add(ear(), "ear")
    half.add(builtin_parts.eyeball(), "eye_left")
    return half, layout


@lru_cache(maxsize=1)
def mesh() -> Mesh:
    """The mean mesh, built once a process."""
    half, layout = _half()
    piece = np.array(half.piece)
    count = len(piece)
    middle = (np.abs(half.points[:, 0]) < 1e-9) & np.isin(
        piece, ("skin", "mouth", "teeth_upper", "teeth_lower", "tongue")
    )
    twin = np.flatnonzero(~middle)
    mirror_of = np.arange(count)
    mirror_of[twin] = count + np.arange(len(twin))
    flip = np.array([-1.0, 1.0])
    triangles, parts = np.concatenate(half.triangles), np.concatenate(half.parts)
    right_parts = np.where(parts == PART_NAMES.index("eye_left"), PART_NAMES.index("eye_right"), parts)
    right_piece = np.where(piece[twin] == "eye_left", "eye_right", piece[twin])
    return Mesh(
        points=np.concatenate([half.points, half.points[twin] * [-1.0, 1.0, 1.0]]),
        triangles=np.concatenate([triangles, mirror_of[triangles][:, ::-1]]).astype(np.int32),
        parts=np.concatenate([parts, right_parts]).astype(np.int8),
        piece=np.concatenate([piece, right_piece]),
        chart=np.concatenate([half.chart, half.chart[twin] * flip]),
        local=np.concatenate([half.local, half.local[twin]]),
        side=np.concatenate([np.where(middle, 0, 1), np.full(len(twin), -1)]),
        left=np.concatenate([np.arange(count), twin]),
        mirror=np.concatenate([mirror_of, twin]),
        layout=layout,
    )
