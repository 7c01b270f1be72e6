"""Identity modes of the built-in head: named brushes, modes of the lids, then smooth Gaussian-process modes. Ours.

The Gaussian-process modes are draws of a sparse process (Gaussian bumps of one width at random places on the face with
random directions; Luethi et al. 2018, Gaussian Process Morphable Models, sections 3 and 4, use the same kernel).
"""

from functools import lru_cache

import numpy as np
from scipy.spatial.distance import cdist

from faces.morphable import builtin_points as table
from faces.morphable.builtin_brush import paint
from faces.morphable.builtin_identity_table import IDENTITY, LID_MODES
from faces.morphable.builtin_lids import lid_field, lid_fold_field
from faces.morphable.builtin_mesh import Mesh
from faces.morphable.builtin_surface import control_points

#: (how many, width mm, mean displacement of the face at one standard deviation mm, are the halves different)
SMOOTH_MODES = ((8, 46.0, 0.6, False), (10, 27.0, 0.42, False), (8, 15.0, 0.26, False), (6, 34.0, 0.32, True))
#: one factor on all modes: many of them move the same places, and their variances add up.
SPREAD = 0.88
MIRROR = np.array([-1.0, 1.0, 1.0])
CAVITY_FADE = np.array([1.0, 0.9, 0.6, 0.3, 0.15, 0.1, 0.1, 0.1, 0.1])


def upper_lip_weight(mesh: Mesh) -> np.ndarray:
    """(V,) 1 above the line between the lips, 0 below, a slope beside the corner of the mouth."""
    chart = np.where(np.isnan(mesh.chart), 0, mesh.chart)
    edge = mesh.layout.upper_inner
    line = (mesh.layout.chart[edge] + mesh.layout.chart[mesh.layout.lower_inner]) / 2
    a = np.abs(chart[:, 0])
    middle = np.interp(a, line[:, 0], line[:, 1])
    width = 0.6 + 0.8 * np.clip(a - line[-1, 0], 0, None)
    t = np.clip((chart[:, 1] - middle) / width * 0.5 + 0.5, 0, 1)
    weight = t * t * (3 - 2 * t)
    inside = mesh.is_piece("mouth")
    weight[inside] = (mesh.local[inside, 1] > 0).astype(float) + 0.5 * (np.abs(mesh.local[inside, 1]) < 1e-9)
    weight[mesh.is_piece("teeth_lower", "tongue")] = 0.0
    weight[mesh.is_piece("teeth_upper")] = 1.0
    return weight


def _smooth(t: np.ndarray) -> np.ndarray:
    t = np.clip(t, 0, 1)
    return t * t * (3 - 2 * t)


@lru_cache(maxsize=2)
def _eyes(mesh: Mesh) -> tuple[tuple[np.ndarray, np.ndarray, np.ndarray], ...]:
    """For each eye: its ball, the skin near it, and how freely that moves (0 with the ball, 1 free)."""
    eyes = []
    for sign, name in ((1.0, "eye_left"), (-1.0, "eye_right")):
        centre = np.array(table.EYE_CENTRE) * [sign, 1, 1]
        skin = np.flatnonzero(mesh.is_piece("skin", "lid") & (np.sign(mesh.points[:, 0]) == sign))
        reach = np.linalg.norm((mesh.points[skin] - centre) * [0.85, 1.0, 0.7], axis=1)
        skin, reach = skin[reach < 33.5], reach[reach < 33.5]
        free, middle = _smooth((reach - 14.0) / 19.5), _smooth(np.abs(mesh.points[skin, 0]) / 15.0)
        eyes.append((np.flatnonzero(mesh.piece == name), skin, (1 - (1 - free) * middle)[:, None]))
    return tuple(eyes)


def finish(mesh: Mesh, field: np.ndarray, rigid_eyes: bool = True) -> np.ndarray:
    """Make a (V, 3) field of the skin whole: round eyeballs, lids that go with them, lips with their lining."""
    field = field.copy()
    inside, column, fade = _lining(mesh)
    field[inside] = field[column] * fade + field[inside] * (1 - fade)
    for ball, skin, free in _eyes(mesh):
        core = field[ball].mean(0)
        field[ball] = core
        if rigid_eyes:
            field[skin] = core * (1 - free) + field[skin] * free
    return field


@lru_cache(maxsize=2)
def _lining(mesh: Mesh) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The mouth's lining: its vertices, the lip-edge vertex in front of each, and how much it follows that one."""
    inside, column = np.flatnonzero(mesh.is_piece("mouth")), _column_of_lining(mesh)
    ring = mesh.local[inside, 0].astype(int)
    return inside, column, CAVITY_FADE[np.minimum(ring, len(CAVITY_FADE) - 1)][:, None]


