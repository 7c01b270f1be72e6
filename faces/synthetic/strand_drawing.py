"""Strands lit and drawn on the canvas: what is solid first, then thin and translucent hair as a veil over it. Ours.

Solid strands are drawn outermost first, so that what they hide is neither lit nor drawn. A veil does not hide what
lies behind it: tips, outer strands and wisps are drawn afterwards, innermost first, and cover in proportion.
"""

from dataclasses import dataclass

import numpy as np

from faces.synthetic import ribbons, strands
from faces.synthetic.hair import Strands
from faces.synthetic.lighting import Rig
from faces.synthetic.posing import Posed, to_pixels
from faces.synthetic.wisps import TUFT

#: Parts of a strand narrower than this are drawn as a veil: samples, and share of the root's width in small pictures.
_THIN_PX, _THIN_SHARE = 1.0, 0.55
#: Parts of the strands that are drawn one after the other; what an earlier part hides is left out of a later one.
_PARTS = 8
#: Canvases at most so wide, in samples, do not need refined strands (ours).
_COARSE_SAMPLES = 640


@dataclass(frozen=True)
class StrandLight:
    """What lights strands: the rig, the key lamp's view (12,) and shadow map (side, side), and the strands' gloss."""

    rig: Rig
    view: np.ndarray
    shadow: np.ndarray
    gloss: float


@dataclass(frozen=True)
class _Seen:
    """Strands as the camera sees them: world (n, P, 3), normals (n, 3), pixels (n, Q, 3), width_px (n, Q); Q is P, or

    2 P - 1 where they were refined.
    """

    made: Strands
    world: np.ndarray
    normals: np.ndarray
    pixels: np.ndarray
    width_px: np.ndarray

    @classmethod
    def of(cls, made: Strands, posed: Posed, side: int, bends: int = 22) -> "_Seen":
        """Strands on a canvas of `side` samples, refined if they have more than `bends` points, and on a wide canvas.

        Wide is over _COARSE_SAMPLES, that is in pictures over 320 px; strands of at most 12 points are too short to
        show their bends.
        """
        world, camera = posed.to_world(made.points), posed.camera.resized(side)
        pixels, steps = to_pixels(world, camera), made.points.shape[1]
        width_px = (made.width_mm * camera.focal_px / pixels[..., 2]).astype(np.float32)
        if steps > bends or (steps > 12 and side > _COARSE_SAMPLES):
            pixels, width_px = strands.refine(pixels), strands.refine(width_px[..., None])[..., 0]
        return cls(made, world, made.normals @ posed.turn.T.astype(np.float32), pixels, width_px)

    def all_segments(self) -> np.ndarray:
        """(n, Q - 1) bool, True everywhere."""
        return np.ones((len(self.pixels), self.pixels.shape[1] - 1), np.bool_)

    def pick(self, rows: np.ndarray | slice) -> "_Seen":
        """The strands of a slice or of indices."""
        return _Seen(self.made.pick(rows), self.world[rows], self.normals[rows], self.pixels[rows], self.width_px[rows])

    def colours(self, shown: np.ndarray, light: StrandLight) -> np.ndarray:
        """(n, Q, 3) linear RGB where the segments `shown` (n, Q - 1) need it, 0 elsewhere."""
        lit = strands.points_to_light(shown, self.world.shape[1])
        key = 0.30 + 0.70 * strands.strand_light(self.world, lit, light.view, light.shadow, 1.5, 9.0)
        made, rig = self.made, light.rig
        coarse = strands.shade_strands(
            self.world, lit, self.normals, made.colour, made.layer, rig.lamps, rig.ambient, key, light.gloss
        )
        return strands.refine(coarse) if self.pixels.shape[1] > self.world.shape[1] else coarse


def draw(
    colour: np.ndarray, depth_mm: np.ndarray, ids: np.ndarray, made: Strands, posed: Posed, light: StrandLight,
    identity: int, bias_mm: float,
) -> None:  # fmt: skip
    """Draw all of the strands as draw_strands does, in place on samples (H, W[, 3])."""
    seen = _Seen.of(made, posed, len(ids))
    _draw_solid(colour, depth_mm, ids, seen, seen.all_segments(), light, identity, bias_mm)


def draw_veiled(
    colour: np.ndarray, depth_mm: np.ndarray, ids: np.ndarray, made: Strands, tufts: Strands | None, posed: Posed,
    light: StrandLight, identity: int, bias_mm: float,
) -> None:  # fmt: skip
    """Draw strands, outermost first, then their thin tips and `tufts` of wisps.py as a veil, in place on samples."""
    seen, veil = _Seen.of(made, posed, len(ids)), np.zeros((*ids.shape, 2), np.float32)
    thin_px = np.minimum(_THIN_PX, _THIN_SHARE * seen.width_px[:, :1])
    solid = (np.minimum(seen.width_px[:, :-1], seen.width_px[:, 1:]) >= thin_px) & (made.alpha == 1)[:, None]
    if solid.any():
        _draw_solid(colour, depth_mm, ids, seen, solid, light, identity, bias_mm)
    _draw_veil(colour, veil, depth_mm, seen, ~solid, light, bias_mm, 1)
    if tufts is not None:
        seen = _Seen.of(tufts, posed, len(ids), 99)
        _draw_veil(colour, veil, depth_mm, seen, seen.all_segments(), light, bias_mm, TUFT)
    ribbons.own_veil(ids, depth_mm, veil, bias_mm, identity)


def _draw_veil(
    colour: np.ndarray, veil: np.ndarray, depth_mm: np.ndarray, seen: _Seen, wanted: np.ndarray, light: StrandLight,
    bias_mm: float, each: int,
) -> None:  # fmt: skip
    """Draw the segments `wanted` innermost first; `each` strands in a row have the colours of their first."""
    shown = ribbons.visible_segments(depth_mm, seen.pixels, seen.width_px + np.float32(1), bias_mm, wanted)
    together = np.logical_or.reduce(shown.reshape(-1, each, shown.shape[1]), axis=1)
    leaders = np.flatnonzero(np.logical_or.reduce(together, axis=1))[::-1]
    rows = (leaders[:, None] * each + np.arange(each)).ravel()
    part = seen.pick(rows)
    ribbons.veil_strands(
        colour, veil, depth_mm, part.pixels, part.width_px,
        seen.pick(leaders * each).colours(together[leaders], light), part.made.alpha, bias_mm, shown[rows],
    )  # fmt: skip


def _draw_solid(
    colour: np.ndarray, depth_mm: np.ndarray, ids: np.ndarray, seen: _Seen, solid: np.ndarray, light: StrandLight,
    identity: int, bias_mm: float,
) -> None:  # fmt: skip
    """Draw the segments `solid` (n, Q - 1) with the depth test, a part of the strands after the other."""
    step = max(256, len(seen.pixels) // _PARTS + 1)
    for k in range(0, len(seen.pixels), step):
        part = seen.pick(slice(k, k + step))
        shown = ribbons.visible_segments(depth_mm, part.pixels, part.width_px, bias_mm, solid[k : k + step])
        ribbons.draw_strands(
            colour, depth_mm, ids, part.pixels, part.width_px, part.colours(shown, light), part.made.alpha, bias_mm,
            identity, shown,
        )  # fmt: skip
