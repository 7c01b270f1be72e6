"""Where samples are: the vertex table's columns at each, and the share of the key lamp. Numba, one core. Ours."""

# Types here are numba's: whole numbers of fixed width that Python's annotations cannot tell apart.
# mypy: disable-error-code="operator,call-overload,assignment,arg-type,return-value"

import math

import numpy as np

from faces.compiled import kernel
from faces.synthetic import shading as s
from faces.synthetic.blocks import BLOCK, DEPTH, LIT, PITCH, ROW, empty_rows

i32, u64 = np.int32, np.uint64
_NX, _NY, _NZ = s.NORMAL * PITCH, (s.NORMAL + 1) * PITCH, (s.NORMAL + 2) * PITCH
# Working columns: place in the world; column, row and depth in the key lamp's map, and the depth there.
_WX, _WY, _U, _V, _FX, _FY = range(0, 6 * PITCH, PITCH)


@kernel
def _mean_corners(
    listed: np.ndarray, first: int, n: int, triangle: np.ndarray, weight: np.ndarray, depth: np.ndarray,
    faces: np.ndarray, table: np.ndarray, width: int, height: int, focal_px: float,
    w: np.ndarray, work: np.ndarray,
) -> None:  # fmt: skip
    """Table columns at the samples listed[first..] (sample << 1), unit normals and depth; work gets places."""
    for i in range(u64(n)):
        place = listed[u64(first) + i] >> 1
        t, w0, w1, w2 = triangle[place], weight[place, 0], weight[place, 1], weight[place, 2]
        a, b, c = table[faces[t, 0]], table[faces[t, 1]], table[faces[t, 2]]
        for k in range(u64(s.COLUMNS)):
            w[k * u64(PITCH) + i] = w0 * a[k] + w1 * b[k] + w2 * c[k]
        y, z = place // width, depth[place]
        x = place - y * width
        work[u64(_WX) + i] = (x + 0.5 - width / 2) * z / focal_px
        work[u64(_WY) + i], w[u64(DEPTH) + i] = -(y + 0.5 - height / 2) * z / focal_px, z
    for i in range(u64(n)):
        nx, ny, nz = w[u64(_NX) + i], w[u64(_NY) + i], w[u64(_NZ) + i]
        norm = math.sqrt(nx * nx + ny * ny + nz * nz) + 1e-6
        w[u64(_NX) + i], w[u64(_NY) + i], w[u64(_NZ) + i] = nx / norm, ny / norm, nz / norm


@kernel
def _more_taps(c: float, r: float, depth: float, shadow: np.ndarray, spread: float, total: float) -> float:
    """Share 0..1 of the key lamp at a place of the shadow map: the 12 inner taps of 4 x 4 added to the outer four's."""
    side = shadow.shape[0]
    for t in range(12):
        i, j = (1 + (t & 1), (t >> 1) * 3) if t < 4 else (t & 3, 1 + (t >> 2 & 1))
        ix, iy = int(c + (i - 1.5) * spread), int(r + (j - 1.5) * spread)
        if ix < 0 or iy < 0 or ix >= side or iy >= side:
            total += 1.0
        else:
            total += 1.0 - min(1.0, max(0.0, (depth - shadow[u64(iy), u64(ix)] - 3.0) / 4.0))
    return total / 16


