"""Outlines of things before faces: objects, hands, glasses, strands. Ours.

Drawn flat and at random, so that a network does not learn the generator's own hands and glasses alone. Alphas are
(S, S) float32 0..1 of a square of S = CLOSE_PX; a face is its (68, 2) landmarks there.
"""

import cv2
import numpy as np

from faces.readers.cover import CLOSE_PX

Rng = np.random.Generator


def chance(rng: Rng, probability: float) -> bool:
    """True with that probability."""
    return bool(rng.random() < probability)


def draw(paint: list[tuple]) -> np.ndarray:
    """Antialiased alpha of polygons ("polygon", points) and lines ("line", points, width) at four times the size."""
    canvas = np.zeros((4 * CLOSE_PX, 4 * CLOSE_PX), np.uint8)
    for what, points, *rest in paint:
        fixed = np.rint(np.asarray(points) * 4 * 16).astype(np.int32)
        if what == "polygon":
            cv2.fillPoly(canvas, [fixed], 255, cv2.LINE_8, 4)
        else:
            cv2.polylines(canvas, [fixed], rest[1], 255, max(1, round(4 * rest[0])), cv2.LINE_8, 4)
    return cv2.resize(canvas, (CLOSE_PX, CLOSE_PX), interpolation=cv2.INTER_AREA).astype(np.float32) / 255


def blob(rng: Rng, centre: np.ndarray, radius_px: float) -> np.ndarray:
    """(24, 2) closed outline: round, lobed or angular."""
    count = int(rng.choice([4, 5, 6, 24], p=[0.25, 0.1, 0.1, 0.55]))
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False) + rng.uniform(0, 2 * np.pi)
    wobble = 1 + (0.35 if count < 24 else 0.15) * rng.standard_normal(count)
    squeeze, turn = np.array([1.0, rng.uniform(0.35, 1.0)]), rng.uniform(0, np.pi)
    points = radius_px * np.clip(wobble, 0.4, 1.7)[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1) * squeeze
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return centre + points @ rotation.T


def curve(rng: Rng, start: np.ndarray, end: np.ndarray, bend_px: float, count: int = 12) -> np.ndarray:
    """(count, 2) points of a bent line."""
    t = np.linspace(0, 1, count)[:, None]
    sag = bend_px * rng.standard_normal((2, 2))
    return start * (1 - t) + end * t + np.sin(np.pi * t) * sag[:1] + np.sin(2 * np.pi * t) * 0.5 * sag[1:]


def thing(rng: Rng, face: np.ndarray) -> np.ndarray:
    """Alpha of an object before a face: a blob, a bar, an edge that covers one side. face: (68, 2) landmarks."""
    width = float(np.ptp(face[:, 0]))
    middle = face[int(rng.integers(68))] + rng.normal(0, 0.12 * width, 2)
    kind = rng.integers(4)
    if kind <= 1:
        return draw([("polygon", blob(rng, middle, width * rng.uniform(0.06, 0.38)))])
    way = rng.standard_normal(2)
    way /= np.linalg.norm(way) + 1e-6
    if kind == 2:
        line = curve(rng, middle - way * width, middle + way * width * rng.uniform(0.1, 1.0), 0.1 * width)
        return draw([("line", line, width * rng.uniform(0.02, 0.16), False)])
    side = np.array([-way[1], way[0]])
    edge = face.mean(0) + way * width * rng.uniform(0.25, 0.6)
    return draw([("polygon", [edge - side * 300, edge + side * 300, edge + side * 300 + way * 300,
                                       edge - side * 300 + way * 300])])  # fmt: skip


