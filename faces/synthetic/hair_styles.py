"""Hair styles as numbers: lengths by region, combing, bend, curl. Ours; lengths in mm."""

from dataclasses import dataclass

import numpy as np

from faces.synthetic.numerics import smoothstep

#: Coverage of fine strands away from the hairline, of stubble and of longer hair; at the hairline it fades to nothing.
_STUBBLE_ALPHA, _FINE_ALPHA = 0.6, 0.85


@dataclass(frozen=True)
class Style:
    """How one style grows.

    Attributes:
        top, side, back, front: strand length on the crown, over the ears, at the nape, at the forehead's edge.
        comb: flow over the scalp: "crown" (away from the crown), "part" (away from a parting), "back", "up" (outward).
        lift: share of the root's normal in the first direction, 0 flat .. 1 upright.
        hold: mm over which the comb keeps its hold.  weight: bend by gravity a 10 mm.
        layer: mm between the lowest and the highest strands.
        curl, wave: amplitude and wavelength of the helix, mm.  frizz: random displacement, mm.
        guard: 0..1, how firmly hair is kept out of the face.
        cling: 0..1, how closely the hair follows the skull.  clump: 0..1, how far tips gather into locks.
        strands: number of ribbons.  width: of a ribbon, mm.  steps: points a strand.
        bun: whether a knot sits on the back of the head.  taper: fade of length towards the hairline at sides and nape.
    """

    top: float
    side: float
    back: float
    front: float
    comb: str
    lift: float
    hold: float
    weight: float
    layer: float
    curl: float
    wave: float
    frizz: float
    guard: float
    cling: float
    clump: float
    strands: int
    width: float
    steps: int
    bun: bool = False
    taper: float = 0.0

    @property
    def cropped(self) -> bool:
        """Whether the neck shows under the hair."""
        return self.steps < 12

    @property
    def stubble(self) -> bool:
        """Whether every hair stands alone."""
        return self.top < 10


STYLES: dict[str, Style] = {
    "buzz": Style(5, 3, 3.5, 5, "crown", 0.6, 30, 0.0, 1.0, 0.0, 20, 0.2, 0, 0.3, 0.0, 5200, 0.6, 4, taper=0.4),
    "short": Style(44, 14, 14, 34, "crown", 0.30, 60, 0.15, 8.0, 0.8, 45, 0.8, 0, 1.0, 0.35, 4800, 0.85, 9, taper=0.7),
    "side_part": Style(
        85, 18, 16, 80, "part", 0.30, 90, 0.12, 8.0, 0.8, 70, 0.6, 0, 1.0, 0.40, 4800, 0.85, 11, taper=0.7
    ),
    "quiff": Style(66, 11, 12, 62, "back", 0.42, 45, 0.10, 12.0, 1.0, 60, 0.8, 0, 0.8, 0.45, 4800, 0.85, 10, taper=0.8),
    "pixie": Style(66, 44, 34, 58, "part", 0.26, 60, 0.30, 9.0, 1.2, 60, 0.9, 0, 1.0, 0.45, 4800, 0.9, 11, taper=0.3),
    "afro": Style(50, 44, 40, 42, "up", 0.95, 80, 0.0, 24.0, 3.6, 9, 2.4, 0, 0.0, 0.10, 5600, 1.15, 14),
    "curly": Style(100, 105, 110, 85, "part", 0.45, 30, 0.55, 17.0, 3.2, 32, 0.5, 0.9, 0.5, 0.50, 3900, 0.95, 24),
    "bob": Style(140, 125, 95, 138, "part", 0.28, 40, 0.75, 10.0, 1.0, 100, 0.6, 1.0, 1.0, 0.35, 4000, 1.0, 15),
    "long_straight": Style(
        280, 270, 255, 275, "part", 0.26, 40, 0.85, 10.0, 1.2, 150, 0.7, 1.0, 1.0, 0.45, 3800, 1.05, 22
    ),
    "long_wavy": Style(270, 255, 240, 260, "part", 0.34, 40, 0.75, 14.0, 4.6, 75, 0.5, 1.0, 0.8, 0.60, 3900, 0.95, 26),
    "fringe": Style(255, 250, 235, 66, "fringe", 0.22, 60, 0.80, 10.0, 1.0, 120, 0.6, 1.0, 1.0, 0.35, 4000, 1.0, 22),
    "bun": Style(120, 105, 100, 128, "back", 0.05, 300, 0.0, 4.0, 0.6, 90, 0.4, 0, 1.0, 0.25, 4400, 0.9, 11, bun=True),
}


def taper(steps: int) -> np.ndarray:
    """(steps,) share of a strand's width: whole at the root, nearly nothing at the tip."""
    return 1.0 - 0.9 * smoothstep(0.25, 1.0, np.linspace(0.0, 1.0, steps))


def fineness(
    style: Style, layer: np.ndarray, direction: np.ndarray, scalp_mm: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(n,) 0 solid strands of the mass .. 1 fine ones, and their coverage (n,), 1 for solid ones.

    Fine are the outermost strands, those of the hairline that shows, and all stubble. layer (n,): 0 inner .. 1 outer.
    direction (n, 3): of the roots from the skull's centre.  scalp_mm (n,): distance of the roots to the hairline.
    """
    front, low = smoothstep(-0.3, 0.2, direction[:, 2]), smoothstep(0.2, 0.0, direction[:, 1])
    shows = np.maximum(front, low) if style.cropped else front
    outer = smoothstep(0.62, 0.75, layer) if style.cropped else smoothstep(0.70, 0.82, layer)
    fine = np.maximum(outer, smoothstep(30.0 if style.cropped else 20.0, 8.0, scalp_mm) * shows)
    fine = np.maximum(fine, float(style.stubble))
    cover = (_STUBBLE_ALPHA if style.stubble else _FINE_ALPHA) * smoothstep(-3.0, 9.0, scalp_mm)
    return fine, 1.0 - fine * (1.0 - cover)
