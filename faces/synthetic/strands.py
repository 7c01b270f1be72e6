"""Hair as strands: growth over a head and shading with the Kajiya-Kay model; ribbons.py draws them. Numba, one core.

A strand is P points; it grows from its root by steps of equal length, turning towards its comb direction and gravity,
kept outside the head by a radial map, and is curled and tangled by sines and noise afterwards. Growth and layers are
ours; the shading is Kajiya and Kay (1989) with the second, tinted highlight of Scheuermann (2004), a diffuse part that
depends less on the strand's direction (hair lies crosswise within a ribbon), a faint sheen of the sky, and the light of
lamps behind the head that passes through outer strands (these three ours).
"""

# Types here are numba's: whole numbers of fixed width that Python's annotations cannot tell apart.
# mypy: disable-error-code="operator,call-overload,assignment,arg-type"

import math

import numpy as np

from faces.compiled import kernel

i32, u64 = np.int32, np.uint64
#: Strands that grow side by side (loops over them become vector instructions), and the distance of their columns.
BLOCK, PITCH = 64, 72
(
    _PX, _PY, _PZ, _DX, _DY, _DZ, _CX, _CY, _CZ, _STEP, _HOLD, _OFFSET, _BEND, _DECAY, _R, _TX, _TY, _A, _B, _C, _D,
    _LIMIT,
) = range(0, 22 * PITCH, PITCH)  # fmt: skip
_WORK = 22 * PITCH


@kernel
def _ramp(low: float, high: float, x: float) -> float:
    return min(1.0, max(0.0, (x - low) / (high - low)))


@kernel
def gather(points: np.ndarray, clump: np.ndarray, amount: np.ndarray, clumps: int) -> None:
    """Pull the strands of each clump (n,) towards their mean in place, by `amount` (P,) 0..1 at each step."""
    count, steps, _ = points.shape
    mean = np.zeros((clumps, steps, 3), np.float32)
    size = np.zeros(clumps, np.float32)
    for i in range(count):
        c = clump[i]
        size[c] += 1
        for k in range(steps):
            for axis in range(3):
                mean[c, k, axis] += points[i, k, axis]
    for i in range(count):
        c = clump[i]
        for k in range(steps):
            for axis in range(3):
                points[i, k, axis] += amount[k] * (mean[c, k, axis] / size[c] - points[i, k, axis])


@kernel
def _seek_radius(w: np.ndarray, q: np.ndarray, n: int, radial: np.ndarray) -> None:
    """Radius of the head (mm) in a direction from the skull's centre; bilinear in the map of hair.radial_map.

    For the first n strands of a block: from _PX.. and _R into _LIMIT. q (2 BLOCK,) int32: working memory.
    """
    rows, columns, flat = radial.shape[0], radial.shape[1], radial.reshape(-1)
    for i in range(u64(n)):
        x, y, z = w[u64(_PX) + i], w[u64(_PY) + i], w[u64(_PZ) + i]
        fy = (0.5 + 0.5 * y / w[u64(_R) + i]) * (rows - 1)
        turn = x / (abs(x) + abs(z) + 1e-9)
        behind = 2.0 - turn if x >= 0 else -2.0 - turn
        turn = behind if z < 0 else turn
        fx = (0.5 + 0.25 * turn) * columns - 0.5
        iy, left = min(i32(fy), i32(rows - 2)), np.floor(fx)
        ix = i32(left)
        a = i32(ix + i32(columns)) if ix < i32(0) else ix
        b = i32(ix + i32(1))
        b = i32(b - i32(columns)) if b >= i32(columns) else b
        w[u64(_TX) + i], w[u64(_TY) + i] = fx - left, fy - iy
        q[i], q[u64(BLOCK) + i] = i32(i32(iy * i32(columns)) + a), i32(i32(iy * i32(columns)) + b)
    below = u64(columns)
    for i in range(u64(n)):
        p = u64(q[i])
        w[u64(_A) + i], w[u64(_C) + i] = flat[p], flat[p + below]
        p = u64(q[u64(BLOCK) + i])
        w[u64(_B) + i], w[u64(_D) + i] = flat[p], flat[p + below]
    for i in range(u64(n)):
        tx, ty = w[u64(_TX) + i], w[u64(_TY) + i]
        top = w[u64(_A) + i] * (1 - tx) + w[u64(_B) + i] * tx
        low = w[u64(_C) + i] * (1 - tx) + w[u64(_D) + i] * tx
        w[u64(_LIMIT) + i] = top * (1 - ty) + low * ty


