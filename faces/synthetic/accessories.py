"""Glasses, hands and loose locks in front of the face;

they belong to the scene and follow the picture's owner. Ours.
"""

import math

import cv2
import numpy as np

from faces.compiled import kernel
from faces.synthetic import ribbons, shading
from faces.synthetic.anatomy import Anatomy
from faces.synthetic.face_hair import Surface
from faces.synthetic.lighting import Rig
from faces.synthetic.numerics import unit
from faces.synthetic.posing import Posed, to_pixels
from faces.synthetic.scene import Scene

#: Lens of each kind: half width, half height (mm), exponent of the superellipse, thickness of the frame (mm).
_LENSES = {
    "round": (23.0, 21.0, 2.0, 2.2),
    "square": (26.0, 18.5, 3.6, 3.2),
    "thin": (25.0, 16.0, 2.8, 1.2),
    "sunglasses": (28.5, 22.0, 2.7, 2.4),
}


@kernel
def draw_balls(
    picture: np.ndarray, depth_mm: np.ndarray, ids: np.ndarray, balls: np.ndarray, radius_mm: np.ndarray,
    focal_px: float, albedo: np.ndarray, lamps: np.ndarray, ambient: np.ndarray, identity: int,
) -> None:  # fmt: skip
    """Draw lit spheres in place; a row of them makes a finger. balls (n, 3): u, v in samples and depth in mm."""
    height, width = depth_mm.shape
    for i in range(balls.shape[0]):
        u, v, z = balls[i, 0], balls[i, 1], balls[i, 2]
        r = radius_mm[i] * focal_px / z
        for y in range(max(0, int(v - r)), min(height, int(v + r) + 2)):
            for x in range(max(0, int(u - r)), min(width, int(u + r) + 2)):
                nx, ny = (x + 0.5 - u) / r, -(y + 0.5 - v) / r
                flat = nx * nx + ny * ny
                if flat >= 1.0:
                    continue
                nz = math.sqrt(1.0 - flat)
                near = z - radius_mm[i] * nz
                if near >= depth_mm[y, x]:
                    continue
                depth_mm[y, x] = near
                ids[y, x] = identity
                up = 0.5 + 0.5 * ny
                for c in range(3):
                    light = ambient[0, c] * up + ambient[1, c] * (1 - up)
                    for j in range(lamps.shape[0]):
                        cosine = nx * lamps[j, 0] + ny * lamps[j, 1] + nz * lamps[j, 2]
                        light += lamps[j, 3 + c] * max(0.0, (cosine + 0.25) / 1.25)
                    picture[y, x, c] = albedo[c] * light * (0.55 + 0.45 * nz)


def draw(
    colour: np.ndarray, depth_mm: np.ndarray, ids: np.ndarray, posed: Posed, scene: Scene, rig: Rig, anatomy: Anatomy,
    skin_linear: np.ndarray,
) -> None:  # fmt: skip
    """Draw the scene's glasses and hand over the samples, in place. skin_linear: of the picture's owner."""
    if scene.glasses != "none":
        _glasses(colour, depth_mm, ids, posed, scene, rig, anatomy)
    if scene.occluder == "hand":
        _hand(colour, depth_mm, ids, posed, scene, rig, anatomy, skin_linear)


def _rim(centre: np.ndarray, sign: float, kind: str) -> np.ndarray:
    """(48, 3) closed outline of one lens, head frame."""
    half_width, half_height, power, _ = _LENSES[kind]
    t = np.linspace(0, 2 * np.pi, 48)
    c, s = np.cos(t), np.sin(t)
    x = np.sign(c) * np.abs(c) ** (2 / power) * half_width * sign
    y = np.sign(s) * np.abs(s) ** (2 / power) * half_height * (1.0 - 0.06 * (s < 0)) - 3.0
    away = np.abs(centre[0] + x)
    z = centre[2] + 21.0 - 0.0042 * away**2
    return np.stack([centre[0] + x, centre[1] + y, z], 1)


