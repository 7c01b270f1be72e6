"""The CPU rasteriser's inner loops (numba). faces/render/rasterize.py states the rules; this file is how they run fast.

A head of 70,000 triangles at 224 px has about one triangle a pixel, so set-up is what costs. Hence: whole numbers for
positions (exact edge functions, no branches for the fill rule), a first sweep that keeps only triangles whose bounding
box holds a pixel centre, one 64-bit key a pixel that holds nearness and index together, and barycentrics only at the
end, once a pixel.
"""

import numpy as np

from faces.compiled import kernel

#: Fractional bits of a screen position: vertices are rounded to 1/1024 px.
SUBPIXEL_BITS = 10
#: Positions from here on (in either direction) cannot be held; their triangles are dropped.
LIMIT_PX = float(1 << 19)
#: A triangle with a vertex at this depth or nearer (or behind the camera) is dropped; nothing is clipped.
NEAR_MM = 1.0
#: Depth from which on a vertex counts as infinitely far, and its triangles are dropped.
FAR_MM = 1.0e9

_ONE = 1 << SUBPIXEL_BITS
_HALF = _ONE >> 1
_LAST = 0x7FFFFFFF
_BLOCK = 2048


@kernel
def snap_vertices(vertices: np.ndarray, xy: np.ndarray, nearness: np.ndarray) -> None:
    """(V, 3) float32 u, v, depth -> (V, 2) int32 position in 1/1024 px, (V,) float64 1 / depth (0 marks unusable)."""
    for i in range(vertices.shape[0]):
        u, v, depth = np.float64(vertices[i, 0]), np.float64(vertices[i, 1]), np.float64(vertices[i, 2])
        if depth > NEAR_MM and depth < FAR_MM and abs(u) < LIMIT_PX and abs(v) < LIMIT_PX:
            xy[i, 0] = np.int32(np.floor(u * _ONE + 0.5))
            xy[i, 1] = np.int32(np.floor(v * _ONE + 0.5))
            nearness[i] = 1.0 / depth
        else:
            xy[i, 0] = 0
            xy[i, 1] = 0
            nearness[i] = 0.0


@kernel
def keep_candidates(
    xy: np.ndarray, triangles: np.ndarray, first: int, last: int, width: int, height: int, kept: np.ndarray
) -> int:
    """Triangles first..last-1 whose bounding box holds a pixel centre of the picture -> kept; returns how many."""
    count = 0
    for t in range(first, last):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        ax, ay, bx, by, cx, cy = xy[a, 0], xy[a, 1], xy[b, 0], xy[b, 1], xy[c, 0], xy[c, 1]
        left = max((min(ax, bx, cx) + _HALF - 1) >> SUBPIXEL_BITS, 0)
        right = min((max(ax, bx, cx) - _HALF) >> SUBPIXEL_BITS, width - 1)
        top = max((min(ay, by, cy) + _HALF - 1) >> SUBPIXEL_BITS, 0)
        bottom = min((max(ay, by, cy) - _HALF) >> SUBPIXEL_BITS, height - 1)
        kept[count] = t
        count += (left <= right) & (top <= bottom)
    return count


@kernel
def draw_triangle(t: int, xy: np.ndarray, nearness: np.ndarray, triangles: np.ndarray, keys: np.ndarray) -> None:
    """Enter one triangle into keys (H, W) int64 where it covers a pixel centre and is nearer than what is there."""
    a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
    ax, ay = np.int64(xy[a, 0]), np.int64(xy[a, 1])
    bx, by = np.int64(xy[b, 0]), np.int64(xy[b, 1])
    cx, cy = np.int64(xy[c, 0]), np.int64(xy[c, 1])
    area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    usable = (nearness[a] > 0.0) & (nearness[b] > 0.0) & (nearness[c] > 0.0)
    if area == 0 or not usable:
        return
    sign = np.int64(1) if area > 0 else np.int64(-1)
    area *= sign
    # Edge i lies opposite corner i; its function is positive inside and grows by step_x a pixel to the right.
    dx0, dy0, dx1, dy1, dx2, dy2 = (
        sign * (cx - bx), sign * (cy - by), sign * (ax - cx), sign * (ay - cy), sign * (bx - ax), sign * (by - ay),
    )  # fmt: skip
    left = max((min(ax, bx, cx) + _HALF - 1) >> SUBPIXEL_BITS, 0)
    right = min((max(ax, bx, cx) - _HALF) >> SUBPIXEL_BITS, keys.shape[1] - 1)
    top = max((min(ay, by, cy) + _HALF - 1) >> SUBPIXEL_BITS, 0)
    bottom = min((max(ay, by, cy) - _HALF) >> SUBPIXEL_BITS, keys.shape[0] - 1)
    px, py = left * _ONE + _HALF, top * _ONE + _HALF
    row0 = dx0 * (py - by) - dy0 * (px - bx)
    row1 = dx1 * (py - cy) - dy1 * (px - cx)
    row2 = dx2 * (py - ay) - dy2 * (px - ax)
    bias0 = np.int64(0) if dy0 < 0 or (dy0 == 0 and dx0 > 0) else np.int64(-1)
    bias1 = np.int64(0) if dy1 < 0 or (dy1 == 0 and dx1 > 0) else np.int64(-1)
    bias2 = np.int64(0) if dy2 < 0 or (dy2 == 0 and dx2 > 0) else np.int64(-1)
    k0, k1, k2 = nearness[a] / area, nearness[b] / area, nearness[c] / area
    for y in range(top, bottom + 1):
        e0, e1, e2 = row0, row1, row2
        for x in range(left, right + 1):
            if ((e0 + bias0) | (e1 + bias1) | (e2 + bias2)) >= 0:
                near = np.float32(np.float64(e0) * k0 + np.float64(e1) * k1 + np.float64(e2) * k2)
                key = (np.int64(near.view(np.int32)) << 32) | (_LAST - t)
                if key > keys[y, x]:
                    keys[y, x] = key
            e0 -= dy0 << SUBPIXEL_BITS
            e1 -= dy1 << SUBPIXEL_BITS
            e2 -= dy2 << SUBPIXEL_BITS
        row0 += dx0 << SUBPIXEL_BITS
        row1 += dx1 << SUBPIXEL_BITS
        row2 += dx2 << SUBPIXEL_BITS


