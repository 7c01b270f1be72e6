"""What a camera does to light: averaging of samples, blur, sRGB with a soft shoulder, grain and JPEG. Ours."""

import cv2
import numpy as np

from faces.render.shading import to_srgb
from faces.synthetic.scene import Scene

#: Above this linear value highlights are compressed; below it the picture is exactly sRGB.
SHOULDER = 0.72


def shoulder(linear: np.ndarray) -> np.ndarray:
    """Linear light >= 0 -> 0..1: the identity up to SHOULDER, then a smooth approach to 1."""
    room = 1.0 - SHOULDER
    excess = np.maximum(linear - SHOULDER, 0.0)
    return np.minimum(linear, SHOULDER) + room * (1.0 - np.exp(-excess / room))


def reduce(samples: np.ndarray, size_px: int) -> np.ndarray:
    """(k S, k S[, C]) -> (S, S[, C]) by averaging k x k blocks, float32."""
    return cv2.resize(np.ascontiguousarray(samples, np.float32), (size_px, size_px), interpolation=cv2.INTER_AREA)


def develop(linear: np.ndarray, scene: Scene) -> np.ndarray:
    """(S, S, 3) linear light -> (S, S, 3) uint8 sRGB with the scene's blur, grain and JPEG."""
    size_px = len(linear)
    blur_px = scene.blur_px * size_px / 256
    if blur_px > 0.15:
        linear = cv2.GaussianBlur(linear, (0, 0), blur_px)
    picture = to_srgb(shoulder(linear))
    rng = np.random.Generator(np.random.PCG64(scene.seed ^ 0x0F11))
    grain = rng.standard_normal((size_px, size_px, 1), dtype=np.float32)
    tint = rng.standard_normal((size_px, size_px, 3), dtype=np.float32)
    grain = cv2.GaussianBlur(0.8 * grain + 0.45 * tint, (0, 0), 0.5) * 1.7
    picture = picture + scene.noise * grain * (1.15 - 0.6 * picture)
    pixels = (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)
    if scene.jpeg_quality:
        _, data = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, scene.jpeg_quality])
        pixels = cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]
    return np.ascontiguousarray(pixels)
