"""The ear of the built-in head: a folded shell over a planar outline. Ours.

Ear plane: p runs from the root at the cheek (0) backwards, q upwards, millimetres; the outline is a table, the relief
(helix, antihelix with its two legs, concha, tragus, antitragus, lobe) is a sum of named ridges and hollows.
"""

import numpy as np

from faces.morphable.builtin_layout import catmull_rom
from faces.morphable.builtin_parts import Piece, grid_triangles
from faces.morphable.builtin_surface import to_line

#: outline (p, q) from the root of the helix over the top and the back to the lobe and its joint with the cheek.
OUTLINE = (
    (1.0, 10.0), (0.8, 18.0), (3.0, 25.5), (9.0, 31.0), (17.5, 33.2), (26.0, 30.6), (32.0, 24.0), (34.6, 15.0),
    (34.2, 5.0), (32.2, -5.0), (28.6, -14.0), (24.0, -21.5), (18.6, -27.2), (12.2, -30.0), (6.4, -28.6), (3.4, -24.0),
    (1.6, -18.0), (0.4, -10.0), (0.0, -2.0), (0.4, 5.0),
)  # fmt: skip
CENTRE = (13.5, 2.0)
#: ridges and hollows: (polyline of (p, q)), height mm, half-width mm.
RELIEF: tuple[tuple[tuple[tuple[float, float], ...], float, float], ...] = (
    (
        ((19.0, -14.0), (24.0, -11.5), (27.2, -6.0), (28.0, 2.0), (26.4, 10.0), (21.5, 17.0), (17.0, 22.0)),
        3.4,
        3.6,
    ),  # antihelix
    (((22.0, 15.0), (15.0, 16.0), (9.5, 14.5)), 1.8, 2.6),  # its lower leg
    (((1.6, -8.0), (3.4, -4.0), (3.0, 0.0)), 4.6, 3.0),  # tragus
    (((11.5, -4.0), (15.0, -6.0)), -6.5, 6.5),  # concha
    (((13.0, 7.5), (19.0, 6.0)), -4.5, 4.6),  # upper concha
    (((29.6, 2.0), (28.6, 14.0), (22.5, 24.0), (14.0, 27.0)), -1.8, 2.4),  # groove under the helix
    (((10.0, -13.0), (12.0, -16.0)), -2.2, 3.0),  # notch
    (((11.0, -23.0), (16.0, -20.0)), 1.4, 5.0),  # lobe
)
RINGS = np.array([0.0, 0.12, 0.24, 0.36, 0.47, 0.57, 0.66, 0.74, 0.81, 0.87, 0.92, 0.96, 1.0])
STEPS = 64


def _relief(plane: np.ndarray, ring: np.ndarray) -> np.ndarray:
    height = np.zeros(len(plane))
    for line, rise, half_width in RELIEF:
        height += rise * np.exp(-((to_line(plane, np.array(line)) / half_width) ** 2))
    lobe = np.clip((plane[:, 1] + 12) / 10, 0, 1)  # the helix fades out into the lobe
    front = np.clip((plane[:, 0] - 2.0) / 6, 0, 1) * 0.75 + 0.25
    rim = np.exp(-(((ring - 0.93) / 0.075) ** 2))
    sink = 5.0 * np.exp(-((np.clip(plane[:, 0], 0, None) / 2.6) ** 2))
    return height + 3.8 * rim * lobe * front - sink


def place(plane: np.ndarray, height: np.ndarray) -> np.ndarray:
    """Ear plane (V, 2) and height over it (V,) -> (V, 3) head frame: turned out from the skull and tilted back."""
    p, q = plane[:, 0], plane[:, 1]
    out, tilt = np.radians(20.0), np.radians(9.0)
    p, q = p * np.cos(tilt) - (q) * np.sin(tilt) * -1.0, q * np.cos(tilt) - p * np.sin(tilt)
    back, side = p * np.cos(out) - height * np.sin(out), p * np.sin(out) + height * np.cos(out)
    curve = 0.0042 * (q - 4) ** 2  # top and lobe lean towards the skull
    return np.stack([70.2 + side - curve + 0.02 * q, q - 12.5, -71.0 - back], 1)


def ear() -> Piece:
    """The left ear: front sheet, rolled rim, back sheet sunk into the skull. `local` = ear-plane (p, q)."""
    outline = catmull_rom(np.array(OUTLINE), STEPS, closed=True)
    centre = np.array(CENTRE)
    sheets, planes = [], []
    for t in RINGS[1:]:
        plane = centre + (outline - centre) * t
        sheets.append(place(plane, _relief(plane, np.full(STEPS, t))))
        planes.append(plane)
    rim = _relief(outline, np.ones(STEPS))
    for t, keep, drop in (
        (1.015, 0.8, -0.9),
        (1.0, 0.6, -2.2),
        (0.94, 0.35, -3.4),
        (0.8, 0.15, -4.8),
        (0.5, 0.0, -9.0),
    ):
        plane = centre + (outline - centre) * t
        sheets.append(place(plane, np.minimum(rim, rim * keep) + drop))
        planes.append(plane)
    points = np.concatenate([place(centre[None], _relief(centre[None], np.zeros(1))), *sheets])
    body = grid_triangles(len(sheets), STEPS, closed=True) + 1
    i = np.arange(STEPS)
    cap = np.stack([np.zeros_like(i), (i + 1) % STEPS + 1, i + 1], 1)
    return Piece(points, np.concatenate([cap, body]), "ear", np.concatenate([centre[None], *planes]))
