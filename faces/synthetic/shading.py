"""What the samples of the raster are: their columns, kinds and owners, lists of them by kind; and how eyes are shaded.

Skin, teeth and mouth are shaded by skin_shading.py, cloth by cloth_shading.py. Numba, one core. Ours.
"""

import math

import numpy as np

from faces.compiled import kernel
from faces.synthetic.noise import NOISE_UNIT
from faces.synthetic.ramps import step

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
    P_NECKLINE, P_COLLAR, P_BROW_RGB, P_EYE_AXIS_R, P_EYE_AXIS_L, P_SCLERA, P_NECK_ROUND,
) = (
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 18, 21, 24, 27, 28, 29, 30, 31, 34, 37, 40, 41,
)  # fmt: skip
N_PARAMETERS = 42
# Kinds of samples by how they are shaded.
SKIN_LIST, CLOTH_LIST, WET_LIST, EYE_LIST = range(4)


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
def _eyeball(a: np.ndarray, side: int, noise: np.ndarray, p: np.ndarray, rgb: np.ndarray) -> float:
    """Albedo of white, iris and pupil into rgb (3,); returns the distance from the pupil's centre, mm."""
    x, y, z = a[REST], a[REST + 1], a[REST + 2]
    r = math.sqrt(x * x + y * y + z * z) + 1e-6
    x, y, z = x / r, y / r, z / r
    ring = math.acos(max(-1.0, min(1.0, z))) * 12.2
    angle = math.atan2(y, x)
    iris, pupil = 5.85, p[P_PUPIL]
    veins = max(0.0, _noise(noise, 0, x * 260 + 90, y * 260 + 70 * side))
    inner = step(7.0, 11.5, ring)
    rgb[0] = p[P_SCLERA] * (1.0 - 0.05 * inner)
    rgb[1] = p[P_SCLERA] * (0.925 - 0.20 * inner - 0.035 * veins)
    rgb[2] = p[P_SCLERA] * (0.885 - 0.22 * inner - 0.035 * veins)
    t = min(1.0, ring / iris)
    fibre = (
        _noise(noise, 4, angle * 82.0 + 31 * side, t * 40.0) * 0.22 + _noise(noise, 2, angle * 30.0, t * 60.0) * 0.10
    )
    mix = step(0.85, 0.38, t + 0.12 * fibre)
    limb = 1.0 - (0.52 + 0.4 * p[P_LIMBAL]) * step(0.70, 1.0, t)
    shade = (1.0 + fibre) * limb
    in_iris = step(iris + 0.45, iris - 0.35, ring)
    in_pupil = step(pupil + 0.3, pupil - 0.25, ring)
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
    bend = 1.0 + 0.56 * step(6.45, 5.05, ring)
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
        spot = step(width, 0.45 * width, 1.0 - half) * (0.3 + 0.6 * lit if j == 0 else 0.2)
        for c in range(3):
            out[c] += lamps[j, 3 + c] * (cosine * (rgb[c] + 0.006) + spot)
    for c in range(3):
        out[c] *= a[OCCLUSION]


@kernel
def neckline(x: float, z: float, depth: float, height: float, rounded: float) -> float:
    """Height y (mm, mean head) below which there is cloth: `height` at the sides, `depth` lower in front.

    rounded: 0 for a V, 1 for a round opening.
    """
    away = min(1.0, abs(x) / 62.0)
    front = step(-95.0, -45.0, z) * (1.0 - away) * (1.0 + rounded * away)
    return height - depth * front


@kernel
def _kind(
    t: int, place: int, weight: np.ndarray, faces: np.ndarray, table: np.ndarray, material: np.ndarray, p: np.ndarray
) -> int:
    """The list that a sample belongs to."""
    of = material[t]
    if of in (EYE_RIGHT, EYE_LEFT):
        return EYE_LIST
    if of in (TEETH, CAVITY):
        return WET_LIST
    if of == CLOTH:
        return CLOTH_LIST
    a, b, c = faces[t, 0], faces[t, 1], faces[t, 2]
    w0, w1, w2 = weight[place, 0], weight[place, 1], weight[place, 2]
    y = w0 * table[a, REST + 1] + w1 * table[b, REST + 1] + w2 * table[c, REST + 1]
    if y >= -95.0:
        return SKIN_LIST
    x = w0 * table[a, REST] + w1 * table[b, REST] + w2 * table[c, REST]
    z = w0 * table[a, REST + 2] + w1 * table[b, REST + 2] + w2 * table[c, REST + 2]
    top = neckline(float(x), float(z), p[P_NECKLINE], p[P_COLLAR], p[P_NECK_ROUND])
    return CLOTH_LIST if float(y) < top else SKIN_LIST


@kernel
def list_samples(
    triangle: np.ndarray, depth: np.ndarray, weight: np.ndarray, faces: np.ndarray, table: np.ndarray,
    material: np.ndarray, fine: np.ndarray, p: np.ndarray, width: int, lists: np.ndarray, count: np.ndarray,
) -> None:  # fmt: skip
    """Samples to shade by kind: row k of lists (4, H W) int32 gets count[k] entries, (sample << 1) | whole.

    A block of 2 x 2 samples of one plain material is shaded once (whole); edges and fine parts (eyes, lips) sample by
    sample. All arrays of the raster are flat.
    """
    for top in range(0, triangle.shape[0], 2 * width):
        for first in range(top, top + width, 2):
            t0 = triangle[first]
            plain = t0 >= 0
            for q in range(4):
                place = first + (q >> 1) * width + (q & 1)
                t = triangle[place]
                if (
                    t < 0
                    or not plain
                    or fine[t]
                    or material[t] != material[t0]
                    or abs(depth[place] - depth[first]) > 5.0
                ):
                    plain = False
            for q in range(1 if plain else 4):
                place = first + (q >> 1) * width + (q & 1)
                t = triangle[place]
                if t >= 0:
                    k = _kind(t, place, weight, faces, table, material, p)
                    lists[k, count[k]] = (place << 1) | (1 if plain else 0)
                    count[k] += 1


@kernel
def shade_eyes(
    listed: np.ndarray, rows: np.ndarray, triangle: np.ndarray, material: np.ndarray, noise: np.ndarray,
    p: np.ndarray, lamps: np.ndarray, ambient: np.ndarray, width: int, picture: np.ndarray, ids: np.ndarray,
) -> None:  # fmt: skip
    """Shade eyeballs: rows (n, COLUMNS + 1), the table's columns and the key lamp's share at the samples listed."""
    rgb, out = np.empty(3, np.float64), np.empty(3, np.float64)
    for i in range(listed.shape[0]):
        entry = listed[i]
        side = 0 if material[triangle[entry >> 1]] == EYE_RIGHT else 1
        _eye(rows[i], side, noise, p, rows[i, COLUMNS], lamps, ambient, rgb, out)
        for k in range(4 if entry & 1 else 1):
            place = (entry >> 1) + (k >> 1) * width + (k & 1)
            ids[place] = ID_EYE
            for c in range(3):
                picture[place, c] = out[c]
