"""Examples for the two networks of faces/finding: canvases with people in clutter, and crops about one face.

Both draw from generated people (training/reading/people.py) and from clutter. Pure functions of the random generator
that they are given.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from faces.finding.finder import Proposal, propose
from faces.finding.networks import CELL_PX, CROP_PX, FINDER_SIDE_PX, OFFSET_PX, FinderNetwork
from faces.finding.reader import CROP_SHARE, crop_transform, cut
from faces.landmarks import ffhq_quad, mirror_landmarks, transform_points
from training.reading.augment import cover, elastic, photographic, stretched
from training.reading.clutter import Clutter
from training.reading.people import PeopleSet

#: Width of the finder's canvases, px, and how many octaves of sizes count as found at one scale.
CANVAS_PX, OCTAVES = 160, 1.0
#: Width of the pictures in which a finder's mistakes are sought, px.
MINE_PX = 320


@dataclass(frozen=True)
class Square:
    """FFHQ's square about a face: centre (2,) px, side px, roll in radians (clockwise in the picture)."""

    centre: np.ndarray
    side_px: float
    roll_rad: float

    @classmethod
    def of(cls, landmarks_px: np.ndarray) -> "Square":
        """The square of (68, 2) landmarks."""
        quad = ffhq_quad(landmarks_px)
        across = quad[3] - quad[0]
        return cls(quad.mean(0), float(np.hypot(*across)), float(np.arctan2(across[1], across[0])))


def similarity(source: Square, centre: np.ndarray, side_px: float, roll_rad: float) -> np.ndarray:
    """(2, 3) that takes a square to another centre, side and roll."""
    scale, turn = side_px / source.side_px, roll_rad - source.roll_rad
    a = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return np.concatenate([a, (centre - a @ source.centre)[:, None]], 1)


