"""Strands drawn as ribbons: a rasteriser with the depth test of the picture, and one for shadow maps. Numba, one core.

Of a head of hair seven ribbon samples in eight lie behind something nearer. So `visible_segments` first asks, without
a branch a sample, which segments have any chance; only these are lit and drawn. Ours.
"""

# Types here are numba's: whole numbers of fixed width that Python's annotations cannot tell apart.
# mypy: disable-error-code="operator,call-overload,assignment,arg-type"

import math

import numpy as np

from faces.compiled import kernel

#: Samples and mm by which a segment is thought wider and nearer before it is called hidden: far more than rounding.
_SLACK = np.float32(0.01)
i32, u64, f32 = np.int32, np.uint64, np.float32
_U0, _U1, _U2, _ZERO = u64(0), u64(1), u64(2), i32(0)


@kernel
def _extent(u0: float, v0: float, u1: float, v1: float, height: int, width: int) -> tuple[int, int, bool, float]:
    """First and last line of samples that a segment crosses, whether lines are rows, and its slope."""
    du, dv = u1 - u0, v1 - v0
    tall = abs(dv) >= abs(du)
    a0, a1 = (v0, v1) if tall else (u0, u1)
    first = max(0, math.ceil(min(a0, a1) - 0.5))
    last = min((height if tall else width) - 1, math.ceil(max(a0, a1) - 0.5) - 1)
    if first > last or a1 == a0:
        return 1, 0, tall, np.float32(0.0)  # type: ignore[return-value]
    return first, last, tall, (du / dv if tall else dv / du)  # type: ignore[return-value]


@kernel
def _across(centre: float, half: float, alpha: float, opaque: bool) -> tuple[int, int, float]:
    """First and last sample across a ribbon, and the share that it covers of them."""
    if half < 0.5:
        start = math.floor(centre)
        cover = alpha * (2 * half)
        return start, start, 1.0 if opaque and cover >= 0.5 else cover
    return math.floor(centre - half + 0.5), math.floor(centre + half - 0.5), float(alpha)


@kernel
def visible_segments(
    depth_mm: np.ndarray, points: np.ndarray, width_px: np.ndarray, bias_mm: float, wanted: np.ndarray
) -> np.ndarray:
    """(n, P - 1) bool: segments `wanted` (n, P - 1) of which draw_strands may draw a sample, given the depths so far.

    points (n, P, 3) and width_px (n, P) as draw_strands takes them. Depths only fall, so what is hidden stays hidden.
    A row of samples across a ribbon is compared as one: a few too many segments may pass, never too few.
    """
    height, width = depth_mm.shape
    depth, bias, count = depth_mm.reshape(-1), f32(bias_mm), points.shape[1] - 1
    out = np.zeros((points.shape[0], count), np.bool_)
    for i in range(u64(points.shape[0])):
        for k in range(u64(count)):
            if not wanted[i, k]:
                continue
            first, last, tall, slope = _extent(
                points[i, k, 0], points[i, k, 1], points[i, k + _U1, 0], points[i, k + _U1, 1], height, width
            )
            if first > last:
                continue
            axis, other = (_U1, _U0) if tall else (_U0, _U1)
            limit, down, across = (width - 1, width, 1) if tall else (height - 1, 1, width)
            a0, z0, from_, tilt = points[i, k, axis], points[i, k, _U2], f32(first) + f32(0.5), f32(slope)
            half = f32(0.5) * np.sqrt(f32(1) + tilt * tilt) * max(width_px[i, k], width_px[i, k + _U1])
            reach = max(half - f32(0.5), f32(0)) + _SLACK
            more = i32(math.ceil(f32(2) * reach))
            if more > min(3, limit):
                out[i, k] = True
                continue
            fall = (points[i, k + _U1, _U2] - z0) / (points[i, k + _U1, axis] - a0)
            near = z0 + fall * (from_ - a0) - bias - _SLACK
            from_ = points[i, k, other] + tilt * (from_ - a0) - reach
            b, c, d = i32(across * min(more, 1)), i32(across * min(more, 2)), i32(across * more)
            base, down32, across32, most = i32(first * down), i32(down), i32(across), i32(limit - more)
            seen = i32(0)
            for m in range(i32(last - first + 1)):
                start = min(max(i32(from_ + tilt * f32(m)), _ZERO), most)
                p = i32(base + i32(m * down32) + i32(start * across32))
                far = max(
                    max(depth[u64(p)], depth[u64(i32(p + b))]), max(depth[u64(i32(p + c))], depth[u64(i32(p + d))])
                )
                seen |= i32(near + fall * f32(m) < far)
            out[i, k] = seen != 0
    return out


