"""Colour of skin, teeth and mouth: a block of samples at a time. Numba, one core.

The samples of a block lie in columns of one flat array, PITCH apart, so that every loop without a look-up becomes
vector instructions; look-ups (noise, feature maps, shadow map) have loops of their own. Light: see shading.py. Ours.
"""

# Types here are numba's: whole numbers of fixed width that Python's annotations cannot tell apart.
# mypy: disable-error-code="operator,call-overload,assignment,arg-type,return-value"

import math

import numpy as np

from faces.compiled import kernel
from faces.synthetic import shading as s
from faces.synthetic.noise import NOISE_UNIT, packed_noise

i32, i64, u64 = np.int32, np.int64, np.uint64
#: Samples a block, and the distance of its columns (not a power of two: cache sets).
BLOCK, PITCH = 256, 264
# Columns of a block: those of the vertex table come first, then the features, then these.
_FEATURES = s.COLUMNS * PITCH
(
    _LIT, _CLOUDS, _BLOTCH, _PORES, _SPOTS, _FINE, _STROKES, _RED, _GREEN, _BLUE, _GLOSS, _MELANIN, _BLOOD, _LIPS,
    _STUBBLE, _SCALP, _U, _V, _FX, _FY, _WX, _WY, _Z, _OUT0, _OUT1, _OUT2,
) = range((s.COLUMNS + s.N_FEATURES) * PITCH, (s.COLUMNS + s.N_FEATURES + 26) * PITCH, PITCH)  # fmt: skip
_WORK = (s.COLUMNS + s.N_FEATURES + 26) * PITCH
_NX, _NY, _NZ = s.NORMAL * PITCH, (s.NORMAL + 1) * PITCH, (s.NORMAL + 2) * PITCH
_RX, _RY, _RZ = s.REST * PITCH, (s.REST + 1) * PITCH, (s.REST + 2) * PITCH


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
def _noise(w: np.ndarray, q: np.ndarray, n: int, packed: np.ndarray, u_scale: float, v_scale: float, out: int) -> None:
    """Bilinear, wrapping samples of one packed noise map at (_U * u_scale, _V * v_scale) texels into column out."""
    for i in range(u64(n)):
        u, v = w[u64(_U) + i] * u_scale, w[u64(_V) + i] * v_scale
        left, top = np.floor(u), np.floor(v)
        w[u64(_FX) + i], w[u64(_FY) + i] = u - left, v - top
        q[i] = i32(i32((i64(top) & 511) << 9) | i32(i64(left) & 511))
    for i in range(u64(n)):
        q[i] = packed[u64(q[i])]
    for i in range(u64(n)):
        fx, fy, four = w[u64(_FX) + i], w[u64(_FY) + i], q[i]
        a, b = i32(i32(four << i32(24)) >> i32(24)), i32(i32(four << i32(16)) >> i32(24))
        c, d = i32(i32(four << i32(8)) >> i32(24)), i32(four >> i32(24))
        top = a * (1 - fx) + b * fx
        low = c * (1 - fx) + d * fx
        w[u64(out) + i] = (top * (1 - fy) + low * fy) * NOISE_UNIT


