"""Light on skin, teeth and mouth, a block of samples at a time (blocks.py); the rules of light: shading.py.

`light_blocks` lights cloth too, for cloth_shading.py.  Numba, one core.

Skin is Lambert with a wrap that differs by colour channel (light leaks round the terminator in red first, the cheap
form of subsurface scattering of Green 2004, GPU Gems chapter 16), a Blinn-Phong sheen with Schlick's Fresnel term,
ambient light from above and below with a baked occlusion, and the key lamp's shadow map. Pigment: pigment.py. Ours.
"""

# Types here are numba's: whole numbers of fixed width that Python's annotations cannot tell apart.
# mypy: disable-error-code="operator,call-overload,assignment,arg-type,return-value"

import math

import numpy as np

from faces.compiled import kernel
from faces.synthetic import shading as s
from faces.synthetic.blocks import BLOCK, BLUE, GLOSS, GREEN, LIT, OUT0, OUT1, OUT2, PITCH, RED, SHARE, empty_rows
from faces.synthetic.pigment import colour_blocks
from faces.synthetic.ramps import fade, step
from faces.synthetic.sampling import survey_blocks

u64 = np.uint64
_NX, _NY, _NZ = s.NORMAL * PITCH, (s.NORMAL + 1) * PITCH, (s.NORMAL + 2) * PITCH


@kernel
def _lamp(w: np.ndarray, n: int, lamps: np.ndarray, j: int, wraps: tuple[float, float, float, float]) -> None:
    """Add lamp j to a lit block. wraps: by channel, and how much more red there is where the light just grazes."""
    lx, ly, lz, soft = lamps[j, 0], lamps[j, 1], lamps[j, 2], lamps[j, 6]
    red, green, blue = lamps[j, 3], lamps[j, 4], lamps[j, 5]
    hx, hy, hz, key = lamps[j, 7], lamps[j, 8], lamps[j, 9], j == 0
    w0, w1, w2, glow = wraps
    for i in range(u64(n)):
        nx, ny, nz, o = w[u64(_NX) + i], w[u64(_NY) + i], w[u64(_NZ) + i], w[u64(s.OCCLUSION * PITCH) + i]
        grazing = 1 - max(0.0, nz)
        fresnel = 0.028 + 0.48 * grazing * grazing * grazing * grazing * grazing
        cosine = nx * lx + ny * ly + nz * lz
        lit = 0.15 + 0.85 * w[u64(LIT) + i] if key else 1.0
        reach = lit * (min(1.0, 0.15 + 0.95 * o) if key else min(1.0, 0.25 + 0.75 * o))
        d0, d1 = max(0.0, cosine * w0 + 1.0 - w0), max(0.0, cosine * w1 + 1.0 - w1)
        d2 = max(0.0, cosine * w2 + 1.0 - w2)
        d0, d1, d2 = d0 * (0.6 + 0.4 * d0), d1 * (0.6 + 0.4 * d1), d2 * (0.6 + 0.4 * d2)
        edge = max(0.0, 1.0 - 7.0 * cosine * cosine)
        d0 += glow * edge * edge
        a0, a1, a2 = w[u64(OUT0) + i], w[u64(OUT1) + i], w[u64(OUT2) + i]
        b0 = a0 + w[u64(RED) + i] * red * d0 * (reach * (1.45 - 0.45 * lit))
        b1 = a1 + w[u64(GREEN) + i] * green * d1 * reach
        b2 = a2 + w[u64(BLUE) + i] * blue * d2 * reach
        half = nx * hx + ny * hy + nz * hz
        broad = fade((1 - half) * (14 - 6 * soft)) * 1.6
        sharp = fade((1 - half) * (60 - 34 * soft)) * 3.0
        sheen = w[u64(GLOSS) + i] * fresnel * (broad + sharp) * reach * step(-0.1, 0.25, cosine)
        glossy, seen = (half > 0.6) & (cosine > -0.1), cosine >= -0.4
        b0, b1 = b0 + red * sheen if glossy else b0, b1 + green * sheen if glossy else b1
        b2 = b2 + blue * sheen if glossy else b2
        w[u64(OUT0) + i], w[u64(OUT1) + i] = b0 if seen else a0, b1 if seen else a1
        w[u64(OUT2) + i] = b2 if seen else a2


