"""The CPU rasteriser's inner loops (numba). faces/render/rasterize.py states the rules; this file is how they run fast.

A head of 70,000 triangles at 224 px has about one triangle a pixel, so what costs is not filling but finding out, for
every triangle, which one or two pixel centres it may cover. Hence:

* positions are whole numbers (1/1024 px), so that edge functions are exact and the fill rule is plain arithmetic;
* each vertex knows its cell, the first pixel centre not left of (above) it. A triangle's cells bound the centres that
  it can cover: columns min..max - 1, rows likewise. One look-up a corner drops triangles that cover none;
* blocks of triangles are sorted by how many centres they may cover (1, 2 across, 2 down, 2 x 2, more), fetched into
  columns, and tested by loops without a branch, which the compiler turns into vector instructions;
* one 64-bit key a pixel holds nearness (float32 bits: positive floats sort like integers) above the inverted index, so
  that one `max` settles depth and ties; barycentrics are computed once a pixel at the end.

Unsigned indices spare numba's test for negative ones. Ours throughout.
"""

# Types here are numba's: whole numbers of fixed width that Python's annotations cannot tell apart.
# mypy: disable-error-code="operator,call-overload,assignment,arg-type"

import numpy as np

from faces.compiled import kernel

#: Fractional bits of a screen position.
SUBPIXEL_BITS = 10
#: Positions from here on (in either direction) cannot be held; their triangles are dropped.
LIMIT_PX = np.float32(1 << 19)
#: A triangle with a vertex at this depth or nearer (or behind the camera) is dropped; nothing is clipped.
NEAR_MM = np.float32(1.0)
#: Depth from which on a vertex counts as infinitely far, and its triangles are dropped.
FAR_MM = np.float32(1.0e9)
#: Longest side of a picture: cells are kept in 15 bits.
LONGEST_PX = 16384

i32, i64, u64, f32, f64 = np.int32, np.int64, np.uint64, np.float32, np.float64

_BITS, _ONE, _HALF, _UP = i32(SUBPIXEL_BITS), i32(1024), i32(512), i32(511)
_SCALE, _ROUND, _INF = f32(1024.0), f32(0.5), f32(np.inf)
_ZERO, _TWO, _TOP, _TILT = i32(0), i32(2), i32(31), i32(13)
_HIGH, _LOW, _OUTSIDE, _UNUSABLE = i32(16), i32(0x7FFF), i32(0x8000), i32(-(2**31))
_LAST = 0x7FFFFFFF
#: Triangles (and pixels) a block. Columns of a block lie in one array, PITCH apart (not a power of two: cache sets).
_BLOCK, PITCH = 512, 528
_B1, _B2, _B3, _B4, _B5 = (u64(PITCH * j) for j in range(1, 6))
_U1, _U2, _U3 = u64(1), u64(2), u64(3)
#: Longest side of a triangle (1/1024 px) whose edge functions fit into 32 bits up to 8 px beside it.
_MEDIUM = i32(16 << SUBPIXEL_BITS)
#: Sorts of triangle: 0 covers nothing, 1 one centre, 2 two across, 3 two down, 4 two by two, 5 anything else.
_SORTS = 6


@kernel
def snap_vertices(flat: np.ndarray, xs: np.ndarray, ys: np.ndarray, nearness: np.ndarray) -> None:
    """(3 V,) float32 u, v, depth -> (V,) int32 x and y in 1/1024 px, (V,) float64 1 / depth (0 marks unusable)."""
    for i in range(u64(xs.shape[0])):
        u, v, depth = flat[i * _U3], flat[i * _U3 + _U1], flat[i * _U3 + _U2]
        usable = (depth > NEAR_MM) & (depth < FAR_MM) & (abs(u) < LIMIT_PX) & (abs(v) < LIMIT_PX)
        u = u if usable else f32(0)
        v = v if usable else f32(0)
        xs[i] = i32(np.floor(u * _SCALE + _ROUND))
        ys[i] = i32(np.floor(v * _SCALE + _ROUND))
        nearness[i] = (1.0 if usable else 0.0) / f64(depth if usable else f32(1))