@kernel
def draw_strands(
    picture: np.ndarray, depth_mm: np.ndarray, ids: np.ndarray, points: np.ndarray, width_px: np.ndarray,
    colours: np.ndarray, alpha: np.ndarray, bias_mm: float, identity: int, shown: np.ndarray,
) -> None:  # fmt: skip
    """Draw ribbons into `picture` (H, W, 3) with the depth test of `depth_mm` (H, W), in place.

    points (n, P, 3): u_px, v_px, depth_mm.  width_px (n, P).  colours (n, P, 3).  alpha (n,).  shown (n, P - 1) bool:
    segments to draw, see visible_segments.  A ribbon thinner than a pixel covers in proportion; an opaque one over half
    a pixel wide covers it whole. Where coverage is at least a half, depth is written and ids (H, W) becomes `identity`.
    """
    height, width = depth_mm.shape
    steps, one = np.uint64(points.shape[1] - 1), np.uint64(1)
    for i in range(np.uint64(points.shape[0])):
        opaque = alpha[i] == 1.0
        for k in range(steps):
            if not shown[i, k]:
                continue
            first, last, tall, slope = _extent(
                points[i, k, 0], points[i, k, 1], points[i, k + one, 0], points[i, k + one, 1], height, width
            )
            if first > last:
                continue
            u0, v0, z0 = points[i, k, 0], points[i, k, 1], points[i, k, 2]
            du, dv, z1 = points[i, k + one, 0] - u0, points[i, k + one, 1] - v0, points[i, k + one, 2]
            a0, a1 = (v0, points[i, k + one, 1]) if tall else (u0, points[i, k + one, 0])
            w0, w1 = width_px[i, k], width_px[i, k + one]
            r0, g0, b0 = colours[i, k, 0], colours[i, k, 1], colours[i, k, 2]
            r1, g1, b1 = colours[i, k + one, 0], colours[i, k + one, 1], colours[i, k + one, 2]
            stretch = math.sqrt(1 + slope * slope)
            for m in range(first, last + 1):
                t = (m + 0.5 - a0) / (a1 - a0)
                centre = (u0 + du * t) if tall else (v0 + dv * t)
                half = 0.5 * stretch * (w0 * (1 - t) + w1 * t)
                start, stop, cover = _across(centre, half, alpha[i], opaque)
                z = z0 * (1 - t) + z1 * t
                for c in range(max(start, 0), min(stop, (width if tall else height) - 1) + 1):
                    y, x = (np.uint64(m), np.uint64(c)) if tall else (np.uint64(c), np.uint64(m))
                    if z - bias_mm >= depth_mm[y, x]:
                        continue
                    picture[y, x, 0] += cover * (r0 * (1 - t) + r1 * t - picture[y, x, 0])
                    picture[y, x, 1] += cover * (g0 * (1 - t) + g1 * t - picture[y, x, 1])
                    picture[y, x, 2] += cover * (b0 * (1 - t) + b1 * t - picture[y, x, 2])
                    if cover >= 0.5:
                        depth_mm[y, x] = min(z, depth_mm[y, x])
                        ids[y, x] = identity