@kernel
def draw_face(xy: np.ndarray, nearness: np.ndarray, triangles: np.ndarray, kept: np.ndarray, keys: np.ndarray) -> None:
    """All triangles of one face into keys (H, W) int64, which is cleared to -1 first."""
    keys[:] = -1
    for first in range(0, triangles.shape[0], _BLOCK):
        last = min(first + _BLOCK, triangles.shape[0])
        for i in range(keep_candidates(xy, triangles, first, last, keys.shape[1], keys.shape[0], kept)):
            draw_triangle(kept[i], xy, nearness, triangles, keys)


@kernel
def resolve(
    xy: np.ndarray,
    nearness: np.ndarray,
    triangles: np.ndarray,
    keys: np.ndarray,
    triangle: np.ndarray,
    barycentric: np.ndarray,
    depth: np.ndarray,
) -> None:
    """keys (H, W) -> triangle (H, W) int32, barycentric (H, W, 3) float32 perspective-correct, depth (H, W) float32."""
    for y in range(keys.shape[0]):
        for x in range(keys.shape[1]):
            key = keys[y, x]
            if key < 0:
                triangle[y, x] = -1
                barycentric[y, x, 0] = 0.0
                barycentric[y, x, 1] = 0.0
                barycentric[y, x, 2] = 0.0
                depth[y, x] = np.inf
                continue
            t = _LAST - (key & _LAST)
            a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            ax, ay = np.int64(xy[a, 0]), np.int64(xy[a, 1])
            bx, by = np.int64(xy[b, 0]), np.int64(xy[b, 1])
            cx, cy = np.int64(xy[c, 0]), np.int64(xy[c, 1])
            px, py = np.int64(x) * _ONE + _HALF, np.int64(y) * _ONE + _HALF
            # The sign of the area cancels in the quotient below, so no orientation is needed here.
            w0 = np.float64((cx - bx) * (py - by) - (cy - by) * (px - bx)) * nearness[a]
            w1 = np.float64((ax - cx) * (py - cy) - (ay - cy) * (px - cx)) * nearness[b]
            w2 = np.float64((bx - ax) * (py - ay) - (by - ay) * (px - ax)) * nearness[c]
            total = w0 + w1 + w2
            area = np.float64((bx - ax) * (cy - ay) - (by - ay) * (cx - ax))
            share = 1.0 / total
            triangle[y, x] = t
            barycentric[y, x, 0] = w0 * share
            barycentric[y, x, 1] = w1 * share
            barycentric[y, x, 2] = w2 * share
            depth[y, x] = area * share


@kernel
def rasterize_faces(
    vertices: np.ndarray,
    triangles: np.ndarray,
    first: int,
    step: int,
    triangle: np.ndarray,
    barycentric: np.ndarray,
    depth: np.ndarray,
) -> None:
    """Faces first, first + step, ... of (N, V, 3) into the three outputs; scratch memory is shared by these faces."""
    n_vertices = vertices.shape[1]
    xy, nearness = np.empty((n_vertices, 2), np.int32), np.empty(n_vertices, np.float64)
    kept, keys = np.empty(_BLOCK + 1, np.int32), np.empty(triangle.shape[1:], np.int64)
    for n in range(first, vertices.shape[0], step):
        snap_vertices(vertices[n], xy, nearness)
        draw_face(xy, nearness, triangles, kept, keys)
        resolve(xy, nearness, triangles, keys, triangle[n], barycentric[n], depth[n])