@kernel
def _features(w: np.ndarray, q: np.ndarray, places: np.ndarray, n: int, maps: np.ndarray, p: np.ndarray) -> None:
    """Bilinear samples of the packed maps (S, S, N_FEATURES) at the block's uv.

    A map that the picture multiplies by 0 is left as it was.
    """
    side, flat = maps.shape[0], maps.reshape(-1)
    for i in range(u64(n)):
        x = min(max(w[u64(s.UV * PITCH) + i] * side - 0.5, 0.0), side - 1.001)
        y = min(max(w[u64((s.UV + 1) * PITCH) + i] * side - 0.5, 0.0), side - 1.001)
        ix, iy = i32(x), i32(y)
        w[u64(_FX) + i], w[u64(_FY) + i] = x - ix, y - iy
        places[i] = i32(i32(i32(iy * i32(side)) + ix) * i32(s.N_FEATURES))
    for k in range(u64(s.N_FEATURES)):
        unused = (
            ((k == s.FRECKLE) & (p[s.P_FRECKLES] == 0))
            | ((k == s.BEARD) & (p[s.P_STUBBLE] == 0))
            | ((k == s.SHADOW_LID) & (p[s.P_EYESHADOW] == 0))
        )
        if unused:
            continue
        for i in range(u64(n)):
            q[i] = flat[u64(places[i]) + k]
        for i in range(u64(n)):
            fx, fy, four = w[u64(_FX) + i], w[u64(_FY) + i], q[i]
            a, b, c, d = (1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy
            m0, m1 = i32(four & i32(255)), i32(i32(four >> i32(8)) & i32(255))
            m2, m3 = i32(i32(four >> i32(16)) & i32(255)), i32(i32(four >> i32(24)) & i32(255))
            w[u64(_FEATURES) + k * u64(PITCH) + i] = (a * m0 + b * m1 + c * m2 + d * m3) * (1.0 / 255.0)
    for i in range(u64(n)):
        lip, lid = u64(_FEATURES + s.LIP * PITCH) + i, u64(_FEATURES + s.LID * PITCH) + i
        w[lip] = (2.0 * w[lip] - 1.0) * s.FEATURE_MM
        w[lid] = (2.0 * w[lid] - 1.0) * s.FEATURE_MM


@kernel
def _pigment(w: np.ndarray, n: int, p: np.ndarray, moles: np.ndarray) -> None:
    """Melanin and blood of skin samples, and where lips are."""
    blotchy, shade, lines = 0.02 + 0.05 * p[s.P_BLOTCH], 0.20 * p[s.P_SHADE], 0.30 * p[s.P_LINES]
    ruddy, patchy, tired = 0.40 * p[s.P_RUDDY], 0.03 + 0.08 * p[s.P_BLOTCH], 0.05 * p[s.P_SHADE]
    freckled, spotted = p[s.P_FRECKLES] > 0, 0.55 * p[s.P_FRECKLES]
    dark_lip, red_lip, shadowed = 0.16 + 0.14 * p[s.P_LIP], 0.34 + 0.20 * p[s.P_LIP], p[s.P_EYESHADOW] * 0.75
    for i in range(u64(n)):
        of_shade, clouds = w[u64(_FEATURES + s.SHADE * PITCH) + i], w[u64(_CLOUDS) + i]
        melanin = blotchy * clouds + 0.020 * w[u64(_PORES) + i] + shade * of_shade
        melanin = melanin + lines * w[u64(_FEATURES + s.LINES * PITCH) + i]
        blood = ruddy * w[u64(_FEATURES + s.RUDDY * PITCH) + i] + patchy * w[u64(_BLOTCH) + i] + tired * of_shade
        spots = w[u64(_SPOTS) + i] + 0.35 * clouds
        more = melanin + spotted * w[u64(_FEATURES + s.FRECKLE * PITCH) + i] * _step(1.1, 2.0, spots)
        w[u64(_MELANIN) + i] = more if freckled else melanin
        w[u64(_BLOOD) + i] = blood
    for m in range(moles.shape[0]):
        mx, my, radius = moles[m, 0], moles[m, 1], moles[m, 2]
        for i in range(u64(n)):
            dx, dy, melanin = w[u64(_RX) + i] - mx, w[u64(_RY) + i] - my, w[u64(_MELANIN) + i]
            away = dx * dx + dy * dy
            more = melanin + 0.9 * _step(radius + 0.5, radius - 0.3, math.sqrt(away))
            w[u64(_MELANIN) + i] = more if (away < 9.0) & (w[u64(_RZ) + i] > -40.0) else melanin
    for i in range(u64(n)):
        lip = _step(-0.7, 0.9, w[u64(_FEATURES + s.LIP * PITCH) + i])
        melanin = w[u64(_MELANIN) + i] + lip * (dark_lip + 0.04 * w[u64(_BLOTCH) + i])
        w[u64(_MELANIN) + i] = melanin + shadowed * w[u64(_FEATURES + s.SHADOW_LID * PITCH) + i]
        w[u64(_BLOOD) + i] = w[u64(_BLOOD) + i] + lip * red_lip
        w[u64(_LIPS) + i] = lip


@kernel
def _covers(w: np.ndarray, n: int, p: np.ndarray) -> None:
    """What lies on the skin: shares of stubble and of the scalp's hair in the colour, and the gloss."""
    stubbly, haired = p[s.P_STUBBLE], p[s.P_SCALP]
    shine, painted = 0.30 + 0.70 * p[s.P_GLOSS], 0.42 + 0.5 * p[s.P_LIPSTICK]
    for i in range(u64(n)):
        lip, grain, at = w[u64(_LIPS) + i], w[u64(_STROKES) + i], w[u64(s.SCALP_MM * PITCH) + i]
        thin = stubbly * w[u64(_FEATURES + s.BEARD * PITCH) + i] * (1 - lip)
        stubble = thin * (0.75 + 0.25 * w[u64(_FINE) + i]) if thin > 0.005 else thin
        scalp = haired * _step(-2.5, 6.0, at + 2.2 * grain + 2.0 * w[u64(_CLOUDS) + i])
        scalp = scalp if (at > -14.0) & (haired > 0) else 0.0
        gloss = shine * (0.35 + 0.65 * w[u64(_FEATURES + s.OIL * PITCH) + i]) * (1 + 0.25 * w[u64(_PORES) + i])
        gloss = gloss * (1 - lip) + lip * painted
        w[u64(_GLOSS) + i] = max(0.0, gloss * (1 - scalp) * (1 - 0.6 * min(1.0, stubble)))
        w[u64(_STUBBLE) + i] = min(0.85, max(0.0, stubble)) if thin > 0.005 else 0.0
        w[u64(_SCALP) + i] = scalp


@kernel
def _paint(w: np.ndarray, n: int, p: np.ndarray, c: int, melanin_share: float, blood_share: float) -> None:
    """Channel c of the skin's albedo from pigment and what lies on it."""
    rouge, lined, browed = p[s.P_LIPSTICK], p[s.P_LINER], 0.26 * p[s.P_BROW]
    lipstick, brow, hair = p[s.P_LIPSTICK_RGB + c], p[s.P_BROW_RGB + c], p[s.P_HAIR_RGB + c]
    base, out = u64((s.ALBEDO + c) * PITCH), u64(_RED + c * PITCH)
    for i in range(u64(n)):
        absorb = melanin_share * w[u64(_MELANIN) + i] + blood_share * w[u64(_BLOOD) + i]
        colour = w[base + i] * _fade(absorb)
        colour += w[u64(_LIPS) + i] * rouge * (lipstick - colour)
        colour *= 1.0 - 0.8 * (lined * _step(1.1, 0.1, w[u64(_FEATURES + s.LID * PITCH) + i]))
        colour += w[u64(_STUBBLE) + i] * (0.6 * brow + 0.25 * colour - colour)
        colour += w[u64(_SCALP) + i] * (hair * (0.8 + 0.2 * w[u64(_STROKES) + i]) - colour)
        colour += browed * _step(0.0, 1.0, w[u64(_FEATURES + s.BROW * PITCH) + i]) * (brow - colour)
        w[out + i] = colour


@kernel
def _skin(
    w: np.ndarray, q: np.ndarray, n: int, features: np.ndarray, noise: np.ndarray, p: np.ndarray, moles: np.ndarray
) -> None:
    """Albedo and gloss of a block of skin. q (2 PITCH,) int32: working memory."""
    _features(w, q, q[PITCH:], n, features, p)
    near_hair = False
    for i in range(u64(n)):
        w[u64(_U) + i] = w[u64(s.UV * PITCH) + i] * 512.0 + p[s.P_NOISE_U]
        w[u64(_V) + i] = w[u64((s.UV + 1) * PITCH) + i] * 512.0 + p[s.P_NOISE_V]
        near_hair = near_hair | (w[u64(s.SCALP_MM * PITCH) + i] > -14.0)
    _noise(w, q, n, noise[0], 1.7, 1.7, _CLOUDS)
    _noise(w, q, n, noise[1], 2.3, 2.3, _BLOTCH)
    _noise(w, q, n, noise[2], 3.1, 3.1, _PORES)
    if p[s.P_FRECKLES] > 0:
        _noise(w, q, n, noise[1], 5.3, 5.3, _SPOTS)
    if p[s.P_STUBBLE] > 0:
        _noise(w, q, n, noise[3], 3.7, 3.7, _FINE)
    if near_hair and p[s.P_SCALP] > 0:
        _noise(w, q, n, noise[4], 4.0, 4.0, _STROKES)
    _pigment(w, n, p, moles)
    _covers(w, n, p)
    _paint(w, n, p, 0, 0.55, 0.12)
    _paint(w, n, p, 1, 1.0, 1.0)
    _paint(w, n, p, 2, 1.45, 0.82)


@kernel
def _lamp(w: np.ndarray, n: int, lamps: np.ndarray, j: int, wraps: tuple[float, float, float]) -> None:
    """Add lamp j to a lit block."""
    lx, ly, lz, soft = lamps[j, 0], lamps[j, 1], lamps[j, 2], lamps[j, 6]
    red, green, blue = lamps[j, 3], lamps[j, 4], lamps[j, 5]
    hx, hy, hz, key = lamps[j, 7], lamps[j, 8], lamps[j, 9], j == 0
    w0, w1, w2 = wraps
    for i in range(u64(n)):
        nx, ny, nz, o = w[u64(_NX) + i], w[u64(_NY) + i], w[u64(_NZ) + i], w[u64(s.OCCLUSION * PITCH) + i]
        grazing = 1 - max(0.0, nz)
        fresnel = 0.028 + 0.55 * grazing * grazing * grazing * grazing * grazing
        cosine = nx * lx + ny * ly + nz * lz
        reach = w[u64(_LIT) + i] if key else min(1.0, 0.25 + 0.75 * o)
        d0, d1 = max(0.0, cosine * w0 + 1.0 - w0), max(0.0, cosine * w1 + 1.0 - w1)
        d2 = max(0.0, cosine * w2 + 1.0 - w2)
        d0, d1, d2 = d0 * (0.6 + 0.4 * d0), d1 * (0.6 + 0.4 * d1), d2 * (0.6 + 0.4 * d2)
        a0, a1, a2 = w[u64(_OUT0) + i], w[u64(_OUT1) + i], w[u64(_OUT2) + i]
        b0 = a0 + w[u64(_RED) + i] * red * d0 * (reach * (1.45 - 0.45 * reach))
        b1 = a1 + w[u64(_GREEN) + i] * green * d1 * reach
        b2 = a2 + w[u64(_BLUE) + i] * blue * d2 * reach
        half = nx * hx + ny * hy + nz * hz
        broad = _fade((1 - half) * (14 - 6 * soft)) * 1.6
        sharp = _fade((1 - half) * (60 - 34 * soft)) * 3.0
        sheen = w[u64(_GLOSS) + i] * fresnel * (broad + sharp) * reach * _step(-0.1, 0.25, cosine)
        glossy, seen = (half > 0.6) & (cosine > -0.1), cosine >= -0.4
        b0, b1 = b0 + red * sheen if glossy else b0, b1 + green * sheen if glossy else b1
        b2 = b2 + blue * sheen if glossy else b2
        w[u64(_OUT0) + i], w[u64(_OUT1) + i] = b0 if seen else a0, b1 if seen else a1
        w[u64(_OUT2) + i] = b2 if seen else a2


@kernel
def _light(w: np.ndarray, n: int, lamps: np.ndarray, ambient: np.ndarray, wrap_red: float) -> None:
    """Light a block: albedo, gloss, normal and occlusion -> the three columns from _OUT0 on."""
    above, below = ambient[0], ambient[1]
    r0, g0, b0, r1, g1, b1 = above[0], above[1], above[2], below[0], below[1], below[2]
    for i in range(u64(n)):
        up, o = 0.5 + 0.5 * w[u64(_NY) + i], w[u64(s.OCCLUSION * PITCH) + i]
        deep = o * math.sqrt(math.sqrt(max(o, 0.0)))
        w[u64(_OUT0) + i] = w[u64(_RED) + i] * o * (r0 * up + r1 * (1 - up))
        w[u64(_OUT1) + i] = w[u64(_GREEN) + i] * deep * (g0 * up + g1 * (1 - up))
        w[u64(_OUT2) + i] = w[u64(_BLUE) + i] * deep * (b0 * up + b1 * (1 - up))
    wraps = (1 / (1.06 + wrap_red), 1 / (1.06 + 0.4 * wrap_red), 1 / (1.06 + 0.25 * wrap_red))
    for j in range(lamps.shape[0]):
        _lamp(w, n, lamps, j, wraps)


@kernel
def _mean_corners(
    listed: np.ndarray, first: int, n: int, triangle: np.ndarray, weight: np.ndarray, depth: np.ndarray,
    faces: np.ndarray, table: np.ndarray, width: int, height: int, focal_px: float, w: np.ndarray,
) -> None:  # fmt: skip
    """Table columns at the samples listed[first..] (sample << 1), unit normals, and their places in the world."""
    for i in range(u64(n)):
        place = listed[u64(first) + i] >> 1
        t, w0, w1, w2 = triangle[place], weight[place, 0], weight[place, 1], weight[place, 2]
        a, b, c = table[faces[t, 0]], table[faces[t, 1]], table[faces[t, 2]]
        for k in range(u64(s.COLUMNS)):
            w[k * u64(PITCH) + i] = w0 * a[k] + w1 * b[k] + w2 * c[k]
        y, z = place // width, depth[place]
        x = place - y * width
        w[u64(_WX) + i] = (x + 0.5 - width / 2) * z / focal_px
        w[u64(_WY) + i], w[u64(_Z) + i] = -(y + 0.5 - height / 2) * z / focal_px, z
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
    w: np.ndarray, q: np.ndarray, n: int, lamps: np.ndarray, view: np.ndarray, shadow: np.ndarray, spread: float
) -> None:
    """Share of the key lamp that reaches each sample of a block: 4 x 4 taps over `spread` texels of the shadow map,

    or the outer four where they agree. view (12,): three axes, scale, two offsets.
    """
    lx, ly, lz = lamps[0, 0], lamps[0, 1], lamps[0, 2]
    side, flat = i32(shadow.shape[0]), shadow.reshape(-1)
    for i in range(u64(n)):
        nx, ny, nz = w[u64(_NX) + i], w[u64(_NY) + i], w[u64(_NZ) + i]
        x, y, z = w[u64(_WX) + i] + 1.5 * nx, w[u64(_WY) + i] + 1.5 * ny, 1.5 * nz - w[u64(_Z) + i]
        w[u64(_U) + i] = (x * view[0] + y * view[1] + z * view[2]) * view[9] + view[10]
        w[u64(_V) + i] = (x * view[3] + y * view[4] + z * view[5]) * view[9] + view[11]
        w[u64(_FX) + i] = 2000.0 - (x * view[6] + y * view[7] + z * view[8])
        w[u64(_LIT) + i] = 0.0
    for t in range(4):
        right, down = ((t & 1) * 3 - 1.5) * spread, ((t >> 1) * 3 - 1.5) * spread
        for i in range(u64(n)):
            ix, iy = i32(w[u64(_U) + i] + right), i32(w[u64(_V) + i] + down)
            inside = (ix >= i32(0)) & (iy >= i32(0)) & (ix < side) & (iy < side)
            q[i] = i32(i32(iy * side) + ix) if inside else i32(-1)
        for i in range(u64(n)):
            w[u64(_FY) + i] = flat[u64(max(q[i], i32(0)))]
        for i in range(u64(n)):
            share = 1.0 - min(1.0, max(0.0, (w[u64(_FX) + i] - w[u64(_FY) + i] - 3.0) / 4.0))
            w[u64(_LIT) + i] += share if q[i] >= i32(0) else 1.0
    for i in range(u64(n)):
        nx, ny, nz, total = w[u64(_NX) + i], w[u64(_NY) + i], w[u64(_NZ) + i], w[u64(_LIT) + i]
        lit = 1.0
        if nx * lx + ny * ly + nz * lz > -0.35:
            lit = total / 4
            if total != 0.0 and total != 4.0:
                lit = _more_taps(w[u64(_U) + i], w[u64(_V) + i], w[u64(_FX) + i], shadow, spread, total)
        w[u64(_LIT) + i] = lit