@kernel
def find_cells(
    xs: np.ndarray, ys: np.ndarray, nearness: np.ndarray, width: int, height: int, cells: np.ndarray
) -> None:
    """Cells, row << 16 | column, clamped to the picture; bit 15 says "was clamped", the sign bit "unusable"."""
    last_column, last_row = i32(width), i32(height)
    for i in range(u64(cells.shape[0])):
        column, row = i32(i32(xs[i] + _UP) >> _BITS), i32(i32(ys[i] + _UP) >> _BITS)
        x, y = min(max(column, _ZERO), last_column), min(max(row, _ZERO), last_row)
        outside = _OUTSIDE if (x != column) | (y != row) else _ZERO
        cells[i] = i32(x | i32(y << _HIGH)) | outside if nearness[i] > 0 else _UNUSABLE


@kernel
def fetch_cells(corners: np.ndarray, first: int, n: int, cells: np.ndarray, out: np.ndarray) -> None:
    """Cells of the corners of triangles first.. into the first three columns of out."""
    base = u64(3 * first)
    for i in range(u64(n)):
        t = base + _U3 * i
        out[i], out[i + _B1], out[i + _B2] = cells[corners[t]], cells[corners[t + _U1]], cells[corners[t + _U2]]


@kernel
def classify(n: int, columns: np.ndarray, sort: np.ndarray, place: np.ndarray) -> None:
    """Cells of n triangles -> their sort (see _SORTS) and the first centre they may cover, row << 16 | column."""
    first, second, third = columns[0:PITCH], columns[PITCH : 2 * PITCH], columns[2 * PITCH :]
    for i in range(n):
        a, b, c = first[i], second[i], third[i]
        ax, bx, cx = a & _LOW, b & _LOW, c & _LOW
        ay, by, cy = a >> _HIGH, b >> _HIGH, c >> _HIGH
        left, top = min(ax, bx, cx), min(ay, by, cy)
        wide, high = i32(max(ax, bx, cx) - left), i32(max(ay, by, cy) - top)
        covers = (top >= _ZERO) & (wide > _ZERO) & (high > _ZERO)
        small = (wide <= _TWO) & (high <= _TWO) & (((a | b | c) & _OUTSIDE) == _ZERO)
        code = i32(wide + i32(high + high) - _TWO)
        sort[i] = (code if small else i32(5)) if covers else _ZERO
        place[i] = i32(top << _HIGH) | left


@kernel
def sort_block(
    n: int, sort: np.ndarray, place: np.ndarray, lists: np.ndarray, places: np.ndarray, count: np.ndarray
) -> None:
    """Positions in the block by sort: column s of lists and places gets count[s] entries."""
    for s in range(_SORTS):
        count[s] = 0
    for i in range(u64(n)):
        s = u64(sort[i])
        m = u64(count[s])
        lists[s * _B1 + m] = i32(i)
        places[s * _B1 + m] = place[i]
        count[s] = m + _U1


@kernel
def fetch_corners(
    corners: np.ndarray, first: int, listed: np.ndarray, n: int,
    xs: np.ndarray, ys: np.ndarray, nearness: np.ndarray, positions: np.ndarray, weights: np.ndarray,
) -> None:  # fmt: skip
    """Triangles first + listed[0..n-1]: ax, ay, bx, by, cx, cy into positions, nearness of a, b, c into weights."""
    base = u64(first)
    for i in range(u64(n)):
        t = _U3 * (base + u64(listed[i]))
        a, b, c = u64(corners[t]), u64(corners[t + _U1]), u64(corners[t + _U2])
        positions[i], positions[i + _B1] = xs[a], ys[a]
        positions[i + _B2], positions[i + _B3] = xs[b], ys[b]
        positions[i + _B4], positions[i + _B5] = xs[c], ys[c]
        weights[i], weights[i + _B1], weights[i + _B2] = nearness[a], nearness[b], nearness[c]


