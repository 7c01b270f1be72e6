"""Hair styles as numbers: lengths by region, combing, bend, curl. Ours; lengths in mm."""

from dataclasses import dataclass


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
    strands: int
    width: float
    steps: int
    bun: bool = False
    taper: float = 0.0


STYLES: dict[str, Style] = {
    "buzz": Style(7, 4, 5, 6, "crown", 0.8, 30, 0.0, 2.0, 0.2, 20, 0.3, 0, 4200, 0.75, 4, taper=0.5),
    "short": Style(42, 15, 18, 36, "crown", 0.45, 60, 0.12, 9.0, 1.2, 40, 1.0, 0, 4200, 1.15, 8, taper=0.6),
    "side_part": Style(75, 20, 20, 68, "part", 0.38, 90, 0.12, 9.0, 1.0, 60, 0.7, 0, 4200, 1.2, 10, taper=0.6),
    "quiff": Style(62, 12, 14, 58, "back", 0.72, 70, 0.10, 12.0, 1.0, 60, 0.9, 0, 4200, 1.2, 9, taper=0.7),
    "pixie": Style(58, 38, 30, 52, "part", 0.36, 60, 0.25, 10.0, 1.6, 50, 1.2, 0, 4200, 1.25, 9, taper=0.2),
    "afro": Style(46, 42, 40, 40, "up", 0.95, 80, 0.0, 26.0, 3.6, 9, 3.2, 0, 4600, 1.25, 12),
    "curly": Style(95, 100, 105, 80, "part", 0.55, 30, 0.55, 17.0, 5.5, 24, 3.0, 0.9, 3200, 1.35, 20),
    "bob": Style(135, 125, 95, 130, "part", 0.32, 40, 0.75, 11.0, 1.2, 90, 0.8, 1.0, 3600, 1.35, 14),
    "long_straight": Style(280, 270, 255, 270, "part", 0.30, 40, 0.85, 11.0, 1.6, 140, 0.9, 1.0, 3400, 1.5, 22),
    "long_wavy": Style(270, 255, 240, 255, "part", 0.38, 40, 0.75, 15.0, 6.0, 62, 2.0, 1.0, 3400, 1.5, 26),
    "fringe": Style(260, 250, 235, 62, "crown", 0.32, 60, 0.80, 11.0, 1.2, 120, 0.7, 1.0, 3600, 1.45, 22),
    "bun": Style(120, 105, 100, 125, "back", 0.10, 300, 0.0, 5.0, 0.8, 90, 0.5, 0, 3600, 1.2, 10, bun=True),
}
