"""Colour of every sample of the head: skin, lips, eyes, teeth, cloth. One deferred pass over the raster. Numba, one
core.

Skin is Lambert with a wrap that differs by colour channel (light leaks round the terminator in red first, the cheap
form of subsurface scattering of Green 2004, GPU Gems chapter 16), a Blinn-Phong sheen with Schlick's Fresnel term,
ambient
light from above and below with a baked occlusion, and the key lamp's shadow map. Local pigment: see skin.py. Ours.
"""

import math

import numpy as np

from faces.compiled import kernel
from faces.synthetic.noise import NOISE_UNIT

# Columns of the vertex table.
NORMAL, UV, OCCLUSION, ALBEDO, REST, SCALP_MM = 0, 3, 5, 6, 9, 12
COLUMNS = 13
# Materials of triangles.
SKIN, EYE_RIGHT, EYE_LEFT, TEETH, CAVITY, CLOTH = 0, 1, 2, 3, 4, 5
# Channels of the feature maps (maps.py).
LIP, BROW, LID, BEARD, RUDDY, SHADE, LINES, FRECKLE, OIL, SHADOW_LID = range(10)
N_FEATURES = 10
#: Distances of LIP and LID reach to so many mm on both sides.
FEATURE_MM = 8.0
# Owner of a sample.
ID_NONE, ID_SKIN, ID_EYE, ID_MOUTH, ID_CLOTH, ID_HAIR, ID_FACE_HAIR, ID_GLASSES, ID_OCCLUDER = range(9)
# Places in the parameter vector of a picture (look.py).
(
    P_RUDDY, P_BLOTCH, P_GLOSS, P_LIP, P_SHADE, P_LINES, P_FRECKLES, P_STUBBLE, P_BROW, P_LIPSTICK, P_LINER,
    P_EYESHADOW, P_SCALP, P_NOISE_U, P_NOISE_V, P_LIPSTICK_RGB, P_HAIR_RGB, P_IRIS_OUT, P_IRIS_IN, P_LIMBAL, P_PUPIL,
    P_CLOTH_RGB, P_CLOTH2_RGB, P_NECKLINE, P_COLLAR, P_BROW_RGB, P_EYE_AXIS_R, P_EYE_AXIS_L, P_SCLERA,
) = (
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 15, 16, 19, 22, 25, 28, 29, 30, 33, 36, 37, 38, 41, 44, 47,
)  # fmt: skip
N_PARAMETERS = 50


@kernel
def _step(low: float, high: float, x: float) -> float:
    t = min(1.0, max(0.0, (x - low) / (high - low)))
    return t * t * (3 - 2 * t)


@kernel
def _fade(x: float) -> float:
    """About exp(-x) for x in -2..10, without a call: (1 - x / 64)^64, at most 2 % low at x = 1.6."""
    t = max(0.0, 1.0 - x * 0.015625)
    t *= t
    t *= t
    t *= t
    t *= t
    t *= t
    return t * t