@kernel
def test_centres(
    n: int, place: np.ndarray, shift: int, step_x: int, step_y: int,
    ax_: np.ndarray, ay_: np.ndarray, bx_: np.ndarray, by_: np.ndarray, cx_: np.ndarray, cy_: np.ndarray,
    na_: np.ndarray, nb_: np.ndarray, nc_: np.ndarray,
    near0: np.ndarray, miss0: np.ndarray, near1: np.ndarray, miss1: np.ndarray,
) -> None:  # fmt: skip
    """Small triangles (under 3 px) against the centre at place + shift, and the one a step further.

    near: float32 1 / depth there; miss: 0 where the triangle covers the centre, else -1. The edge opposite corner i
    has the function e_i, positive inside when the area is; a top or left edge counts as inside (bias 0), others do not
    (bias -1): (dy << 13) - dx is negative exactly for dy < 0, or dy = 0 and dx > 0.
    """
    to_right, to_below, more = i32(-step_x), i32(-step_y), i32(shift)
    for i in range(n):
        where = i32(place[i] + more)
        px, py = i32(((where & _LOW) << _BITS) + _HALF), i32(((where >> _HIGH) << _BITS) + _HALF)
        ax, ay, bx, by = i32(ax_[i] - px), i32(ay_[i] - py), i32(bx_[i] - px), i32(by_[i] - py)
        cx, cy = i32(cx_[i] - px), i32(cy_[i] - py)
        dx0, dy0, dx1, dy1 = i32(cx - bx), i32(cy - by), i32(ax - cx), i32(ay - cy)
        dx2, dy2 = i32(bx - ax), i32(by - ay)
        e0, e1, e2 = i32(dy0 * bx - dx0 * by), i32(dy1 * cx - dx1 * cy), i32(dy2 * ax - dx2 * ay)
        area = i32(e0 + e1 + e2)
        flip = i32(area >> _TOP)
        bias0 = i32(~(i32((((dy0 << _TILT) - dx0) ^ flip) - flip) >> _TOP))
        bias1 = i32(~(i32((((dy1 << _TILT) - dx1) ^ flip) - flip) >> _TOP))
        bias2 = i32(~(i32((((dy2 << _TILT) - dx2) ^ flip) - flip) >> _TOP))
        na, nb, nc, inverse = na_[i], nb_[i], nc_[i], 1.0 / f64(area)
        outside = (((e0 ^ flip) - flip) + bias0) | (((e1 ^ flip) - flip) + bias1) | (((e2 ^ flip) - flip) + bias2)
        miss0[i] = i32(i32(outside) >> _TOP) if area != _ZERO else i32(-1)
        near0[i] = (f64(e0) * na + f64(e1) * nb + f64(e2) * nc) * inverse
        e0 = i32(e0 + i32(((dx0 & to_below) - (dy0 & to_right)) << _BITS))
        e1 = i32(e1 + i32(((dx1 & to_below) - (dy1 & to_right)) << _BITS))
        e2 = i32(e2 + i32(((dx2 & to_below) - (dy2 & to_right)) << _BITS))
        outside = (((e0 ^ flip) - flip) + bias0) | (((e1 ^ flip) - flip) + bias1) | (((e2 ^ flip) - flip) + bias2)
        miss1[i] = i32(i32(outside) >> _TOP) if area != _ZERO else i32(-1)
        near1[i] = (f64(e0) * na + f64(e1) * nb + f64(e2) * nc) * inverse


@kernel
def enter(
    n: int, first: int, listed: np.ndarray, place: np.ndarray, shift: int, width: int,
    near_bits: np.ndarray, miss: np.ndarray, key: np.ndarray, pixel: np.ndarray, keys: np.ndarray,
) -> None:  # fmt: skip
    """Enter n tested centres (place moved by shift pixels) into keys (H W,); a miss makes the key -1."""
    last, across, more = _LAST - i64(first), i32(width), i32(shift)
    for i in range(n):
        key[i] = ((i64(near_bits[i]) << 32) | (last - listed[i])) | i64(miss[i])
    for i in range(n):
        pixel[i] = i32(i32((place[i] >> _HIGH) * across) + (place[i] & _LOW) + more)
    for i in range(u64(n)):
        p = u64(pixel[i])
        old = keys[p]
        gain = old - key[i]
        keys[p] = old - (gain & (gain >> 63))