def _stretch(matrix: np.ndarray, centre: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The matrix (2, 3) followed by a random stretch that leaves `centre` where it is."""
    stretch = stretched(rng)
    return np.concatenate([stretch @ matrix[:, :2], stretch @ (matrix[:, 2:] - centre[:, None]) + centre[:, None]], 1)


class Painter:
    """Draws people into pictures, with soft, hard or cut-out borders, mirrored in half of the draws."""

    def __init__(self, people: PeopleSet, clutter: Clutter) -> None:
        self.people, self.clutter = people, clutter
        self.mistakes: list[tuple[np.ndarray, Proposal]] = []

    def mine(self, finder: FinderNetwork, pictures: int, rng: np.random.Generator) -> None:
        """Keep places where a finder sees faces that are none: in clutter, and beside the face of a person in it."""
        for _ in range(pictures):
            canvas = self.clutter.patch(MINE_PX, rng)
            square = None
            if rng.random() < 0.4:
                layer, marks, _ = self.person(rng)
                side = float(MINE_PX * np.exp(rng.uniform(-1, 0.3)))
                matrix = similarity(Square.of(marks), rng.uniform(0.2, 0.8, 2) * MINE_PX, side, rng.normal(0, 0.2))
                self.paint(canvas, layer, matrix)
                square = Square.of(transform_points(matrix, marks))
            for place in propose(finder, canvas, 0.15, 12):
                if square is None or np.hypot(*(place.centre_px - square.centre)) > 0.45 * square.side_px:
                    self.mistakes.append((canvas, place))

    def person(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """One person: (S, S, 4) uint8 colour and coverage, (68, 2) px, and the head's own coverage (S, S)."""
        people, n = self.people, int(rng.integers(len(self.people)))
        image, marks = np.asarray(people.image[n]), np.asarray(people.landmarks_px[n], np.float64)
        head = np.maximum(np.maximum(people.mask[n], people.hair[n]), people.occluder[n])
        if rng.random() < 0.5:
            image, head, marks = image[:, ::-1], head[:, ::-1], mirror_landmarks(marks, image.shape[1])
        return np.dstack([image, self._border(head, rng)]), marks, np.ascontiguousarray(head)

    def _border(self, head: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(S, S) uint8: the whole picture, the picture faded out, or the head alone."""
        side, draw = len(head), rng.random()
        whole = np.full_like(head, 255)
        if draw < 0.25:
            return whole
        if draw < 0.6:
            margin = int(side * rng.uniform(0.02, 0.1))
            whole[:margin] = whole[-margin:] = 0
            whole[:, :margin] = whole[:, -margin:] = 0
            return cv2.GaussianBlur(whole, (0, 0), margin * 0.5)
        grown = cv2.dilate(head, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (11, 11)))
        if rng.random() < 0.6:  # with what is below the chin
            below = np.flatnonzero(grown.any(1))
            columns = np.flatnonzero(grown.any(0))
            if len(below) and len(columns):
                low, high = np.percentile(columns, [20, 80]).astype(int)
                grown[(below[0] + below[-1]) // 2 :, low:high] = 255
        return cv2.GaussianBlur(grown, (0, 0), rng.uniform(0.8, 3))

    @staticmethod
    def paint(canvas: np.ndarray, layer: np.ndarray, matrix: np.ndarray) -> None:
        """Paint (S, S, 4) through (2, 3) into (H, W, 3) uint8, in place, antialiased."""
        scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
        while scale < 0.6 and len(layer) >= 48:
            layer = cv2.resize(layer, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
            matrix, scale = matrix @ np.diag([2.0, 2.0, 1.0]), scale * 2
        a, b = matrix[:, :2], matrix[:, 2]
        whole = np.concatenate([a, (b + a @ [0.5, 0.5] - 0.5)[:, None]], 1)
        seen = cv2.warpAffine(layer, whole, canvas.shape[1::-1], flags=cv2.INTER_LINEAR)
        alpha = seen[..., 3:].astype(np.float32) / 255
        canvas[:] = (canvas + alpha * (seen[..., :3].astype(np.float32) - canvas) + 0.5).astype(np.uint8)


def finder_canvas(painter: Painter, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(S, S, 3) uint8 with 0 to 4 people, and the answers wanted of it: (7, S / 8, S / 8) float32.

    Channels: 1 face, 0 none, -1 do not ask; offsets, log2 of the side, cosine and sine; 1 where these five count.
    """
    canvas = painter.clutter.patch(CANVAS_PX, rng)
    squares: list[Square] = []
    for _ in range(int(rng.choice([0, 1, 2, 3, 5], p=[0.3, 0.25, 0.2, 0.15, 0.1]))):
        side = FINDER_SIDE_PX * 2 ** (rng.uniform(-0.55, 0.55) if rng.random() < 0.75 else rng.uniform(-1.6, 1.7))
        centre, roll = rng.uniform(0, CANVAS_PX, 2), rng.normal(0, 0.25)
        if any(np.hypot(*(centre - other.centre)) < 0.42 * (side + other.side_px) for other in squares):
            continue
        layer, marks, _ = painter.person(rng)
        matrix = _stretch(similarity(Square.of(marks), centre, side, roll), centre, rng)
        if rng.random() < 0.15:
            cover(layer[..., :3], painter.clutter.patch(len(layer), rng), rng)
        painter.paint(canvas, layer, matrix)
        squares.append(Square.of(transform_points(matrix, marks)))
    return photographic(canvas, rng), wanted_answers(squares, CANVAS_PX)


def wanted_answers(squares: list[Square], side_px: int) -> np.ndarray:
    """What the finder should say of a picture with faces in these squares; see `finder_canvas`."""
    cells = side_px // CELL_PX
    at = (np.arange(cells) + 0.5) * CELL_PX
    wanted = np.zeros((7, cells, cells), np.float32)
    for square in squares:
        off = np.stack(
            [square.centre[0] - at[None, :] + 0 * at[:, None], square.centre[1] - at[:, None] + 0 * at[None]]
        )
        distance, octave = np.hypot(*off) / square.side_px, np.log2(square.side_px / FINDER_SIDE_PX)
        near = distance < max(0.14, 0.56 * CELL_PX / square.side_px)
        if abs(octave) < OCTAVES / 2:
            wanted[0][(distance < 0.3) & ~near & (wanted[0] == 0)] = -1
            wanted[0][near] = 1
        elif abs(octave) < OCTAVES / 2 + 0.6:
            wanted[0][(distance < 0.3) & (wanted[0] == 0)] = -1
        if abs(octave) < OCTAVES / 2 + 0.2:
            wanted[1:3, near] = off[:, near] / OFFSET_PX
            square_values = [octave, np.cos(square.roll_rad), np.sin(square.roll_rad), 1]
            wanted[3:, near] = np.array(square_values, np.float32)[:, None]
    return wanted


def face_crop(painter: Painter, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A crop about a face as the finder or an earlier pass would cut it, (96, 96, 3) uint8, and (68, 2) px in it."""
    layer, marks, _ = painter.person(rng)
    wide = rng.random() < 0.6  # a first pass; else one after a first pass
    square, spread = Square.of(marks), 1.0 if wide else 0.3
    side = CROP_PX / CROP_SHARE * np.clip(np.exp(rng.normal(0, 0.17 * spread)), 0.68, 1.45)
    centre = CROP_PX / 2 + rng.normal(0, 0.055 * spread, 2) * CROP_PX
    matrix = similarity(square, centre, side, float(np.clip(rng.normal(0, 0.28 * spread), -0.8, 0.8)))
    matrix = _stretch(matrix, centre, rng)
    draw = rng.random()
    if draw < 0.5:
        canvas = painter.clutter.patch(CROP_PX, rng)
        if rng.random() < 0.15:
            cover(layer[..., :3], painter.clutter.patch(len(layer), rng), rng)
        painter.paint(canvas, layer, matrix)
    else:
        canvas = _cut(layer[..., :3], matrix, cv2.BORDER_REPLICATE if draw < 0.9 else cv2.BORDER_CONSTANT)
    points = transform_points(matrix, marks)
    if rng.random() < 0.8:
        canvas, points = elastic(canvas, points, rng)
    for _ in range(int(rng.choice([0, 1, 2], p=[0.7, 0.2, 0.1]))):
        cover(canvas, painter.clutter.patch(CROP_PX, rng), rng)
    return photographic(canvas, rng), points


def _cut(image: np.ndarray, matrix: np.ndarray, border: int) -> np.ndarray:
    a, b = matrix[:, :2], matrix[:, 2]
    whole = np.concatenate([a, (b + a @ [0.5, 0.5] - 0.5)[:, None]], 1)
    image = np.ascontiguousarray(image)
    return cv2.warpAffine(image, whole, (CROP_PX, CROP_PX), flags=cv2.INTER_LINEAR, borderMode=border)


def no_face_crop(painter: Painter, rng: np.random.Generator) -> np.ndarray:
    """(96, 96, 3) uint8: a finder's mistake, clutter, or a person far from the middle, too large or too small."""
    if painter.mistakes and rng.random() < 0.6:
        picture, place = painter.mistakes[int(rng.integers(len(painter.mistakes)))]
        side = place.side_px * float(np.exp(rng.normal(0, 0.2)))
        centre = place.centre_px + rng.normal(0, 0.08, 2) * side
        crop = cut(picture, crop_transform(centre, side, place.roll_rad + float(rng.normal(0, 0.3))))
        return photographic(np.ascontiguousarray(crop[:, ::-1]) if rng.random() < 0.5 else crop, rng)
    canvas, draw = painter.clutter.patch(CROP_PX, rng), rng.random()
    if draw > 0.5:
        layer, marks, _ = painter.person(rng)
        usual = CROP_PX / CROP_SHARE
        if draw < 0.75:
            side = usual * np.exp(rng.normal(0, 0.3))
            angle = rng.uniform(0, 2 * np.pi)
            away = side * rng.uniform(0.4, 0.75) * np.array([np.cos(angle), np.sin(angle)])
        else:
            side = usual * (rng.uniform(2.2, 4) if draw < 0.87 else rng.uniform(0.15, 0.45))
            away = rng.normal(0, 0.12, 2) * side
        matrix = similarity(Square.of(marks), CROP_PX / 2 + away, side, rng.normal(0, 0.4))
        painter.paint(canvas, layer, matrix)
    return photographic(canvas, rng)
