"""Colour and gloss of skin, teeth and mouth, a block of samples at a time (blocks.py). Numba, one core. Ours."""

# Types here are numba's: whole numbers of fixed width that Python's annotations cannot tell apart.
# mypy: disable-error-code="operator,call-overload,assignment,arg-type,return-value"

import math

import numpy as np

from faces.compiled import kernel
from faces.synthetic import shading as s
from faces.synthetic.blocks import BLOCK, BLUE, DEPTH, GLOSS, GREEN, OUT0, PITCH, RED, ROW, SHARE
from faces.synthetic.noise import NOISE_UNIT, packed_noise
from faces.synthetic.ramps import fade, step
from faces.synthetic.skin import HAEMOGLOBIN, MELANIN

i32, i64, u64 = np.int32, np.int64, np.uint64
# Columns of a block at work: its row, then the features, then these.
_FEATURES = ROW
(
    _CLOUDS, _BLOTCH, _PORES, _SPOTS, _FINE, _STROKES, _MELANIN, _BLOOD, _LIPS, _STUBBLE, _SCALP, _U, _V, _FX, _FY,
) = range(_FEATURES + s.N_FEATURES * PITCH, _FEATURES + (s.N_FEATURES + 15) * PITCH, PITCH)  # fmt: skip
_WORK = _FEATURES + (s.N_FEATURES + 15) * PITCH
_RX, _RY, _RZ = s.REST * PITCH, (s.REST + 1) * PITCH, (s.REST + 2) * PITCH


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
    blotchy, shade, lines = 0.03 + 0.05 * p[s.P_BLOTCH], 0.20 * p[s.P_SHADE], 0.30 * p[s.P_LINES]
    ruddy, patchy, tired = 0.40 * p[s.P_RUDDY], 0.025 + 0.06 * p[s.P_BLOTCH], 0.05 * p[s.P_SHADE]
    freckled, spotted = p[s.P_FRECKLES] > 0, 0.55 * p[s.P_FRECKLES]
    dark_lip, red_lip, shadowed = 0.16 + 0.14 * p[s.P_LIP], 0.34 + 0.20 * p[s.P_LIP], p[s.P_EYESHADOW] * 0.75
    for i in range(u64(n)):
        of_shade, clouds = w[u64(_FEATURES + s.SHADE * PITCH) + i], w[u64(_CLOUDS) + i]
        melanin = blotchy * clouds + 0.045 * w[u64(_PORES) + i] + shade * of_shade
        melanin = melanin + lines * w[u64(_FEATURES + s.LINES * PITCH) + i]
        blood = ruddy * w[u64(_FEATURES + s.RUDDY * PITCH) + i] + patchy * w[u64(_BLOTCH) + i] + tired * of_shade
        spots = w[u64(_SPOTS) + i] + 0.35 * clouds
        more = melanin + spotted * w[u64(_FEATURES + s.FRECKLE * PITCH) + i] * step(1.1, 2.0, spots)
        w[u64(_MELANIN) + i] = more if freckled else melanin
        w[u64(_BLOOD) + i] = blood
    for m in range(moles.shape[0]):
        mx, my, radius = moles[m, 0], moles[m, 1], moles[m, 2]
        for i in range(u64(n)):
            dx, dy, melanin = w[u64(_RX) + i] - mx, w[u64(_RY) + i] - my, w[u64(_MELANIN) + i]
            away = dx * dx + dy * dy
            more = melanin + 0.9 * step(radius + 0.5, radius - 0.3, math.sqrt(away))
            w[u64(_MELANIN) + i] = more if (away < 9.0) & (w[u64(_RZ) + i] > -40.0) else melanin
    for i in range(u64(n)):
        lip = step(-0.7, 0.9, w[u64(_FEATURES + s.LIP * PITCH) + i])
        melanin = w[u64(_MELANIN) + i] + lip * (dark_lip + 0.04 * w[u64(_BLOTCH) + i])
        w[u64(_MELANIN) + i] = melanin + shadowed * w[u64(_FEATURES + s.SHADOW_LID * PITCH) + i]
        w[u64(_BLOOD) + i] = w[u64(_BLOOD) + i] + lip * red_lip
        w[u64(_LIPS) + i] = lip


