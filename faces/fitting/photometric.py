"""Light and albedo of fitted faces from their pixels: robust linear least squares in linear RGB, inside the silhouette.

A pixel shows albedo * (basis . light). Given albedo the light is linear, given light the albedo modes are; the two are
solved in turn (Blanz and Vetter 1999 in spirit; the robust weights against occluders are Tukey's biweight). A dark face
in bright light and a bright face in dim light look alike: the product is split by two Gaussian priors in log colour,
the head's own spread of skin and a light near white (ours, FitSettings.light_*).
"""

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from faces.compiled import over_faces
from faces.fitting.settings import FitSettings
from faces.fitting.view import FaceView, skin_triangles
from faces.morphable.base import MorphableHead
from faces.render.rasterize import interpolate
from faces.render.shading import sh_basis, to_linear, to_srgb

#: Prior spread of each SH coefficient relative to the constant term (ours: soft light, lamps mostly from the front).
LIGHT_SPREAD = np.repeat([10.0, 0.6, 0.2], [1, 3, 5])
#: At most this many pixels a face enter the least squares.
MAX_PIXELS = 1600


@dataclass(frozen=True)
class FacePixels:
    """The P pixels of one face that light and albedo are solved from.

    colour (P, 3) linear RGB; basis (P, 9) SH values; mean (P, 3) mean albedo; corners (P, 3) vertices and weights
    (P, 3) barycentrics.
    """

    colour: np.ndarray
    basis: np.ndarray
    mean: np.ndarray
    corners: np.ndarray
    weights: np.ndarray
    _modes: list[np.ndarray] = field(default_factory=list, repr=False)

    def modes(self, head: MorphableHead) -> np.ndarray:
        """(P, 3, A) float32 albedo modes at the pixels; computed once."""
        if not self._modes:
            corners = mode_rows(head)[self.corners]
            mixed = np.matmul(self.weights.astype(np.float32)[:, None], corners)
            self._modes.append(mixed.reshape(len(corners), 3, -1))
        return self._modes[0]


@lru_cache(maxsize=2)
def mode_rows(head: MorphableHead) -> np.ndarray:
    """(V, 3 A) float32: a vertex's modes side by side, so that a pixel reads three rows.

    Values below 1e-9 (the far tails of the modes) become 0: their products would be subnormal, which costs 20-fold.
    """
    count, n_vertices = head.albedo_modes.shape[:2]
    modes = np.ascontiguousarray(head.albedo_modes.transpose(1, 2, 0)).reshape(n_vertices, 3 * count)
    return np.where(np.abs(modes) < 1e-9, np.float32(0), modes)


@dataclass(frozen=True)
class Photometry:
    """light (27,) float64, albedo (A,) float64, error: mean sRGB difference of trusted pixels, 0..1."""

    light: np.ndarray
    albedo: np.ndarray
    error: float


@lru_cache(maxsize=8)
def skin_prior(head: MorphableHead) -> tuple[np.ndarray, np.ndarray]:
    """Mean (3,) and covariance (3, 3) of the natural logarithm of a head's mean face colour under its albedo prior."""
    vertices = np.unique(head.triangles[skin_triangles(head)])
    modes = head.albedo_modes[:, vertices].mean(1)
    draws = np.random.default_rng(0).normal(size=(4000, len(modes)))
    colours = np.log(np.clip(head.albedo_mean[vertices].mean(0) + draws @ modes, 0.02, 1.0))
    return colours.mean(0), np.cov(colours.T) + 1e-4 * np.eye(3)


