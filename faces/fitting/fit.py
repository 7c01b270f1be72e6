"""The whole fit of a batch of photographs: landmarks -> geometry, pixels -> light and albedo, and a verdict a face."""

from dataclasses import dataclass

import numpy as np

from faces.camera import Camera, rotation_matrices
from faces.compiled import one_blas_thread
from faces.errors import SamaeError
from faces.fitting.gaze import read_gaze
from faces.fitting.landmarks import solve_landmarks
from faces.fitting.photometric import solve_pixels
from faces.fitting.settings import FitSettings
from faces.fitting.tables import landmark_tables
from faces.fitting.view import CHUNK, check_images, shrink_images, view_faces
from faces.morphable.base import MorphableHead
from faces.render.shading import constant_light

#: Landmarks further out than this belong to no picture, px.
FARTHEST_PX = 1e6
#: A face turned further from the camera than this is not seen from in front, degrees (ours: a profile and some more).
MOST_TURN_DEGREES = 100.0


@dataclass(frozen=True)
class Fit:
    """What is known of N faces.

    Attributes:
        coefficients: (N, D) float32, the head's layout under Camera.centred(size_px); 0 where nothing could be fitted.
        landmark_nme_percent: (N,) float32, mean landmark error over the distance of the outer eye corners (36, 45).
        photometric_error: (N,) float32, mean sRGB difference (0..1) of trusted pixels; NaN without pictures.
        ok: (N,) bool.
        reason: N sentences, empty where ok.
    """

    coefficients: np.ndarray
    landmark_nme_percent: np.ndarray
    photometric_error: np.ndarray
    ok: np.ndarray
    reason: list[str]

    def __len__(self) -> int:
        return len(self.ok)


def fit(
    images: np.ndarray | None,
    landmarks_px: np.ndarray,
    head: MorphableHead,
    size_px: int,
    settings: FitSettings | None = None,
) -> Fit:
    """Fit a head to faces.

    Args:
        images: (N, S, S, 3) uint8 sRGB, or None for geometry alone (the light is then a constant one).
        landmarks_px: (N, 68, 2), iBUG order, px in a picture of size_px (first pixel's centre at 0.5). A face with a
            landmark that is not finite gets ok False.
        head: the head to fit.
        size_px: side of the pictures that the landmarks belong to; `images` must have it.
        settings: see FitSettings; None takes the defaults.
    Returns:
        Fit. Wrong shapes are a SamaeError; a bad face is a reason, never an exception.
    """
    settings = settings or FitSettings()
    landmarks = _checked_landmarks(landmarks_px, size_px)
    if images is not None and check_images(images, len(landmarks)).shape[1] != size_px:
        raise SamaeError(f"pictures are {images.shape[1]} px, but size_px is {size_px}; they must agree")
    reason = [_refuse(points) for points in landmarks]
    good = np.array([not r for r in reason], bool)
    coefficients = np.zeros((len(landmarks), head.layout.size), np.float32)
    nme = np.full(len(landmarks), np.nan, np.float32)
    error = np.full(len(landmarks), np.nan, np.float32)
    with one_blas_thread():
        if good.any():
            coefficients[good], nme[good] = _fit_geometry(landmarks[good], head, size_px, settings)
        if images is not None:
            for start in range(0, len(landmarks), CHUNK):
                rows = start + np.flatnonzero(good[start : start + CHUNK])
                if len(rows):
                    if settings.gaze_px:
                        gaze = read_gaze(images[rows], landmarks[rows], coefficients[rows], head, settings)
                        coefficients[rows, head.layout.slices["gaze_rad"]] = gaze
                    error[rows] = _fit_pixels(images[rows], coefficients, rows, head, settings)
    for n in np.flatnonzero(good):
        turn = head.layout.take(coefficients[n], "rotation_rad")
        reason[n] = _judge(nme[n], error[n], images is not None, coefficients[n], settings) or _judge_turn(turn)
    return Fit(coefficients, nme, error, np.array([not r for r in reason], bool), reason)