@kernel
def _wet(w: np.ndarray, n: int, listed: np.ndarray, first: int, triangle: np.ndarray, material: np.ndarray) -> None:
    """Albedo and gloss of teeth and of the mouth's inside."""
    for i in range(u64(n)):
        teeth = material[triangle[listed[u64(first) + i] >> 1]] == s.TEETH
        for c in range(3):
            w[u64(_RED + c * PITCH) + i] = w[u64((s.ALBEDO + c) * PITCH) + i]
        w[u64(_GLOSS) + i] = 0.5 if teeth else 0.6
        deep = math.exp(-((w[u64(_RX) + i] / 24.0) ** 2))
        w[u64(_STUBBLE) + i] = (0.30 + 0.70 * deep) * (1.0 if teeth else 0.5)


@kernel
def _store(
    w: np.ndarray, n: int, listed: np.ndarray, first: int, width: int, owner: int, dim: bool, picture: np.ndarray,
    ids: np.ndarray,
) -> None:  # fmt: skip
    """Colours of a block into picture (H W, 3) and ids (H W,); an odd entry of the list fills 2 x 2."""
    for i in range(u64(n)):
        entry, share = listed[u64(first) + i], w[u64(_STUBBLE) + i] if dim else 1.0
        red, green, blue = w[u64(_OUT0) + i] * share, w[u64(_OUT1) + i] * share, w[u64(_OUT2) + i] * share
        for k in range(4 if entry & 1 else 1):
            place = (entry >> 1) + (k >> 1) * width + (k & 1)
            ids[place] = owner
            picture[place, 0], picture[place, 1], picture[place, 2] = red, green, blue


