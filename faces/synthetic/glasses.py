"""Glasses: frames as tubes, nose pads, temples to the ears, lenses that tint and mirror, and their shadow. Ours.

Everything is rigid with the head of the picture's owner. What the old pictures fixed (kind, colour of the frame) is in
the scene; the rest is drawn from a stream of its own.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from faces.synthetic import ribbons, shading
from faces.synthetic.anatomy import Anatomy
from faces.synthetic.lighting import Rig, ShadowView
from faces.synthetic.numerics import random_stream, smoothstep
from faces.synthetic.posing import Posed, to_pixels
from faces.synthetic.scene import Scene
from faces.synthetic.solids import Solid, draw_solid, joined, soft_shadow, tube
from faces.synthetic.windows import window_of

_STREAM = 0x61A5
#: Points of an outline.
RIM = 44
#: Air between temples and skin, and where they end: so far below the ear's top and behind its front, mm.
_TEMPLE_AIR_MM, _BELOW_EAR_MM, _BEHIND_EAR_MM = 0.6, 7.0, 14.0


@dataclass(frozen=True)
class _Kind:
    """Lens: half width and half height (mm), exponent of the superellipse. Frame: thickness, depth and height of the

    temples (mm), how square its section is, gloss, and whether it stands on nose pads.
    """

    half_width: float
    half_height: float
    power: float
    thickness: float
    depth: float
    temple: float
    squareness: float
    gloss: float
    pads: bool


_KINDS = {
    "round": _Kind(23.0, 21.0, 2.0, 2.2, 2.0, 1.9, 2.0, 0.9, True),
    "square": _Kind(26.0, 18.5, 3.6, 3.4, 3.8, 5.2, 3.2, 0.45, False),
    "thin": _Kind(25.0, 16.0, 2.8, 1.5, 1.8, 2.2, 2.0, 1.0, True),
    "sunglasses": _Kind(28.5, 22.0, 2.7, 2.8, 3.4, 5.6, 3.0, 0.5, False),
}
#: Tints of clear lenses and of sunglasses, share of the light that they let through (linear RGB).
_CLEAR = ((0.96, 0.97, 0.97), (0.95, 0.97, 0.95), (0.97, 0.96, 0.94), (0.93, 0.95, 0.98))
_DARK = ((0.035, 0.034, 0.033), (0.045, 0.028, 0.016), (0.024, 0.032, 0.022), (0.020, 0.024, 0.034))


@dataclass(frozen=True)
class Glasses:
    """Glasses of one scene on one head, head frame, mm.

    Attributes:
        rims: two (RIM, 3) outlines of the lenses, closed.  lines: (n, 3) middles of the bridge and both temples.
        frame: the front.  temples.  pads: None for frames that rest on the nose themselves.
        thickness_mm: of the rim.  dark: whether the lenses hide what is behind.
        tint: (3,) share of light through the lens.  streak: 0..1 place of the reflection, drawn.
    """

    rims: list[np.ndarray]
    lines: list[np.ndarray]
    frame: Solid
    temples: Solid
    pads: Solid | None
    thickness_mm: float
    dark: bool
    tint: np.ndarray
    streak: float


def glasses_of(posed: Posed, scene: Scene, anatomy: Anatomy) -> Glasses | None:
    """The scene's glasses on the owner's head; None without any."""
    if scene.glasses == "none":
        return None
    kind, rng = _KINDS[scene.glasses], random_stream(_STREAM, scene.seed)
    dark = scene.glasses == "sunglasses"
    rims, bridge, temples = _middles(posed, anatomy, kind)
    colour = np.array(scene.glasses_linear)
    brow = 0.28 if kind.squareness > 2.5 else 0.0
    half = np.array([kind.depth, kind.thickness]) / 2
    toward = np.array([0.0, 0.0, 1.0])
    front = []
    for rim in rims:
        thicker = 1.0 + brow * (rim[:, 1:2] - rim[:, 1].mean()) / kind.half_height
        front.append(
            tube(rim, toward, half * np.concatenate([np.ones_like(thicker), thicker], 1), kind.squareness, True)
        )
    front.append(tube(bridge, toward, np.array([kind.depth, 1.15 * kind.thickness]) / 2, kind.squareness))
    taper = np.linspace(1.0, 0.62, len(temples[0]))[:, None]
    bars = [tube(line, np.array([0.0, 1.0, 0.0]), _bar_mm(kind) * taper, kind.squareness) for line in temples]
    return Glasses(
        rims, [bridge, *temples], joined(front, colour, kind.gloss), joined(bars, colour, 0.8 * kind.gloss),
        _pads(rims) if kind.pads else None, kind.thickness, dark,
        np.array((_DARK if dark else _CLEAR)[int(rng.integers(4))]), float(rng.random()),
    )  # fmt: skip


def _outline(centre: np.ndarray, sign: float, kind: _Kind, t: np.ndarray) -> np.ndarray:
    """(n, 3) points of one lens's outline at the angles t, head frame; 0 is the temple's side."""
    c, s = np.cos(t), np.sin(t)
    x = np.sign(c) * np.abs(c) ** (2 / kind.power) * kind.half_width * sign
    y = np.sign(s) * np.abs(s) ** (2 / kind.power) * kind.half_height * (1.0 - 0.06 * (s < 0)) - 3.0
    away = np.abs(centre[0] + x)
    z = centre[2] + 21.0 - 0.0042 * away**2
    return np.stack([centre[0] + x, centre[1] + y, z], 1)


def _rim(centre: np.ndarray, sign: float, kind: _Kind) -> np.ndarray:
    """(RIM, 3) closed outline of one lens in even steps, head frame."""
    dense = _outline(centre, sign, kind, np.linspace(0, 2 * np.pi, 181))
    way = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(dense, axis=0), axis=1))])
    even = np.linspace(0, way[-1], RIM + 1)[:-1]
    return np.stack([np.interp(even, way, column) for column in dense.T], 1)


def _middles(posed: Posed, anatomy: Anatomy, kind: _Kind) -> tuple[list[np.ndarray], np.ndarray, list[np.ndarray]]:
    """Outlines of both lenses, and the middle lines of the bridge and of both temples, head frame."""
    rims, temples = [], []
    centres = [posed.owner_mm[anatomy.eye_of == eye].mean(0) for eye in (0, 1)]
    for centre, sign in zip(centres, (-1.0, 1.0), strict=True):
        centre = centre + np.array([1.5 * sign, 0.0, 0.0])
        rim = _rim(centre, sign, kind)
        rims.append(rim)
        hinge = _outline(centre, sign, kind, np.array([0.4]))
        temples.append(np.concatenate([hinge, _temple(hinge[0], sign, posed, anatomy, kind)]))
    inner = [rim[np.argmin(np.abs(rim[:, 0]) + 0.35 * np.abs(rim[:, 1] - rim[:, 1].max() + 8))] for rim in rims]
    t = np.linspace(0, 1, 14)[:, None]
    return rims, inner[0] * (1 - t) + inner[1] * t + np.array([0.0, 2.5, 2.5]) * np.sin(np.pi * t), temples


def _temple(hinge: np.ndarray, sign: float, posed: Posed, anatomy: Anatomy, kind: _Kind) -> np.ndarray:
    """(24, 3) middle line of one temple, from its corner by the hinge to the root of the ear, head frame.

    A bar that touches the head where that is widest and is straight between: seen from above it is the convex line
    round the skin.
    """
    ear = posed.owner_mm[anatomy.mesh.is_piece("ear") & (sign * anatomy.mesh.points[:, 0] > 0)]
    corner, t = hinge + np.array([2.0 * sign, 2.0, -1.0]), np.linspace(0, 1, 24)[:, None]
    end = np.array([corner[0], ear[:, 1].max() - _BELOW_EAR_MM, ear[:, 2].max() - _BEHIND_EAR_MM])
    line = corner * (1 - t) + end * t
    skin = anatomy.mesh.is_piece("skin") & (sign * anatomy.mesh.points[:, 0] > 20)
    wide = _half_width(line[:, 1:], sign * posed.owner_mm[skin][:, 0], posed.owner_mm[skin][:, 1:])
    wide = wide + _bar_mm(kind)[1] + _TEMPLE_AIR_MM
    wide[0] = max(wide[0], sign * corner[0])
    line[:, 0] = sign * _convex(-line[:, 2], wide)
    return line


def _bar_mm(kind: _Kind) -> np.ndarray:
    """(2,) half height and half width of a temple, mm."""
    return np.array([kind.temple, max(1.4, 0.45 * kind.temple)]) / 2


def _half_width(places: np.ndarray, outward: np.ndarray, skin: np.ndarray) -> np.ndarray:
    """(n,) mm from the head's middle to its skin beside places (n, 2) of height and depth.

    outward (V,): the skin's distances.  skin (V, 2): its heights and depths.
    """
    away = ((places[:, None] - skin[None]) ** 2).sum(2)
    near = np.argpartition(away, 6, axis=1)[:, :6]
    return outward[near].max(1)


def _convex(way: np.ndarray, wide: np.ndarray) -> np.ndarray:
    """Least concave line over (way, wide) (n,), way rising: what a thread drawn tight round the points would do."""
    kept: list[int] = []
    for k in range(len(way)):
        while len(kept) > 1:
            i, j = kept[-2:]
            if (wide[j] - wide[i]) * (way[k] - way[i]) > (wide[k] - wide[i]) * (way[j] - way[i]):
                break
            kept.pop()
        kept.append(k)
    return np.interp(way, way[kept], wide[kept])


def _pads(rims: list[np.ndarray]) -> Solid:
    """Two small pale pads between the rims and the nose, each on a short arm."""
    pads = []
    t = np.linspace(0, 1, 7)[:, None]
    for rim in rims:
        inner = rim[np.argmin(np.abs(rim[:, 0]) + 0.6 * np.abs(rim[:, 1] - rim[:, 1].mean() + 3.0))]
        side = np.sign(inner[0])
        top = inner + np.array([-2.6 * side, 1.5, -1.5])
        path = top + np.array([1.6 * side, -9.0, -1.5]) * t
        round_ = np.sqrt(np.clip(1 - (2 * t - 1) ** 2, 0.05, 1))
        pads.append(tube(path, np.array([0.0, 0.0, 1.0]), np.array([2.2, 1.2]) * round_))
        pads.append(tube(inner * (1 - t) + path[3] * t, np.array([0.0, 0.0, 1.0]), np.array([0.45, 0.45])))
    return joined(pads, np.array([0.42, 0.40, 0.37]), 0.8)


def cast(glasses: Glasses, posed: Posed, view: ShadowView, depth: np.ndarray) -> None:
    """Add the glasses to the key lamp's shadow map (side, side) float32, in place."""
    rims = [view.project(posed.to_world(np.concatenate([rim, rim[:1]]).astype(np.float32))) for rim in glasses.rims]
    if glasses.dark:
        for rim in rims:
            inside = np.zeros(depth.shape, np.uint8)
            cv2.fillPoly(inside, [np.round(rim[:, :2] * 16 - 8).astype(np.int32)], 1, cv2.LINE_8, 4)
            depth[inside > 0] = np.minimum(depth[inside > 0], rim[:, 2].mean())
    lines = [view.project(posed.to_world(line.astype(np.float32))) for line in glasses.lines]
    width = float(np.float32(glasses.thickness_mm * view.scale))
    for line in [*rims, *lines]:
        ribbons.draw_strand_depth(depth, line[None], width)