@kernel
def _advance(w: np.ndarray, n: int, gx: float, gy: float, gz: float, face_guard: float) -> None:
    """Turn the strands of a block towards comb, gravity and the side of the face, and go one step."""
    guarded = face_guard > 0.0
    for i in range(u64(n)):
        hold, bend, step = w[u64(_HOLD) + i], w[u64(_BEND) + i], w[u64(_STEP) + i]
        px, py, pz = w[u64(_PX) + i], w[u64(_PY) + i], w[u64(_PZ) + i]
        pull = min(1.0, 0.35 * hold + 0.05)
        dx = w[u64(_DX) + i] + (pull * w[u64(_CX) + i] * hold + bend * gx)
        dy = w[u64(_DY) + i] + (pull * w[u64(_CY) + i] * hold + bend * gy)
        dz = w[u64(_DZ) + i] + (pull * w[u64(_CZ) + i] * hold + bend * gz)
        w[u64(_HOLD) + i] = hold * w[u64(_DECAY) + i]
        away = face_guard * (1.0 if px >= 0 else -1.0)
        aside = guarded & (pz > 20.0) & (py < 50.0) & (abs(px) < 70.0)
        dx, dz = dx + away * 0.6 if aside else dx, dz - face_guard * 0.35 if aside else dz
        norm = math.sqrt(dx * dx + dy * dy + dz * dz) + 1e-6
        dx, dy, dz = dx / norm, dy / norm, dz / norm
        px, py, pz = px + dx * step, py + dy * step, pz + dz * step
        w[u64(_DX) + i], w[u64(_DY) + i], w[u64(_DZ) + i] = dx, dy, dz
        w[u64(_PX) + i], w[u64(_PY) + i], w[u64(_PZ) + i] = px, py, pz
        w[u64(_R) + i] = math.sqrt(px * px + py * py + pz * pz) + 1e-6


@kernel
def _stay_outside(w: np.ndarray, n: int, k: int, cling: float) -> None:
    """Draw the strands of a block to the skull where they cling to it, and keep them out of the head."""
    for i in range(u64(n)):
        step, r = w[u64(_STEP) + i], w[u64(_R) + i]
        px, py, pz = w[u64(_PX) + i], w[u64(_PY) + i], w[u64(_PZ) + i]
        dx, dy, dz = w[u64(_DX) + i], w[u64(_DY) + i], w[u64(_DZ) + i]
        lift = w[u64(_OFFSET) + i] * min(1.0, (k + 1) * step / 14.0)
        limit = w[u64(_LIMIT) + i] + lift
        inward = cling * _ramp(-40.0, 10.0, py) * min(1.0, max(0.0, (r - limit) / 6.0)) * min(1.0, step / 8.0)
        dx, dy, dz = dx - 0.6 * inward * px / r, dy - 0.6 * inward * py / r, dz - 0.6 * inward * pz / r
        f, nx, ny, nz = limit / r, px / r, py / r, pz / r
        inside = r < limit
        inward = dx * nx + dy * ny + dz * nz
        turned = inside & (inward < 0)
        w[u64(_DX) + i] = dx - inward * nx if turned else dx
        w[u64(_DY) + i] = dy - inward * ny if turned else dy
        w[u64(_DZ) + i] = dz - inward * nz if turned else dz
        w[u64(_PX) + i], w[u64(_PY) + i] = px * f if inside else px, py * f if inside else py
        w[u64(_PZ) + i] = pz * f if inside else pz


@kernel
def grow(
    roots: np.ndarray, start: np.ndarray, comb: np.ndarray, length: np.ndarray, offset: np.ndarray,
    radial: np.ndarray, gravity: np.ndarray, weight: float, comb_hold: float, face_guard: float, cling: float,
    steps: int,
) -> np.ndarray:  # fmt: skip
    """Grow n strands. All vectors are relative to the skull's centre, mm.

    roots, start, comb: (n, 3) root, first direction, combed direction.  length, offset: (n,) mm; offset is the height
    of the strand's layer over the skin.  radial: map of the head.  gravity: (3,) unit.  weight: bend per 10 mm.
    cling: 0..1, how closely hair follows the skull above the ears.  comb_hold: mm over which the comb's hold fades.
    face_guard: 0..1, how firmly long hair is kept beside the face. Returns (n, steps, 3) float32.
    """
    count = roots.shape[0]
    out = np.empty((count, steps, 3), np.float32)
    w, q = np.zeros(_WORK), np.empty(2 * BLOCK, np.int32)
    gx, gy, gz = gravity[0], gravity[1], gravity[2]
    for first in range(0, count, BLOCK):
        n = min(BLOCK, count - first)
        for i in range(n):
            for axis in range(3):
                w[_PX + axis * PITCH + i] = roots[first + i, axis]
                w[_DX + axis * PITCH + i] = start[first + i, axis]
                w[_CX + axis * PITCH + i] = comb[first + i, axis]
            step = length[first + i] / (steps - 1)
            w[_STEP + i], w[_HOLD + i], w[_OFFSET + i] = step, 1.0, offset[first + i]
            w[_BEND + i], w[_DECAY + i] = 1.0 - math.exp(-weight * step / 10.0), math.exp(-step / comb_hold)
        for k in range(steps):
            for i in range(n):
                out[first + i, k, 0], out[first + i, k, 1] = w[_PX + i], w[_PY + i]
                out[first + i, k, 2] = w[_PZ + i]
            _advance(w, n, gx, gy, gz, face_guard)
            _seek_radius(w, q, n, radial)
            _stay_outside(w, n, k, cling)
    return out