@kernel
def shade_samples(
    kind: int, listed: np.ndarray, triangle: np.ndarray, weight: np.ndarray, depth: np.ndarray, faces: np.ndarray,
    table: np.ndarray, material: np.ndarray, features: np.ndarray, noise: np.ndarray, p: np.ndarray, moles: np.ndarray,
    lamps: np.ndarray, ambient: np.ndarray, view: np.ndarray, shadow: np.ndarray, spread: float, focal_px: float,
    width: int, picture: np.ndarray, ids: np.ndarray,
) -> None:  # fmt: skip
    """Shade the samples of one kind (SKIN_LIST, else the mouth) of a raster, all flat; see shade_mesh."""
    w, q = np.zeros(_WORK), np.empty(2 * PITCH, np.int32)
    height = depth.shape[0] // width
    for first in range(0, listed.shape[0], BLOCK):
        n = min(BLOCK, listed.shape[0] - first)
        _mean_corners(listed, first, n, triangle, weight, depth, faces, table, width, height, focal_px, w)
        _key_light(w, q, n, lamps, view, shadow, spread)
        if kind == s.SKIN_LIST:
            _skin(w, q, n, features, noise, p, moles)
            _light(w, n, lamps, ambient, 0.30)
            _store(w, n, listed, first, width, s.ID_SKIN, False, picture, ids)
        else:
            _wet(w, n, listed, first, triangle, material)
            _light(w, n, lamps, ambient, 0.35)
            _store(w, n, listed, first, width, s.ID_MOUTH, True, picture, ids)


