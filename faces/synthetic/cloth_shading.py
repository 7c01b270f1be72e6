"""Colour of cloth: fabric, patterns, knit and folds over the head's own cloth and over collars. Numba, one core.

The light is that of skin_shading.py, with the normals bent by folds and stitches. Patterns finer than two pixels fade,
so that pictures of every size agree. Ours.
"""

# Types here are numba's: whole numbers of fixed width that Python's annotations cannot tell apart.
# mypy: disable-error-code="operator,call-overload,assignment,arg-type,return-value"

import math

import numpy as np

from faces.compiled import kernel
from faces.synthetic import outfit as o
from faces.synthetic import shading as s
from faces.synthetic.blocks import BLOCK, DEPTH, GLOSS, LIT, PITCH, RED, SHARE, empty_rows
from faces.synthetic.garments import AXIS_Z
from faces.synthetic.noise import NOISE_UNIT
from faces.synthetic.posing import SHRUG_MM
from faces.synthetic.ramps import step
from faces.synthetic.sampling import survey_blocks
from faces.synthetic.skin_shading import TOGETHER, light_blocks

_NX, _NY, _NZ = s.NORMAL * PITCH, (s.NORMAL + 1) * PITCH, (s.NORMAL + 2) * PITCH
_SKY = s.OCCLUSION * PITCH
_REST, _ALBEDO, _WORN = s.REST * PITCH, s.ALBEDO * PITCH, s.SCALP_MM * PITCH


@kernel
def _band(x: float, share: float, soft: float) -> float:
    """1 on a `share` of every repeat of length 1, with soft edges."""
    away = abs(x - math.floor(x) - 0.5)
    return step(0.5 * share + soft, 0.5 * share - soft, away)


@kernel
def _fold(noise: np.ndarray, u: float, v: float) -> tuple[float, float, float]:
    """Clouds at (u, v) texels, standard deviations, and how much they rise over three texels right and down."""
    ix, iy = math.floor(u), math.floor(v)
    fx, fy = u - ix, v - iy
    x0, x1, y0, y1 = ix & 511, (ix + 1) & 511, iy & 511, (iy + 1) & 511
    a, b, c, d = noise[0, y0, x0], noise[0, y0, x1], noise[0, y1, x0], noise[0, y1, x1]
    right, down = (b - a) * (1 - fy) + (d - c) * fy, (c - a) * (1 - fx) + (d - b) * fx
    value = (a * (1 - fx) + b * fx) * (1 - fy) + (c * (1 - fx) + d * fx) * fy
    return value * NOISE_UNIT, 3.0 * right * NOISE_UNIT, 3.0 * down * NOISE_UNIT


@kernel
def _relief(c: np.ndarray, across: float, along: float, ribbed: float, px_mm: float) -> tuple[float, float, float]:
    """Slopes across and along of knit and ribs, and how much of the light their hollows keep."""
    if ribbed > 0.5:
        shown = min(1.0, max(0.0, 3.2 / px_mm - 1.5))
        turn = 6.2831853 * across / 3.2
        return 0.45 * shown * math.sin(turn), 0.0, 1.0 - 0.20 * shown * (0.5 - 0.5 * math.cos(turn))
    if c[o.C_PATTERN] != o.KNIT:
        return 0.0, 0.0, 1.0
    wide = c[o.C_PERIOD]
    shown = min(1.0, max(0.0, wide / px_mm - 1.5))
    column = across / wide - math.floor(across / wide) - 0.5
    stitch = 6.2831853 * (along / (0.8 * wide) + 0.9 * abs(column))
    hollow = abs(column) * abs(column) * 2.4 + 0.22 * (0.5 - 0.5 * math.cos(stitch))
    return 1.1 * shown * column, 0.35 * shown * math.sin(stitch), 1.0 - 0.55 * shown * hollow


@kernel
def _line_share(c: np.ndarray, across: float, along: float, px_mm: float) -> float:
    """Share 0..1 of the pattern's second colour; a pattern too fine to see gives its mean."""
    pattern, period = c[o.C_PATTERN], c[o.C_PERIOD]
    soft, shown = 0.6 * px_mm / period, min(1.0, max(0.0, period / px_mm - 1.5))
    if pattern == o.STRIPES:
        return 0.4 + shown * (_band(along / period, 0.4, soft) - 0.4)
    if pattern == o.PINSTRIPES:
        return 0.7 * (0.22 + shown * (_band(across / period, 0.22, soft) - 0.22))
    if pattern == o.CHECKS:
        wide = 0.5 * _band(across / period, 0.45, soft) + 0.5 * _band(along / period, 0.45, soft)
        return 0.8 * (0.45 + shown * (wide - 0.45))
    return 0.0


@kernel
def _place(w: np.ndarray, i: int, c: np.ndarray) -> tuple[float, float, float, float, float]:
    """Where on the cloth sample i is: across and along (mm), layer 0..1 (second cloth), ribbed, mm from the edge."""
    x, y, z = w[_REST + i], w[_REST + PITCH + i], w[_REST + 2 * PITCH + i]
    if w[_WORN + i] > 250.0:
        return x, y, w[_ALBEDO + i], w[_ALBEDO + PITCH + i], w[_ALBEDO + 2 * PITCH + i]
    edge = s.neckline(x, z, c[o.C_DEPTH], c[o.C_TOP], c[o.C_ROUND]) - y
    layer = 0.0
    if c[o.C_OUTER_DEPTH] > 0:
        outer = s.neckline(x, z, c[o.C_OUTER_DEPTH], c[o.C_OUTER_TOP], 0.0) - y
        layer = step(0.5, -0.5, outer)
        edge = abs(outer)
    return x, y + 0.6 * z, layer, 0.0, edge