@kernel
def draw_large(
    t: int, corners: np.ndarray, xs: np.ndarray, ys: np.ndarray, nearness: np.ndarray,
    width: int, height: int, keys: np.ndarray,
) -> None:  # fmt: skip
    """One triangle of any size into keys, pixel by pixel of its bounding box."""
    a, b, c = u64(corners[3 * t]), u64(corners[3 * t + 1]), u64(corners[3 * t + 2])
    ax, ay, bx, by, cx, cy = i64(xs[a]), i64(ys[a]), i64(xs[b]), i64(ys[b]), i64(xs[c]), i64(ys[c])
    area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    if area == 0:
        return
    sign = i64(1) if area > 0 else i64(-1)
    dx0, dy0, dx1, dy1, dx2, dy2 = cx - bx, cy - by, ax - cx, ay - cy, bx - ax, by - ay
    left, right = max((min(ax, bx, cx) + 511) >> 10, 0), min((max(ax, bx, cx) + 511) >> 10, width)
    top, bottom = max((min(ay, by, cy) + 511) >> 10, 0), min((max(ay, by, cy) + 511) >> 10, height)
    px, py = left * 1024 + 512, top * 1024 + 512
    row0, row1, row2 = (
        dx0 * (py - by) - dy0 * (px - bx), dx1 * (py - cy) - dy1 * (px - cx), dx2 * (py - ay) - dy2 * (px - ax),
    )  # fmt: skip
    bias0 = i64(0) if sign * dy0 < 0 or (dy0 == 0 and sign * dx0 > 0) else i64(-1)
    bias1 = i64(0) if sign * dy1 < 0 or (dy1 == 0 and sign * dx1 > 0) else i64(-1)
    bias2 = i64(0) if sign * dy2 < 0 or (dy2 == 0 and sign * dx2 > 0) else i64(-1)
    na, nb, nc = nearness[a], nearness[b], nearness[c]
    inverse = 1.0 / f64(area)
    for y in range(top, bottom):
        e0, e1, e2 = row0, row1, row2
        for p in range(y * width + left, y * width + right):
            if ((sign * e0 + bias0) | (sign * e1 + bias1) | (sign * e2 + bias2)) >= 0:
                near = f32((f64(e0) * na + f64(e1) * nb + f64(e2) * nc) * inverse)
                keys[p] = max(keys[p], (i64(near.view(np.int32)) << 32) | (_LAST - t))
            e0, e1, e2 = e0 - (dy0 << 10), e1 - (dy1 << 10), e2 - (dy2 << 10)
        row0, row1, row2 = row0 + (dx0 << 10), row1 + (dx1 << 10), row2 + (dx2 << 10)