@kernel
def _key_light(
    w: np.ndarray, work: np.ndarray, q: np.ndarray, n: int, lamps: np.ndarray, view: np.ndarray, shadow: np.ndarray,
    spread: float,
) -> None:  # fmt: skip
    """Share of the key lamp that reaches each sample of a block: 4 x 4 taps over `spread` texels of the shadow map,

    or the outer four where they agree. view (12,): three axes, scale, two offsets.
    """
    lx, ly, lz = lamps[0, 0], lamps[0, 1], lamps[0, 2]
    side, flat = i32(shadow.shape[0]), shadow.reshape(-1)
    for i in range(u64(n)):
        nx, ny, nz = w[u64(_NX) + i], w[u64(_NY) + i], w[u64(_NZ) + i]
        x, y, z = work[u64(_WX) + i] + 1.5 * nx, work[u64(_WY) + i] + 1.5 * ny, 1.5 * nz - w[u64(DEPTH) + i]
        work[u64(_U) + i] = (x * view[0] + y * view[1] + z * view[2]) * view[9] + view[10]
        work[u64(_V) + i] = (x * view[3] + y * view[4] + z * view[5]) * view[9] + view[11]
        work[u64(_FX) + i] = 2000.0 - (x * view[6] + y * view[7] + z * view[8])
        w[u64(LIT) + i] = 0.0
    for t in range(4):
        right, down = ((t & 1) * 3 - 1.5) * spread, ((t >> 1) * 3 - 1.5) * spread
        for i in range(u64(n)):
            ix, iy = i32(work[u64(_U) + i] + right), i32(work[u64(_V) + i] + down)
            inside = (ix >= i32(0)) & (iy >= i32(0)) & (ix < side) & (iy < side)
            q[i] = i32(i32(iy * side) + ix) if inside else i32(-1)
        for i in range(u64(n)):
            work[u64(_FY) + i] = flat[u64(max(q[i], i32(0)))]
        for i in range(u64(n)):
            share = 1.0 - min(1.0, max(0.0, (work[u64(_FX) + i] - work[u64(_FY) + i] - 3.0) / 4.0))
            w[u64(LIT) + i] += share if q[i] >= i32(0) else 1.0
    for i in range(u64(n)):
        nx, ny, nz, total = w[u64(_NX) + i], w[u64(_NY) + i], w[u64(_NZ) + i], w[u64(LIT) + i]
        lit = 1.0
        if nx * lx + ny * ly + nz * lz > -0.35:
            lit = total / 4
            if total != 0.0 and total != 4.0:
                lit = _more_taps(work[u64(_U) + i], work[u64(_V) + i], work[u64(_FX) + i], shadow, spread, total)
        w[u64(LIT) + i] = lit


@kernel
def survey_blocks(
    listed: np.ndarray, triangle: np.ndarray, weight: np.ndarray, depth: np.ndarray, faces: np.ndarray,
    table: np.ndarray, lamps: np.ndarray, view: np.ndarray, shadow: np.ndarray, spread: float, focal_px: float,
    width: int, rows: np.ndarray,
) -> None:  # fmt: skip
    """Fill the rows (blocks, ROW) of the samples listed: the table's columns, the key lamp's share and depth."""
    work, q = np.empty(6 * PITCH), np.empty(PITCH, np.int32)
    height = depth.shape[0] // width
    for first in range(0, listed.shape[0], BLOCK):
        n, row = min(BLOCK, listed.shape[0] - first), rows[first // BLOCK]
        _mean_corners(listed, first, n, triangle, weight, depth, faces, table, width, height, focal_px, row, work)
        _key_light(row, work, q, n, lamps, view, shadow, spread)


def survey_samples(
    listed: np.ndarray, triangle: np.ndarray, weight: np.ndarray, depth: np.ndarray, faces: np.ndarray,
    table: np.ndarray, lamps: np.ndarray, view: np.ndarray, shadow: np.ndarray, spread: float, focal_px: float,
    width: int,
) -> np.ndarray:  # fmt: skip
    """(n, COLUMNS + 1) float64: the table's columns at the samples listed, and the key lamp's share."""
    rows = empty_rows(len(listed))
    survey_blocks(
        listed, triangle, weight, depth, faces, table, lamps, view, shadow, spread, focal_px, width, rows
    )  # fmt: skip
    columns = rows.reshape(len(rows), ROW // PITCH, PITCH)[:, : s.COLUMNS + 1, :BLOCK]
    return np.ascontiguousarray(columns.transpose(0, 2, 1)).reshape(-1, s.COLUMNS + 1)[: len(listed)]