@kernel
def veil_strands(
    picture: np.ndarray, veil: np.ndarray, depth_mm: np.ndarray, points: np.ndarray, width_px: np.ndarray,
    colours: np.ndarray, alpha: np.ndarray, bias_mm: float, shown: np.ndarray,
) -> None:  # fmt: skip
    """Draw thin or translucent ribbons over what is there, in place: the depths are read and not written.

    points, width_px, alpha, shown: as draw_strands takes them, the farthest strand first.  colours (n / c, P, 3): each
    of c ribbons in a row.  veil (H, W, 2) float32: share of each sample that such ribbons cover so far, and that share
    times the mean of their depths (mm). A ribbon covers the share of a sample that lies between its edges.
    """
    height, width = depth_mm.shape
    depth, light, covered = depth_mm.reshape(-1), picture.reshape(-1, 3), veil.reshape(-1, 2)
    steps, one, each = np.uint64(points.shape[1] - 1), np.uint64(1), np.uint64(max(points.shape[0] // len(colours), 1))
    for i in range(np.uint64(points.shape[0])):
        hue, part = np.uint64(i // each), alpha[i]
        for k in range(steps):
            if not shown[i, k]:
                continue
            first, last, tall, slope = _extent(
                points[i, k, 0], points[i, k, 1], points[i, k + one, 0], points[i, k + one, 1], height, width
            )
            if first > last:
                continue
            axis, other, limit = (_U1, _U0, i32(width - 1)) if tall else (_U0, _U1, i32(height - 1))
            down, across = (width, 1) if tall else (1, width)
            start, rise = points[i, k, axis], f32(1) / (points[i, k + one, axis] - points[i, k, axis])
            at0, tilt, from_z = points[i, k, other], f32(slope), points[i, k, 2] - f32(bias_mm)
            fall, stretch = (points[i, k + one, 2] - points[i, k, 2]) * rise, f32(0.5) * np.sqrt(f32(1) + tilt * tilt)
            thick, thinning = stretch * width_px[i, k], stretch * (width_px[i, k + one] - width_px[i, k]) * rise
            red, green, blue = colours[hue, k, 0], colours[hue, k, 1], colours[hue, k, 2]
            reds, greens = (colours[hue, k + one, 0] - red) * rise, (colours[hue, k + one, 1] - green) * rise
            blues = (colours[hue, k + one, 2] - blue) * rise
            for m in range(i32(first), i32(last) + i32(1)):
                run = f32(m) + f32(0.5) - start
                centre, half, z = at0 + tilt * run, thick + thinning * run, from_z + fall * run
                low, high = max(centre - half, f32(0)), centre + half
                r, g, b = red + reds * run, green + greens * run, blue + blues * run
                for c in range(i32(low), min(i32(high + f32(1)), limit + i32(1))):
                    p = u64(i32(m * i32(down)) + i32(c * i32(across)))
                    if z >= depth[p]:
                        continue
                    cover = part * (min(high, f32(c + 1)) - max(low, f32(c)))
                    light[p, 0] += cover * (r - light[p, 0])
                    light[p, 1] += cover * (g - light[p, 1])
                    light[p, 2] += cover * (b - light[p, 2])
                    covered[p, 0] += cover * (f32(1) - covered[p, 0])
                    covered[p, 1] += cover * (z - covered[p, 1])


@kernel
def own_veil(ids: np.ndarray, depth_mm: np.ndarray, veil: np.ndarray, bias_mm: float, identity: int) -> None:
    """ids (H, W) becomes `identity`, in place, where a veil (H, W, 2) covers more than the sample's threshold.

    There depth_mm (H, W) becomes the veil's own where that is nearer, so that what is drawn later knows it.  veil and
    bias_mm: as veil_strands left and took them.

    The thresholds of a pixel's 2 x 2 samples are 1/8, 5/8, 7/8 and 3/8, so that the pixel's share of `identity` is its
    coverage in quarters.
    """
    for y in range(np.uint64(ids.shape[0])):
        even, odd = (f32(0.875), f32(0.375)) if y & _U1 else (f32(0.125), f32(0.625))
        for x in range(np.uint64(ids.shape[1])):
            if veil[y, x, 0] > (odd if x & _U1 else even):
                ids[y, x] = identity
                depth_mm[y, x] = min(depth_mm[y, x], veil[y, x, 1] / veil[y, x, 0] + f32(bias_mm))


@kernel
def draw_strand_depth(depth_mm: np.ndarray, points: np.ndarray, width_px: float) -> None:
    """The depth that draw_strands leaves of opaque ribbons of one width, in place; for shadow maps."""
    height, width = depth_mm.shape
    steps, one = np.uint64(points.shape[1] - 1), np.uint64(1)
    for i in range(np.uint64(points.shape[0])):
        for k in range(steps):
            first, last, tall, slope = _extent(
                points[i, k, 0], points[i, k, 1], points[i, k + one, 0], points[i, k + one, 1], height, width
            )
            if first > last:
                continue
            u0, v0, z0 = points[i, k, 0], points[i, k, 1], points[i, k, 2]
            du, dv, z1 = points[i, k + one, 0] - u0, points[i, k + one, 1] - v0, points[i, k + one, 2]
            a0, a1 = (v0, points[i, k + one, 1]) if tall else (u0, points[i, k + one, 0])
            half = 0.5 * math.sqrt(1 + slope * slope) * width_px
            for m in range(first, last + 1):
                t = (m + 0.5 - a0) / (a1 - a0)
                centre = (u0 + du * t) if tall else (v0 + dv * t)
                start, stop, _ = _across(centre, half, 1.0, True)
                z = z0 * (1 - t) + z1 * t
                for c in range(max(start, 0), min(stop, (width if tall else height) - 1) + 1):
                    y, x = (np.uint64(m), np.uint64(c)) if tall else (np.uint64(c), np.uint64(m))
                    if z < depth_mm[y, x]:
                        depth_mm[y, x] = z