def draw(glasses: Glasses, colour: np.ndarray, depth_mm: np.ndarray, ids: np.ndarray, posed: Posed, rig: Rig) -> None:
    """Draw the glasses over the samples, in place: soft shadow, what the lenses show or hide, lenses, front."""
    camera = posed.camera.resized(len(ids))
    mm = camera.focal_px / float(posed.translation_mm[2])
    rims = [to_pixels(posed.to_world(rim.astype(np.float32)), camera) for rim in glasses.rims]
    _shade_below(glasses, colour, ids, rims, mm)
    _draw_part(glasses.pads, colour, depth_mm, ids, posed, rig, 0.5)
    _draw_part(glasses.temples, colour, depth_mm, ids, posed, rig, 1.5)
    for rim in rims:
        _lens(glasses, colour, depth_mm, ids, rim, rig)
    _draw_part(glasses.frame, colour, depth_mm, ids, posed, rig, 3.0)


def _draw_part(
    solid: Solid | None, colour: np.ndarray, depth_mm: np.ndarray, ids: np.ndarray, posed: Posed, rig: Rig,
    bias_mm: float,
) -> None:  # fmt: skip
    """Draw one part over the samples, in place; bias_mm: how far it may lie behind what is there."""
    if solid is not None:
        pixels = to_pixels(posed.to_world(solid.points), posed.camera.resized(len(ids)))
        normals = solid.normals @ posed.turn.T.astype(np.float32)
        draw_solid(colour, depth_mm, ids, solid, pixels, normals, rig, bias_mm, shading.ID_GLASSES)