@kernel
def _light(w: np.ndarray, n: int, lamps: np.ndarray, ambient: np.ndarray, wrap_red: float) -> None:
    """Light a block: albedo, gloss, normal and occlusion -> the three columns from OUT0 on."""
    above, below = ambient[0], ambient[1]
    r0, g0, b0, r1, g1, b1 = above[0], above[1], above[2], below[0], below[1], below[2]
    for i in range(u64(n)):
        up, o = 0.5 + 0.5 * w[u64(_NY) + i], w[u64(s.OCCLUSION * PITCH) + i]
        deep = o * math.sqrt(math.sqrt(max(o, 0.0)))
        w[u64(OUT0) + i] = w[u64(RED) + i] * o * (r0 * up + r1 * (1 - up))
        w[u64(OUT1) + i] = w[u64(GREEN) + i] * deep * (g0 * up + g1 * (1 - up))
        w[u64(OUT2) + i] = w[u64(BLUE) + i] * deep * (b0 * up + b1 * (1 - up))
    wraps = (1 / (1.06 + wrap_red), 1 / (1.06 + 0.4 * wrap_red), 1 / (1.06 + 0.25 * wrap_red), 0.14 * wrap_red)
    for j in range(lamps.shape[0]):
        _lamp(w, n, lamps, j, wraps)


@kernel
def light_blocks(
    listed: np.ndarray, rows: np.ndarray, lamps: np.ndarray, ambient: np.ndarray, wrap_red: float, owner: int,
    width: int, picture: np.ndarray, ids: np.ndarray,
) -> None:  # fmt: skip
    """Light the rows of the samples listed, into picture (H W, 3) and ids (H W,); an odd entry fills 2 x 2."""
    for first in range(0, listed.shape[0], BLOCK):
        n, row = min(BLOCK, listed.shape[0] - first), rows[first // BLOCK]
        _light(row, n, lamps, ambient, wrap_red)
        for i in range(u64(n)):
            entry, share = listed[u64(first) + i], row[u64(SHARE) + i]
            red, green, blue = row[u64(OUT0) + i] * share, row[u64(OUT1) + i] * share, row[u64(OUT2) + i] * share
            for k in range(4 if entry & 1 else 1):
                place = (entry >> 1) + (k >> 1) * width + (k & 1)
                ids[place] = owner
                picture[place, 0], picture[place, 1], picture[place, 2] = red, green, blue


#: Kind of samples -> wrap of red light round the terminator, and owner.
_KINDS = {s.SKIN_LIST: (0.30, s.ID_SKIN), s.WET_LIST: (0.35, s.ID_MOUTH)}
#: Samples that go through the stages together: few enough that their rows stay in the cache.
TOGETHER = 16 * BLOCK


def shade_samples(
    kind: int, listed: np.ndarray, triangle: np.ndarray, weight: np.ndarray, depth: np.ndarray, faces: np.ndarray,
    table: np.ndarray, material: np.ndarray, features: np.ndarray, noise: np.ndarray, p: np.ndarray, moles: np.ndarray,
    lamps: np.ndarray, ambient: np.ndarray, view: np.ndarray, shadow: np.ndarray, spread: float, focal_px: float,
    width: int, picture: np.ndarray, ids: np.ndarray,
) -> None:  # fmt: skip
    """Shade the samples of one kind (SKIN_LIST, WET_LIST) of a raster, all flat; see shade_mesh."""
    wrap_red, owner = _KINDS[kind]
    rows = empty_rows(min(len(listed), TOGETHER))
    for first in range(0, len(listed), TOGETHER):
        part = listed[first : first + TOGETHER]
        survey_blocks(
            part, triangle, weight, depth, faces, table, lamps, view, shadow, spread, focal_px, width, rows
        )  # fmt: skip
        colour_blocks(kind, part, triangle, material, features, noise, p, moles, focal_px, rows)
        light_blocks(part, rows, lamps, ambient, wrap_red, owner, width, picture, ids)