@kernel
def survey_samples(
    listed: np.ndarray, triangle: np.ndarray, weight: np.ndarray, depth: np.ndarray, faces: np.ndarray,
    table: np.ndarray, lamps: np.ndarray, view: np.ndarray, shadow: np.ndarray, spread: float, focal_px: float,
    width: int,
) -> np.ndarray:  # fmt: skip
    """(n, COLUMNS + 1) float64: the table's columns at the samples listed, and the key lamp's share."""
    w, q, out = np.zeros(_WORK), np.empty(PITCH, np.int32), np.empty((listed.shape[0], s.COLUMNS + 1))
    height = depth.shape[0] // width
    for first in range(0, listed.shape[0], BLOCK):
        n = min(BLOCK, listed.shape[0] - first)
        _mean_corners(listed, first, n, triangle, weight, depth, faces, table, width, height, focal_px, w)
        _key_light(w, q, n, lamps, view, shadow, spread)
        for k in range(s.COLUMNS):
            out[first : first + n, k] = w[k * PITCH : k * PITCH + n]
        out[first : first + n, s.COLUMNS] = w[_LIT : _LIT + n]
    return out


@kernel
def _albedo_at(table: np.ndarray, features: np.ndarray, noise: np.ndarray, p: np.ndarray) -> np.ndarray:
    out, w, moles = np.empty((table.shape[0], 3)), np.zeros(_WORK), np.empty((0, 3))
    q = np.empty(2 * PITCH, np.int32)
    for first in range(0, table.shape[0], BLOCK):
        n = min(BLOCK, table.shape[0] - first)
        for k in range(s.COLUMNS):
            w[k * PITCH : k * PITCH + n] = table[first : first + n, k]
        _skin(w, q, n, features, noise, p, moles)
        for c in range(3):
            out[first : first + n, c] = w[_RED + c * PITCH : _RED + c * PITCH + n]
    return out


def albedo_at(table: np.ndarray, features: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Albedo of the skin at vertices, without moles: table (n, s.COLUMNS) -> (n, 3) float64 linear RGB."""
    return _albedo_at(table, features, packed_noise(), p)
