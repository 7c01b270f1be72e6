"""Hair as strands: growth over a head and shading with the Kajiya-Kay model; ribbons.py draws them. Numba, one core.

A strand is P points; it grows from its root by steps of equal length, turning towards its comb direction and gravity,
kept outside the head by a radial map, and is curled and tangled by sines and noise afterwards. Growth and layers are
ours; the shading is Kajiya and Kay (1989) with the second, tinted highlight of Scheuermann (2004).
"""

import math

import numpy as np

from faces.compiled import kernel


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
def _radius_at(x: float, y: float, z: float, radial: np.ndarray) -> float:
    """Radius of the head (mm) in a direction from the skull's centre; bilinear in the map of hair.radial_map."""
    rows, columns = radial.shape
    r = math.sqrt(x * x + y * y + z * z) + 1e-6
    fy = (0.5 + 0.5 * y / r) * (rows - 1)
    turn = x / (abs(x) + abs(z) + 1e-9)
    if z < 0:
        turn = 2.0 - turn if x >= 0 else -2.0 - turn
    fx = (0.5 + 0.25 * turn) * columns - 0.5
    iy = min(int(fy), rows - 2)
    ix = math.floor(fx)
    ty, tx = fy - iy, fx - ix
    a, b = ix % columns, (ix + 1) % columns
    top = radial[iy, a] * (1 - tx) + radial[iy, b] * tx
    low = radial[iy + 1, a] * (1 - tx) + radial[iy + 1, b] * tx
    return top * (1 - ty) + low * ty


@kernel
def grow(
    roots: np.ndarray, start: np.ndarray, comb: np.ndarray, length: np.ndarray, offset: np.ndarray,
    radial: np.ndarray, gravity: np.ndarray, weight: float, comb_hold: float, face_guard: float, cling: float,
    steps: int,
) -> np.ndarray:  # fmt: skip
    """Grow n strands. All vectors are relative to the skull's centre, mm.

    roots, start, comb: (n, 3) root, first direction, combed direction.  length, offset: (n,) mm; offset is the height
    of
    the strand's layer over the skin.  radial: map of the head.  gravity: (3,) unit.  weight: bend per 10 mm.
    cling: 0..1, how closely hair follows the skull above the ears.  comb_hold: mm over which the comb's hold fades.
     face_guard: 0..1, how firmly long hair is kept beside the face. Returns (n, steps, 3) float32.
    """
    count = roots.shape[0]
    out = np.empty((count, steps, 3), np.float32)
    for i in range(count):
        px, py, pz = roots[i, 0], roots[i, 1], roots[i, 2]
        dx, dy, dz = start[i, 0], start[i, 1], start[i, 2]
        step = length[i] / (steps - 1)
        bend = 1.0 - math.exp(-weight * step / 10.0)
        hold, decay = 1.0, math.exp(-step / comb_hold)
        for k in range(steps):
            out[i, k, 0], out[i, k, 1], out[i, k, 2] = px, py, pz
            pull = min(1.0, 0.35 * hold + 0.05)
            dx += pull * comb[i, 0] * hold + bend * gravity[0]
            dy += pull * comb[i, 1] * hold + bend * gravity[1]
            dz += pull * comb[i, 2] * hold + bend * gravity[2]
            hold *= decay
            if face_guard > 0.0 and pz > 20.0 and py < 50.0 and abs(px) < 70.0:
                away = face_guard * (1.0 if px >= 0 else -1.0)
                dx += away * 0.6
                dz -= face_guard * 0.35
            norm = math.sqrt(dx * dx + dy * dy + dz * dz) + 1e-6
            dx, dy, dz = dx / norm, dy / norm, dz / norm
            px, py, pz = px + dx * step, py + dy * step, pz + dz * step
            r = math.sqrt(px * px + py * py + pz * pz) + 1e-6
            lift = offset[i] * min(1.0, (k + 1) * step / 14.0)
            limit = _radius_at(px, py, pz, radial) + lift
            inward = cling * _ramp(-40.0, 10.0, py) * min(1.0, max(0.0, (r - limit) / 6.0)) * min(1.0, step / 8.0)
            dx, dy, dz = dx - 0.6 * inward * px / r, dy - 0.6 * inward * py / r, dz - 0.6 * inward * pz / r
            if r < limit:
                f = limit / r
                nx, ny, nz = px / r, py / r, pz / r
                px, py, pz = px * f, py * f, pz * f
                inward = dx * nx + dy * ny + dz * nz
                if inward < 0:
                    dx, dy, dz = dx - inward * nx, dy - inward * ny, dz - inward * nz
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
            grown = min(1.0, along / 25.0)
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
            a, b = max(k - 1, 0), min(k + 1, steps - 1)
            tx, ty, tz = (
                points[i, b, 0] - points[i, a, 0],
                points[i, b, 1] - points[i, a, 1],
                points[i, b, 2] - points[i, a, 2],
            )
            norm = math.sqrt(tx * tx + ty * ty + tz * tz) + 1e-6
            tx, ty, tz = tx / norm, ty / norm, tz / norm
            up = 0.5 + 0.5 * normals[i, 1]
            open_ = (0.42 + 0.58 * layer[i]) * (0.62 + 0.38 * k / (steps - 1.0))
            r = (ambient[0, 0] * up + ambient[1, 0] * (1 - up)) * open_ * 0.8
            g = (ambient[0, 1] * up + ambient[1, 1] * (1 - up)) * open_ * 0.8
            bl = (ambient[0, 2] * up + ambient[1, 2] * (1 - up)) * open_ * 0.8
            red, green, blue = r * colour[i, 0], g * colour[i, 1], bl * colour[i, 2]
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
                first = lobe**60 * 0.055 * gloss
                second = lobe**14 * 0.50
                diffuse = 0.75 * sin_l
                red += reach * lamps[j, 3] * (colour[i, 0] * (diffuse + second) + first)
                green += reach * lamps[j, 4] * (colour[i, 1] * (diffuse + second) + first)
                blue += reach * lamps[j, 5] * (colour[i, 2] * (diffuse + second) + first)
            out[i, k, 0], out[i, k, 1], out[i, k, 2] = red, green, blue
    return out
