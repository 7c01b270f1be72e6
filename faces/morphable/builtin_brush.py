"""Brushes: smooth displacement fields with a name, a place and a reach; the built-in head's modes are made of them.

A brush at `at` (mm, head frame) with reach `r` (mm, along x, y, z) moves a point p by
w(p) · (move + grow ∘ (p - about)),  w(p) = exp(-|(p - at) / r|²).
Brushes off the midline are mirrored unless one-sided.
"""

from dataclasses import dataclass

import numpy as np

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Brush:
    """One stroke.

    Attributes:
        at: centre, mm, left half (x >= 0).
        r: reach along x, y, z, mm.
        move: displacement at the centre, mm.
        grow: relative growth along x, y, z about `about` (default: the centre, with x = 0 for strokes on the midline).
        side: 0 both sides mirrored; +1 or -1 the subject's left or right only; 2 both sides, moved alike.
        lip: "" everywhere, "upper" or "lower": only above or below the line between the lips.
    """

    at: Triple
    r: Triple
    move: Triple = (0.0, 0.0, 0.0)
    grow: Triple = (0.0, 0.0, 0.0)
    about: Triple | None = None
    side: int = 0
    lip: str = ""

    @property
    def is_broad(self) -> bool:
        """Broad strokes move teeth, tongue and the depth of the mouth too."""
        return min(self.r) >= 24


def _stroke(brush: Brush, points: np.ndarray, sign: float, scale: np.ndarray, total: np.ndarray) -> None:
    """Add one brush on the left (sign +1) or, mirrored, on the right (sign -1), times (V,) scale, to (V, 3) total."""
    flip = np.array([sign, 1.0, 1.0])
    at, reach = np.array(brush.at), np.array(brush.r)
    near = np.flatnonzero((np.abs(points - at * flip) < 3.2 * reach).all(1))
    local = points[near] * flip
    weight = scale[near] * np.exp(-(((local - at) / reach) ** 2).sum(1))
    about = at if brush.about is None else np.array(brush.about)
    moved = weight[:, None] * (np.array(brush.move) + np.array(brush.grow) * (local - about))
    total[near] += moved if brush.side == 2 else moved * flip


def paint(brushes: tuple[Brush, ...], points: np.ndarray, upper: np.ndarray, broad_only: np.ndarray) -> np.ndarray:
    """Sum of strokes.

    Args:
        points: (V, 3) mm. upper: (V,) 0..1, how much a point belongs above the line between the lips.
        broad_only: (V,) bool, points that only broad brushes move.
    Returns:
        (V, 3) displacement, mm.
    """
    total = np.zeros_like(points)
    everywhere, soft = np.ones(len(points)), np.where(broad_only, 0.0, 1.0)
    masks = {"": everywhere, "upper": upper, "lower": 1.0 - upper}
    signs = {0: (1.0, -1.0), 2: (1.0, -1.0), 1: (1.0,), -1: (-1.0,)}
    for brush in brushes:
        scale = masks[brush.lip] * (everywhere if brush.is_broad else soft)
        for sign in signs[brush.side][: 1 if brush.at[0] == 0 else 2]:
            _stroke(brush, points, sign, scale, total)
    return total