def _shade_below(glasses: Glasses, colour: np.ndarray, ids: np.ndarray, rims: list[np.ndarray], mm: float) -> None:
    """What the frame hides of the sky, a few mm below it on brows, nose and cheeks. mm: samples per mm."""
    cover = np.zeros(ids.shape, np.uint8)
    width = max(1, round(glasses.thickness_mm * mm))
    for rim in rims:
        outline = [np.round(rim[:, :2] * 16 - 8).astype(np.int32)]
        cv2.polylines(cover, outline, True, 1, width, cv2.LINE_8, 4)
        if glasses.dark:
            cv2.fillPoly(cover, outline, 1, cv2.LINE_8, 4)
    spared = (ids == shading.ID_NONE) | (ids == shading.ID_HAIR)
    soft_shadow(colour, cover, spared, 2.6 * mm, (0.0, 3.0 * mm), 0.42)


def _lens(
    glasses: Glasses, colour: np.ndarray, depth_mm: np.ndarray, ids: np.ndarray, rim: np.ndarray, rig: Rig
) -> None:
    """Tint what lies behind one lens and mirror the surroundings in it; a dark one hides it. Hair may lie before it."""
    window = window_of(rim, ids.shape, 1.0)
    if window is None:
        return
    part = window.part
    cover, owners, behind = np.zeros(ids[part].shape, np.uint8), ids[part], colour[part]
    corner = np.array([window.left, window.top])
    cv2.fillPoly(cover, [np.round((rim[:, :2] - corner) * 16 - 8).astype(np.int32)], 1, cv2.LINE_8, 4)
    low, high = rim[:, :2].min(0) - corner, rim[:, :2].max(0) - corner
    y, x = np.mgrid[0 : window.bottom - window.top, 0 : window.right - window.left].astype(np.float32)
    lens_mm = _plane_mm(rim - np.array([window.left, window.top, 0.0]), x, y)
    inside = (cover > 0) & ((owners != shading.ID_HAIR) | (depth_mm[part] > lens_mm))
    if not glasses.dark:
        inside &= owners != shading.ID_NONE
    x, y = (2 * (x + 0.5 - low[0]) / (high - low)[0] - 1), (1 - 2 * (y + 0.5 - low[1]) / (high - low)[1])
    shown = _dark_lens(glasses, behind, x, y, rig) if glasses.dark else _clear_lens(glasses, behind, x, y, rig)
    behind[inside] = shown[inside]
    if glasses.dark:
        owners[inside] = shading.ID_GLASSES
        depth_mm[part][inside] = np.minimum(depth_mm[part], lens_mm)[inside]


