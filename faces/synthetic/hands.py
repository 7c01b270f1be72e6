"""A hand that rests on the face: palm, four fingers and a thumb with joints, wrist and forearm as rows of balls. Ours.

The hand is laid on the skin of the picture's owner, so it is the same in a picture and in its true swaps. Its pose
comes from a stream of its own. hand_shading.py gives it colour.
"""

from dataclasses import dataclass

import numpy as np

from faces.compiled import kernel
from faces.synthetic.anatomy import Anatomy
from faces.synthetic.face_hair import Surface
from faces.synthetic.numerics import random_stream, unit
from faces.synthetic.posing import Posed
from faces.synthetic.scene import Scene

_STREAM = 0x4A4E
THUMB, PALM = 4, 5


@dataclass(frozen=True)
class _Pose:
    """Where the middle fingertip is on the face's layout (a outwards, b up, mm), which way the fingers point (degrees

    from outwards), how far they spread and bend (degrees).
    """

    a: float
    b: float
    heading: float
    spread: float
    bend: float


_POSES = {
    "cheek": _Pose(56.0, -40.0, 97.0, 5.0, 11.0),
    "jaw": _Pose(40.0, -62.0, 116.0, 4.0, 15.0),
    "temple": _Pose(74.0, -8.0, 92.0, 6.0, 9.0),
    "chin": _Pose(22.0, -84.0, 138.0, 3.5, 17.0),
}
#: Little to index finger: how far its knuckle lies across the palm and behind the middle one's, its length and its
#: radius at the knuckle, mm.
_FINGERS = ((-31.0, -13.0, 57.0, 8.0), (-11.0, -3.5, 70.0, 8.9), (9.0, 0.0, 76.0, 9.3), (29.0, -4.0, 68.0, 9.2))
#: Share of a finger's length from the tip to each joint, and the radius there beside that at the knuckle.
_JOINTS, _THICKNESS = (0.0, 0.26, 0.55, 1.0), (0.66, 0.78, 0.92, 1.06)


@dataclass(frozen=True)
class Hand:
    """Balls of a hand, head frame, and the frames of its nails.

    Attributes:
        balls: (n, 3) float32 mm.  radius: (n,) mm.  part: (n,) 0 little .. 3 index, THUMB, PALM.  along: (n,) mm from
            the tip.
        joints: (5, 2) mm from the tip to the two bends of each digit.
        nails: (5, 4, 3) centre, across, along and out of every nail, mm and unit vectors.  nail_mm: (5,) half width.
        tone: factor of the skin's colour.
    """

    balls: np.ndarray
    radius: np.ndarray
    part: np.ndarray
    along: np.ndarray
    joints: np.ndarray
    nails: np.ndarray
    nail_mm: np.ndarray
    tone: float


def hand_of(posed: Posed, scene: Scene, anatomy: Anatomy) -> Hand | None:
    """The scene's hand on the owner's face; None without one."""
    if scene.occluder != "hand":
        return None
    rng = random_stream(_STREAM, scene.seed)
    pose = _POSES[str(rng.choice(list(_POSES), p=[0.36, 0.28, 0.18, 0.18]))]
    side, size = scene.occluder_side, float(rng.uniform(0.92, 1.04))
    heading = np.radians(pose.heading + rng.normal(0, 5))
    surface = Surface(anatomy, posed.owner_mm, posed.owner_normals)
    start = np.array([pose.a, pose.b]) + rng.normal(0, 4, 2)
    ahead = np.array([np.cos(heading), np.sin(heading)])
    around = np.array([start - k * 12.0 * ahead for k in (0, 1, 2, 3, 4)]) * [side, 1.0]
    places, normals, _ = surface.at(around)
    forward = unit(places[0] - places[4])
    outward = unit(normals.mean(0) - forward * (normals.mean(0) @ forward))
    across = unit(np.cross(forward, outward)) * side
    frame = np.stack([across, forward, outward])
    bends = np.radians(pose.bend + rng.normal(0, 2.5, 4))
    spread = np.radians(pose.spread + rng.normal(0, 0.8))
    digits = [_finger(k, places[0] + outward * 6.5 * size, frame, size, bends[k], (k - 1.6) * spread) for k in range(4)]
    knuckles = np.stack([digit[0][-1] for digit in digits])
    wrist = knuckles.mean(0) + size * (-76.0 * forward - 3.0 * outward)
    digits.append(_thumb(knuckles, wrist, frame, size))
    return _assembled(digits, knuckles, wrist, frame, side, size, float(rng.uniform(0.90, 1.04)))


