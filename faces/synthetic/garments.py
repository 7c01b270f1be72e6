"""Collars, hoods and lapels: small meshes round the neck that are drawn with the head's own. Ours.

A piece is laid out once on the mean head by angle round the neck and height, and then follows the owner's neck and the
body's pose. The rest of the clothes is the head's own mesh below the neckline (look.NECKLINES).
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from faces.morphable.builtin_mesh import mesh
from faces.synthetic import shading
from faces.synthetic.anatomy import Anatomy
from faces.synthetic.look import NECKLINES
from faces.synthetic.numerics import mesh_normals, smoothstep
from faces.synthetic.posing import SHRUG_MM, Posed, bent
from faces.synthetic.scene import Scene

#: Middle of the neck in the head frame: z, mm.
AXIS_Z = -88.0
#: Vertices round the neck, and mm of cloth for each radian.
_ROUND, _ACROSS_MM = 72, 58.0
#: SCALP_MM of a garment's vertices: their REST columns are (across, along) mm of the cloth and its layer.
WORN = 500.0


@dataclass(frozen=True, eq=False)
class Garment:
    """What is worn over the mesh's own cloth. G vertices.

    Attributes:
        near: (G, 4) vertices of the head that it follows.  share: (G, 1, 4) of each.  offset: (G, 3) mm from their
            mean, on the mean head.
        lift: (G, 1) 0..1 how far it is raised with the shoulders.  turn: (G, 1) 0..1 how far it turns with the body.
        own, welded: (O, 3) int32 triangles into these, and into the first vertex at each place.  first: (G,) int32 that
            vertex.
        triangles: (T, 3) into the head's vertices followed by these.
            material: (T,) int8.  fine: (T,) bool.
        rows: (G, COLUMNS) float32 of the vertex table, normals left open.
    triangles, material and fine hold the head's own first.
    """

    near: np.ndarray
    share: np.ndarray
    offset: np.ndarray
    lift: np.ndarray
    turn: np.ndarray
    own: np.ndarray
    welded: np.ndarray
    first: np.ndarray
    triangles: np.ndarray
    material: np.ndarray
    fine: np.ndarray
    rows: np.ndarray


@dataclass(frozen=True)
class _Row:
    """A line round the neck: height at the back and in front once the shoulders are raised, how far off the skin there

    (mm), the angle from the middle at which it ends in front (0: closed), the share of the sky it sees, and how much
    higher it is at the sides (mm).
    """

    back: float
    front: float
    off_back: float
    off_front: float
    gap: float
    sky: float
    side: float = 0.0


#: Pieces by name: rows from the inside over the edge to the outside, layer (0 cloth, 1 second cloth), ribbed 0..1.
_PIECES: dict[str, tuple[tuple[_Row, ...], float, float]] = {
    "rib": (
        (_Row(-136, -144, 0.5, 0.5, 0, 0.5, 3), _Row(-128, -138, 2.0, 1.5, 0, 0.8, 4),
         _Row(-127, -137, 4.0, 3.5, 0, 1, 4), _Row(-129, -139, 7.0, 5.5, 0, 1, 4),
         _Row(-135, -145, 9.0, 6.5, 0, 1, 3), _Row(-137, -147, 5.0, 3.0, 0, 0.5, 2)),
        0.0, 1.0,
    ),
    "roll": (
        (_Row(-134, -136, 0.5, 0.5, 0, 0.4), _Row(-118, -126, 1.0, 1.0, 0, 0.6), _Row(-114, -123, 3.5, 3.0, 0, 1),
         _Row(-117, -126, 7.0, 6.0, 0, 1), _Row(-130, -140, 9.0, 8.0, 0, 0.9), _Row(-136, -147, 8.5, 7.5, 0, 0.7),
         _Row(-138, -149, 5.5, 4.5, 0, 0.5), _Row(-144, -154, 6.0, 5.0, 0, 0.9), _Row(-150, -160, 5.0, 4.0, 0, 1)),
        0.0, 1.0,
    ),
    "stand": (
        (_Row(-136, -143, -4.0, -7.0, 0.12, 0.35), _Row(-118, -132, 2.0, 2.5, 0.15, 0.6),
         _Row(-111, -127, 4.0, 3.5, 0.16, 1.0), _Row(-114, -129, 9.0, 7.0, 0.19, 1.0),
         _Row(-123, -142, 13.0, 11.0, 0.30, 1.0, 2), _Row(-132, -162, 16.0, 13.0, 0.60, 0.95, 6),
         _Row(-133, -163, 11.0, 9.0, 0.58, 0.4, 6)),
        0.0, 0.0,
    ),
    "hood": (
        (_Row(-136, -146, 1.0, 2.0, 0.0, 0.25), _Row(-116, -140, 6.0, 5.0, 0.0, 0.5, 2),
         _Row(-101, -135, 14.0, 10.0, 0.0, 0.9, 4), _Row(-98, -134, 25.0, 15.0, 0.0, 1.0, 5),
         _Row(-105, -138, 36.0, 20.0, 0.0, 1.0, 4), _Row(-119, -147, 43.0, 22.0, 0.0, 0.85, 2),
         _Row(-132, -157, 43.0, 18.0, 0.0, 0.6), _Row(-140, -162, 32.0, 10.0, 0.0, 0.5)),
        0.0, 0.0,
    ),
    "lapel": (
        (_Row(-136, -168, 4.0, 4.0, 0.26, 0.3), _Row(-120, -160, 8.0, 9.0, 0.30, 0.6),
         _Row(-115, -156, 11.0, 11.0, 0.32, 1.0), _Row(-118, -158, 16.0, 15.0, 0.37, 1.0),
         _Row(-128, -172, 22.0, 18.0, 0.52, 1.0, 6), _Row(-138, -196, 28.0, 20.0, 0.85, 0.95, 12),
         _Row(-139, -197, 20.0, 14.0, 0.83, 0.4, 12)),
        0.0, 0.0,
    ),
}  # fmt: skip
#: What each kind of clothes wears round the neck: name of the piece and whether it is of the second cloth.
_WORN = {
    "tee": (("rib", 0.0),), "vneck": (), "turtleneck": (("roll", 0.0),), "shirt": (("stand", 0.0),),
    "hoodie": (("hood", 0.0),), "jacket": (("stand", 1.0), ("lapel", 0.0)),
}  # fmt: skip


def collar_edge(clothes: str) -> tuple[float, float, float, float]:
    """Lower edge of the outermost piece: height at the back, in front and more at the sides (mm), angle of its gap."""
    if not _WORN[clothes]:
        return 0.0, 0.0, 0.0, 0.0
    row = max((row for name, _ in _WORN[clothes][-1:] for row in _PIECES[name][0]), key=lambda row: row.off_back)
    return row.back, row.front, row.side, row.gap


@lru_cache(maxsize=1)
def _skin_radius() -> np.ndarray:
    """(361, 160) mm: how far the mean head's skin is from the neck's axis, by degree from the front and by -y - 100."""
    from scipy.interpolate import LinearNDInterpolator

    m = mesh()
    below = m.points[m.is_piece("skin") & (m.points[:, 1] < -108.0)]
    angle = np.degrees(np.arctan2(below[:, 0], below[:, 2] - AXIS_Z)) % 360
    radius = np.hypot(below[:, 0], below[:, 2] - AXIS_Z)
    places = np.concatenate([np.stack([angle + turn, below[:, 1]], 1) for turn in (-360.0, 0.0, 360.0)])
    field = LinearNDInterpolator(places * [0.6, 1.0], np.tile(radius, 3))
    grid = np.stack(np.meshgrid(np.arange(361) * 0.6, -100.0 - np.arange(160), indexing="ij"), -1)
    out = field(grid)
    for k in range(out.shape[1]):
        if np.isnan(out[:, k]).any():
            first = next(j for j in range(out.shape[1]) if not np.isnan(out[:, j]).any())
            out[:, k] = out[:, first] if k < first else out[:, k - 1]
    return np.minimum(out, 62.0 + 0.25 * np.maximum(0, np.arange(160) - 45.0))


def _lift(height: np.ndarray) -> np.ndarray:
    """Heights on the mean head -> how far they are raised with the shoulders, 0..1; as anatomy.body_weight."""
    return smoothstep(-125.0, -190.0, height)


def _lowered(raised: np.ndarray) -> np.ndarray:
    """Heights with the shoulders raised -> heights on the mean head, mm."""
    height = np.linspace(-260.0, -60.0, 801)
    return np.interp(raised, height + SHRUG_MM * _lift(height), height)


def _line(row: _Row) -> tuple[np.ndarray, np.ndarray]:
    """(_ROUND, 3) points of a row on the mean head, and lengths (mm) from its middle.

    An open row starts at the left of its opening and goes round the back; a closed one starts and ends at the back.
    """
    from scipy.ndimage import map_coordinates

    start = row.gap if row.gap > 0 else -np.pi
    middle = start + np.pi - row.gap
    angle = np.linspace(start, 2 * middle - start, _ROUND)
    front = ((1 + np.cos(angle)) / 2) ** 1.3
    height = _lowered(row.back + (row.front - row.back) * front + row.side * np.sin(angle) ** 2)
    off = row.off_back + (row.off_front - row.off_back) * front
    places = np.stack([np.degrees(angle) % 360, -height - 100.0])
    radius = map_coordinates(_skin_radius(), places, order=1, mode="nearest") + off
    for _ in range(3):
        radius = _smooth(radius, row.gap == 0)
    points = np.stack([radius * np.sin(angle), height, AXIS_Z + radius * np.cos(angle)], 1)
    if row.gap == 0:
        points[-1] = points[0]
    return points, (angle - middle) * _ACROSS_MM


def _smooth(values: np.ndarray, closed: bool) -> np.ndarray:
    """(n,) averaged with their neighbours 1 2 1; the last value of a closed row is its first again."""
    out = values.copy()
    out[1:-1] = (values[:-2] + 2 * values[1:-1] + values[2:]) / 4
    if closed:
        out[0] = out[-1] = (values[-2] + 2 * values[0] + values[1]) / 4
    return out


def _piece(name: str, layer: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points (n, 3), triangles (t, 3) and table rows (n, COLUMNS) of one piece on the mean head."""
    rows, _, ribbed = _PIECES[name]
    lines = [_line(row) for row in rows]
    points = np.stack([line for line, _ in lines])
    across = np.stack([length for _, length in lines])
    along = np.concatenate([np.zeros((1, _ROUND)), np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=2), 0)])
    table = np.zeros((len(rows), _ROUND, shading.COLUMNS), np.float32)
    table[..., shading.REST], table[..., shading.REST + 1] = across, -along
    table[..., shading.OCCLUSION] = np.array([row.sky for row in rows])[:, None]
    table[..., shading.ALBEDO], table[..., shading.ALBEDO + 1] = layer, ribbed
    edge = np.minimum(along, along[-1] - along)
    opening = np.array([_ACROSS_MM * (np.pi - row.gap) if row.gap > 0 else np.inf for row in rows])[:, None]
    table[..., shading.ALBEDO + 2] = np.minimum(edge, opening - np.abs(across))
    table[..., shading.SCALP_MM] = WORN
    i = np.arange(len(rows) - 1)[:, None] * _ROUND + np.arange(_ROUND - 1)
    a, b, c, d = i, i + 1, i + _ROUND, i + _ROUND + 1
    triangles = np.concatenate([np.stack([a, c, b], -1).reshape(-1, 3), np.stack([b, c, d], -1).reshape(-1, 3)])
    return points.reshape(-1, 3), triangles, table.reshape(-1, shading.COLUMNS)