@kernel
def _covers(w: np.ndarray, n: int, p: np.ndarray) -> None:
    """What lies on the skin: shares of stubble and of the scalp's hair in the colour, and the gloss."""
    stubbly, haired = p[s.P_STUBBLE], p[s.P_SCALP]
    shine, painted = 0.30 + 0.66 * p[s.P_GLOSS], 0.55 + 0.5 * p[s.P_LIPSTICK]
    for i in range(u64(n)):
        lip, grain, at = w[u64(_LIPS) + i], w[u64(_STROKES) + i], w[u64(s.SCALP_MM * PITCH) + i]
        thin = stubbly * w[u64(_FEATURES + s.BEARD * PITCH) + i] * (1 - lip)
        stubble = thin * (0.75 + 0.25 * w[u64(_FINE) + i]) if thin > 0.005 else thin
        scalp = haired * step(-2.5, 6.0, at + 2.2 * grain + 2.0 * w[u64(_CLOUDS) + i])
        scalp = scalp if (at > -14.0) & (haired > 0) else 0.0
        gloss = shine * (0.35 + 0.65 * w[u64(_FEATURES + s.OIL * PITCH) + i])
        gloss = gloss * (1 + 0.4 * w[u64(_PORES) + i] + 0.2 * w[u64(_BLOTCH) + i]) * (1 - lip) + lip * painted
        w[u64(GLOSS) + i] = max(0.0, gloss * (1 - scalp) * (1 - 0.6 * min(1.0, stubble)))
        w[u64(_STUBBLE) + i] = min(0.85, max(0.0, stubble)) if thin > 0.005 else 0.0
        w[u64(_SCALP) + i] = scalp


@kernel
def _paint(w: np.ndarray, n: int, p: np.ndarray, c: int, melanin_share: float, blood_share: float) -> None:
    """Channel c of the skin's albedo from pigment and what lies on it."""
    rouge, lined, browed = p[s.P_LIPSTICK], p[s.P_LINER], 0.26 * p[s.P_BROW]
    lipstick, brow, hair = p[s.P_LIPSTICK_RGB + c], p[s.P_BROW_RGB + c], p[s.P_HAIR_RGB + c]
    base, out = u64((s.ALBEDO + c) * PITCH), u64(RED + c * PITCH)
    for i in range(u64(n)):
        absorb = melanin_share * w[u64(_MELANIN) + i] + blood_share * w[u64(_BLOOD) + i]
        colour = w[base + i] * fade(absorb)
        colour += w[u64(_LIPS) + i] * rouge * (lipstick - colour)
        colour *= 1.0 - 0.8 * (lined * step(1.1, 0.1, w[u64(_FEATURES + s.LID * PITCH) + i]))
        colour += w[u64(_STUBBLE) + i] * (0.6 * brow + 0.25 * colour - colour)
        colour += w[u64(_SCALP) + i] * (hair * (0.8 + 0.2 * w[u64(_STROKES) + i]) - colour)
        colour += browed * step(0.0, 1.0, w[u64(_FEATURES + s.BROW * PITCH) + i]) * (brow - colour)
        w[out + i] = colour


@kernel
def _fine_detail(w: np.ndarray, q: np.ndarray, n: int, noise: np.ndarray, focal_px: float) -> None:
    """Small blotches from 1.2 samples a millimetre on, pores from 2.5: on a coarser raster they would be speckles."""
    densest = 0.0
    for i in range(u64(n)):
        densest = max(densest, focal_px / w[u64(DEPTH) + i])
        w[u64(_PORES) + i] = 0.0
    if densest > 1.2:
        _noise(w, q, n, noise[1], 2.3, 2.3, _SPOTS)
        for i in range(u64(n)):
            per_mm = focal_px / w[u64(DEPTH) + i]
            w[u64(_BLOTCH) + i] += 0.35 * (step(1.2, 2.2, per_mm) + step(2.5, 5.0, per_mm)) * w[u64(_SPOTS) + i]
    if densest > 2.5:
        _noise(w, q, n, noise[2], 3.1, 3.1, _PORES)
        for i in range(u64(n)):
            w[u64(_PORES) + i] *= step(2.5, 5.0, focal_px / w[u64(DEPTH) + i])
            w[u64(_BLOTCH) + i] += 0.25 * w[u64(_PORES) + i]


