"""What a camera does to light: averaging of samples, blur, sRGB with a soft shoulder, grain and JPEG. Ours."""

import math
from functools import lru_cache

import cv2
import numpy as np

from faces.compiled import kernel
from faces.render.shading import to_srgb
from faces.synthetic.noise import film_grain
from faces.synthetic.scene import Scene
from faces.synthetic.shading import ID_EYE, ID_FACE_HAIR, ID_GLASSES, ID_HAIR, ID_MOUTH, ID_OCCLUDER, ID_SKIN

#: Above this linear value highlights are compressed; below it the picture is exactly sRGB.
SHOULDER = 0.72


@lru_cache(maxsize=1)
def _curve() -> np.ndarray:
    """(8193,) float32: sRGB of linear 0..4 in equal steps of the square root, with the shoulder."""
    linear = np.linspace(0.0, 2.0, 8193) ** 2
    excess = np.maximum(linear - SHOULDER, 0.0)
    room = 1.0 - SHOULDER
    return to_srgb(np.minimum(linear, SHOULDER) + room * (1.0 - np.exp(-excess / room))).astype(np.float32)


@kernel
def _expose(
    linear: np.ndarray, curve: np.ndarray, grain: np.ndarray, row: int, column: int, strength: float, out: np.ndarray
) -> None:
    """Linear light (H, W, 3) -> out (H, W, 3) uint8 by the curve, with grain (512, 512, 3) from a place of the film."""
    height, width, _ = linear.shape
    count, turn = 3 * width, 3 * grain.shape[1]
    place, index, film = np.empty(count), np.empty(count, np.int32), np.empty(count, np.float32)
    low, high = np.empty((2, count), np.float32)
    for y in range(height):
        light, line, reel = linear[y].reshape(-1), out[y].reshape(-1), grain[(y + row) & 511].reshape(-1)
        done = 0
        while done < count:
            start = (done + 3 * column) % turn
            more = min(turn - start, count - done)
            film[done : done + more] = reel[start : start + more]
            done += more
        for j in range(np.uint64(count)):
            place[j] = math.sqrt(min(max(light[j], 0.0), 3.99)) * 4096.0
            index[j] = np.int32(place[j])
        for j in range(np.uint64(count)):
            i = np.uint64(index[j])
            low[j], high[j] = curve[i], curve[i + np.uint64(1)]
        for j in range(np.uint64(count)):
            value = low[j] + (place[j] - index[j]) * (high[j] - low[j])
            value += strength * film[j] * (1.15 - 0.6 * value)
            line[j] = np.int32(min(max(value, 0.0), 1.0) * 255.0 + 0.5)


def reduce(samples: np.ndarray, size_px: int) -> np.ndarray:
    """(k S, k S[, C]) -> (S, S[, C]) by averaging k x k blocks, float32."""
    return cv2.resize(np.ascontiguousarray(samples, np.float32), (size_px, size_px), interpolation=cv2.INTER_AREA)


def develop(linear: np.ndarray, scene: Scene) -> np.ndarray:
    """(S, S, 3) linear light -> (S, S, 3) uint8 sRGB with the scene's blur, grain and JPEG."""
    size_px = len(linear)
    blur_px = scene.blur_px * size_px / 256
    if blur_px > 0.15:
        linear = cv2.GaussianBlur(linear, (0, 0), blur_px)
    row, column = divmod(scene.seed + 86_028_157 * scene.frame, 512)
    pixels = np.empty(linear.shape, np.uint8)
    light = np.ascontiguousarray(linear, np.float32)
    _expose(light, _curve(), film_grain(), row & 511, column, scene.noise, pixels)
    if scene.jpeg_quality:
        flags = [cv2.IMWRITE_JPEG_QUALITY, scene.jpeg_quality]
        flags += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
        _, data = cv2.imencode(".jpg", pixels[..., ::-1], flags)
        pixels = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))[..., ::-1]
    return np.ascontiguousarray(pixels)


@kernel
def coverage(ids: np.ndarray, triangle: np.ndarray, face: np.ndarray, samples: int) -> np.ndarray:
    """Shares of every pixel: (4, S, S) float32 of the visible face, scalp hair, things before the face, own skin.

    ids, triangle: (k S, k S) of the samples, k = `samples`.  face: (T,) bool triangles of the face region.
    """
    side, wide = ids.shape[0] // samples, ids.shape[1]
    out, counts = np.empty((4, side, side), np.float32), np.empty((4, wide), np.int32)
    inside = np.empty(wide, np.bool_)
    part = np.float32(1.0 / (samples * samples))
    visible, hair, before, skin = counts[0], counts[1], counts[2], counts[3]
    for row in range(np.uint64(side)):
        counts[:] = 0
        for y in range(row * np.uint64(samples), (row + np.uint64(1)) * np.uint64(samples)):
            owners, shown = ids[y], triangle[y]
            for x in range(np.uint64(wide)):
                inside[x] = face[np.uint64(max(shown[x], 0))]
            for x in range(np.uint64(wide)):
                owner = owners[x]
                own = (owner == ID_SKIN) | (owner == ID_EYE) | (owner == ID_MOUTH) | (owner == ID_FACE_HAIR)
                visible[x] += np.int32(own & (shown[x] >= 0) & inside[x])
                hair[x] += np.int32(owner == ID_HAIR)
                before[x] += np.int32((owner == ID_GLASSES) | (owner == ID_OCCLUDER))
                skin[x] += np.int32(own)
        for kind in range(4):
            for column in range(np.uint64(side)):
                total = np.int32(0)
                for x in range(column * np.uint64(samples), (column + np.uint64(1)) * np.uint64(samples)):
                    total += counts[kind, x]
                out[kind, row, column] = part * np.float32(total)
    return out