def _checked_landmarks(landmarks_px: np.ndarray, size_px: int) -> np.ndarray:
    landmarks = np.asarray(landmarks_px, np.float64)
    if landmarks.ndim != 3 or landmarks.shape[1:] != (68, 2):
        raise SamaeError(f"landmarks must be (N, 68, 2) pixels, but are {landmarks.shape}; pass iBUG-68 points")
    if size_px < 1:
        raise SamaeError(f"size_px is {size_px}; it must be the side of the pictures in pixels")
    return landmarks


def _refuse(points: np.ndarray) -> str:
    """Why these (68, 2) landmarks cannot be fitted at all; empty when they can."""
    if not np.isfinite(points).all():
        return f"{int((~np.isfinite(points)).any(1).sum())} of 68 landmarks are not finite"
    if np.abs(points).max() > FARTHEST_PX:
        return f"a landmark lies {np.abs(points).max():.3g} px out, where no picture is"
    if np.linalg.norm(points[36] - points[45]) < 2.0 or points[17:].std(0).min() < 1.0:
        return "the landmarks lie on one spot or one line"
    return ""


def _fit_geometry(
    landmarks: np.ndarray, head: MorphableHead, size_px: int, settings: FitSettings
) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients (N, D) with a constant light, and the landmark error (N,) in percent."""
    tables = landmark_tables(head, settings.n_identity)
    found = solve_landmarks(tables, landmarks, Camera.centred(size_px), settings)
    away = np.linalg.norm(found.fitted_px - landmarks, axis=-1).mean(1)
    identity = np.zeros((len(landmarks), len(head.identity_mm)))
    identity[:, : tables.n_identity] = found.identity
    coefficients = head.layout.pack(
        identity=identity,
        expression=found.expression,
        rotation_rad=found.rotation_rad,
        translation_mm=found.translation_mm,
        light=np.tile(constant_light(), (len(landmarks), 1)),
    )
    return np.nan_to_num(coefficients), 100 * away / np.linalg.norm(landmarks[:, 36] - landmarks[:, 45], axis=-1)


def _fit_pixels(
    images: np.ndarray, coefficients: np.ndarray, rows: np.ndarray, head: MorphableHead, settings: FitSettings
) -> np.ndarray:
    """Write light and albedo of these rows into `coefficients`; returns their photometric errors."""
    size_px = min(settings.working_px, images.shape[1])
    view = view_faces(coefficients[rows], head, size_px)
    found = solve_pixels(view, shrink_images(images, size_px), head, settings)
    where = head.layout.slices
    for row, one in zip(rows, found, strict=True):
        if np.isfinite(one.error):
            coefficients[row, where["light"]] = one.light
            coefficients[row, where["albedo"]] = one.albedo
    return np.array([one.error for one in found], np.float32)


def _judge(nme_percent: float, error: float, has_picture: bool, coefficients: np.ndarray, settings: FitSettings) -> str:
    """The reason why a fit is bad; empty when it is good."""
    if not (np.isfinite(nme_percent) and np.isfinite(coefficients).all()):
        return "the landmark solve did not converge"
    if nme_percent > settings.max_nme_percent:
        return f"bad fit: NME {nme_percent:.1f} % > {settings.max_nme_percent:g} %"
    if has_picture and not np.isfinite(error):
        return "too few pixels of skin are visible"
    if has_picture and error > settings.max_photometric_error:
        return f"bad fit: colour error {error:.2f} > {settings.max_photometric_error:g}"
    return ""


def _judge_turn(rotation_rad: np.ndarray) -> str:
    """Why a pose (3,) cannot be a face's; empty when it can. A roll may be any: pictures may be upside down.

    Points in mirrored order look like the same face bent inwards, which is the back of a head.
    """
    facing = float(rotation_matrices(rotation_rad)[0, 2, 2])
    turn_degrees = float(np.degrees(np.arccos(np.clip(facing, -1.0, 1.0))))
    if turn_degrees <= MOST_TURN_DEGREES:
        return ""
    return (
        f"bad fit: the face is turned {turn_degrees:.0f} degrees from the camera, as it is when the landmarks are in "
        "another order than iBUG-68's (mirrored without new numbers, or x and y swapped)"
    )
