"""Where fitted eyes look: the iris is found as the disc on the fitted eyeball that best parts dark from light.

A photograph's eye opening (the landmarks' polygon) shows two things, iris and sclera. For every candidate gaze the
iris is a cap of the fitted eyeball, so each pixel has a known share of it; two colours are then solved by least
squares, with robust residuals (Geman and McClure 1987) against catchlights and lashes, and the candidate that explains
both eyes best wins. People are photographed looking into the camera more often than not, hence a prior of two parts:
the camera's direction, and anywhere. A shut or covered eye says nothing, and the prior decides. The whole construction
is ours.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from faces.camera import AXIS_SIGNS, Camera, head_to_camera, rotation_matrices
from faces.compiled import kernel, over_faces
from faces.fitting.settings import FitSettings
from faces.fitting.view import shrink_images
from faces.landmarks import EYE_LEFT, EYE_RIGHT
from faces.morphable.base import MorphableHead

#: Furthest gaze that is looked for, radians from straight ahead: yaw, pitch.
FURTHEST_RAD = np.radians([40.0, 30.0])
#: Steps of the two searches, radians: over the whole range, then round the best of it.
COARSE_RAD, FINE_RAD = np.radians(5.0), np.radians(1.25)
#: Angle between the middle of the iris and its edge, as seen from the ball's centre. Human irises are 11.7 mm wide
#: (0.5 rad on a ball of 12 mm); their outer rim is as pale as the sclera, and the darker part is what is found.
IRIS_RAD = 0.44
#: sRGB that iris and sclera are expected to have, and how many pixels that expectation is worth.
IRIS_LEVEL, SCLERA_LEVEL, LEVEL_PIXELS = 0.22, 0.55, 0.5
#: How much darker (sRGB) an iris must be than its sclera.
LEAST_CONTRAST = 0.02
#: Residual (sRGB, root mean square of the channels) of an honest pixel, and that from which it is doubted.
NOISE, DOUBT = 0.10, 0.20
#: The prior: share of people who look into the camera, how near to it, and how far (yaw, pitch) the others stray.
AT_CAMERA, AT_CAMERA_RAD, AWAY_RAD = 0.6, 0.06, np.array([0.28, 0.14])
#: Noise of landmarks (percent of the eye distance) up to which the pixels of the openings are believed in full; beyond
#: it they count for the inverse of its square, like a measurement.
SURE_PERCENT = 0.5
#: An opening of fewer pixels says nothing.
FEWEST_PIXELS = 2.0
#: Samples a pixel along each side in which an opening is drawn.
_FINE = 4


@dataclass(frozen=True)
class EyePixels:
    """The P pixels inside one eye's opening.

    points (P, 3): where their rays meet the ball, unit vectors in the camera frame.  weight (P,): share of the pixel
    inside the opening.  colour (P, 3) sRGB 0..1.  px_per_rad: pixels that a radian of the ball takes at its front.
    """

    points: np.ndarray
    weight: np.ndarray
    colour: np.ndarray
    px_per_rad: float


def read_gaze(
    images: np.ndarray, landmarks_px: np.ndarray, coefficients: np.ndarray, head: MorphableHead, settings: FitSettings
) -> np.ndarray:
    """Gaze of both eyes of fitted faces.

    Args:
        images: (N, S, S, 3) uint8 sRGB.  landmarks_px: (N, 68, 2) in them, px.  coefficients: (N, D) under
        Camera.centred(S); their own gaze is not read.  settings: `gaze_px` bounds the side that is worked in, and
        pixels count for less the larger `noise_percent` is: the opening is then not known exactly.
    Returns:
        (N, 2) float64 yaw, pitch in radians in the head frame, as CoefficientLayout has them; zeros for a head without
        eyeballs.
    """
    found = np.zeros((len(images), 2))
    if not (len(head.eye_left) and len(head.eye_right)):
        return found
    size_px = min(settings.gaze_px, images.shape[1])
    points = np.asarray(landmarks_px, np.float64) * (size_px / images.shape[1])
    balls = eyeballs(coefficients, head)
    turns = rotation_matrices(head.layout.take(coefficients, "rotation_rad"))
    wished = towards_camera(turns, head.layout.take(coefficients, "translation_mm"))
    trust = min(1.0, SURE_PERCENT / settings.noise_percent) ** 2

    def solve(first: int, step: int) -> None:
        """Every step-th face."""
        for n in range(first, len(images), step):
            picture = shrink_images(images[n : n + 1], size_px)[0]
            eyes = [
                eye_pixels(picture, points[n, part], centre[n], radius[n])
                for part, (centre, radius) in zip((EYE_RIGHT, EYE_LEFT), balls, strict=True)
            ]
            seen = [eye for eye in eyes if eye is not None]
            found[n] = best_gaze(seen, turns[n], wished[n], trust)

    over_faces(solve, len(images))
    return found


def eyeballs(coefficients: np.ndarray, head: MorphableHead) -> list[tuple[np.ndarray, np.ndarray]]:
    """(N, D) -> centre (N, 3) in the camera frame and radius (N,), mm, of the right and of the left eyeball."""
    take, both = head.layout.take, []
    vertices = head.vertices(take(coefficients, "identity"), take(coefficients, "expression"))
    for eye in (head.eye_right, head.eye_left):
        ball = vertices[:, eye]
        centre = (ball.max(1, keepdims=True) + ball.min(1, keepdims=True)) / 2
        radius = np.linalg.norm(ball - centre, axis=-1).mean(1)
        placed = head_to_camera(centre, take(coefficients, "rotation_rad"), take(coefficients, "translation_mm"))
        both.append((placed[:, 0].astype(np.float64), radius.astype(np.float64)))
    return both


def towards_camera(turns: np.ndarray, translation_mm: np.ndarray) -> np.ndarray:
    """(N, 3, 3) rotations, (N, 3) -> (N, 2) the gaze (yaw, pitch) into the camera, within FURTHEST_RAD."""
    ahead = -np.asarray(translation_mm, np.float64) * AXIS_SIGNS
    way = np.einsum("nij,ni->nj", turns, ahead / np.maximum(np.linalg.norm(ahead, axis=1, keepdims=True), 1e-9))
    return np.clip(gaze_angles(way), -FURTHEST_RAD, FURTHEST_RAD)


def eye_pixels(
    picture: np.ndarray, opening_px: np.ndarray, centre_mm: np.ndarray, radius_mm: float
) -> EyePixels | None:
    """What one eye shows: picture (S, S, 3) sRGB 0..1, opening_px (6, 2), ball in the camera frame; None: nothing."""
    size_px, opening_px = len(picture), np.clip(opening_px, -1e6, 1e6)
    low = np.clip(np.floor(opening_px.min(0)).astype(int) - 1, 0, size_px)
    high = np.clip(np.ceil(opening_px.max(0)).astype(int) + 1, 0, size_px)
    width, height = high - low
    if width < 1 or height < 1:
        return None
    mask = np.zeros((height * _FINE, width * _FINE), np.uint8)
    corners = np.rint(((opening_px - low) * _FINE - 0.5) * 16).astype(np.int32)
    cv2.fillPoly(mask, [corners], 255, cv2.LINE_8, 4)
    share = cv2.resize(mask, (int(width), int(height)), interpolation=cv2.INTER_AREA).astype(np.float64) / 255
    rows, columns = np.nonzero(share > 0.35)
    weight = share[rows, columns]
    if weight.sum() < FEWEST_PIXELS:
        return None
    camera = Camera.centred(size_px)
    scale = camera.focal_px / max(centre_mm[2], 1.0) * max(radius_mm, 1e-3)
    seen = np.stack([columns + low[0] + 0.5, rows + low[1] + 0.5], 1)
    middle = camera.focal_px / max(centre_mm[2], 1.0) * centre_mm[:2] + [camera.centre_x_px, camera.centre_y_px]
    across = (seen - middle) / scale
    towards = -np.sqrt(np.clip(1 - np.square(across).sum(1), 0, None))
    points = np.concatenate([across, towards[:, None]], 1)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    colour = picture[rows + low[1], columns + low[0]].astype(np.float64)
    return EyePixels(np.ascontiguousarray(points), weight, np.ascontiguousarray(colour), float(scale))


def best_gaze(eyes: list[EyePixels], turn: np.ndarray, wished_rad: np.ndarray, trust: float = 1.0) -> np.ndarray:
    """Of up to two eyes: (2,) yaw, pitch, rad. turn (3, 3) head to camera but for the axes' signs; wished_rad (2,).

    trust: what their pixels count for beside the prior, 0..1.
    """
    grid = gaze_grid(-FURTHEST_RAD, FURTHEST_RAD, COARSE_RAD)
    best = grid[_costs(grid, eyes, turn, wished_rad, trust).argmin()]
    fine = gaze_grid(best - COARSE_RAD, best + COARSE_RAD, FINE_RAD)
    costs = _costs(fine, eyes, turn, wished_rad, trust).reshape(9, 9)
    i, j = np.unravel_index(costs.argmin(), costs.shape)
    shift = [_lowest(costs[max(i - 1, 0) : i + 2, j]), _lowest(costs[i, max(j - 1, 0) : j + 2])]
    return np.clip(fine.reshape(9, 9, 2)[i, j] + FINE_RAD * np.array(shift), -FURTHEST_RAD, FURTHEST_RAD)


def gaze_grid(low: np.ndarray, high: np.ndarray, step: float) -> np.ndarray:
    """(G, 2) yaw, pitch from `low` to `high`, both included, yaw varying slowest."""
    axes = [np.linspace(a, b, round((b - a) / step) + 1) for a, b in zip(low, high, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 2)


def gaze_vectors(gaze_rad: np.ndarray) -> np.ndarray:
    """(G, 2) yaw, pitch -> (G, 3) float64 unit vectors in the head frame: where +z goes, as decode turns the balls."""
    angles = np.stack([gaze_rad[:, 1], gaze_rad[:, 0], np.zeros(len(gaze_rad))], 1)
    return rotation_matrices(angles)[:, :, 2]


def gaze_angles(vectors: np.ndarray) -> np.ndarray:
    """What `gaze_vectors` undoes: (N, 3) unit vectors -> (N, 2) yaw, pitch in radians."""
    return np.stack([np.arctan2(vectors[:, 0], vectors[:, 2]), -np.arcsin(np.clip(vectors[:, 1], -1, 1))], 1)


def _lowest(three: np.ndarray) -> float:
    """Where between -1 and 1 a parabola through three costs is lowest; 0 at a border, or where they do not curve."""
    if len(three) < 3 or not np.isfinite(three).all():
        return 0.0
    curve = three[0] - 2 * three[1] + three[2]
    return float(np.clip(0.5 * (three[0] - three[2]) / curve, -1, 1)) if curve > 1e-9 else 0.0


def _costs(
    gaze_rad: np.ndarray, eyes: list[EyePixels], turn: np.ndarray, wished_rad: np.ndarray, trust: float
) -> np.ndarray:
    """(G, 2) candidates -> (G,) twice the negative log posterior, up to a constant."""
    away = np.square(gaze_rad - wished_rad)
    there = AT_CAMERA / AT_CAMERA_RAD**2 * np.exp(-0.5 * away.sum(1) / AT_CAMERA_RAD**2)
    elsewhere = (1 - AT_CAMERA) / AWAY_RAD.prod() * np.exp(-0.5 * (away / np.square(AWAY_RAD)).sum(1))
    costs = -2 * np.log(there + elsewhere)
    ways = np.ascontiguousarray((gaze_vectors(gaze_rad) @ turn.T) * AXIS_SIGNS)
    for eye in eyes:
        add_eye(eye.points, eye.weight, eye.colour, ways, eye.px_per_rad, trust, costs)
    return costs


@kernel
def add_eye(
    points: np.ndarray,
    weight: np.ndarray,
    colour: np.ndarray,
    ways: np.ndarray,
    px_per_rad: float,
    trust: float,
    costs: np.ndarray,
) -> None:
    """One EyePixels (P pixels) and candidate directions (G, 3), camera frame: adds how ill each explains the
    eye, times `trust`."""
    count, cosine, sine = len(points), np.cos(IRIS_RAD), np.sin(IRIS_RAD)
    share, iris, sclera = np.empty(count), np.empty(3), np.empty(3)
    for g in range(len(ways)):
        x, y, z = ways[g, 0], ways[g, 1], ways[g, 2]
        for p in range(count):
            inward = (points[p, 0] * x + points[p, 1] * y + points[p, 2] * z - cosine) / sine
            share[p] = min(max(0.5 + inward * px_per_rad, 0.0), 1.0)
        two_colours(share, weight, colour, iris, sclera)
        dark, light = (iris[0] + iris[1] + iris[2]) / 3, (sclera[0] + sclera[1] + sclera[2]) / 3
        strange = LEVEL_PIXELS * ((dark - IRIS_LEVEL) ** 2 + (light - SCLERA_LEVEL) ** 2)
        for p in range(count):
            squared = 0.0
            for c in range(3):
                rest = colour[p, c] - share[p] * iris[c] - (1 - share[p]) * sclera[c]
                squared += rest * rest / 3
            strange += weight[p] * squared / (1 + squared / (DOUBT * DOUBT))
        costs[g] += trust * (strange / (NOISE * NOISE))


@kernel
def two_colours(
    share: np.ndarray, weight: np.ndarray, colour: np.ndarray, iris: np.ndarray, sclera: np.ndarray
) -> None:
    """Least squares of colour (P, 3) = share * iris + (1 - share) * sclera, with the expected levels as prior.

    Writes iris (3,) and sclera (3,); both become the mean colour where the iris would not be the darker of the two.
    """
    inside = outside = LEVEL_PIXELS
    both = total = 0.0
    iris[:] = LEVEL_PIXELS * IRIS_LEVEL
    sclera[:] = LEVEL_PIXELS * SCLERA_LEVEL
    for p in range(len(share)):
        s, w = share[p], weight[p]
        inside += w * s * s
        both += w * s * (1 - s)
        outside += w * (1 - s) * (1 - s)
        total += w
        for c in range(3):
            iris[c] += w * s * colour[p, c]
            sclera[c] += w * (1 - s) * colour[p, c]
    determinant = inside * outside - both * both
    contrast = 0.0
    for c in range(3):
        a = (outside * iris[c] - both * sclera[c]) / determinant
        b = (inside * sclera[c] - both * iris[c]) / determinant
        contrast += (b - a) / 3
    for c in range(3):
        a, b = iris[c], sclera[c]
        iris[c] = (outside * a - both * b) / determinant
        sclera[c] = (inside * b - both * a) / determinant
        if contrast < LEAST_CONTRAST:
            iris[c] = sclera[c] = (a + b - LEVEL_PIXELS * (IRIS_LEVEL + SCLERA_LEVEL)) / total