def fingers(rng: Rng, face: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A hand: alpha, and a shading factor (S, S) that makes its fingers round. It comes from below or from a side."""
    width = float(np.ptp(face[:, 0]))
    tip = face[int(rng.choice([*range(0, 17), 31, 35, 36, 45, *range(48, 60)]))] + rng.normal(0, 0.1 * width, 2)
    way = tip - face[27] + rng.normal(0, 0.5 * width, 2) + [0, 0.3 * width]
    way /= np.linalg.norm(way) + 1e-6
    side = np.array([-way[1], way[0]])
    thick, count = width * rng.uniform(0.07, 0.13), int(rng.integers(1, 6))
    spread = rng.uniform(0.95, 1.5)
    alpha, shade = np.zeros((CLOSE_PX, CLOSE_PX), np.float32), np.ones((CLOSE_PX, CLOSE_PX), np.float32)
    for k in range(count):
        start = tip + side * (k - (count - 1) / 2) * thick * spread + way * thick * rng.uniform(0, 1.2)
        fan = way + side * (k - (count - 1) / 2) * rng.uniform(-0.05, 0.15)
        line = curve(rng, start, start + fan * width * rng.uniform(0.4, 1.1), 0.04 * width)
        one = draw([("line", line, thick * rng.uniform(0.9, 1.1), False)])
        core = cv2.GaussianBlur(one, (0, 0), 0.35 * thick)
        shade = np.where(one > 0.5, 0.55 + 0.5 * core, shade)
        alpha = np.maximum(alpha, one)
    if chance(rng, 0.5):
        back = tip + way * width * rng.uniform(0.45, 0.8)
        alpha = np.maximum(alpha, draw([("polygon", blob(rng, back, width * rng.uniform(0.2, 0.35)))]))
    return alpha, shade


def spectacles(rng: Rng, face: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Glasses by the eyes: alpha of frames, and alpha of lenses (S, S), to be clear or dark."""
    right, left = face[36:42].mean(0), face[42:48].mean(0)
    across = left - right
    apart = float(np.linalg.norm(across)) + 1e-6
    across, down = across / apart, np.array([-across[1], across[0]]) / apart
    wide, high = apart * rng.uniform(0.34, 0.47), apart * rng.uniform(0.2, 0.42)
    power, drop = rng.uniform(2.0, 4.5), apart * rng.uniform(-0.05, 0.12)
    t = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    c, s = np.cos(t), np.sin(t)
    rim = np.stack([np.sign(c) * np.abs(c) ** (2 / power) * wide, np.sign(s) * np.abs(s) ** (2 / power) * high], 1)
    rim[:, 0] *= 1 - rng.uniform(-0.1, 0.25) * rim[:, 1] / high * 0.5
    width = apart * float(rng.choice([0.018, 0.03, 0.05, 0.09])) * rng.uniform(0.8, 1.3)
    frames, lenses = [], []
    for centre, sign in ((right, -1.0), (left, 1.0)):
        at = centre + across * sign * apart * rng.uniform(0.0, 0.04) + down * drop
        outline = at + rim[:, :1] * sign * across + rim[:, 1:] * down
        lenses.append(("polygon", outline))
        if chance(rng, 0.85):
            frames.append(("line", outline, width, True))
        else:
            frames.append(("line", outline[20:], width, False))
        hinge = at + sign * across * wide * 0.97 - down * high * 0.3
        reach = hinge + sign * across * apart * rng.uniform(0.3, 0.6) - down * apart * rng.uniform(-0.05, 0.12)
        frames.append(("line", np.stack([hinge, reach]), width, False))
    bridge = [right + across * wide * 0.95 + down * drop, left - across * wide * 0.95 + down * drop]
    lift = -down * high * rng.uniform(0.0, 0.5)
    frames.append(("line", np.stack([bridge[0], (bridge[0] + bridge[1]) / 2 - down * 0.05 * apart, bridge[1]]) + lift,
                   width, False))  # fmt: skip
    return draw(frames), draw(lenses)


def strands(rng: Rng, face: np.ndarray) -> np.ndarray:
    """Alpha of single locks and hairs that fall over a face from above or from a side."""
    width = float(np.ptp(face[:, 0]))
    top = face[27] + np.array([rng.uniform(-0.6, 0.6), rng.uniform(-0.75, -0.45)]) * width
    end = face[int(rng.choice([*range(0, 17), *range(17, 48)]))]
    paint, thick = [], width * rng.uniform(0.004, 0.03)
    bend = rng.standard_normal((2, 2)) * 0.12 * width
    t = np.linspace(0, 1, 14)[:, None]
    for _ in range(int(rng.integers(1, 9))):
        way = top * (1 - t) + end * t + np.sin(np.pi * t) * bend[:1] + np.sin(2 * np.pi * t) * bend[1:]
        way = way + rng.normal(0, 0.03 * width, 2) * t + rng.normal(0, 0.015 * width, 2)
        paint.append(("line", way, thick * rng.uniform(0.6, 1.4), False))
    return draw(paint) * float(rng.uniform(0.6, 1.0))
