"""How the lids of the built-in head move: on the eyeball, never through it. Ours."""

import numpy as np

from faces.morphable import builtin_points as table
from faces.morphable.builtin_layout import EYE_STEPS
from faces.morphable.builtin_mesh import Mesh
from faces.morphable.builtin_surface import crease_height


def _around(mesh: Mesh) -> tuple[np.ndarray, np.ndarray]:
    """(V,) bool near an eye and in front; (V, 3) offset from that eye's centre with x towards the outer corner."""
    sign = np.where(mesh.points[:, 0] < 0, -1.0, 1.0)
    offset = mesh.points * np.stack([sign, sign * 0 + 1, sign * 0 + 1], 1) - np.array(table.EYE_CENTRE)
    near = (
        mesh.is_piece("skin", "lid") & (np.abs(offset[:, 0]) < 24) & (np.abs(offset[:, 1]) < 24) & (offset[:, 2] > -12)
    )
    return near, offset


def margins(mesh: Mesh, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Heights of the upper and the lower lid's edge over the eye's centre at x (towards the outer corner), mm."""
    loop = mesh.points[mesh.layout.eye_loop] - np.array(table.EYE_CENTRE)
    outer = int(np.argmax(loop[:, 0]))
    upper, lower = loop[: outer + 1], np.concatenate([loop[outer:], loop[:1]])[::-1]
    return np.interp(x, upper[:, 0], upper[:, 1]), np.interp(x, lower[:, 0], lower[:, 1])


def loop_step(mesh: Mesh) -> np.ndarray:
    """(V,) for lid vertices the vertex of the opening's edge in their column; itself elsewhere."""
    own = np.arange(len(mesh.points))
    lid = mesh.is_piece("lid")
    column = mesh.layout.eye_loop[mesh.local[lid, 1].astype(int) % EYE_STEPS]
    own[lid] = np.where(mesh.side[lid] < 0, mesh.mirror[column], column)
    return own


def slide(mesh: Mesh, move_xy: np.ndarray) -> np.ndarray:
    """(V, 2) wanted movement (x outward, y) near the eyes -> (V, 3) field that keeps the distance from the eyeball."""
    near, offset = _around(mesh)
    move_xy = move_xy[loop_step(mesh)]
    radius = np.linalg.norm(offset, axis=1)
    new = offset.copy()
    new[:, :2] += move_xy
    on_ball = np.clip((table.EYE_RADIUS_MM + 5.5 - radius) / 3.5, 0, 1) * np.clip((offset[:, 2] - 3.5) / 4.0, 0, 1)
    depth = np.sqrt(np.clip(radius**2 - new[:, 0] ** 2 - new[:, 1] ** 2, 4.0, None))
    new[:, 2] += on_ball * (depth - offset[:, 2])
    field = np.where(near[:, None], new - offset, 0.0)
    field[:, 0] *= np.where(mesh.points[:, 0] < 0, -1.0, 1.0)
    return field


def lid_field(mesh: Mesh, moves: np.ndarray, one_sided: bool = False) -> np.ndarray:
    """Field (V, 3) of four points' movement (4, 2), x outward: inner corner, upper lid, outer corner, lower lid."""
    _, offset = _around(mesh)
    x, y = offset[:, 0], offset[:, 1]
    upper, lower = margins(mesh, np.clip(x, -15, 14.5))
    inner, outer = _bump((x + 15) / 9), _bump((x - 14.5) / 9)
    middle = np.clip(1 - ((x + 0.3) / 15.5) ** 2, 0, 1)
    above = middle * np.where(y > upper, np.exp(-(((y - upper) / 5.0) ** 2)), _ramp(lower, upper, y))
    below = middle * np.where(y < lower, np.exp(-(((y - lower) / 4.0) ** 2)), 1 - _ramp(lower, upper, y))
    tall = np.exp(-((y / 9.0) ** 2))
    weights = np.stack([inner * tall, above, outer * tall, below], 1)
    move = weights @ moves
    if one_sided:
        move *= np.where(mesh.points[:, :1] < 0, -1.0, 1.0)
    return slide(mesh, move)


def _bump(t: np.ndarray) -> np.ndarray:
    return np.exp(-(t**2))


def _ramp(low: np.ndarray, high: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.clip((y - low) / np.maximum(high - low, 1e-3), 0, 1)


def lid_fold_field(mesh: Mesh) -> np.ndarray:
    """Field (V, 3) that fills the fold of the upper lid: one step towards a single lid."""
    near, offset = _around(mesh)
    above = offset[:, 1] - crease_height(offset[:, 0])
    along = np.clip(1 - (np.abs(offset[:, 0] - 0.5) / 16.5) ** 4, 0, 1) * near
    fill = 0.6 * np.exp(-((above / 1.2) ** 2)) + 0.5 * np.exp(-(((above + 1.0) / 2.0) ** 2))
    field = np.zeros_like(mesh.points)
    field[:, 2] = fill * along * mesh.is_piece("skin")
    return field


def close_lids(mesh: Mesh, upper_part: float, lower_part: float, overlap_mm: float = 1.0) -> np.ndarray:
    """Field (V, 3) that brings both eyes' lids together.

    upper_part, lower_part: how far the upper and the lower lid go, as parts of the opening (1 and 0: the upper alone).
    """
    _, offset = _around(mesh)
    x, y = offset[:, 0], offset[:, 1]
    upper, lower = margins(mesh, np.clip(x, -14.9, 14.5))
    # The upper lid goes a little too far, and over the lower one, so that wider eyes than the mean's close as well.
    gap = np.maximum(upper - lower, 0) + overlap_mm * np.clip((upper - lower) / 6.0, 0, 1)
    beside = np.clip((15.9 - np.abs(x + 0.2)) / 3.6, 0, 1)
    gap = gap * beside * beside * (3 - 2 * beside)
    crease = np.maximum(crease_height(x) + 3.5, upper + 2.0)
    t = np.clip((crease - y) / (crease - upper), 0, 1)
    fall_up = np.where(y >= upper, t * t * (3 - 2 * t) * 0.35 + t * 0.65, 1.0) * (y > (upper + lower) / 2)
    s = np.clip((y - (lower - 9.0)) / 9.0, 0, 1)
    fall_low = np.where(y <= lower, s * s * (3 - 2 * s), 1.0) * (y <= (upper + lower) / 2)
    move = np.zeros((len(x), 2))
    move[:, 1] = -gap * upper_part * fall_up + gap * lower_part * fall_low
    field, over = slide(mesh, move), 0.4 * (overlap_mm > 0) * fall_up
    field[:, 2] += over[loop_step(mesh)] * (np.abs(field[:, 1]) > 0.5)
    return field