@kernel
def draw_medium(
    t: int, corners: np.ndarray, xs: np.ndarray, ys: np.ndarray, nearness: np.ndarray,
    width: int, height: int, keys: np.ndarray,
) -> bool:  # fmt: skip
    """As draw_large, eight pixels of a row at a time in 32 bits; False where the triangle is too large for that."""
    a, b, c = u64(corners[3 * t]), u64(corners[3 * t + 1]), u64(corners[3 * t + 2])
    ax, ay, bx, by, cx, cy = xs[a], ys[a], xs[b], ys[b], xs[c], ys[c]
    low_x, high_x, low_y, high_y = min(ax, bx, cx), max(ax, bx, cx), min(ay, by, cy), max(ay, by, cy)
    left, right = max((low_x + _UP) >> _BITS, _ZERO), min((high_x + _UP) >> _BITS, i32(width))
    top, bottom = max((low_y + _UP) >> _BITS, _ZERO), min((high_y + _UP) >> _BITS, i32(height))
    lanes = i32(i32(right - left + i32(7)) & i32(-8))
    if max(high_x - low_x, high_y - low_y) > _MEDIUM or lanes > width:
        return False
    start = min(left, i32(width - lanes))
    px, py = i32((start << _BITS) + _HALF), i32((top << _BITS) + _HALF)
    ax, ay, bx, by, cx, cy = i32(ax - px), i32(ay - py), i32(bx - px), i32(by - py), i32(cx - px), i32(cy - py)
    dx0, dy0, dx1, dy1, dx2, dy2 = i32(cx - bx), i32(cy - by), i32(ax - cx), i32(ay - cy), i32(bx - ax), i32(by - ay)
    row0, row1, row2 = i32(dy0 * bx - dx0 * by), i32(dy1 * cx - dx1 * cy), i32(dy2 * ax - dx2 * ay)
    area = i32(row0 + row1 + row2)
    if area == _ZERO:
        return True
    flip = i32(area >> _TOP)
    bias0 = i32(~(i32((((dy0 << _TILT) - dx0) ^ flip) - flip) >> _TOP))
    bias1 = i32(~(i32((((dy1 << _TILT) - dx1) ^ flip) - flip) >> _TOP))
    bias2 = i32(~(i32((((dy2 << _TILT) - dx2) ^ flip) - flip) >> _TOP))
    na, nb, nc, inverse, index = nearness[a], nearness[b], nearness[c], 1.0 / f64(area), i64(_LAST - t)
    down0, down1, down2 = i32(dx0 << _BITS), i32(dx1 << _BITS), i32(dx2 << _BITS)
    right0, right1, right2 = i32(dy0 << _BITS), i32(dy1 << _BITS), i32(dy2 << _BITS)
    for y in range(top, bottom):
        row = keys[i64(y) * width + start : i64(y) * width + start + lanes]
        for i in range(lanes):
            lane = i32(i)
            e0, e1, e2 = i32(row0 - lane * right0), i32(row1 - lane * right1), i32(row2 - lane * right2)
            outside = (((e0 ^ flip) - flip) + bias0) | (((e1 ^ flip) - flip) + bias1) | (((e2 ^ flip) - flip) + bias2)
            near = f32((f64(e0) * na + f64(e1) * nb + f64(e2) * nc) * inverse)
            old, key = row[i], (i64(near.view(np.int32)) << 32) | index
            row[i] = max(old, key) if i32(outside) >= _ZERO else old
        row0, row1, row2 = i32(row0 + down0), i32(row1 + down1), i32(row2 + down2)
    return True


@kernel
def draw_block(
    first: int, n: int, corners: np.ndarray, xs: np.ndarray, ys: np.ndarray, nearness: np.ndarray, cells: np.ndarray,
    width: int, height: int, ints: np.ndarray, floats: np.ndarray, near: np.ndarray, near_bits: np.ndarray,
    key: np.ndarray, count: np.ndarray, keys: np.ndarray,
) -> None:  # fmt: skip
    """Triangles first..first + n - 1 into keys."""
    b = PITCH
    positions, sort, place, miss0, miss1 = ints[0:], ints[6 * b :], ints[7 * b :], ints[8 * b :], ints[9 * b :]
    pixel, lists, places = ints[10 * b :], ints[11 * b :], ints[17 * b :]
    fetch_cells(corners, first, n, cells, positions)
    classify(n, positions, sort, place)
    sort_block(n, sort, place, lists, places, count)
    for s in range(1, 5):
        m, listed, placed = count[s], lists[s * b :], places[s * b :]
        fetch_corners(corners, first, listed, m, xs, ys, nearness, positions, floats)
        step_x, step_y = 1 if s == 2 else 0, 1 if s > 2 else 0
        for shift in range(2 if s == 4 else 1):
            test_centres(
                m, placed, shift, step_x, step_y,
                positions[0:b], positions[b:], positions[2 * b :], positions[3 * b :], positions[4 * b :],
                positions[5 * b :], floats[0:b], floats[b:], floats[2 * b :], near[0:b], miss0, near[b:], miss1,
            )  # fmt: skip
            enter(m, first, listed, placed, shift, width, near_bits[0:b], miss0, key, pixel, keys)
            if s > 1:
                step = shift + step_x + step_y * width
                enter(m, first, listed, placed, step, width, near_bits[b:], miss1, key, pixel, keys)
    for i in range(count[5]):
        t = first + lists[5 * b + i]
        if not draw_medium(t, corners, xs, ys, nearness, width, height, keys):
            draw_large(t, corners, xs, ys, nearness, width, height, keys)