@kernel
def curl(
    points: np.ndarray,
    amplitude: np.ndarray,
    wavelength: np.ndarray,
    phase: np.ndarray,
    jitter: np.ndarray,
    frizz: float,
) -> None:
    """Curl strands in place: a helix of `amplitude` (n,) mm and `wavelength` (n,) mm at `phase` (n, 2);

    jitter (n, P, 3) · frizz mm.
    """
    count, steps, _ = points.shape
    for i in range(count):
        along = 0.0
        qx, qy, qz = points[i, 0, 0], points[i, 0, 1], points[i, 0, 2]
        for k in range(1, steps):
            tx, ty, tz = points[i, k, 0] - qx, points[i, k, 1] - qy, points[i, k, 2] - qz
            qx, qy, qz = points[i, k, 0], points[i, k, 1], points[i, k, 2]
            step = math.sqrt(tx * tx + ty * ty + tz * tz) + 1e-6
            along += step
            tx, ty, tz = tx / step, ty / step, tz / step
            ax, ay, az = ty * 0.3 - tz, tz * 0.2 - tx * 0.3, tx - ty * 0.2
            an = math.sqrt(ax * ax + ay * ay + az * az) + 1e-6
            ax, ay, az = ax / an, ay / an, az / an
            bx, by, bz = ty * az - tz * ay, tz * ax - tx * az, tx * ay - ty * ax
            grown = min(1.0, along / (0.6 * wavelength[i]))
            turn = 2 * math.pi * along / wavelength[i] + phase[i, 0]
            ca = amplitude[i] * grown * math.cos(turn)
            sa = amplitude[i] * grown * math.sin(turn + 0.4 * phase[i, 1])
            w = frizz * grown
            points[i, k, 0] += ca * ax + sa * bx + w * jitter[i, k, 0]
            points[i, k, 1] += ca * ay + sa * by + w * jitter[i, k, 1]
            points[i, k, 2] += ca * az + sa * bz + w * jitter[i, k, 2]


@kernel
def refine(values: np.ndarray) -> np.ndarray:
    """(n, P, C) -> (n, 2 P - 1, C): points between the given ones on the four-point curve (Dyn, Levin and Gregory
    1987).
    """
    count, steps, width = values.shape
    out = np.empty((count, 2 * steps - 1, width), np.float32)
    for i in range(count):
        for c in range(width):
            for k in range(steps):
                out[i, 2 * k, c] = values[i, k, c]
            for k in range(steps - 1):
                before, after = values[i, max(k - 1, 0), c], values[i, min(k + 2, steps - 1), c]
                out[i, 2 * k + 1, c] = 0.5625 * (values[i, k, c] + values[i, k + 1, c]) - 0.0625 * (before + after)
    return out