@lru_cache(maxsize=8)
def garment_of(anatomy: Anatomy, clothes: str) -> Garment:
    """The pieces of one kind of clothes (cached); without any, the head's own mesh alone."""
    from scipy.spatial import cKDTree

    pieces = [_piece(name, layer) for name, layer in _WORN[clothes]]
    empty = (np.zeros((0, 3)), np.zeros((0, 3), np.int64), np.zeros((0, shading.COLUMNS), np.float32))
    pieces = pieces or [empty]
    starts = np.cumsum([0] + [len(points) for points, _, _ in pieces[:-1]])
    rest = np.concatenate([points for points, _, _ in pieces])
    own = np.concatenate([t + start for (_, t, _), start in zip(pieces, starts, strict=True)]).astype(np.int32)
    m = anatomy.mesh
    body = np.flatnonzero(m.is_piece("skin") & (m.points[:, 1] < -126.0))
    distance, place = cKDTree(m.points[body]).query(rest, k=4)
    near, share = body[place.reshape(-1, 4)], 1.0 / (distance.reshape(-1, 1, 4) + 4.0)
    share = share / share.sum(2, keepdims=True)
    lift = _lift(rest[:, 1])[:, None]
    first = _first_at_place(rest)
    return Garment(
        near, share, rest - (share @ m.points[near])[:, 0], lift, np.maximum(lift, 0.55), own, first[own], first,
        np.concatenate([m.triangles, own + len(m.points)]).astype(m.triangles.dtype),
        np.concatenate([anatomy.material, np.full(len(own), shading.CLOTH, np.int8)]),
        np.concatenate([anatomy.fine | _at_edge(anatomy, clothes), np.zeros(len(own), bool)]),
        np.concatenate([rows for _, _, rows in pieces]),
    )  # fmt: skip