@kernel
def faces_away(first: int, n: int, corners: np.ndarray, xs: np.ndarray, ys: np.ndarray) -> bool:
    """Whether every 16th triangle of a block is clockwise on the screen: a guess, which only decides on an order."""
    for t in range(u64(first), u64(first + n), u64(16)):
        a, b, c = corners[_U3 * t], corners[_U3 * t + _U1], corners[_U3 * t + _U2]
        ax, ay = i64(xs[a]), i64(ys[a])
        if (xs[b] - ax) * (ys[c] - ay) < (ys[b] - ay) * (xs[c] - ax):
            return False
    return True


@kernel
def is_hidden(
    first: int, n: int, corners: np.ndarray, nearness_bits: np.ndarray, cells: np.ndarray, width: int,
    ints: np.ndarray, bits: np.ndarray, keys: np.ndarray,
) -> bool:  # fmt: skip
    """Whether every pixel that a block may cover already shows something nearer than the block's nearest vertex."""
    fetch_cells(corners, first, n, cells, ints)
    base = u64(3 * first)
    for i in range(u64(3 * n)):
        bits[i] = nearness_bits[corners[base + i]]
    left, top, right, bottom, nearest = _LOW, _LOW, _ZERO, _ZERO, i64(0)
    for column in range(3):
        seen = ints[column * PITCH :]
        for i in range(n):
            x, y = i32(seen[i] & _LOW), i32(max(seen[i], _ZERO) >> _HIGH)
            left, right, top, bottom = min(left, x), max(right, x), min(top, y), max(bottom, y)
    for i in range(3 * n):
        nearest = max(nearest, bits[i])
    if (right - left) * (bottom - top) > 16 * _BLOCK:
        return False
    bits[0] = nearest
    bound = i64(f32(bits.view(np.float64)[0]).view(np.int32)) + 1
    for y in range(top, bottom):
        lowest = i64(_LAST) << 32
        row = keys[y * width + left : y * width + right]
        for i in range(row.shape[0]):
            lowest = min(lowest, row[i])
        if (lowest >> 32) <= bound:
            return False
    return True