@kernel
def points_to_light(shown: np.ndarray, steps: int) -> np.ndarray:
    """(n, S) bool segments to draw -> (n, steps) bool points whose colour they need; S is steps - 1, or twice as many

    when the strands were refined (whose new points read two neighbours on each side).
    """
    count, segments = shown.shape
    out = np.zeros((count, steps), np.bool_)
    reach, half = (1, 2) if segments >= steps and steps > 1 else (0, 1)
    for i in range(count):
        for k in range(segments):
            if shown[i, k]:
                for j in range(max(k // half - reach, 0), min(k // half + 1 + reach, steps - 1) + 1):
                    out[i, j] = True
    return out


@kernel
def strand_light(
    points: np.ndarray, lit: np.ndarray, view: np.ndarray, shadow: np.ndarray, spread: float, fade_mm: float
) -> np.ndarray:
    """Light of the key lamp that reaches strands: (n, P, 3) world -> (n, P), fading over `fade_mm` of hair above.

    0 at points that are not `lit` (n, P).
    """
    side = shadow.shape[0]
    out = np.zeros(points.shape[:2], np.float32)
    for i in range(points.shape[0]):
        for k in range(points.shape[1]):
            if not lit[i, k]:
                continue
            x, y, z = points[i, k, 0], points[i, k, 1], points[i, k, 2]
            c = (x * view[0] + y * view[1] + z * view[2]) * view[9] + view[10]
            r = (x * view[3] + y * view[4] + z * view[5]) * view[9] + view[11]
            depth = 2000.0 - (x * view[6] + y * view[7] + z * view[8])
            total = 0.0
            for t in range(4):
                ix, iy = int(c + ((t & 1) - 0.5) * spread), int(r + ((t >> 1) - 0.5) * spread)
                if ix < 0 or iy < 0 or ix >= side or iy >= side:
                    total += 1.0
                else:
                    total += math.exp(-max(0.0, depth - shadow[iy, ix] - 1.0) / fade_mm)
            out[i, k] = 0.25 * total
    return out


@kernel
def shade_strands(
    points: np.ndarray, lit: np.ndarray, normals: np.ndarray, colour: np.ndarray, layer: np.ndarray, lamps: np.ndarray,
    ambient: np.ndarray, shadow: np.ndarray, gloss: float,
) -> np.ndarray:  # fmt: skip
    """Light strands. points (n, P, 3) and normals (n, 3) in the world frame (x right, y up, z to the viewer).

    lit (n, P) bool: the points whose colour is wanted, the others get 0.

    colour (n, 3) linear.  layer (n,) 0 inner .. 1 outer.  lamps (L, 7): direction to the lamp, RGB, softness.
    ambient (2, 3): from above, from below.  shadow (n, P) 0..1 light of the first lamp that arrives.
    Returns (n, P, 3) float32 linear RGB.
    """
    count, steps, _ = points.shape
    out = np.zeros((count, steps, 3), np.float32)
    for i in range(count):
        for k in range(steps):
            if not lit[i, k]:
                continue
            a, b = max(k - 2, 0), min(k + 2, steps - 1)
            tx, ty, tz = (
                points[i, b, 0] - points[i, a, 0],
                points[i, b, 1] - points[i, a, 1],
                points[i, b, 2] - points[i, a, 2],
            )
            norm = math.sqrt(tx * tx + ty * ty + tz * tz) + 1e-6
            tx, ty, tz = tx / norm, ty / norm, tz / norm
            up = 0.5 + 0.5 * normals[i, 1]
            open_ = (0.50 + 0.60 * layer[i]) * (0.62 + 0.38 * k / (steps - 1.0))
            r = (ambient[0, 0] * up + ambient[1, 0] * (1 - up)) * open_ * 0.8
            g = (ambient[0, 1] * up + ambient[1, 1] * (1 - up)) * open_ * 0.8
            bl = (ambient[0, 2] * up + ambient[1, 2] * (1 - up)) * open_ * 0.8
            red, green, blue = r * (colour[i, 0] + 0.012), g * (colour[i, 1] + 0.012), bl * (colour[i, 2] + 0.012)
            for j in range(lamps.shape[0]):
                lx, ly, lz = lamps[j, 0], lamps[j, 1], lamps[j, 2]
                tl = tx * lx + ty * ly + tz * lz
                sin_l = math.sqrt(max(0.0, 1 - tl * tl))
                facing = normals[i, 0] * lx + normals[i, 1] * ly + normals[i, 2] * lz
                reach = max(0.0, min(1.0, facing * 0.75 + 0.42))
                if j == 0:
                    reach *= shadow[i, k]
                reach *= open_
                sin_v = math.sqrt(max(0.0, 1 - tz * tz))
                lobe = max(0.0, sin_l * sin_v - tl * tz)
                first = lobe**24 * 0.050 * gloss
                second = lobe**14 * 0.50
                diffuse = 0.28 + 0.47 * sin_l
                red += reach * lamps[j, 3] * (colour[i, 0] * (diffuse + second) + first)
                green += reach * lamps[j, 4] * (colour[i, 1] * (diffuse + second) + first)
                blue += reach * lamps[j, 5] * (colour[i, 2] * (diffuse + second) + first)
                if lz < 0:
                    through = max(0.0, sin_l * sin_v + tl * tz) ** 6 * -lz * layer[i] * 0.3
                    red += through * lamps[j, 3] * colour[i, 0]
                    green += through * lamps[j, 4] * colour[i, 1]
                    blue += through * lamps[j, 5] * colour[i, 2]
            out[i, k, 0], out[i, k, 1], out[i, k, 2] = red, green, blue
    return out
