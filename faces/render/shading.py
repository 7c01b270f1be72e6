"""Light on a face: second-order spherical harmonics, and sRGB to linear and back. numpy in, numpy out; torch likewise.

Basis: real orthonormal spherical harmonics without the Condon-Shortley sign, in the order of Ramamoorthi and Hanrahan
2001 (equation 3): 1, y, z, x, xy, yz, 3z^2 - 1, xz, x^2 - y^2, with the constants of SH_CONSTANTS.

Normals are in the WORLD frame = camera frame flipped to +x right, +y up, +z toward the viewer. A head's normal n in the
head frame is R n there (R of faces/camera.py): the flip of the camera undoes itself.

Light is 27 numbers, 9 a colour channel, channel-major (all of red first). They are the coefficients of irradiance / pi:
the cosine lobe (A0, A1, A2 = pi, 2 pi / 3, pi / 4; equation 8 there) is already in them, so that
    linear RGB = albedo * (basis . light)      (Lambert; equation 12, divided by pi)
and the constant light that leaves an albedo unchanged has 1 / 0.282095 = 3.544908 first and zeros after.
"""

import math
from typing import TypeVar

import numpy as np
import torch

Array = TypeVar("Array", np.ndarray, torch.Tensor)

#: Factor of each basis function, in order: 1/2 sqrt(1/pi), sqrt(3/(4 pi)) thrice, sqrt(15/(4 pi)) twice,
#: 1/4 sqrt(5/pi), sqrt(15/(4 pi)), 1/4 sqrt(15/pi).
SH_CONSTANTS = (
    0.5 / math.sqrt(math.pi),
    *(math.sqrt(0.75 / math.pi),) * 3,
    *(math.sqrt(3.75 / math.pi),) * 2,
    0.25 * math.sqrt(5 / math.pi),
    math.sqrt(3.75 / math.pi),
    0.25 * math.sqrt(15 / math.pi),
)
#: Factor by which Lambert's cosine lobe, over pi, weakens orders 0, 1 and 2 of the incoming radiance.
LOBE = (1.0, 2.0 / 3.0, 0.25)


def sh_basis(normals: Array) -> Array:
    """Unit normals (..., 3), world frame -> (..., 9) basis values; dtype (and device, gradient) of the normals."""
    if isinstance(normals, torch.Tensor):
        return torch.stack(_sh_terms(*normals.unbind(-1)), -1) * normals.new_tensor(SH_CONSTANTS)
    basis = np.empty((*normals.shape[:-1], 9), normals.dtype)
    terms = _sh_terms(*np.ascontiguousarray(np.moveaxis(normals, -1, 0)))
    for n, (term, constant) in enumerate(zip(terms, np.asarray(SH_CONSTANTS, normals.dtype), strict=True)):
        np.multiply(term, constant, out=basis[..., n])
    return basis


def _sh_terms(x: Array, y: Array, z: Array) -> tuple[Array, ...]:
    return x * 0 + 1, y, z, x, x * y, y * z, 3 * z * z - 1, x * z, x * x - y * y


def make_unit(vectors: np.ndarray) -> None:
    """Give float vectors (..., 3) length 1 where they lie; none stays none. The bits of numpy.linalg.norm, faster."""
    squares = np.square(vectors)
    length = np.sqrt(squares[..., 0] + squares[..., 1] + squares[..., 2])
    vectors /= np.maximum(length, 1e-9)[..., None]


def irradiance(normals: Array, light: Array) -> Array:
    """Irradiance / pi, not clamped and so linear in the light: (..., 3), (27,) or (N, 27) -> (..., 3).

    With light (N, 27) the first axis of the normals is N: every face has its own light.
    """
    basis = sh_basis(normals)
    if light.ndim == 1:
        return basis @ light.reshape(3, 9).T
    flat = basis.reshape(len(light), -1, 9)
    channels = light.reshape(-1, 3, 9)
    turned = channels.transpose(1, 2) if isinstance(channels, torch.Tensor) else channels.transpose(0, 2, 1)
    return (flat @ turned).reshape(*basis.shape[:-1], 3)


def shade(albedo: Array, normals: Array, light: Array) -> Array:
    """Lambert: albedo (..., 3) linear RGB, normals (..., 3) world frame, light (27,) or (N, 27) -> (..., 3) linear RGB.

    Negative irradiance (the series can ring) counts as darkness; nothing is clipped from above.
    """
    received = irradiance(normals, light)
    if isinstance(received, torch.Tensor):
        return albedo * received.clamp_min(0)
    return albedo * np.maximum(received, 0)


def constant_light(level: float = 1.0) -> np.ndarray:
    """(27,) float32: white light from everywhere; `level` is what it makes of albedo 1."""
    light = np.zeros((3, 9), np.float32)
    light[:, 0] = level / SH_CONSTANTS[0]
    return light.reshape(27)


def directional_light(direction: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """(27,) float32 for a distant lamp: direction (3,) toward the lamp (world frame), colour (3,) linear RGB.

    A white surface that faces the lamp gets `colour` up to the error of second order (about 6 % too bright there).
    """
    unit = np.asarray(direction, np.float64) / np.linalg.norm(direction)
    lobe = np.repeat(LOBE, (1, 3, 5))
    return (np.asarray(colour, np.float64)[:, None] * (math.pi * lobe * sh_basis(unit))).astype(np.float32).reshape(27)


def to_srgb(linear: Array) -> Array:
    """Linear 0..1 -> sRGB 0..1 (IEC 61966-2-1), any shape; values outside are clipped; finite gradient everywhere."""
    if isinstance(linear, torch.Tensor):
        value = linear.clamp(0, 1)
        return torch.where(value <= 0.0031308, value * 12.92, 1.055 * value.clamp_min(0.0031308) ** (1 / 2.4) - 0.055)
    value = np.clip(linear, 0, 1)
    return np.where(value <= 0.0031308, value * 12.92, 1.055 * np.maximum(value, 0.0031308) ** (1 / 2.4) - 0.055)


def to_linear(srgb: Array) -> Array:
    """sRGB 0..1 -> linear 0..1, the inverse of `to_srgb`; values outside are clipped."""
    if isinstance(srgb, torch.Tensor):
        value = srgb.clamp(0, 1)
        return torch.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    value = np.clip(srgb, 0, 1)
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