def close_lips(mesh: Mesh, field: np.ndarray) -> np.ndarray:
    """Identity keeps the mouth shut: both lips' inner edges move alike, and teeth and tongue go with them as one."""
    field = field.copy()
    up, low = mesh.layout.lip_upper, mesh.layout.lip_lower
    fade = np.linspace(1, 0, len(up))[:, None, None]
    for of in (np.arange(len(mesh.points)), mesh.mirror):
        middle = (field[of[up[0]]] + field[of[low[0]]]) / 2
        for rings in (up, low):
            edge = (middle - field[of[rings[0]]])[None]
            moved = field[of[rings]] + fade * edge
            field[of[rings[:, :-1]]] = moved[:, :-1]
    inner = np.concatenate([up[0], mesh.mirror[up[0]]])
    field[mesh.is_piece("teeth_upper", "teeth_lower", "tongue")] = field[inner].mean(0)
    return field


def _column_of_lining(mesh: Mesh) -> np.ndarray:
    """The vertex of the lips' inner edge in front of each vertex of the lining."""
    inside = np.flatnonzero(mesh.is_piece("mouth"))
    edge = np.concatenate([mesh.layout.upper_inner, mesh.layout.lower_inner[-2::-1]])
    edge = np.concatenate([edge, mesh.mirror[edge]])
    side = np.concatenate(
        [np.linspace(1, 0, len(mesh.layout.upper_inner)), -np.linspace(0, 1, len(mesh.layout.lower_inner))[1:]]
    )
    side = np.concatenate([side, side])
    half = np.repeat([1, -1], len(side) // 2)
    own = np.where(mesh.side[inside] == -1, -1, 1)
    distance = np.abs(mesh.local[inside, 1][:, None] - side[None]) + 10.0 * (own[:, None] != half[None])
    return edge[np.argmin(distance, axis=1)]


def _smooth_fields(mesh: Mesh) -> list[np.ndarray]:
    _, position, _ = control_points()
    places = position[(position[:, 1] > -125) & (position[:, 2] > -90)]
    face = mesh.is_piece("skin") & (mesh.points[:, 1] > -115) & (mesh.points[:, 1] < 75) & (mesh.points[:, 2] > -40)
    rng = np.random.Generator(np.random.PCG64(20240229))
    fields = []
    for count, width, mean_mm, differs in SMOOTH_MODES:
        for _ in range(count):
            chosen = places[rng.choice(len(places), 26, replace=False)]
            moves, sign = rng.standard_normal((26, 3)), rng.choice([-1.0, 1.0], 26)
            field = _bumps(
                mesh.points, chosen * (np.stack([sign, sign * 0 + 1, sign * 0 + 1], 1) if differs else 1), moves, width
            )
            if not differs:
                field += _bumps(mesh.points, chosen * MIRROR, moves * MIRROR, width)
            fields.append(field * (mean_mm / np.linalg.norm(field[face], axis=1).mean()))
    return fields


def _bumps(points: np.ndarray, places: np.ndarray, moves: np.ndarray, width: float) -> np.ndarray:
    """Sum of Gaussian bumps (V, 3) of one width at `places` (B, 3) that move by `moves` (B, 3)."""
    return np.exp(-cdist(points, places, "sqeuclidean") / width**2) @ moves


def identity_names() -> tuple[str, ...]:
    """Names of the identity modes in their order; the smooth ones are called smooth_0 and so on."""
    smooth = sum(count for count, *_ in SMOOTH_MODES)
    return (*IDENTITY, *LID_MODES, *(f"smooth_{i}" for i in range(smooth)))


def identity_modes(mesh: Mesh) -> np.ndarray:
    """(K, V, 3) float32: displacement by one standard deviation of every identity mode, millimetres."""
    upper = upper_lip_weight(mesh)
    broad_only = mesh.is_piece("teeth_upper", "teeth_lower", "tongue", "mouth")
    modes = [
        finish(mesh, close_lips(mesh, paint(brushes, mesh.points, upper, broad_only))) for brushes in IDENTITY.values()
    ]
    for name, (inner, above, outer, below, fold) in LID_MODES.items():
        field = lid_field(mesh, np.array([inner, above, outer, below]), one_sided=name.startswith("asymmetry"))
        modes.append(field + fold * lid_fold_field(mesh))
    modes += [finish(mesh, close_lips(mesh, field)) for field in _smooth_fields(mesh)]
    return (np.stack(modes) * SPREAD).astype(np.float32)
