"""Tileable noise textures, made once a process from a fixed seed: clouds, grain and cells. Ours."""

from functools import lru_cache

import numpy as np

#: Side of every noise texture in texels; a power of two, so that wrapping is a bit mask.
NOISE_SIDE = 512
#: Standard deviations of one step of the 8-bit noise.
NOISE_UNIT = 1.0 / 31.75


def _spectral(slope: float, low: float, high: float, seed: int) -> np.ndarray:
    """(512, 512) periodic Gaussian noise with amplitude ~ frequency^-slope between `low` and `high` cycles a tile."""
    rng = np.random.Generator(np.random.PCG64(seed))
    white = np.fft.fft2(rng.standard_normal((NOISE_SIDE, NOISE_SIDE)))
    f = np.fft.fftfreq(NOISE_SIDE) * NOISE_SIDE
    radius = np.hypot(*np.meshgrid(f, f))
    gain = np.where((radius >= low) & (radius <= high), np.maximum(radius, 1.0) ** -slope, 0.0)
    noise = np.fft.ifft2(white * gain).real
    return (noise / noise.std()).astype(np.float32)


@lru_cache(maxsize=1)
def film_grain() -> np.ndarray:
    """(512, 512, 3) float32, periodic: grain of about 1 px, mostly grey, unit variance."""
    grey = _spectral(0.0, 1.0, 190.0, 21)
    return np.stack([0.87 * grey + 0.49 * _spectral(0.0, 1.0, 190.0, 22 + c) for c in range(3)], -1)


@lru_cache(maxsize=1)
def tangles() -> np.ndarray:
    """(2048, 40, 3) float32: smooth random walks along strands, zero mean, for hair."""
    walk = np.random.Generator(np.random.PCG64(31)).standard_normal((2048, 40, 3), dtype=np.float32)
    for k in range(1, walk.shape[1]):
        walk[:, k] = 0.80 * walk[:, k - 1] + 0.45 * walk[:, k]
    walk[:, 1:-1] = 0.25 * walk[:, :-2] + 0.5 * walk[:, 1:-1] + 0.25 * walk[:, 2:]
    return walk


@lru_cache(maxsize=1)
def noise_maps() -> np.ndarray:
    """(5, 512, 512) int8, periodic, NOISE_UNIT standard deviations a step (small, so that it stays in the cache):

    0 clouds, 1 blotches, 2 pores, 3 fine grain, 4 strokes (vertical).
    """
    strokes = _spectral(0.0, 20.0, 256.0, 15)
    kernel = np.exp(-0.5 * (np.fft.fftfreq(NOISE_SIDE) * NOISE_SIDE / 9.0) ** 2)
    spectrum = np.fft.fft2(strokes) * np.fft.fft(kernel / kernel.sum())[:, None]
    streaky = np.fft.ifft2(spectrum).real
    maps = np.stack(
        [
            _spectral(1.6, 1.0, 40.0, 11),
            _spectral(0.8, 6.0, 60.0, 12),
            _spectral(0.0, 50.0, 130.0, 13),
            _spectral(0.0, 120.0, 256.0, 14),
            (streaky / streaky.std()).astype(np.float32),
        ]
    )
    return np.round(np.clip(maps, -4.0, 4.0) / NOISE_UNIT).astype(np.int8)


@lru_cache(maxsize=1)
def packed_noise() -> np.ndarray:
    """(5, 512 * 512) int32: the four corners of every noise texel's square in one number, 8 bits each."""
    corners = [np.roll(noise_maps(), (-dy, -dx), (1, 2)) for dy in (0, 1) for dx in (0, 1)]
    return np.ascontiguousarray(np.stack(corners, -1)).view(np.int32).reshape(len(noise_maps()), -1)