def _plane_mm(rim: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Depth (H, W) at samples x, y (H, W) of the plane through a rim (n, 3) of samples right, down and depth in mm."""
    places = np.column_stack([rim[:, :2], np.ones(len(rim))])
    right, down, first = np.linalg.lstsq(places, 1.0 / rim[:, 2], rcond=None)[0]
    return (1.0 / (right * x + down * y + first)).astype(np.float32)


def _band(x: np.ndarray, y: np.ndarray, place: float, width: float) -> np.ndarray:
    """(H, W) 0..1 slanted band of a window's reflection across a lens; x, y -1..1."""
    along = 0.85 * x + 0.52 * y
    return smoothstep(place - width, place - width + 0.08, along) * smoothstep(
        place + width, place + width - 0.08, along
    )


def _clear_lens(glasses: Glasses, behind: np.ndarray, x: np.ndarray, y: np.ndarray, rig: Rig) -> np.ndarray:
    """Light through a clear lens, with a faint sky above and one slanted band."""
    side, place = float(np.sign(rig.lamps[0, 0]) or 1.0), 0.1 + 0.7 * glasses.streak
    band = _band(side * x, y, place, 0.10) + 0.6 * _band(side * x, y, place - 0.22, 0.035)
    mirror = 0.003 + 0.016 * smoothstep(0.1, 1.1, y) + 0.040 * band * smoothstep(-0.7, 0.6, y)
    edge = 1.0 - 0.16 * smoothstep(0.84, 1.04, np.hypot(x, y))
    light = rig.ambient[0] + 0.35 * rig.lamps[0, 3:6]
    return behind * (glasses.tint * edge[..., None]) + mirror[..., None] * light


def _dark_lens(glasses: Glasses, behind: np.ndarray, x: np.ndarray, y: np.ndarray, rig: Rig) -> np.ndarray:
    """A dark lens, clearer below: mirrored sky over a bent horizon and ground, and the key lamp's soft spot."""
    clear = smoothstep(0.5, -1.1, y)[..., None]
    skyline = (
        y + 0.18 * x * x + 0.06 * np.sin(5.0 * x + 9.0 * glasses.streak) + 0.04 * np.sin(13.0 * x + glasses.streak)
    )
    horizon = smoothstep(-0.22, 0.16, skyline - 0.35 + 0.5 * glasses.streak)[..., None]
    sky = rig.ambient[0] * (0.018 + 0.080 * smoothstep(1.2, -0.2, y))[..., None]
    ground = rig.ambient[1] * (0.012 + 0.030 * smoothstep(0.2, -1.0, y))[..., None]
    spot = np.exp(-((x - 0.55 * rig.lamps[0, 0]) ** 2 + 1.8 * (y - 0.62) ** 2) / 0.035)[..., None] * rig.lamps[0, 3:6]
    return behind * glasses.tint * (0.5 + 3.0 * clear) + ground + horizon * (sky - ground) + 0.08 * spot + 0.002