@kernel
def _under_collar(c: np.ndarray, x: float, y: float, z: float) -> float:
    """Share of the sky that the collar leaves to the cloth just below its edge."""
    if c[o.C_EDGE_BACK] == 0.0:
        return 1.0
    far = math.sqrt(x * x + (z - AXIS_Z) * (z - AXIS_Z)) + 1e-6
    ahead = (z - AXIS_Z) / far
    front = max(0.0, 0.5 + 0.5 * ahead) ** 1.3
    edge = c[o.C_EDGE_BACK] + (c[o.C_EDGE_FRONT] - c[o.C_EDGE_BACK]) * front + c[o.C_EDGE_SIDE] * (1.0 - ahead * ahead)
    angle = math.acos(max(-1.0, min(1.0, ahead)))
    covered = step(c[o.C_EDGE_GAP] - 0.12, c[o.C_EDGE_GAP] + 0.05, angle) if c[o.C_EDGE_GAP] > 0 else 1.0
    raised = y + SHRUG_MM * step(-125.0, -190.0, y)
    return 1.0 - 0.55 * covered * step(8.0, -1.0, edge - raised)


@kernel
def _weave(w: np.ndarray, n: int, noise: np.ndarray, c: np.ndarray, focal_px: float) -> None:
    """Albedo, gloss and bent normals of a block of cloth."""
    nu, nv = c[o.C_NOISE_U], c[o.C_NOISE_V]
    for i in range(n):
        px_mm = 2.0 * w[DEPTH + i] / focal_px
        across, along, layer, ribbed, edge = _place(w, i, c)
        if w[_WORN + i] < 250.0:
            w[_SKY + i] *= _under_collar(c, w[_REST + i], w[_REST + PITCH + i], w[_REST + 2 * PITCH + i])
            w[LIT + i] *= 0.4 + 0.6 * w[_SKY + i]
            ribbed = 1.0 if edge < c[o.C_BAND] else ribbed
        u, v = across * 1.35 + nu, along * 0.95 + 0.5 * across + nv
        fold, right, down = _fold(noise, u, v)
        rib_u, rib_v, kept = _relief(c, across, along, ribbed, px_mm)
        folds = c[o.C_FOLDS] * (0.55 if ribbed > 0.5 else 1.0)
        tilt_u, tilt_v = folds * 0.95 * right + rib_u, folds * 0.75 * down + rib_v
        nx, ny, nz = w[_NX + i], w[_NY + i], w[_NZ + i]
        flat = math.sqrt(nx * nx + nz * nz) + 1e-6
        bx, by, bz = nx - tilt_u * nz / flat, ny - tilt_v, nz + tilt_u * nx / flat
        norm = math.sqrt(bx * bx + by * by + bz * bz) + 1e-6
        w[_NX + i], w[_NY + i], w[_NZ + i] = bx / norm, by / norm, bz / norm
        grain = s._noise(noise, 3, across * 2.2, along * 2.2)
        shade = kept * (1.0 + 0.05 * fold * folds) * (1.0 + (0.20 if c[o.C_PATTERN] == o.HEATHER else 0.05) * grain)
        seam = c[o.C_SEAM] * step(0.9 + 0.5 * px_mm, 0.4, abs(edge - 4.5)) * min(1.0, 1.2 / px_mm)
        hem = step(1.6, 0.0, edge) + step(1.2, 0.2, abs(edge - c[o.C_BAND])) * min(1.0, c[o.C_BAND])
        shade *= (1.0 - 0.22 * seam) * (1.0 - 0.18 * hem)
        line = _line_share(c, across, along, px_mm) * (1.0 - layer)
        for k in range(3):
            first = c[o.C_RGB + k] + line * (c[o.C_LINE + k] - c[o.C_RGB + k])
            w[RED + k * PITCH + i] = (first + layer * (c[o.C_SECOND + k] - first)) * shade
        w[GLOSS + i], w[SHARE + i] = c[o.C_GLOSS], 1.0


@kernel
def _weave_blocks(samples: int, noise: np.ndarray, c: np.ndarray, focal_px: float, rows: np.ndarray) -> None:
    """Colour the rows of so many samples of cloth, from what sampling.survey_blocks put there."""
    for first in range(0, samples, BLOCK):
        _weave(rows[first // BLOCK], min(BLOCK, samples - first), noise, c, focal_px)


def shade_cloth(
    listed: np.ndarray, triangle: np.ndarray, weight: np.ndarray, depth: np.ndarray, faces: np.ndarray,
    table: np.ndarray, noise: np.ndarray, cloth: np.ndarray, lamps: np.ndarray, ambient: np.ndarray, view: np.ndarray,
    shadow: np.ndarray, spread: float, focal_px: float, width: int, picture: np.ndarray, ids: np.ndarray,
) -> None:  # fmt: skip
    """Shade the cloth samples listed of a raster, all flat; see mesh_shading.shade_mesh.

    cloth: outfit.cloth_numbers.
    """
    rows = empty_rows(min(len(listed), TOGETHER))
    for first in range(0, len(listed), TOGETHER):
        part = listed[first : first + TOGETHER]
        survey_blocks(
            part, triangle, weight, depth, faces, table, lamps, view, shadow, spread, focal_px, width, rows
        )  # fmt: skip
        _weave_blocks(len(part), noise, cloth, focal_px, rows)
        light_blocks(part, rows, lamps, ambient, 0.0, s.ID_CLOTH, width, picture, ids)
