"""Five points of a face (eyes, nose tip, mouth corners) completed to 68 by the mean head."""

import cv2
import numpy as np

from faces.camera import AXIS_SIGNS
from faces.landmarks import (
    BROW_LEFT,
    BROW_RIGHT,
    EYE_LEFT,
    EYE_RIGHT,
    MOUTH_INNER,
    MOUTH_OUTER,
    NOSE_BASE,
    NOSE_RIDGE,
    five_points,
    umeyama,
)
from faces.morphable.registry import load_head

#: How far the camera is assumed to be, mm (as in an FFHQ crop; faces/camera.py).
DISTANCE_MM = 1100.0


def complete_landmarks(five_px: np.ndarray) -> np.ndarray:
    """(5, 2) px, in the order of `faces.landmarks.five_points` -> (68, 2) float64 landmarks with these five points.

    The mean head is turned so that its own five points fall onto the given ones (SQPnP); what is left over is added to
    the eye and its brow, the nose, and the mouth (between its corners, in proportion). So pose and places are the
    photograph's, everything finer is the mean head's (ours).

    Raises:
        ValueError: the points are no face (they coincide, or lie on one line).
    """
    five_px = np.asarray(five_px, np.float64)
    head = load_head("builtin")
    points_mm = np.asarray(head.mean_mm[head.landmarks], np.float64) * AXIS_SIGNS
    own_mm = np.concatenate([five_points(points_mm[:, :2]), five_points(points_mm[:, 1:])[:, 1:]], 1)
    placed = _project(points_mm, own_mm, five_px)
    left_over = five_px - five_points(placed)
    for part, of in ((BROW_RIGHT, 0), (EYE_RIGHT, 0), (BROW_LEFT, 1), (EYE_LEFT, 1), (NOSE_RIDGE, 2), (NOSE_BASE, 2)):
        placed[part] += left_over[of]
    corner, other = five_points(placed)[3:]
    along = other - corner
    for part in (MOUTH_OUTER, MOUTH_INNER):
        share = np.clip((placed[part] - corner) @ along / (along @ along), 0, 1)[:, None]
        placed[part] += (1 - share) * left_over[3] + share * left_over[4]
    return placed


def _project(points_mm: np.ndarray, own_mm: np.ndarray, five_px: np.ndarray) -> np.ndarray:
    """The mean head's (68, 3) points in the picture, (68, 2) px, by the pose that takes its five to the given five."""
    if np.linalg.svd(five_px - five_px.mean(0), compute_uv=False)[1] < 1:
        raise ValueError("the five points lie on one line")
    px_per_mm = float(np.linalg.norm(umeyama(own_mm[:, :2], five_px)[:, 0]))
    focal_px = DISTANCE_MM * px_per_mm
    centre = five_px.mean(0)
    camera = np.array([[focal_px, 0, centre[0]], [0, focal_px, centre[1]], [0, 0, 1]])
    try:
        _, turn, shift = cv2.solvePnP(own_mm, five_px, camera, None, flags=cv2.SOLVEPNP_SQPNP)
    except cv2.error:
        raise ValueError("no pose of a head gives these five points") from None
    found = cv2.projectPoints(points_mm, turn, shift, camera, None)[0][:, 0]
    if not np.isfinite(found).all():
        raise ValueError("no pose of a head gives these five points")
    return np.asarray(found, np.float64)
