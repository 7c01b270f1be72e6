"""Graded corruptions of true swaps, for `samae bench sanity`: what each does to a picture, and what must follow."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from evaluation.context import grow

UP, DOWN = 1, -1


@dataclass(frozen=True, eq=False)
class Material:
    """What a corruption may use. Pictures (S, S, 3) uint8 sRGB, landmarks_px (68, 2), mask (S, S) uint8 of the truth.

    Attributes:
        truth: the true swap that is made worse.
        target: the picture before the swap.
        stranger: the true swap of a third person onto the same target.
    """

    truth: np.ndarray
    target: np.ndarray
    stranger: np.ndarray
    landmarks_px: np.ndarray
    mask: np.ndarray


@dataclass(frozen=True)
class Corruption:
    """A family of three steps. `moves`: metric -> UP or DOWN with every step, the untouched truth being the first."""

    name: str
    unit: str
    steps: tuple[float, float, float]
    worsen: Callable[[Material, float], np.ndarray]
    moves: dict[str, int]


def _blur(m: Material, percent: float) -> np.ndarray:
    return cv2.GaussianBlur(m.truth, (0, 0), percent / 100 * len(m.truth))


def _noise(m: Material, levels: float) -> np.ndarray:
    rng = np.random.Generator(np.random.Philox(key=int(m.truth[::7, ::5].sum())))
    return _levels(m.truth + rng.normal(0, levels, m.truth.shape))


def _shift(m: Material, percent: float) -> np.ndarray:
    return _warp(m.truth, np.array([[1, 0, percent / 100 * len(m.truth)], [0, 1, 0]], np.float32))


def _turn(m: Material, degrees: float) -> np.ndarray:
    middle = len(m.truth) / 2
    return _warp(m.truth, cv2.getRotationMatrix2D((middle, middle), degrees, 1.0))


def _cast(m: Material, percent: float) -> np.ndarray:
    return _levels(m.truth * np.array([1 + percent / 100, 1, 1 - percent / 100]))


def _side_light(m: Material, percent: float) -> np.ndarray:
    ramp = np.linspace(1 - percent / 100, 1 + percent / 100, len(m.truth))
    return _levels(m.truth * ramp[None, :, None])


def _smile(m: Material, percent: float) -> np.ndarray:
    """The corners of the mouth drawn up and out, by so many per cent of the distance of the outer eye corners."""
    eyes = float(np.linalg.norm(m.landmarks_px[36] - m.landmarks_px[45]))
    v, u = np.mgrid[: len(m.truth), : len(m.truth)].astype(np.float32)
    from_u, from_v = u.copy(), v.copy()
    for corner, outwards in ((48, -0.5), (54, 0.5)):
        x, y = m.landmarks_px[corner] - 0.5
        near = np.exp(-((u - x) ** 2 + (v - y) ** 2) / (2 * (0.22 * eyes) ** 2)) * (percent / 100 * eyes)
        from_u -= outwards * near
        from_v += near
    return cv2.remap(m.truth, from_u, from_v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _glance(m: Material, percent: float) -> np.ndarray:
    """Both irises moved right between their lids, by so many per cent of the distance of the outer eye corners."""
    eyes = float(np.linalg.norm(m.landmarks_px[36] - m.landmarks_px[45]))
    v, u = np.mgrid[: len(m.truth), : len(m.truth)].astype(np.float32)
    moved = np.zeros_like(u)
    for eye in (slice(36, 42), slice(42, 48)):
        x, y = m.landmarks_px[eye].mean(0) - 0.5
        moved += np.exp(-((u - x) ** 2) / (2 * (0.09 * eyes) ** 2) - (v - y) ** 2 / (2 * (0.05 * eyes) ** 2))
    return cv2.remap(m.truth, u - moved * (percent / 100 * eyes), v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _edge(m: Material, levels: float) -> np.ndarray:
    """The face brighter than its surroundings, with a hard border."""
    inside = grow(m.mask[None] > 127, 0.005)[0]
    return _levels(m.truth + levels * inside[..., None])


def _mixed(m: Material, percent: float, other: np.ndarray) -> np.ndarray:
    return _levels(m.truth * (1 - percent / 100) + other * (percent / 100))


def _warp(picture: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    return cv2.warpAffine(picture, matrix, picture.shape[:2], borderMode=cv2.BORDER_REPLICATE)


def _levels(values: np.ndarray) -> np.ndarray:
    return np.clip(values + 0.5, 0, 255).astype(np.uint8)


#: The truth is lost in every family.
_WORSE = {"truth_face_psnr_db": DOWN, "truth_face_ssim": DOWN, "truth_face_delta_e": UP, "truth_identity": DOWN}

CORRUPTIONS: tuple[Corruption, ...] = (
    Corruption("blur", "% of the width", (1.0, 2.5, 6.0), _blur,
               {**_WORSE, "background_psnr_db": DOWN, "identity_similarity": DOWN}),
    Corruption("noise", "levels", (4, 12, 36), _noise,
               {**_WORSE, "background_psnr_db": DOWN, "seam": UP, "identity_similarity": DOWN}),
    Corruption("shift", "% of the width", (1, 3, 9), _shift,
               {**_WORSE, "background_psnr_db": DOWN, "truth_landmark_nme": UP}),
    Corruption("turn", "degrees", (3, 6, 12), _turn,
               {**_WORSE, "pose_degrees": UP, "truth_landmark_nme": UP, "background_psnr_db": DOWN}),
    Corruption("colour cast", "%", (3, 10, 30), _cast, {**_WORSE, "skin_delta_e": UP, "background_psnr_db": DOWN}),
    Corruption("side light", "%", (10, 25, 60), _side_light,
               {**_WORSE, "light_distance": UP, "background_psnr_db": DOWN}),
    Corruption("smile", "% of the eye distance", (9, 14, 20), _smile,
               {**_WORSE, "expression_mm": UP, "truth_landmark_nme": UP}),
    Corruption("glance", "% of the eye distance", (1.5, 2.5, 3.5), _glance, {**_WORSE, "gaze_degrees": UP}),
    Corruption("hard edge", "levels", (6, 20, 60), _edge, {**_WORSE, "seam": UP, "skin_delta_e": UP}),
    Corruption("wrong identity mixed in", "%", (25, 50, 75), lambda m, p: _mixed(m, p, m.stranger),
               {**_WORSE, "identity_similarity": DOWN, "retrieval_top1": DOWN, "retrieval_top5": DOWN, "shape_mm": UP}),
    Corruption("target left over", "%", (25, 50, 75), lambda m, p: _mixed(m, p, m.target),
               {**_WORSE, "identity_similarity": DOWN, "identity_leak": UP, "retrieval_top1": DOWN}),
)  # fmt: skip

#: What the baselines must show: metric, the better one, the worse one. The truth is no ceiling of pose, light and
#: expression: an untouched target is.
ORDERS: tuple[tuple[str, str, str], ...] = (
    ("identity_similarity", "true-swap", "copy-target"),
    ("identity_similarity", "paste-source", "copy-target"),
    ("identity_leak", "true-swap", "copy-target"),
    ("retrieval_top1", "true-swap", "copy-target"),
    ("shape_mm", "true-swap", "copy-target"),
    ("pose_degrees", "true-swap", "paste-source"),
    ("expression_mm", "copy-target", "paste-source"),
    ("gaze_degrees", "true-swap", "paste-source"),
    ("light_distance", "true-swap", "paste-source"),
    ("skin_delta_e", "true-swap", "paste-source"),
    ("seam", "true-swap", "paste-source"),
    ("background_psnr_db", "copy-target", "true-swap"),
    ("truth_identity", "true-swap", "copy-target"),
    ("truth_identity", "true-swap", "paste-source"),
    ("truth_face_psnr_db", "true-swap", "copy-target"),
    ("truth_face_psnr_db", "true-swap", "paste-source"),
    ("truth_face_ssim", "true-swap", "paste-source"),
    ("truth_face_delta_e", "true-swap", "paste-source"),
    ("truth_landmark_nme", "true-swap", "paste-source"),
)