def _first_at_place(points: np.ndarray) -> np.ndarray:
    """(G, 3) -> (G,) int32 the first vertex at each one's place: closed pieces have their first column twice."""
    _, first, place = np.unique(points, axis=0, return_index=True, return_inverse=True)
    return first[place.reshape(-1)].astype(np.int32)


def _at_edge(anatomy: Anatomy, clothes: str) -> np.ndarray:
    """(T,) bool: triangles of the head that the neckline crosses, which are shaded at every sample."""
    height, depth, _, pointed = NECKLINES[clothes]
    rest = anatomy.mesh.points
    below = np.array([shading.neckline(float(x), float(z), depth, height, 1.0 - pointed) - y for x, y, z in rest])
    corners = np.where(rest[:, 1] < -95.0, below, -9.0)[anatomy.mesh.triangles]
    return (corners.min(1) < 1.0) & (corners.max(1) > -1.0)


def worn_mm(garment: Garment, posed: Posed, scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """The garment's vertices (G, 3) and unit normals (G, 3) float32 in the world frame, on the picture's owner."""
    if not len(garment.own):
        return np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32)
    raised = (
        (garment.share @ posed.owner_mm[garment.near])[:, 0]
        + garment.offset
        + garment.lift * np.array([0.0, SHRUG_MM, 0.0])
    )
    world = bent(raised, garment.turn, posed.turn, scene) + posed.translation_mm * np.array([1.0, -1.0, -1.0])
    world = world.astype(np.float32)
    return world, mesh_normals(world, garment.welded)[garment.first]