def face_pixels(view: FaceView, n: int, picture: np.ndarray, head: MorphableHead, mean: np.ndarray) -> FacePixels:
    """Skin pixels of face n: picture (S, S, 3) sRGB 0..1, mean (S, S, 3) mean albedo. Deterministic thinning."""
    triangle = view.raster.triangle[n]
    skin = skin_triangles(head)[triangle] & (triangle >= 0) & (view.normals[n, ..., 2] > 0.15)
    where = np.flatnonzero(skin)
    if len(where) > MAX_PIXELS:
        where = where[np.linspace(0, len(where) - 1, MAX_PIXELS).astype(int)]
    return FacePixels(
        colour=to_linear(picture.reshape(-1, 3)[where]).astype(np.float64),
        basis=sh_basis(view.normals[n].reshape(-1, 3)[where].astype(np.float64)),
        mean=mean.reshape(-1, 3)[where].astype(np.float64),
        corners=head.triangles[triangle.reshape(-1)[where]],
        weights=view.raster.barycentric[n].reshape(-1, 3)[where].astype(np.float64),
    )


def tukey(residual: np.ndarray, scale: float) -> np.ndarray:
    """Tukey's biweight (1 at 0, 0 from `scale` on) of non-negative residuals."""
    return np.square(np.clip(1.0 - np.square(residual / scale), 0.0, None))


def pixel_weights(shown: np.ndarray, predicted: np.ndarray, floor: float) -> tuple[np.ndarray, np.ndarray]:
    """Robust weights (P,) and the sRGB residual (P,), the root mean square over the channels.

    The scale is 4.685 robust standard deviations of this face's own residuals, at least `floor`.
    """
    residual = np.sqrt(np.square(to_srgb(shown) - to_srgb(predicted)).mean(-1))
    scale = max(4.685 * float(np.median(residual)), floor)
    return tukey(residual, scale), residual


def slope(linear: np.ndarray) -> np.ndarray:
    """Derivative of sRGB by linear RGB (so that least squares in linear RGB count what the eye sees)."""
    return 0.44 * np.maximum(linear, 0.01) ** (-0.583)


def solve_light(pixels: FacePixels, albedo: np.ndarray, settings: FitSettings, rounds: int = 6) -> np.ndarray:
    """Robust SH light of one face, (3, 9): albedo (P, 3) given. Also right up to a colour when the albedo is."""
    level = np.median(pixels.colour / np.maximum(albedo, 0.02), axis=0)
    light = np.zeros((3, 9))
    light[:, 0] = level / pixels.basis[0, 0]
    for _ in range(rounds):
        predicted = albedo * np.maximum(pixels.basis @ light.T, 0.0)
        weights, _ = pixel_weights(pixels.colour, predicted, settings.colour_scale)
        # A clipped channel says only that it was bright; one in deep shadow lies where the series is weakest.
        weights = weights[:, None] * np.square(slope(predicted)) * (pixels.colour < 0.98)
        noise = settings.pixel_noise**2 / 0.05
        prior = noise / np.square(LIGHT_SPREAD * np.maximum(light[:, :1], 0.05))
        once = (weights * albedo).T[:, :, None] * pixels.basis
        normal = (once * albedo.T[:, :, None]).transpose(0, 2, 1) @ pixels.basis
        np.einsum("cii->ci", normal)[...] += prior
        right = once.transpose(0, 2, 1) @ pixels.colour.T[:, :, None]
        light = np.linalg.solve(normal, right)[..., 0]
        light[:, 0] = np.maximum(light[:, 0], 1e-3)
    return light


def split_tone(pixels: FacePixels, light: np.ndarray, head: MorphableHead, settings: FitSettings) -> np.ndarray:
    """Light solved with the mean albedo -> the same light divided by this face's probable skin tone, (3, 9).

    Posterior mean of two Gaussians in log colour: shown = skin + light. The prior of the light is wide in level and
    narrow in colour.
    """
    _, skin_spread = skin_prior(head)
    shading = np.maximum(pixels.basis @ light.T, 1e-3).mean(0)
    grey = np.full((3, 3), settings.light_level_sigma**2)
    light_spread = grey + settings.light_chroma_sigma**2 * (np.eye(3) - 1.0 / 3.0) + 1e-6 * np.eye(3)
    surplus = np.log(shading) - np.log(settings.light_level)
    gain = light_spread @ np.linalg.solve(light_spread + skin_spread, surplus)
    wanted = np.exp(np.log(settings.light_level) + gain)
    return light * (wanted / shading)[:, None]


