"""mesh_inputs.py's operators for the preparation of a training step on a CPU, in one sweep a face (numba).

The torch operators of mesh_inputs.py are the definition and serve GPUs and swaps; they launch dozens of small passes a
batch. These give the same pictures to 3e-5 where neighbours differ as in pictures (sRGB is read from tables). (Ours.)
"""

# Types here are numba's: whole numbers of fixed width that Python's annotations cannot tell apart.
# mypy: disable-error-code="operator,call-overload,assignment,arg-type"

import numpy as np

from faces.compiled import kernel
from faces.render.shading import to_linear, to_srgb

#: sRGB of 4,097 equal steps of linear light and back, read with linear interpolation.
STEPS = 4096
SRGB = to_srgb(np.linspace(0.0, 1.0, STEPS + 1)).astype(np.float32)
LINEAR = to_linear(np.linspace(0.0, 1.0, STEPS + 1)).astype(np.float32)

i32, i64, f32 = np.int32, np.int64, np.float32


@kernel
def resample_faces(large: np.ndarray, scale: np.ndarray, small: np.ndarray) -> None:
    """(N, L, L, 4) uint8, coverage last, enlarged by scale (N,) about the coverage's centroid -> small (N, 4, S, S)
    float32 0..1: `resampled`. Black where nothing is covered, so that what lies outside the covered box is skipped."""
    side, size_px = large.shape[1], small.shape[2]
    for n in range(large.shape[0]):
        total, across, down = i64(0), i64(0), i64(0)
        left, right, top, bottom = side, -1, side, -1
        for y in range(side):
            row, weighted = i64(0), i64(0)
            for x in range(side):
                cover = i64(large[n, y, x, 3])
                row += cover
                weighted += cover * (2 * x + 1)
                if cover > 0:
                    left, right = min(left, x), max(right, x)
            total, across, down = total + row, across + weighted, down + row * (2 * y + 1)
            if row > 0:
                top, bottom = min(top, y), y
        small[n] = 0
        if total == 0:
            continue
        shrink = 1.0 / scale[n]
        # Centre of the first small pixel in large pixels, and the step to the next; in float64, once a row and column.
        step = shrink * side / size_px
        first_x = step / 2 - 0.5 + across / (2.0 * total) * (1 - shrink)
        first_y = step / 2 - 0.5 + down / (2.0 * total) * (1 - shrink)
        for j in range(size_px):
            v = first_y + j * step
            y0 = i64(np.floor(v))
            if y0 + 1 < top or y0 > bottom:
                continue
            fy = f32(v - y0)
            for k in range(size_px):
                u = first_x + k * step
                x0 = i64(np.floor(u))
                if x0 + 1 < left or x0 > right:
                    continue
                fx = f32(u - x0)
                red, green, blue, cover = f32(0), f32(0), f32(0), f32(0)
                for y in range(max(y0, 0), min(y0 + 2, side)):
                    wy = f32(1) - fy if y == y0 else fy
                    for x in range(max(x0, 0), min(x0 + 2, side)):
                        weight = wy * (f32(1) - fx if x == x0 else fx)
                        red += weight * f32(large[n, y, x, 0])
                        green += weight * f32(large[n, y, x, 1])
                        blue += weight * f32(large[n, y, x, 2])
                        cover += weight * f32(large[n, y, x, 3])
                small[n, 0, j, k], small[n, 1, j, k] = red / f32(255), green / f32(255)
                small[n, 2, j, k], small[n, 3, j, k] = blue / f32(255), cover / f32(255)


@kernel
def read_table(table: np.ndarray, value: float) -> float:
    """The table at a value, clipped to 0..1, with linear interpolation."""
    spot = min(max(value, f32(0)), f32(1)) * f32(STEPS)
    low = min(i32(spot), i32(STEPS - 1))
    return table[low] + (table[low + 1] - table[low]) * (spot - f32(low))


@kernel
def tint_faces(
    image: np.ndarray, ratio: np.ndarray, linear: np.ndarray, srgb: np.ndarray, tinted: np.ndarray
) -> None:  # fmt: skip
    """(N, 3, P) sRGB 0..1, linear RGB times ratio (N, 3) -> tinted (N, 3, P) sRGB; black stays black."""
    for n in range(image.shape[0]):
        for channel in range(3):
            factor = ratio[n, channel]
            for p in range(image.shape[2]):
                value = image[n, channel, p]
                tinted[n, channel, p] = read_table(srgb, read_table(linear, value) * factor) if value > 0 else f32(0)


@kernel
def band_rows(coverage: np.ndarray, share: float) -> float:
    """(S, S) coverage -> the lowest row of `forehead_band`."""
    top, bottom = len(coverage), -1
    for y in range(len(coverage)):
        for x in range(len(coverage)):
            if coverage[y, x] >= f32(0.5):
                top, bottom = min(top, y), y
    return top + share * (bottom - top)


