"""What a photograph is worth before any model sees it: sharpness, pose from landmarks, a hash of how it looks.

All three are ours and cheap (under 2 ms a picture of 1024 px). The limits that decide over a photograph are settings of
the plan (assets/plan.py); here are only the measures.
"""

from functools import lru_cache

import cv2
import numpy as np

from faces.camera import Camera
from faces.fitting.landmarks import angles_of, start_pose

#: Width at which sharpness is measured, px: what training sees, not what the camera could.
SHARPNESS_PX = 128
#: Bits of the hash: signs of 16 x 16 low frequencies of a picture of 64 px.
HASH_SIDE, HASH_PX = 16, 64
HASH_BYTES = HASH_SIDE * HASH_SIDE // 8
#: Pictures whose hashes differ in at most so many of 256 bits are the same photograph. Re-encoding, resizing,
#: noise and brightness change 0-12 bits; 160 different pictures of 40 generated people differ in 48 and more.
SAME_BITS = 20


def grey_of(image: np.ndarray, size_px: int) -> np.ndarray:
    """(H, W, 3) uint8 sRGB -> (size_px, size_px) float32 luma 0..255, by area averages; never enlarged first."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    if grey.shape != (size_px, size_px):
        way = cv2.INTER_AREA if size_px <= min(grey.shape) else cv2.INTER_LINEAR
        grey = cv2.resize(grey, (size_px, size_px), interpolation=way)
    return grey.astype(np.float32)


def sharpness(image: np.ndarray) -> float:
    """Share of the contrast that is fine detail: deviation of the Laplacian over deviation of the luma, middle of the
    picture, at SHARPNESS_PX (or the picture's own width when smaller). Generated people: 0.43-1.9; the same
    under a Gaussian of 5 % of the width: 0.03-0.16; 0 for an even picture. (H, W, 3) uint8 sRGB."""
    grey = grey_of(image, min(SHARPNESS_PX, *image.shape[:2]))
    edge = len(grey) // 5
    middle = grey[edge:-edge, edge:-edge]
    contrast = float(middle.std())
    return float(cv2.Laplacian(grey, cv2.CV_32F)[edge:-edge, edge:-edge].std()) / contrast if contrast > 1e-3 else 0.0


def picture_hash(image: np.ndarray) -> bytes:
    """HASH_BYTES bytes: the signs of a picture's low frequencies against their median (the perceptual hash of
    Zauner 2010, with 256 bits because aligned faces share the lowest ones). (H, W, 3) uint8 sRGB."""
    low = cv2.dct(grey_of(image, HASH_PX))[:HASH_SIDE, :HASH_SIDE].ravel()
    bits = low > np.median(low[1:])
    bits[0] = False  # the mean: brightness is no content
    return np.packbits(bits).tobytes()


def same_pictures(hashes: list[bytes], most_bits: int = SAME_BITS) -> dict[int, int]:
    """Position of a repeated picture -> position of the first that looks the same. `hashes` in the order of the keys.

    Compares everything with everything, 256 bits as four words: 70,000 pictures take about half a minute.
    """
    if not hashes:
        return {}
    words = np.frombuffer(b"".join(hashes), np.uint64).reshape(len(hashes), -1)
    first_of: dict[int, int] = {}
    for start in range(0, len(words), 256):
        block = words[start : start + 256]
        distance = np.zeros((len(block), min(start + 256, len(words))), np.uint16)
        for word in range(words.shape[1]):
            distance += np.bitwise_count(block[:, word, None] ^ words[None, : distance.shape[1], word])
        rows, columns = np.nonzero(distance <= most_bits)
        for row, column in zip(rows + start, columns, strict=True):
            if column < row and column not in first_of:
                first_of.setdefault(int(row), int(column))
    return first_of


@lru_cache(maxsize=1)
def _mean_points_mm() -> np.ndarray:
    from faces.morphable.registry import load_head

    head = load_head("builtin")
    return head.mean_mm[head.landmarks][17:].astype(np.float64)


def pose_degrees(landmarks_px: np.ndarray, size_px: int) -> np.ndarray:
    """(N, 68, 2) landmarks in our pixels -> (N, 3) float64 pitch, yaw, roll of faces/camera.py, degrees.

    Weak perspective on the built-in head's mean landmarks without the jaw: right to about 5 degrees.
    """
    rotation, _ = start_pose(_mean_points_mm(), np.asarray(landmarks_px, np.float64)[:, 17:], Camera.centred(size_px))
    return np.degrees(angles_of(rotation))