@kernel
def interpolate_faces(
    attributes: np.ndarray,
    triangles: np.ndarray,
    first: int,
    step: int,
    triangle: np.ndarray,
    barycentric: np.ndarray,
    out: np.ndarray,
) -> None:
    """(1 or N, V, C) attributes at the pixels of faces first, first + step, ... -> out (N, H, W, C); 0 outside."""
    channels = attributes.shape[2]
    for n in range(first, triangle.shape[0], step):
        table = attributes[n if attributes.shape[0] > 1 else 0]
        for y in range(triangle.shape[1]):
            for x in range(triangle.shape[2]):
                t = triangle[n, y, x]
                if t < 0:
                    for k in range(channels):
                        out[n, y, x, k] = 0.0
                    continue
                a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
                wa, wb, wc = barycentric[n, y, x, 0], barycentric[n, y, x, 1], barycentric[n, y, x, 2]
                for k in range(channels):
                    out[n, y, x, k] = wa * table[a, k] + wb * table[b, k] + wc * table[c, k]


@kernel
def paint_face(
    xy: np.ndarray,
    nearness: np.ndarray,
    triangles: np.ndarray,
    keys: np.ndarray,
    colours: np.ndarray,
    in_mask: np.ndarray,
    antialias: int,
    srgb: np.ndarray,
    picture: np.ndarray,
) -> None:
    """keys (a H, a W) and linear vertex colours (V, 3) -> picture (H, W, 6): sRGB, mask, coverage, depth_mm.

    Box filter over a x a samples in linear light, black where there is no mesh; depth is the nearest sample's.
    srgb is a table of sRGB at equal steps of linear 0..1, read with linear interpolation.
    """
    share, last = 1.0 / (antialias * antialias), srgb.shape[0] - 2
    for y in range(picture.shape[0]):
        for x in range(picture.shape[1]):
            red, green, blue, masked, covered, nearest = 0.0, 0.0, 0.0, 0.0, 0.0, np.inf
            for sub in range(antialias * antialias):
                row, column = y * antialias + sub // antialias, x * antialias + sub % antialias
                key = keys[row, column]
                if key < 0:
                    continue
                t = _LAST - (key & _LAST)
                a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
                ax, ay = np.int64(xy[a, 0]), np.int64(xy[a, 1])
                bx, by = np.int64(xy[b, 0]), np.int64(xy[b, 1])
                cx, cy = np.int64(xy[c, 0]), np.int64(xy[c, 1])
                px, py = column * _ONE + _HALF, row * _ONE + _HALF
                w0 = np.float64((cx - bx) * (py - by) - (cy - by) * (px - bx)) * nearness[a]
                w1 = np.float64((ax - cx) * (py - cy) - (ay - cy) * (px - cx)) * nearness[b]
                w2 = np.float64((bx - ax) * (py - ay) - (by - ay) * (px - ax)) * nearness[c]
                inverse = 1.0 / (w0 + w1 + w2)
                w0, w1, w2 = w0 * inverse, w1 * inverse, w2 * inverse
                red += w0 * colours[a, 0] + w1 * colours[b, 0] + w2 * colours[c, 0]
                green += w0 * colours[a, 1] + w1 * colours[b, 1] + w2 * colours[c, 1]
                blue += w0 * colours[a, 2] + w1 * colours[b, 2] + w2 * colours[c, 2]
                covered += 1.0
                masked += in_mask[t]
                area = np.float64((bx - ax) * (cy - ay) - (by - ay) * (cx - ax))
                nearest = min(nearest, area * inverse)
            picture[y, x, 3], picture[y, x, 4], picture[y, x, 5] = masked * share, covered * share, nearest
            for channel, value in enumerate((red, green, blue)):
                place = min(max(value * share, 0.0), 1.0) * (last + 1)
                low = min(np.int64(place), last)
                picture[y, x, channel] = srgb[low] + (srgb[low + 1] - srgb[low]) * (place - low)


@kernel
def paint_faces(
    vertices: np.ndarray,
    triangles: np.ndarray,
    colours: np.ndarray,
    in_mask: np.ndarray,
    antialias: int,
    srgb: np.ndarray,
    first: int,
    step: int,
    pictures: np.ndarray,
) -> None:
    """Faces first, first + step, ... of (N, V, 3) (u, v in pixels of the a H x a W grid) -> pictures (N, H, W, 6)."""
    n_vertices = vertices.shape[1]
    xy, nearness = np.empty((n_vertices, 2), np.int32), np.empty(n_vertices, np.float64)
    kept = np.empty(_BLOCK + 1, np.int32)
    keys = np.empty((pictures.shape[1] * antialias, pictures.shape[2] * antialias), np.int64)
    for n in range(first, vertices.shape[0], step):
        snap_vertices(vertices[n], xy, nearness)
        draw_face(xy, nearness, triangles, kept, keys)
        paint_face(xy, nearness, triangles, keys, colours[n], in_mask, antialias, srgb, pictures[n])