@kernel
def _sample(maps: np.ndarray, u: float, v: float, out: np.ndarray) -> None:
    """Bilinear sample of 8-bit maps (S, S, N_FEATURES) at uv in 0..1 into out (N_FEATURES,)."""
    side = maps.shape[0]
    x = min(max(u * side - 0.5, 0.0), side - 1.001)
    y = min(max(v * side - 0.5, 0.0), side - 1.001)
    ix, iy = int(x), int(y)
    fx, fy = x - ix, y - iy
    a, b, c, d = (1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy
    for k in range(N_FEATURES):
        out[k] = a * maps[iy, ix, k] + b * maps[iy, ix + 1, k] + c * maps[iy + 1, ix, k] + d * maps[iy + 1, ix + 1, k]
        out[k] *= 1.0 / 255.0
    out[LIP] = (2.0 * out[LIP] - 1.0) * FEATURE_MM
    out[LID] = (2.0 * out[LID] - 1.0) * FEATURE_MM


@kernel
def _noise(noise: np.ndarray, layer: int, u: float, v: float) -> float:
    """Bilinear, wrapping sample of a 512² noise map, standard deviations; u, v in texels."""
    ix, iy = math.floor(u), math.floor(v)
    fx, fy = u - ix, v - iy
    x0, x1, y0, y1 = ix & 511, (ix + 1) & 511, iy & 511, (iy + 1) & 511
    top = noise[layer, y0, x0] * (1 - fx) + noise[layer, y0, x1] * fx
    low = noise[layer, y1, x0] * (1 - fx) + noise[layer, y1, x1] * fx
    return (top * (1 - fy) + low * fy) * NOISE_UNIT


@kernel
def _lit_share(x: float, y: float, z: float, view: np.ndarray, shadow: np.ndarray, spread: float) -> float:
    """Share 0..1 of the key lamp that reaches a world point: 4 x 4 taps of the shadow map over `spread` texels.

    view (12,): three axes (9), scale, column offset, row offset.
    """
    side = shadow.shape[0]
    c = (x * view[0] + y * view[1] + z * view[2]) * view[9] + view[10]
    r = (x * view[3] + y * view[4] + z * view[5]) * view[9] + view[11]
    depth = 2000.0 - (x * view[6] + y * view[7] + z * view[8])
    total, taps = 0.0, 0
    for round_ in range(2):
        for t in range(4 if round_ == 0 else 12):
            if round_ == 0:
                i, j = (t & 1) * 3, (t >> 1) * 3
            else:
                i, j = (1 + (t & 1), (t >> 1) * 3) if t < 4 else (t & 3, 1 + (t >> 2 & 1))
            ix, iy = int(c + (i - 1.5) * spread), int(r + (j - 1.5) * spread)
            taps += 1
            if ix < 0 or iy < 0 or ix >= side or iy >= side:
                total += 1.0
            else:
                total += 1.0 - min(1.0, max(0.0, (depth - shadow[iy, ix] - 3.0) / 4.0))
        if total == 0.0 or total == 4.0:
            break
    return total / taps


@kernel
def _skin(a: np.ndarray, f: np.ndarray, noise: np.ndarray, p: np.ndarray, moles: np.ndarray, rgb: np.ndarray) -> float:
    """Albedo of a skin sample into rgb (3,); returns its gloss. a: interpolated columns; f: features there."""
    u, v = a[UV] * 512.0 + p[P_NOISE_U], a[UV + 1] * 512.0 + p[P_NOISE_V]
    clouds = _noise(noise, 0, u * 1.7, v * 1.7)
    blotch = _noise(noise, 1, u * 2.3, v * 2.3)
    pores = _noise(noise, 2, u * 3.1, v * 3.1)
    melanin = (
        (0.02 + 0.05 * p[P_BLOTCH]) * clouds
        + 0.020 * pores
        + 0.20 * p[P_SHADE] * f[SHADE]
        + 0.30 * p[P_LINES] * f[LINES]
    )
    blood = 0.40 * p[P_RUDDY] * f[RUDDY] + (0.03 + 0.08 * p[P_BLOTCH]) * blotch + 0.05 * p[P_SHADE] * f[SHADE]
    if p[P_FRECKLES] > 0:
        spots = _noise(noise, 1, u * 5.3, v * 5.3) + 0.35 * clouds
        melanin += 0.55 * p[P_FRECKLES] * f[FRECKLE] * _step(1.1, 2.0, spots)
    for m in range(moles.shape[0]):
        dx, dy = a[REST] - moles[m, 0], a[REST + 1] - moles[m, 1]
        if dx * dx + dy * dy < 9.0 and a[REST + 2] > -40.0:
            melanin += 0.9 * _step(moles[m, 2] + 0.5, moles[m, 2] - 0.3, math.sqrt(dx * dx + dy * dy))
    lip = _step(-0.7, 0.9, f[LIP])
    melanin += lip * (0.16 + 0.14 * p[P_LIP] + 0.04 * blotch)
    blood += lip * (0.34 + 0.20 * p[P_LIP])
    melanin += p[P_EYESHADOW] * 0.75 * f[SHADOW_LID]
    for c in range(3):
        absorb = (0.55, 1.0, 1.45)[c] * melanin + (0.12, 1.0, 0.82)[c] * blood
        rgb[c] = a[ALBEDO + c] * _fade(absorb)
    paint = lip * p[P_LIPSTICK]
    liner = p[P_LINER] * _step(1.1, 0.1, f[LID])
    for c in range(3):
        rgb[c] += paint * (p[P_LIPSTICK_RGB + c] - rgb[c])
        rgb[c] *= 1.0 - 0.8 * liner
    stubble = p[P_STUBBLE] * f[BEARD] * (1 - lip)
    if stubble > 0.005:
        stubble *= 0.75 + 0.25 * _noise(noise, 3, u * 3.7, v * 3.7)
        for c in range(3):
            rgb[c] += min(0.85, max(0.0, stubble)) * (0.6 * p[P_BROW_RGB + c] + 0.25 * rgb[c] - rgb[c])
    under = 0.26 * p[P_BROW] * _step(0.0, 1.0, f[BROW])
    scalp = 0.0
    if a[SCALP_MM] > -14.0 and p[P_SCALP] > 0:
        grain = _noise(noise, 4, u * 4.0, v * 4.0)
        scalp = p[P_SCALP] * _step(-2.5, 6.0, a[SCALP_MM] + 2.2 * grain + 2.0 * clouds)
        for c in range(3):
            rgb[c] += scalp * (p[P_HAIR_RGB + c] * (0.8 + 0.2 * grain) - rgb[c])
    if under > 0:
        for c in range(3):
            rgb[c] += under * (p[P_BROW_RGB + c] - rgb[c])
    gloss = (0.30 + 0.70 * p[P_GLOSS]) * (0.35 + 0.65 * f[OIL]) * (1 + 0.25 * pores)
    gloss = gloss * (1 - lip) + lip * (0.42 + 0.5 * p[P_LIPSTICK])
    return max(0.0, gloss * (1 - scalp) * (1 - 0.6 * min(1.0, stubble)))


@kernel
def albedo_at(
    table: np.ndarray, features: np.ndarray, noise: np.ndarray, p: np.ndarray, moles: np.ndarray
) -> np.ndarray:
    """Albedo of vertices: table (n, COLUMNS) -> (n, 3) float64 linear RGB."""
    out = np.empty((table.shape[0], 3))
    f, a = np.empty(N_FEATURES, np.float64), np.empty(COLUMNS, np.float64)
    for i in range(table.shape[0]):
        for c in range(COLUMNS):
            a[c] = table[i, c]
        _sample(features, a[UV], a[UV + 1], f)
        _skin(a, f, noise, p, moles, out[i])
    return out


@kernel
def _light_skin(
    a: np.ndarray, rgb: np.ndarray, gloss: float, lit: float, lamps: np.ndarray, ambient: np.ndarray, out: np.ndarray,
    wrap_red: float,
) -> None:  # fmt: skip
    """Light a skin-like sample: albedo rgb, interpolated columns a (normal, occlusion) -> out (3,)."""
    nx, ny, nz = a[NORMAL], a[NORMAL + 1], a[NORMAL + 2]
    up = 0.5 + 0.5 * ny
    o = a[OCCLUSION]
    deep = o * math.sqrt(math.sqrt(max(o, 0.0)))
    for c in range(3):
        out[c] = rgb[c] * (o if c == 0 else deep) * (ambient[0, c] * up + ambient[1, c] * (1 - up))
    wraps = (1 / (1.06 + wrap_red), 1 / (1.06 + 0.4 * wrap_red), 1 / (1.06 + 0.25 * wrap_red))
    grazing = 1 - max(0.0, nz)
    fresnel = 0.028 + 0.55 * grazing * grazing * grazing * grazing * grazing
    for j in range(lamps.shape[0]):
        lx, ly, lz = lamps[j, 0], lamps[j, 1], lamps[j, 2]
        cosine = nx * lx + ny * ly + nz * lz
        soft = lamps[j, 6]
        if cosine < -0.4:
            continue
        reach = lit if j == 0 else min(1.0, 0.25 + 0.75 * o)
        for c in range(3):
            diffuse = max(0.0, cosine * wraps[c] + 1.0 - wraps[c])
            diffuse = diffuse * (0.6 + 0.4 * diffuse)
            bleed = reach * (1.45 - 0.45 * reach) if c == 0 else reach
            out[c] += rgb[c] * lamps[j, 3 + c] * diffuse * bleed
        half = nx * lamps[j, 7] + ny * lamps[j, 8] + nz * lamps[j, 9]
        if half > 0.6 and cosine > -0.1:
            broad = _fade((1 - half) * (14 - 6 * soft)) * 1.6
            sharp = _fade((1 - half) * (60 - 34 * soft)) * 3.0
            sheen = gloss * fresnel * (broad + sharp) * reach * _step(-0.1, 0.25, cosine)
            for c in range(3):
                out[c] += lamps[j, 3 + c] * sheen


@kernel
def _eyeball(a: np.ndarray, side: int, noise: np.ndarray, p: np.ndarray, rgb: np.ndarray) -> float:
    """Albedo of white, iris and pupil into rgb (3,); returns the distance from the pupil's centre, mm."""
    x, y, z = a[REST], a[REST + 1], a[REST + 2]
    r = math.sqrt(x * x + y * y + z * z) + 1e-6
    x, y, z = x / r, y / r, z / r
    ring = math.acos(max(-1.0, min(1.0, z))) * 12.2
    angle = math.atan2(y, x)
    iris, pupil = 5.85, p[P_PUPIL]
    veins = max(0.0, _noise(noise, 0, x * 260 + 90, y * 260 + 70 * side))
    inner = _step(7.0, 11.5, ring)
    rgb[0] = p[P_SCLERA] * (1.0 - 0.05 * inner)
    rgb[1] = p[P_SCLERA] * (0.925 - 0.20 * inner - 0.035 * veins)
    rgb[2] = p[P_SCLERA] * (0.885 - 0.22 * inner - 0.035 * veins)
    t = min(1.0, ring / iris)
    fibre = (
        _noise(noise, 4, angle * 82.0 + 31 * side, t * 40.0) * 0.22 + _noise(noise, 2, angle * 30.0, t * 60.0) * 0.10
    )
    mix = _step(0.85, 0.38, t + 0.12 * fibre)
    limb = 1.0 - (0.45 + 0.4 * p[P_LIMBAL]) * _step(0.72, 1.02, t)
    shade = (1.0 + fibre) * limb
    in_iris = _step(iris + 0.45, iris - 0.35, ring)
    in_pupil = _step(pupil + 0.3, pupil - 0.25, ring)
    for c in range(3):
        iris_rgb = p[P_IRIS_OUT + c] + mix * (p[P_IRIS_IN + c] - p[P_IRIS_OUT + c])
        iris_rgb = iris_rgb * shade * (1 - in_pupil) + 0.004
        rgb[c] += in_iris * (iris_rgb - rgb[c])
    return ring


@kernel
def _eye(
    a: np.ndarray, side: int, noise: np.ndarray, p: np.ndarray, lit: float, lamps: np.ndarray, ambient: np.ndarray,
    rgb: np.ndarray, out: np.ndarray,
) -> None:  # fmt: skip
    """Colour of an eyeball sample. REST columns hold the direction from the ball's centre before the gaze turned it.

    The cornea's normal bends away from the ball's within the iris (radius 7.8 mm against 12.2), so catch-lights sit
    there.
    """
    ring = _eyeball(a, side, noise, p, rgb)
    nx, ny, nz = a[NORMAL], a[NORMAL + 1], a[NORMAL + 2]
    base = P_EYE_AXIS_R if side == 0 else P_EYE_AXIS_L
    ax, ay, az = p[base], p[base + 1], p[base + 2]
    along = nx * ax + ny * ay + nz * az
    bend = 1.0 + 0.56 * _step(6.45, 5.05, ring)
    cx, cy, cz = (nx - along * ax) * bend, (ny - along * ay) * bend, (nz - along * az) * bend
    rest = math.sqrt(max(0.0, 1 - cx * cx - cy * cy - cz * cz))
    cx, cy, cz = cx + rest * ax, cy + rest * ay, cz + rest * az
    up = 0.5 + 0.5 * ny
    for c in range(3):
        out[c] = (ambient[0, c] * up + ambient[1, c] * (1 - up)) * (rgb[c] + 0.006)
    for j in range(2):
        lx, ly, lz = lamps[j, 0], lamps[j, 1], lamps[j, 2]
        cosine = max(0.0, (nx * lx + ny * ly + nz * lz + 0.35) / 1.35) * (lit if j == 0 else 1.0)
        hx, hy, hz = lx, ly + 0.12, lz + 1.0
        norm = math.sqrt(hx * hx + hy * hy + hz * hz)
        half = max(0.0, (cx * hx + cy * hy + cz * hz) / norm)
        width = 0.006 + 0.006 * lamps[j, 6]
        spot = _step(width, 0.45 * width, 1.0 - half) * (0.9 if j == 0 else 0.25)
        for c in range(3):
            out[c] += lamps[j, 3 + c] * (cosine * (rgb[c] + 0.006) + spot)
    for c in range(3):
        out[c] *= a[OCCLUSION]


@kernel
def _cloth(a: np.ndarray, noise: np.ndarray, p: np.ndarray, rgb: np.ndarray) -> None:
    """Albedo of a cloth sample: weave and folds over one colour, a second one at the edge of the neckline."""
    x, y, z = a[REST], a[REST + 1], a[REST + 2]
    weave = _noise(noise, 3, x * 2.2, (y + z) * 2.2) * 0.05
    folds = _noise(noise, 0, x * 1.1 + p[P_NOISE_U], (y + z) * 0.8) * 0.10
    edge = _step(-3.5, -5.0, y - neckline(x, z, p[P_NECKLINE], p[P_COLLAR]))
    for c in range(3):
        second = p[P_CLOTH2_RGB + c]
        rgb[c] = (second + edge * (p[P_CLOTH_RGB + c] - second)) * (1.0 + weave + folds)


@kernel
def neckline(x: float, z: float, depth: float, height: float) -> float:
    """Height y (mm, mean head) below which there is cloth: `height` at the sides, `depth` lower in front."""
    front = _step(-95.0, -45.0, z) * max(0.0, 1.0 - abs(x) / 62.0)
    return height - depth * front


@kernel
def _corner_mean(
    faces: np.ndarray, table: np.ndarray, triangle: int, w0: float, w1: float, w2: float, out: np.ndarray
) -> None:
    i, j, k = faces[triangle, 0], faces[triangle, 1], faces[triangle, 2]
    for c in range(COLUMNS):
        out[c] = w0 * table[i, c] + w1 * table[j, c] + w2 * table[k, c]
    norm = math.sqrt(out[0] * out[0] + out[1] * out[1] + out[2] * out[2]) + 1e-6
    out[0] /= norm
    out[1] /= norm
    out[2] /= norm


@kernel
def _shade_sample(
    kind: int, a: np.ndarray, f: np.ndarray, lit: float, features: np.ndarray, noise: np.ndarray, p: np.ndarray,
    moles: np.ndarray, lamps: np.ndarray, ambient: np.ndarray, rgb: np.ndarray, out: np.ndarray,
) -> int:  # fmt: skip
    """Colour of one sample into out (3,); returns its owner."""
    if kind in (EYE_RIGHT, EYE_LEFT):
        _eye(a, 0 if kind == EYE_RIGHT else 1, noise, p, lit, lamps, ambient, rgb, out)
        return ID_EYE
    if kind in (TEETH, CAVITY):
        deep = math.exp(-((a[REST] / 24.0) ** 2))
        for c in range(3):
            rgb[c] = a[ALBEDO + c]
        _light_skin(a, rgb, 0.5 if kind == TEETH else 0.6, lit, lamps, ambient, out, 0.35)
        dim = (0.30 + 0.70 * deep) * (1.0 if kind == TEETH else 0.5)
        for c in range(3):
            out[c] *= dim
        return ID_MOUTH
    y = a[REST + 1]
    if y < -95.0 and y < neckline(a[REST], a[REST + 2], p[P_NECKLINE], p[P_COLLAR]):
        _cloth(a, noise, p, rgb)
        _light_skin(a, rgb, 0.05, lit, lamps, ambient, out, 0.0)
        return ID_CLOTH
    _sample(features, a[UV], a[UV + 1], f)
    gloss = _skin(a, f, noise, p, moles, rgb)
    _light_skin(a, rgb, gloss, lit, lamps, ambient, out, 0.30)
    return ID_SKIN


@kernel
def shade_mesh(
    triangle: np.ndarray, weight: np.ndarray, depth: np.ndarray, faces: np.ndarray, table: np.ndarray,
    material: np.ndarray, fine: np.ndarray, features: np.ndarray, noise: np.ndarray, p: np.ndarray,
    moles: np.ndarray, lamps: np.ndarray, ambient: np.ndarray, view: np.ndarray, shadow: np.ndarray,
    spread: float, focal_px: float, picture: np.ndarray, ids: np.ndarray,
) -> None:  # fmt: skip
    """Shade the raster (H, W) into `picture` (H, W, 3) and `ids` (H, W), in place; H and W are even.

    A block of 2 x 2 samples of one plain material is shaded once; edges and fine parts (eyes, lips) sample by sample.
    focal_px: focal length in samples; the principal point is the middle.
    """
    height, width = triangle.shape
    a, f = np.empty(COLUMNS, np.float64), np.empty(N_FEATURES, np.float64)
    rgb, out = np.empty(3, np.float64), np.empty(3, np.float64)
    for y0 in range(0, height, 2):
        for x0 in range(0, width, 2):
            t0 = triangle[y0, x0]
            plain = t0 >= 0
            for q in range(4):
                t = triangle[y0 + (q >> 1), x0 + (q & 1)]
                if (
                    t < 0
                    or not plain
                    or fine[t]
                    or material[t] != material[t0]
                    or abs(depth[y0 + (q >> 1), x0 + (q & 1)] - depth[y0, x0]) > 5.0
                ):
                    plain = False
            for q in range(1 if plain else 4):
                y, x = y0 + (q >> 1), x0 + (q & 1)
                t = triangle[y, x]
                if t < 0:
                    continue
                _corner_mean(faces, table, t, weight[y, x, 0], weight[y, x, 1], weight[y, x, 2], a)
                z = depth[y, x]
                wx, wy = (x + 0.5 - width / 2) * z / focal_px, -(y + 0.5 - height / 2) * z / focal_px
                facing = a[0] * lamps[0, 0] + a[1] * lamps[0, 1] + a[2] * lamps[0, 2]
                lit = 1.0
                if facing > -0.35:
                    lit = _lit_share(wx + 1.5 * a[0], wy + 1.5 * a[1], 1.5 * a[2] - z, view, shadow, spread)
                owner = _shade_sample(material[t], a, f, lit, features, noise, p, moles, lamps, ambient, rgb, out)
                for r in range(4 if plain else 1):
                    yy, xx = (y0 + (r >> 1), x0 + (r & 1)) if plain else (y, x)
                    ids[yy, xx] = owner
                    for c in range(3):
                        picture[yy, xx, c] = out[c]