def solve_albedo(pixels: FacePixels, light: np.ndarray, head: MorphableHead, settings: FitSettings) -> np.ndarray:
    """Ridge regression of the albedo modes under a known light, three robust rounds -> (A,), also for A = 0."""
    if not len(head.albedo_modes):
        return np.zeros(0)
    modes = pixels.modes(head)
    flat = modes.reshape(-1, modes.shape[-1])
    shading = np.maximum(pixels.basis @ light.T, 0.02)
    coefficients = np.zeros(modes.shape[-1])
    # Neighbouring pixels err together (texture): about one independent pixel in 16.
    noise = 16 * settings.pixel_noise**2
    for _ in range(3):
        predicted = shading * np.clip(pixels.mean + (flat @ coefficients.astype(np.float32)).reshape(-1, 3), 0.0, 1.0)
        weights, _ = pixel_weights(pixels.colour, predicted, 2 * settings.colour_scale)
        scale = np.sqrt(weights)[:, None] * slope(predicted)
        rows = (modes * (shading * scale).astype(np.float32)[..., None]).reshape(-1, modes.shape[-1])
        target = ((pixels.colour - shading * pixels.mean) * scale).reshape(-1).astype(np.float32)
        normal = (rows.T @ rows).astype(np.float64) + np.eye(rows.shape[1]) * noise / settings.albedo_sigma**2
        coefficients = np.clip(np.linalg.solve(normal, (rows.T @ target).astype(np.float64)), -4.0, 4.0)
    return coefficients


def albedo_at(pixels: FacePixels, coefficients: np.ndarray, head: MorphableHead) -> np.ndarray:
    """(P, 3) linear RGB albedo of the face's pixels under albedo coefficients (A,)."""
    colours = head.albedo(coefficients)[0][pixels.corners]
    return np.einsum("pkc,pk->pc", colours, pixels.weights)


def solve_photometry(pixels: FacePixels, head: MorphableHead, settings: FitSettings) -> Photometry:
    """Light and albedo coefficients of one face, and how well they explain its pixels."""
    light = split_tone(pixels, solve_light(pixels, pixels.mean, settings), head, settings)
    coefficients = np.zeros(len(head.albedo_modes))
    albedo = pixels.mean
    for _ in range(settings.light_rounds):
        coefficients = solve_albedo(pixels, light, head, settings)
        albedo = np.maximum(albedo_at(pixels, coefficients, head), 0.02)
        light = solve_light(pixels, albedo, settings, rounds=3)
    weights, residual = pixel_weights(
        pixels.colour, albedo * np.maximum(pixels.basis @ light.T, 0.0), settings.colour_scale
    )
    error = float((weights * residual).sum() / max(weights.sum(), 1e-9))
    return Photometry(light.reshape(27), coefficients, error)


def solve_pixels(view: FaceView, pictures: np.ndarray, head: MorphableHead, settings: FitSettings) -> list[Photometry]:
    """Photometry of every face of a view: pictures (N, S, S, 3) sRGB 0..1. Too few pixels: error NaN."""
    mean = interpolate(head.albedo_mean, head.triangles, view.raster)
    found = [Photometry(np.zeros(27), np.zeros(len(head.albedo_modes)), float("nan"))] * len(pictures)

    def solve(first: int, step: int) -> None:
        """Every step-th face; one with fewer than 60 pixels of skin stays unsolved."""
        for n in range(first, len(pictures), step):
            pixels = face_pixels(view, n, pictures[n], head, mean[n])
            if len(pixels.colour) >= 60:
                found[n] = solve_photometry(pixels, head, settings)

    over_faces(solve, len(pictures))
    return found
