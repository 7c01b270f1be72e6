"""Glasses, hands and loose locks in front of the face;

they belong to the scene and follow the picture's owner. Ours.
"""

import math

import numpy as np

from faces.compiled import kernel
from faces.synthetic import glasses, shading
from faces.synthetic.anatomy import Anatomy
from faces.synthetic.face_hair import Surface
from faces.synthetic.lighting import Rig
from faces.synthetic.posing import Posed, to_pixels
from faces.synthetic.scene import Scene


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
    worn: glasses.Glasses | None, colour: np.ndarray, depth_mm: np.ndarray, ids: np.ndarray, posed: Posed, scene: Scene,
    rig: Rig, anatomy: Anatomy, skin_linear: np.ndarray,
) -> None:  # fmt: skip
    """Draw the scene's glasses and hand over the samples, in place. skin_linear: of the picture's owner."""
    if worn is not None:
        glasses.draw(worn, colour, depth_mm, ids, posed, rig)
    if scene.occluder == "hand":
        _hand(colour, depth_mm, ids, posed, scene, rig, anatomy, skin_linear)


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