@kernel
def pull(fine: np.ndarray, coarse: np.ndarray) -> None:
    """(4, b, b) colour times weight and weight -> (4, s, s), a level up: sums of four, of weight 1 at most."""
    side = coarse.shape[1]
    for plane in range(4):
        for y in range(side):
            for x in range(side):
                above = fine[plane, 2 * y, 2 * x] + fine[plane, 2 * y, 2 * x + 1]
                below = fine[plane, 2 * y + 1, 2 * x] + fine[plane, 2 * y + 1, 2 * x + 1]
                coarse[plane, y, x] = above + below
    for y in range(side):
        for x in range(side):
            excess = coarse[3, y, x]
            if excess > 1:
                for plane in range(4):
                    coarse[plane, y, x] /= excess


@kernel
def push(coarse: np.ndarray, fine: np.ndarray) -> None:
    """(4, s, s) colours -> what (4, b, b), colour times weight and weight, lacks is added from them, bilinearly."""
    above, side = coarse.shape[1], fine.shape[1]
    ratio = f32(above) / f32(side)
    for y in range(side):
        v = max((f32(y) + f32(0.5)) * ratio - f32(0.5), f32(0))
        y0 = i64(v)
        y1, fy = min(y0 + 1, above - 1), v - f32(y0)
        for x in range(side):
            missing = f32(1) - fine[3, y, x]
            if missing == 0:
                continue
            u = max((f32(x) + f32(0.5)) * ratio - f32(0.5), f32(0))
            x0 = i64(u)
            x1, fx = min(x0 + 1, above - 1), u - f32(x0)
            for channel in range(3):
                upper = coarse[channel, y0, x0] * (f32(1) - fx) + coarse[channel, y0, x1] * fx
                lower = coarse[channel, y1, x0] * (f32(1) - fx) + coarse[channel, y1, x1] * fx
                fine[channel, y, x] += (upper * (f32(1) - fy) + lower * fy) * missing


@kernel
def continue_planes(pyramid: np.ndarray, size_px: int) -> None:
    """`continued`, in place. pyramid (8 * S * S,): 4 planes (colour times weight, weight) a level, one level behind the
    other; the finest is given, and holds the colours afterwards."""
    levels, side, place = 1, size_px, 0
    while side > 1:
        below = pyramid[place : place + 4 * side * side].reshape(4, side, side)
        place, side = place + 4 * side * side, side // 2
        pull(below, pyramid[place : place + 4 * side * side].reshape(4, side, side))
        levels += 1
    top = pyramid[place : place + 4 * side * side].reshape(4, side, side)
    for channel in range(3):
        for y in range(side):
            for x in range(side):
                top[channel, y, x] = top[channel, y, x] / max(top[3, y, x], f32(1e-6))
    for level in range(levels - 2, -1, -1):
        larger = size_px >> level
        above = pyramid[place : place + 4 * side * side].reshape(4, side, side)
        place, side = place - 4 * larger * larger, larger
        push(above, pyramid[place : place + 4 * side * side].reshape(4, side, side))


@kernel
def start_faces(
    image: np.ndarray, hole: np.ndarray, mesh: np.ndarray, band: tuple[float, float], start: np.ndarray,
    masked: np.ndarray,
) -> None:  # fmt: skip
    """`start_picture` and the picture without its hole.

    image (N, 3, S, S), hole (N, S, S), mesh (N, 4, S, S) tinted render with its coverage last, band: reach (px) and
    share of `forehead_band` -> start and masked, both (N, 3, S, S).
    """
    size_px = image.shape[2]
    pyramid, passed = np.empty(8 * size_px * size_px, np.float32), np.empty(size_px, np.int64)
    finest = pyramid[: 4 * size_px * size_px].reshape(4, size_px, size_px)
    for n in range(image.shape[0]):
        lowest = band_rows(mesh[n, 3], band[1])
        passed[:] = 0
        for y in range(size_px):
            for x in range(size_px):
                keep, stands = f32(1) - hole[n, y, x], f32(0)
                passed[x] += mesh[n, 3, y, x] >= f32(0.5)
                if y <= lowest and passed[x] <= band[0]:
                    stands = hole[n, y, x]
                finest[3, y, x] = keep + mesh[n, 3, y, x] * stands
                for channel in range(3):
                    masked[n, channel, y, x] = image[n, channel, y, x] * keep
                    finest[channel, y, x] = masked[n, channel, y, x] + mesh[n, channel, y, x] * stands
        continue_planes(pyramid, size_px)
        for channel in range(3):
            for y in range(size_px):
                for x in range(size_px):
                    inside = mesh[n, channel, y, x] + finest[channel, y, x] * (f32(1) - mesh[n, 3, y, x])
                    start[n, channel, y, x] = masked[n, channel, y, x] + inside * hole[n, y, x]