def _finger(
    k: int, tip: np.ndarray, frame: np.ndarray, size: float, bend: float, fan: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Joints (4, 3) from the tip to the knuckle, radii (4,) and the finger's own frame (3, 3)."""
    across, forward, outward = frame
    at, behind, length, radius = _FINGERS[k]
    heading = forward * np.cos(fan) + across * np.sin(fan)
    side = unit(np.cross(heading, outward)) * np.sign(np.cross(forward, outward) @ across)
    reach = 0.94 * (length - _FINGERS[2][2])
    end = tip + size * (across * (0.92 * at - 8.0 + 0.4 * np.sin(fan) * length) + forward * (behind + reach))
    joints = [end]
    for share, slope in zip(np.diff(_JOINTS), (0.35 * bend, 1.25 * bend, 2.1 * bend), strict=True):
        step = -heading * np.cos(slope) + outward * np.sin(slope)
        joints.append(joints[-1] + size * length * share * step)
    radii = size * radius * np.array(_THICKNESS)
    return np.stack(joints), radii, np.stack([side, heading, outward])


def _thumb(
    knuckles: np.ndarray, wrist: np.ndarray, frame: np.ndarray, size: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same of the thumb, which leaves the palm beside the index finger."""
    across, forward, outward = frame
    base = wrist + size * (across * 17 + forward * 16 - outward * 3)
    steps = ((25, 26, -6), (14, 30, -4), (4, 25, 0))
    joints = [base]
    for a, f, o in steps:
        joints.append(joints[-1] + size * (across * a + forward * f + outward * o))
    heading = unit(joints[-1] - joints[-2])
    out = unit(outward * 0.75 + across * 0.65)
    out = unit(out - heading * (out @ heading))
    radii = size * np.array([7.6, 9.4, 10.6, 13.0])
    return np.stack(joints[::-1]), radii, np.stack([np.cross(heading, out), heading, out])


def _assembled(
    digits: list, knuckles: np.ndarray, wrist: np.ndarray, frame: np.ndarray, side: float, size: float, tone: float
) -> Hand:
    """Balls along the digits, through the palm and down the forearm."""
    across, _, outward = frame
    rows, radii, parts, lengths, joints, nails, widths = [], [], [], [], [], [], []
    for k, (points, thick, own) in enumerate(digits):
        way = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
        along = np.linspace(0, way[-1], 110)
        path = np.stack([np.interp(along, way, column) for column in points.T], 1)
        path = _soft(path, 15)
        radius = np.interp(along, way, thick)
        for joint in way[1:3]:
            radius = radius * (1.0 + 0.055 * np.exp(-(((along - joint) / 4.5) ** 2)))
        rounded = np.sqrt(np.clip(1 - (1 - np.minimum(along / (0.8 * thick[0]), 1)) ** 2, 0.02, 1))
        rows.append(path)
        radii.append(radius * (0.55 + 0.45 * rounded))
        parts.append(np.full(110, k))
        lengths.append(along)
        joints.append(way[1:3])
        side_, heading, out = own
        centre = path[0] - heading * 0.78 * thick[0] + out * 0.72 * thick[0]
        nails.append(np.stack([centre, side_, heading, out]))
        widths.append(0.70 * thick[0])
    palm, thick = _palm(knuckles, wrist, across, outward, side, size)
    rows.append(palm)
    radii.append(thick)
    parts.append(np.full(len(palm), PALM))
    lengths.append(np.full(len(palm), 200.0))
    return Hand(
        np.concatenate(rows).astype(np.float32), np.concatenate(radii), np.concatenate(parts).astype(np.int32),
        np.concatenate(lengths), np.array(joints), np.array(nails), np.array(widths), tone,
    )  # fmt: skip


def _soft(path: np.ndarray, wide: int) -> np.ndarray:
    """A path (n, 3) averaged over `wide` points, so that bends are round."""
    padded = np.concatenate([np.repeat(path[:1], wide // 2, 0), path, np.repeat(path[-1:], wide // 2, 0)])
    total = np.cumsum(np.concatenate([np.zeros((1, 3)), padded]), 0)
    return (total[wide:] - total[:-wide]) / wide


def _palm(
    knuckles: np.ndarray, wrist: np.ndarray, across: np.ndarray, outward: np.ndarray, side: float, size: float
) -> tuple[np.ndarray, np.ndarray]:
    """Balls of the back of the hand between knuckles and wrist, and of the forearm that leaves the picture."""
    where = np.linspace(0, 3, 16)
    heads = np.stack([np.interp(where, np.arange(4), column) for column in knuckles.T], 1)
    ends = wrist + np.linspace(-17, 17, 16)[:, None] * size * across
    t = np.linspace(0, 1, 36)[None, :, None]
    raised = (0.5 + 0.5 * np.cos(2 * np.pi * where))[:, None] * np.exp(-((t[..., 0] / 0.16) ** 2))
    back = heads[:, None] * (1 - t) + ends[:, None] * t + outward * (1.6 * size * raised)[..., None]
    thick = size * (9.4 + 4.2 * np.sin(np.pi * np.minimum(1, 0.12 + 0.75 * t[..., 0])) + 0 * where[:, None])
    down = unit(np.array([side * 0.30, -1.0, 0.06]))
    s = np.linspace(0, 1, 40)[None, :, None]
    spots = np.linspace(-17, 17, 9)[:, None, None] * size * across * (1 + 0.35 * s)
    arm = wrist + spots + down * 170.0 * s
    arm_thick = np.broadcast_to(size * (13.5 + 12.0 * s[..., 0]), (9, 40))
    points = np.concatenate([back.reshape(-1, 3), arm.reshape(-1, 3)])
    return points, np.concatenate([np.broadcast_to(thick, (16, 36)).ravel(), arm_thick.ravel()])


@kernel
def cast_balls(
    balls: np.ndarray, radius: np.ndarray, part: np.ndarray, along: np.ndarray, near: np.ndarray, owner: np.ndarray,
    way: np.ndarray, normals: np.ndarray,
) -> None:  # fmt: skip
    """Nearest ball of every sample, in place: near (H, W) depth, owner (H, W) part, way (H, W) and normals (H, W, 3).

    balls (n, 3): u, v in samples and depth; radius (n, 2): in samples and in the unit of depth.
    """
    height, width = near.shape
    for i in range(balls.shape[0]):
        u, v, z, r = balls[i, 0], balls[i, 1], balls[i, 2], radius[i, 0]
        for y in range(max(0, int(v - r)), min(height, int(v + r) + 2)):
            for x in range(max(0, int(u - r)), min(width, int(u + r) + 2)):
                nx, ny = (x + 0.5 - u) / r, -(y + 0.5 - v) / r
                flat = nx * nx + ny * ny
                if flat >= 1.0:
                    continue
                nz = np.sqrt(1.0 - flat)
                surface = z - radius[i, 1] * nz
                if surface < near[y, x]:
                    near[y, x], owner[y, x], way[y, x] = surface, part[i], along[i]
                    normals[y, x, 0], normals[y, x, 1], normals[y, x, 2] = nx, ny, nz


@kernel
def cast_depth(balls: np.ndarray, radius: np.ndarray, depth: np.ndarray) -> None:
    """Add balls (n, 3) to a depth map, in place; radius (n, 2) as in cast_balls."""
    height, width = depth.shape
    for i in range(balls.shape[0]):
        u, v, z, r = balls[i, 0], balls[i, 1], balls[i, 2], radius[i, 0]
        for y in range(max(0, int(v - r)), min(height, int(v + r) + 2)):
            for x in range(max(0, int(u - r)), min(width, int(u + r) + 2)):
                flat = ((x + 0.5 - u) ** 2 + (y + 0.5 - v) ** 2) / (r * r)
                if flat < 1.0:
                    depth[y, x] = min(depth[y, x], z - radius[i, 1] * np.sqrt(1.0 - flat))
