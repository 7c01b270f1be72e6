"""Brushes: smooth displacement fields with a name, a place and a reach. The modes of the built-in head are made of them.

A brush at `at` (mm, head frame) with reach `r` (mm, along x, y, z) moves a point p by
w(p) · (move + grow ∘ (p - about)),  w(p) = exp(-|(p - at) / r|²). Brushes off the midline are mirrored unless one-sided.
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
        side: 0 both sides mirrored; +1 or -1 the subject's left or right only; 2 both sides, moved alike (not mirrored).
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


def stroke(brush: Brush, points: np.ndarray, sign: float) -> np.ndarray:
    """Displacement (V, 3) by one brush on the left (sign +1) or, mirrored, on the right (sign -1)."""
    flip = np.array([sign, 1.0, 1.0])
    near = np.flatnonzero((np.abs(points * flip - np.array(brush.at)) < 3.2 * np.array(brush.r)).all(1))
    local = points[near] * flip
    offset = local - np.array(brush.at)
    weight = np.exp(-((offset / np.array(brush.r)) ** 2).sum(1))
    about = np.array(brush.at if brush.about is None else brush.about)
    moved = weight[:, None] * (np.array(brush.move) + np.array(brush.grow) * (local - about))
    total = np.zeros_like(points)
    total[near] = moved * (flip if brush.side != 2 else np.ones(3))
    return total


def paint(brushes: tuple[Brush, ...], points: np.ndarray, upper: np.ndarray, broad_only: np.ndarray) -> np.ndarray:
    """Sum of strokes.

    Args:
        points: (V, 3) mm. upper: (V,) 0..1, how much a point belongs above the line between the lips.
        broad_only: (V,) bool, points that only broad brushes move.
    Returns:
        (V, 3) displacement, mm.
    """
    total = np.zeros_like(points)
    for brush in brushes:
        signs = {0: (1.0, -1.0), 2: (1.0, -1.0), 1: (1.0,), -1: (-1.0,)}[brush.side]
        signs = signs[:1] if brush.at[0] == 0 else signs
        moved = np.sum([stroke(brush, points, sign) for sign in signs], axis=0)
        mask = {"": 1.0, "upper": upper[:, None], "lower": 1.0 - upper[:, None]}[brush.lip]
        moved = moved * mask
        if not brush.is_broad:
            moved = np.where(broad_only[:, None], 0.0, moved)
        total += moved
    return total