@kernel
def _skin(
    w: np.ndarray, q: np.ndarray, n: int, features: np.ndarray, noise: np.ndarray, p: np.ndarray, moles: np.ndarray,
    focal_px: float,
) -> None:  # fmt: skip
    """Albedo and gloss of a block of skin. q (2 PITCH,) int32: working memory.

    focal_px: focal length in samples, which tells how fine the raster is; 0 leaves what is fine away.
    """
    _features(w, q, q[PITCH:], n, features, p)
    near_hair = False
    for i in range(u64(n)):
        w[u64(_U) + i] = w[u64(s.UV * PITCH) + i] * 512.0 + p[s.P_NOISE_U]
        w[u64(_V) + i] = w[u64((s.UV + 1) * PITCH) + i] * 512.0 + p[s.P_NOISE_V]
        near_hair = near_hair | (w[u64(s.SCALP_MM * PITCH) + i] > -14.0)
    _noise(w, q, n, noise[0], 1.7, 1.7, _CLOUDS)
    _noise(w, q, n, noise[1], 0.9, 0.9, _BLOTCH)
    _fine_detail(w, q, n, noise, focal_px)
    if p[s.P_FRECKLES] > 0:
        _noise(w, q, n, noise[1], 5.3, 5.3, _SPOTS)
    if p[s.P_STUBBLE] > 0:
        _noise(w, q, n, noise[3], 3.7, 3.7, _FINE)
    if near_hair and p[s.P_SCALP] > 0:
        _noise(w, q, n, noise[4], 4.0, 4.0, _STROKES)
    _pigment(w, n, p, moles)
    _covers(w, n, p)
    for c in range(3):
        _paint(w, n, p, c, MELANIN[c], HAEMOGLOBIN[c])


@kernel
def _wet(w: np.ndarray, n: int, listed: np.ndarray, first: int, triangle: np.ndarray, material: np.ndarray) -> None:
    """Albedo and gloss of teeth and of the mouth's inside, and how little light gets so deep.

    Between teeth the head's albedo has hard dark lines; a mean with the front tooth's colour softens them.
    """
    for i in range(u64(n)):
        teeth = material[triangle[listed[u64(first) + i] >> 1]] == s.TEETH
        red, green, blue = (
            w[u64(s.ALBEDO * PITCH) + i], w[u64((s.ALBEDO + 1) * PITCH) + i], w[u64((s.ALBEDO + 2) * PITCH) + i]
        )  # fmt: skip
        soft = 0.45 * step(0.5, 0.85, green / (red + 1e-6)) if teeth else 0.0
        w[u64(RED) + i], w[u64(GREEN) + i] = max(0.09, red + soft * (0.55 - red)), green + soft * (0.49 - green)
        w[u64(BLUE) + i] = blue + soft * (0.40 - blue)
        behind, aside = max(0.0, 23.0 - w[u64(_RZ) + i]), w[u64(_RX) + i] / 22.0
        fall = behind / (12.0 if teeth else 19.0) + 0.6 * min(1.0, aside * aside)
        w[u64(GLOSS) + i] = 0.5
        w[u64(SHARE) + i] = math.exp(-fall) if teeth else 0.1 + 0.7 * math.exp(-fall)


@kernel
def colour_blocks(
    kind: int, listed: np.ndarray, triangle: np.ndarray, material: np.ndarray, features: np.ndarray, noise: np.ndarray,
    p: np.ndarray, moles: np.ndarray, focal_px: float, rows: np.ndarray,
) -> None:  # fmt: skip
    """Fill albedo, gloss and share of light in the rows of the samples listed, from what survey_blocks put there."""
    w, q = np.zeros(_WORK), np.empty(2 * PITCH, np.int32)
    for first in range(0, listed.shape[0], BLOCK):
        n, row = min(BLOCK, listed.shape[0] - first), rows[first // BLOCK]
        w[:RED] = row[:RED]
        w[SHARE : SHARE + n] = 1.0
        if kind == s.SKIN_LIST:
            _skin(w, q, n, features, noise, p, moles, focal_px)
        else:
            _wet(w, n, listed, first, triangle, material)
        row[RED:OUT0] = w[RED:OUT0]


@kernel
def _albedo_at(table: np.ndarray, features: np.ndarray, noise: np.ndarray, p: np.ndarray) -> np.ndarray:
    out, w, moles = np.empty((table.shape[0], 3)), np.zeros(_WORK), np.empty((0, 3))
    q = np.empty(2 * PITCH, np.int32)
    for first in range(0, table.shape[0], BLOCK):
        n = min(BLOCK, table.shape[0] - first)
        for k in range(s.COLUMNS):
            w[k * PITCH : k * PITCH + n] = table[first : first + n, k]
        w[DEPTH : DEPTH + n] = 1.0
        _skin(w, q, n, features, noise, p, moles, 0.0)
        for c in range(3):
            out[first : first + n, c] = w[RED + c * PITCH : RED + c * PITCH + n]
    return out


def albedo_at(table: np.ndarray, features: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Albedo of the skin at vertices, without moles: table (n, s.COLUMNS) -> (n, 3) float64 linear RGB."""
    return _albedo_at(table, features, packed_noise(), p)
