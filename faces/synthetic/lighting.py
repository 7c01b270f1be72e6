"""A scene's lamps as arrays, as second-order SH truth, and as a shadow map of the first lamp. Ours."""

import math
from dataclasses import dataclass

import numpy as np

from faces.compiled import kernel
from faces.render.shading import directional_light
from faces.synthetic.numerics import unit
from faces.synthetic.scene import Lamp, Scene


@dataclass(frozen=True)
class Rig:
    """Light ready for shading, world frame (x right, y up, z to the viewer), exposure included.

    Attributes:
        lamps: (3, 10) float32, direction to the lamp (unit), linear RGB, softness 0..1, and the unit vector half-way to
            the viewer; the key comes first.
        ambient: (2, 3) float32 irradiance / pi from straight above and from straight below.
    """

    lamps: np.ndarray
    ambient: np.ndarray

    def sh(self) -> np.ndarray:
        """(27,) float32: the unshadowed light in the form of faces/render/shading.py (second-order truth)."""
        total = np.zeros(27, np.float32)
        for lamp in self.lamps:
            total += directional_light(lamp[:3], lamp[3:6])
        mean, slope = self.ambient.mean(0), (self.ambient[0] - self.ambient[1]) / 2
        channels = total.reshape(3, 9)
        channels[:, 0] += mean / 0.28209479
        channels[:, 1] += slope / 0.48860251
        return channels.reshape(27)


def _row(lamp: Lamp, exposure: float) -> list[float]:
    horizontal = math.cos(lamp.elevation_rad)
    direction = (
        math.sin(lamp.azimuth_rad) * horizontal,
        math.sin(lamp.elevation_rad),
        math.cos(lamp.azimuth_rad) * horizontal,
    )
    half = unit(np.array(direction) + np.array([0.0, 0.0, 1.0]))
    return [*direction, *(exposure * lamp.strength * c for c in lamp.tint), lamp.softness, *half]


def rig_of(scene: Scene, backdrop: np.ndarray) -> Rig:
    """The light of a scene; a third of the ambient colour comes from its backdrop (H, W, 3) linear RGB."""
    lamps = np.array([_row(lamp, scene.exposure) for lamp in (scene.key, scene.fill, scene.rim)], np.float32)
    half = len(backdrop) // 2
    ambient = []
    for colour, part in ((scene.ambient, backdrop[:half]), (scene.ambient_bounce, backdrop[half:])):
        level = float(np.mean(colour))
        mean = part.mean((0, 1))
        tint = mean / max(float(mean.mean()), 1e-3)
        ambient.append(scene.exposure * (0.72 * np.asarray(colour) + 0.28 * level * np.clip(tint, 0.6, 1.5)))
    return Rig(lamps, np.asarray(ambient, np.float32))


@dataclass(frozen=True)
class ShadowView:
    """An orthographic view along the key lamp: texel = (p · right, p · up) · scale + offset, depth = -p · direction."""

    axes: np.ndarray
    scale: float
    offset: np.ndarray
    side: int

    def project(self, points: np.ndarray) -> np.ndarray:
        """World points (..., 3) mm -> (..., 3) float32:

        column and row in texels, depth in mm (smaller is nearer the lamp).
        """
        seen = points @ self.axes.T
        _to_texels(seen.reshape(-1, 3), np.array([self.scale, *self.offset], np.float32))
        return seen


@kernel
def _to_texels(seen: np.ndarray, window: np.ndarray) -> None:
    """Places along a view's axes (n, 3) float32, mm -> column, row and depth, in place; window: scale, two offsets."""
    for i in range(np.uint64(seen.shape[0])):
        seen[i, 0], seen[i, 1] = seen[i, 0] * window[0] + window[1], seen[i, 1] * window[0] + window[2]
        seen[i, 2] = np.float32(2000.0) - seen[i, 2]


def shadow_view(direction: np.ndarray, points: np.ndarray, side: int) -> ShadowView:
    """A view of `side`² texels that holds the world points (n, 3)."""
    forward = unit(direction.astype(np.float32))
    right = unit(np.cross(np.array([0.0, 1.0, 0.001], np.float32), forward))
    axes = np.stack([right, np.cross(forward, right), forward]).astype(np.float32)
    across = np.ascontiguousarray((points @ axes.T)[:, :2].T)
    low, high = np.array([column.min() for column in across]), np.array([column.max() for column in across])
    scale = float((side - 4) / max(float((high - low).max()), 1.0))
    return ShadowView(axes, scale, (side / 2 - (low + high) / 2 * scale).astype(np.float32), side)
