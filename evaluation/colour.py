"""Colour for measuring: sRGB and linear RGB to CIE L*a*b* (D65, 2 degrees) and two colour differences.

L* is 0..100; a* and b* about -128..127. A difference of 1 is about what an eye can just tell apart side by side.
"""

import numpy as np

from faces.compiled import kernel

#: Linear sRGB primaries to XYZ, D65 (IEC 61966-2-1), and the white point.
RGB_TO_XYZ = np.array([[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]])
WHITE_D65 = np.array([0.95047, 1.0, 1.08883])


def srgb_to_linear(srgb: np.ndarray) -> np.ndarray:
    """(..., 3) sRGB 0..1 -> linear RGB 0..1 (IEC 61966-2-1)."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((np.maximum(srgb, 0.04045) + 0.055) / 1.055) ** 2.4)


#: Linear value of every 8-bit sRGB level: a table is ten times faster than the power.
LINEAR_OF_LEVEL = srgb_to_linear(np.arange(256) / 255.0)


def linear_to_lab(rgb: np.ndarray) -> np.ndarray:
    """(..., 3) linear RGB 0..1 -> (..., 3) L*a*b*, float64 (CIE 15)."""
    xyz = np.asarray(rgb, np.float64) @ (RGB_TO_XYZ / WHITE_D65[:, None]).T
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16.0 / 116.0)
    lightness = 116.0 * f[..., 1] - 16.0
    return np.stack([lightness, 500.0 * (f[..., 0] - f[..., 1]), 200.0 * (f[..., 1] - f[..., 2])], -1)


#: (3, 256, 3): what a level of each channel adds to X, Y and Z, each divided by the white point's.
XYZ_OF_LEVEL = (RGB_TO_XYZ / WHITE_D65[:, None]).T[:, None] * LINEAR_OF_LEVEL[None, :, None]

#: Cube roots of i / ROOTS, from which one step of Halley's leads to any root above 0.0088 within 1e-8.
ROOTS = 8192
CUBE_ROOTS = np.cbrt(np.arange(ROOTS + 2) / ROOTS)


def picture_to_lab(picture: np.ndarray) -> np.ndarray:
    """(..., 3) uint8 sRGB -> (..., 3) L*a*b*, float32; `linear_to_lab` in one pass over the pixels."""
    lab = np.empty(picture.shape, np.float32)
    _levels_to_lab(np.ascontiguousarray(picture).reshape(-1, 3), XYZ_OF_LEVEL, CUBE_ROOTS, lab.reshape(-1, 3))
    return lab


@kernel
def _levels_to_lab(picture: np.ndarray, xyz_of_level: np.ndarray, roots: np.ndarray, lab: np.ndarray) -> None:
    """(P, 3) uint8, (3, 256, 3) and (ROOTS + 2,) float64 -> lab (P, 3) float32, written."""
    f = np.empty(3)
    scale = len(roots) - 2
    for p in range(len(picture)):
        red, green, blue = picture[p, 0], picture[p, 1], picture[p, 2]
        for axis in range(3):
            value = xyz_of_level[0, red, axis] + xyz_of_level[1, green, axis] + xyz_of_level[2, blue, axis]
            if value > 0.008856:
                root = roots[int(value * scale + 0.5)]
                cube = root * root * root
                f[axis] = root * (cube + 2.0 * value) / (2.0 * cube + value)
            else:
                f[axis] = 7.787 * value + 16.0 / 116.0
        lab[p, 0] = 116.0 * f[1] - 16.0
        lab[p, 1] = 500.0 * (f[0] - f[1])
        lab[p, 2] = 200.0 * (f[1] - f[2])


def delta_e_2000(lab_a: np.ndarray, lab_b: np.ndarray) -> np.ndarray:
    """(..., 3), (..., 3) L*a*b* -> (...,) CIEDE2000 difference with unit weights (Sharma, Wu and Dalal 2005)."""
    l1, l2 = lab_a[..., 0], lab_b[..., 0]
    chroma_mean = (np.hypot(lab_a[..., 1], lab_a[..., 2]) + np.hypot(lab_b[..., 1], lab_b[..., 2])) / 2
    stretch = 1.5 - 0.5 * np.sqrt(chroma_mean**7 / (chroma_mean**7 + 25.0**7))
    c1, h1 = _chroma_and_hue(lab_a, stretch)
    c2, h2 = _chroma_and_hue(lab_b, stretch)
    grey = c1 * c2 == 0
    turn = np.where(grey, 0.0, (h2 - h1 + 180.0) % 360.0 - 180.0)
    turn = np.where(~grey & (h2 - h1 == 180.0), 180.0, turn)
    d_hue = 2.0 * np.sqrt(c1 * c2) * np.sin(np.radians(turn) / 2)
    hue = np.where(grey, h1 + h2, _mean_hue(h1, h2))
    return _weighted(l1, l2, c1, c2, d_hue, hue)


def _chroma_and_hue(lab: np.ndarray, stretch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    a = lab[..., 1] * stretch
    return np.hypot(a, lab[..., 2]), np.degrees(np.arctan2(lab[..., 2], a)) % 360.0


def _mean_hue(h1: np.ndarray, h2: np.ndarray) -> np.ndarray:
    total = h1 + h2
    far = np.abs(h1 - h2) > 180.0
    return np.where(far, np.where(total < 360.0, total + 360.0, total - 360.0), total) / 2


def _weighted(
    l1: np.ndarray, l2: np.ndarray, c1: np.ndarray, c2: np.ndarray, d_hue: np.ndarray, hue: np.ndarray
) -> np.ndarray:
    lightness, chroma = (l1 + l2) / 2, (c1 + c2) / 2
    angle = np.radians(hue)
    weight = (
        1 - 0.17 * np.cos(angle - np.radians(30)) + 0.24 * np.cos(2 * angle)
        + 0.32 * np.cos(3 * angle + np.radians(6)) - 0.20 * np.cos(4 * angle - np.radians(63))
    )  # fmt: skip
    s_l = 1 + 0.015 * (lightness - 50) ** 2 / np.sqrt(20 + (lightness - 50) ** 2)
    s_c, s_h = 1 + 0.045 * chroma, 1 + 0.015 * chroma * weight
    spread = 60 * np.exp(-(((hue - 275) / 25) ** 2))
    rotate = -2 * np.sqrt(chroma**7 / (chroma**7 + 25.0**7)) * np.sin(np.radians(spread))
    dl, dc, dh = (l2 - l1) / s_l, (c2 - c1) / s_c, d_hue / s_h
    return np.sqrt(np.maximum(dl**2 + dc**2 + dh**2 + rotate * dc * dh, 0.0))
