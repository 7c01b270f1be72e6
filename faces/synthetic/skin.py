"""Skin and hair colours of generated people, as linear RGB albedo.

Skin: lightness L* is spread evenly over the human range; a* and b* follow the arc that spectrophotometry of cheeks and
foreheads shows (about L* 27, a* 8, b* 9 for the deepest tones, L* 48, a* 12, b* 19 in the middle, L* 70, a* 9, b* 14
for
the fairest; our reading of published means). Local changes are the two-pigment model (melanin, haemoglobin): absorption
in the exponent, so that a blush or a freckle keeps its hue on every tone. Constants are ours.
"""

import numpy as np

#: Lightness range of generated skin, CIE L*.
SKIN_L_RANGE = (27.0, 71.0)
_ARC_L = np.array([24.0, 27.0, 38.0, 48.0, 58.0, 66.0, 72.0])
_ARC_A = np.array([7.0, 8.0, 11.0, 12.0, 11.8, 10.8, 9.5])
_ARC_B = np.array([7.0, 9.0, 14.5, 18.0, 18.0, 15.5, 13.5])
#: Absorption per unit of pigment in linear RGB (melanin falls with wavelength; haemoglobin absorbs green and blue).
MELANIN = np.array([0.55, 1.0, 1.45], np.float32)
HAEMOGLOBIN = np.array([0.12, 1.0, 0.82], np.float32)

_XYZ_TO_RGB = np.array(
    [[3.2404542, -1.5371385, -0.4985314], [-0.9692660, 1.8760108, 0.0415560], [0.0556434, -0.2040259, 1.0572252]]
)
_WHITE = np.array([0.95047, 1.0, 1.08883])


def lab_to_linear(lightness: float, a: float, b: float) -> np.ndarray:
    """CIE L*a*b* (D65) -> (3,) float32 linear sRGB, clipped to 0..1."""
    fy = (lightness + 16.0) / 116.0
    f = np.array([fy + a / 500.0, fy, fy - b / 200.0])
    xyz = np.where(f > 6.0 / 29.0, f**3, (f - 4.0 / 29.0) * 3 * (6.0 / 29.0) ** 2) * _WHITE
    return np.clip(_XYZ_TO_RGB @ xyz, 0.0, 1.0).astype(np.float32)


def skin_colour_linear(lightness: float, undertone_a: float = 0.0, undertone_b: float = 0.0) -> np.ndarray:
    """CIE L* and offsets of a*, b* from the human arc -> (3,) float32 linear RGB albedo."""
    a = float(np.interp(lightness, _ARC_L, _ARC_A)) + undertone_a
    b = float(np.interp(lightness, _ARC_L, _ARC_B)) + undertone_b
    return lab_to_linear(lightness, a, b)


def with_pigment(colour: np.ndarray, melanin: float | np.ndarray, haemoglobin: float | np.ndarray) -> np.ndarray:
    """Linear RGB (..., 3) with more (or, negative, less) of the two pigments (one, or (..., 1)); stays positive."""
    return (colour * np.exp(-melanin * MELANIN - haemoglobin * HAEMOGLOBIN)).astype(np.float32)


#: Natural hair colours: name -> linear RGB of a strand.
HAIR_COLOURS: dict[str, tuple[float, float, float]] = {
    "black": (0.014, 0.0115, 0.010),
    "off_black": (0.026, 0.018, 0.014),
    "dark_brown": (0.050, 0.030, 0.019),
    "brown": (0.105, 0.060, 0.034),
    "light_brown": (0.205, 0.125, 0.070),
    "dark_blond": (0.30, 0.20, 0.115),
    "blond": (0.46, 0.335, 0.20),
    "auburn": (0.13, 0.045, 0.022),
    "red": (0.31, 0.115, 0.042),
    "grey": (0.33, 0.325, 0.32),
    "white": (0.62, 0.61, 0.585),
}

#: Iris colours: name -> (linear RGB of the outer ring, linear RGB near the pupil).
IRIS_COLOURS: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "dark_brown": ((0.030, 0.015, 0.008), (0.060, 0.028, 0.013)),
    "brown": ((0.070, 0.033, 0.014), (0.130, 0.062, 0.024)),
    "hazel": ((0.110, 0.082, 0.034), (0.180, 0.095, 0.034)),
    "green": ((0.105, 0.125, 0.070), (0.170, 0.130, 0.055)),
    "blue": ((0.105, 0.160, 0.225), (0.190, 0.235, 0.270)),
    "grey": ((0.130, 0.150, 0.165), (0.210, 0.220, 0.220)),
}


def hair_odds(lightness: float) -> tuple[list[str], np.ndarray]:
    """Skin L* -> natural hair colours and their chances (ours: dark everywhere, fair and red only on fair skin)."""
    fair = float(np.clip((lightness - 55.0) / 12.0, 0.0, 1.0))
    names = ["black", "off_black", "dark_brown", "brown", "light_brown", "dark_blond", "blond", "auburn", "red"]
    dark = np.array([0.50, 0.30, 0.18, 0.02, 0.0, 0.0, 0.0, 0.0, 0.0])
    light = np.array([0.09, 0.11, 0.20, 0.20, 0.13, 0.09, 0.09, 0.05, 0.04])
    odds = dark * (1 - fair) + light * fair
    return names, odds / odds.sum()


def iris_odds(lightness: float) -> tuple[list[str], np.ndarray]:
    """Skin L* -> iris colours and their chances (ours)."""
    fair = float(np.clip((lightness - 55.0) / 12.0, 0.0, 1.0))
    dark = np.array([0.68, 0.29, 0.03, 0.0, 0.0, 0.0])
    light = np.array([0.16, 0.24, 0.15, 0.13, 0.22, 0.10])
    odds = dark * (1 - fair) + light * fair
    return list(IRIS_COLOURS), odds / odds.sum()