@kernel
def draw_face(
    corners: np.ndarray, xs: np.ndarray, ys: np.ndarray, nearness: np.ndarray, cells: np.ndarray,
    width: int, height: int, ints: np.ndarray, floats: np.ndarray, near: np.ndarray, near_bits: np.ndarray,
    key: np.ndarray, keys: np.ndarray,
) -> None:  # fmt: skip
    """All triangles (corners is (3 T,) uint32) of one face into keys (H W,), which is cleared to -1 first.

    Blocks that seem to face away wait until the others are drawn; of a closed head nearly all of them are then hidden.
    """
    keys[:] = -1
    count, n_triangles = np.zeros(_SORTS, np.uint64), corners.shape[0] // 3
    waiting, n_waiting = np.empty(n_triangles // _BLOCK + 1, np.int64), 0
    bits, nearness_bits = np.empty(3 * _BLOCK, np.int64), nearness.view(np.int64)
    for step in range(2 * (n_triangles // _BLOCK + 1)):
        sweep_one = step <= n_triangles // _BLOCK
        late = step - n_triangles // _BLOCK - 1
        if not sweep_one and late >= n_waiting:
            break
        first = step * _BLOCK if sweep_one else waiting[late]
        n = min(_BLOCK, n_triangles - first)
        if sweep_one and faces_away(first, n, corners, xs, ys):
            waiting[n_waiting] = first
            n_waiting += 1
        elif sweep_one or not is_hidden(first, n, corners, nearness_bits, cells, width, ints, bits, keys):
            draw_block(
                first, n, corners, xs, ys, nearness, cells, width, height, ints, floats, near, near_bits, key, count,
                keys,
            )  # fmt: skip


@kernel
def solve_pixels(
    n: int, listed: np.ndarray, base: int, width: int,
    ax_: np.ndarray, ay_: np.ndarray, bx_: np.ndarray, by_: np.ndarray, cx_: np.ndarray, cy_: np.ndarray,
    na_: np.ndarray, nb_: np.ndarray, nc_: np.ndarray,
    wa_: np.ndarray, wb_: np.ndarray, wc_: np.ndarray, depth_: np.ndarray,
) -> None:  # fmt: skip
    """Perspective-correct weights and depth at n pixels base + listed[i] of the picture."""
    for i in range(n):
        p = i64(base) + listed[i]
        y = i64((f64(p) + 0.5) / f64(width))
        px, py = ((p - y * i64(width)) << 10) + 512, (y << 10) + 512
        ax, ay, bx, by = i64(ax_[i]) - px, i64(ay_[i]) - py, i64(bx_[i]) - px, i64(by_[i]) - py
        cx, cy = i64(cx_[i]) - px, i64(cy_[i]) - py
        e0, e1, e2 = bx * cy - by * cx, cx * ay - cy * ax, ax * by - ay * bx
        wa, wb, wc = f64(e0) * na_[i], f64(e1) * nb_[i], f64(e2) * nc_[i]
        share = 1.0 / (wa + wb + wc)
        wa_[i], wb_[i], wc_[i] = wa * share, wb * share, wc * share
        depth_[i] = f64(e0 + e1 + e2) * share


@kernel
def resolve_face(
    corners: np.ndarray, xs: np.ndarray, ys: np.ndarray, nearness: np.ndarray, width: int, keys: np.ndarray,
    ints: np.ndarray, floats: np.ndarray, near: np.ndarray,
    triangle: np.ndarray, barycentric: np.ndarray, depth: np.ndarray,
) -> None:  # fmt: skip
    """keys (H W,) -> triangle (H W,) int32, barycentric (3 H W,) float32 and depth (H W,) float32, all flat."""
    b = PITCH
    positions, listed, chosen = ints[0:], ints[6 * b :], ints[7 * b :]
    wa, wb, wc, far = near[0:b], near[b : 2 * b], near[2 * b : 3 * b], near[3 * b : 4 * b]
    for base in range(0, keys.shape[0], _BLOCK):
        n = min(_BLOCK, keys.shape[0] - base)
        m = u64(0)
        barycentric[3 * base : 3 * (base + n)] = 0
        depth[base : base + n] = _INF
        for i in range(u64(n)):
            k = keys[u64(base) + i]
            t = i32(_LAST - (k & _LAST)) if k >= 0 else i32(-1)
            triangle[u64(base) + i] = t
            listed[m], chosen[m] = i32(i), t
            m += u64(k >= 0)
        fetch_corners(corners, 0, chosen, m, xs, ys, nearness, positions, floats)
        solve_pixels(
            m, listed, base, width,
            positions[0:b], positions[b:], positions[2 * b :], positions[3 * b :], positions[4 * b :],
            positions[5 * b :], floats[0:b], floats[b:], floats[2 * b :], wa, wb, wc, far,
        )  # fmt: skip
        for i in range(m):
            p = u64(base) + u64(listed[i])
            barycentric[_U3 * p], barycentric[_U3 * p + _U1], barycentric[_U3 * p + _U2] = wa[i], wb[i], wc[i]
            depth[p] = far[i]


@kernel
def interpolate_face(
    attributes: np.ndarray, corners: np.ndarray, triangle: np.ndarray, barycentric: np.ndarray, out: np.ndarray
) -> None:
    """(V, C) float32 attributes at the pixels of one face -> out (H W, C); 0 where there is no mesh."""
    channels = u64(attributes.shape[1])
    for p in range(u64(triangle.shape[0])):
        if triangle[p] < 0:
            for k in range(channels):
                out[p, k] = f32(0)
            continue
        t = _U3 * u64(triangle[p])
        a, b, c = corners[t], corners[t + _U1], corners[t + _U2]
        wa, wb, wc = barycentric[_U3 * p], barycentric[_U3 * p + _U1], barycentric[_U3 * p + _U2]
        for k in range(channels):
            out[p, k] = wa * attributes[a, k] + wb * attributes[b, k] + wc * attributes[c, k]