def _frame_lines(posed: Posed, anatomy: Anatomy, kind: str) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Outlines of both lenses, and the open lines of bridge and temples, head frame."""
    rims, lines = [], []
    centres = [posed.owner_mm[anatomy.eye_of == eye].mean(0) for eye in (0, 1)]
    reach = np.abs(posed.owner_mm[anatomy.mesh.is_piece("ear")][:, 0]).min()
    for centre, sign in zip(centres, (-1.0, 1.0), strict=True):
        centre = centre + np.array([1.5 * sign, 0.0, 0.0])
        rim = _rim(centre, sign, kind)
        rims.append(rim)
        corner = rim[3] + np.array([2.0 * sign, 2.0, -1.0])
        ear = np.array([sign * (reach + 1.0), centre[1] + 4.0, -92.0])
        t = np.linspace(0, 1, 24)[:, None]
        bow = corner * (1 - t) + ear * t + np.array([sign * 5.0, 0, 0]) * np.sin(np.pi * np.minimum(1, t * 1.5))
        lines.append(np.concatenate([rim[3:4], bow]))
    inner = [rim[np.argmin(np.abs(rim[:, 0]) + 0.35 * np.abs(rim[:, 1] - rim[:, 1].max() + 8))] for rim in rims]
    t = np.linspace(0, 1, 14)[:, None]
    lines.append(inner[0] * (1 - t) + inner[1] * t + np.array([0.0, 2.5, 2.5]) * np.sin(np.pi * t))
    return rims, lines


def _glasses(
    colour: np.ndarray, depth_mm: np.ndarray, ids: np.ndarray, posed: Posed, scene: Scene, rig: Rig, anatomy: Anatomy
) -> None:
    rims, lines = _frame_lines(posed, anatomy, scene.glasses)
    camera = posed.camera.resized(len(ids))
    _lens(colour, ids, [to_pixels(posed.to_world(rim.astype(np.float32)), camera) for rim in rims], scene, rig)
    thickness = _LENSES[scene.glasses][3]
    for line, share in [(rim, 1.0) for rim in rims] + [(line, 0.9) for line in lines]:
        world = posed.to_world(line.astype(np.float32))
        pixels = to_pixels(world, camera)
        normal = unit(np.gradient(world, axis=0)[:, [1, 0, 2]] * np.array([-1.0, 1.0, 0.0]) + np.array([0, 0.3, 0.8]))
        light = np.tile(rig.ambient.mean(0), (len(line), 1))
        glint = np.zeros((len(line), 1))
        for lamp in rig.lamps[:2]:
            light = light + np.maximum(normal @ lamp[:3], 0.1)[:, None] * lamp[3:6]
            glint += (np.maximum(normal @ unit(lamp[:3] + np.array([0, 0, 1.0])), 0) ** 24)[:, None]
        shade = np.array(scene.glasses_linear) * light + 0.10 * glint * light
        width = thickness * share * camera.focal_px / pixels[:, 2]
        ribbons.draw_strands(
            colour, depth_mm, ids, pixels[None].astype(np.float32), width[None].astype(np.float32),
            shade[None].astype(np.float32), np.ones(1, np.float32), 3.0, shading.ID_GLASSES,
            np.ones((1, len(line) - 1), bool),
        )  # fmt: skip


def _lens(colour: np.ndarray, ids: np.ndarray, rims_px: list[np.ndarray], scene: Scene, rig: Rig) -> None:
    """Tint what lies behind the lenses; dark ones hide it."""
    cover = np.zeros(ids.shape, np.uint8)
    for rim in rims_px:
        cv2.fillPoly(cover, [np.round(rim[:, :2] * 16 - 8).astype(np.int32)], 1, cv2.LINE_8, 4)
    inside = (cover > 0) & (ids != shading.ID_HAIR) & (ids != shading.ID_NONE)
    if not inside.any():
        return
    sky = rig.ambient[0]
    if scene.glasses == "sunglasses":
        row = np.flatnonzero(inside.any(1))
        fade = np.clip((np.arange(len(ids)) - row[0]) / max(1, row[-1] - row[0]), 0, 1)[:, None, None]
        mirror = sky * (0.09 - 0.06 * fade) + 0.006
        colour[inside] = (colour * (0.02 + 0.06 * fade) + mirror)[inside]
        ids[inside] = shading.ID_GLASSES
    else:
        colour[inside] = colour[inside] * 0.95 + 0.012 * sky


def _hand(
    colour: np.ndarray, depth_mm: np.ndarray, ids: np.ndarray, posed: Posed, scene: Scene, rig: Rig, anatomy: Anatomy,
    skin_linear: np.ndarray,
) -> None:  # fmt: skip
    """Four fingers that rest on the cheek, and the heel of the hand below the jaw."""
    side = scene.occluder_side
    rng = np.random.Generator(np.random.PCG64(scene.seed ^ 0x4A4D))
    surface = Surface(anatomy, posed.owner_mm, posed.owner_normals)
    shift = rng.uniform(-6, 10)
    centres, radii = [], []
    for finger, (length, radius) in enumerate(((58.0, 8.0), (70.0, 8.6), (64.0, 8.4), (48.0, 7.6))):
        t = np.linspace(0, 1, 90)
        a = side * (38 + 15.5 * finger + shift + 6 * t)
        b = -122 + 4 * finger + length * t
        lift = radius * (0.8 + 1.2 * (1 - t) ** 2)
        points, _, _ = surface.at(np.stack([a, b], 1), lift)
        even = np.convolve(np.ones(90), np.ones(13), "same")[:, None]
        centres.append(np.stack([np.convolve(c, np.ones(13), "same") for c in points.T], 1) / even)
        radii.append(radius * (1.0 - 0.16 * t - 0.03 * np.cos(t * 13)) * np.sqrt(np.clip((1.06 - t) / 0.12, 0.3, 1)))
    knuckles = np.stack([c[0] for c in centres])
    down = np.linspace(0, 1, 60)
    for k in range(4):
        wrist = knuckles.mean(0) + np.array([side * 22.0, -85.0, 6.0])
        centres.append(knuckles[k] + (wrist - knuckles[k]) * down[:, None])
        radii.append(9.5 + 8.0 * down)
    points = np.concatenate(centres)
    camera = posed.camera.resized(len(ids))
    balls = to_pixels(posed.to_world(points.astype(np.float32)), camera)
    draw_balls(
        colour, depth_mm, ids, balls, np.concatenate(radii), camera.focal_px, skin_linear.astype(np.float64),
        rig.lamps, rig.ambient, shading.ID_OCCLUDER,
    )  # fmt: skip
