"""Lids and lips shade the eyes and the mouth that they hold, and the eye is wet along its lower lid. Ours.

Found in the picture's own samples, where the mesh alone has been drawn: the distance to a lid is what a blur of the
eye's samples says, so the shade follows blinks, gaze and pose.
"""

import cv2
import numpy as np

from faces.synthetic.numerics import smoothstep
from faces.synthetic.shading import ID_EYE, ID_MOUTH
from faces.synthetic.windows import window_of_mask


def shade_contacts(colour: np.ndarray, ids: np.ndarray, samples_per_mm: float, light: np.ndarray) -> None:
    """Darken eyes and mouth near lids and lips, in place: colour (H, W, 3), ids (H, W); light (3,): what tears mirror.

    samples_per_mm: near enough for a face in FFHQ's crop.
    """
    for identity in (ID_EYE, ID_MOUTH):
        inside = ids == identity
        window = window_of_mask(inside, 6 * samples_per_mm + 4)
        if window is None:
            continue
        part, shown = inside[window.part].astype(np.float32), colour[window.part]
        if identity == ID_EYE:
            shown *= np.where(part > 0, _under_lids(part, samples_per_mm), 1.0)[..., None]
            shown += _tears(part, samples_per_mm)[..., None] * (0.08 * light)
        else:
            shown *= np.where(part > 0, _behind_lips(part, samples_per_mm), 1.0)[..., None]


def _lowered(image: np.ndarray, samples: float) -> np.ndarray:
    """An image (h, w) moved down by so many samples."""
    shift = np.array([[1, 0, 0], [0, 1, samples]], np.float32)
    return cv2.warpAffine(image, shift, image.shape[::-1])


def _under_lids(part: np.ndarray, samples_per_mm: float) -> np.ndarray:
    """(h, w) share of light on an eyeball: dark at edges and in corners, and some 4 mm down from the upper lid."""
    edge = np.clip((cv2.GaussianBlur(part, (0, 0), 0.8 * samples_per_mm) - 0.42) / 0.5, 0, 1)
    wide = cv2.GaussianBlur(part, (0, 0), 2.2 * samples_per_mm)
    lid = np.clip((_lowered(wide, 1.8 * samples_per_mm) - 0.12) / 0.6, 0, 1)
    corner = np.clip((wide - 0.2) / 0.5, 0, 1)
    return (0.60 + 0.40 * edge) * (0.62 + 0.38 * lid) * (0.70 + 0.30 * corner)


def _tears(part: np.ndarray, samples_per_mm: float) -> np.ndarray:
    """(h, w) 0..1: the half millimetre of an eye that lies along the lower lid, where the raster can hold it."""
    shown = float(smoothstep(2.0, 5.0, np.array(samples_per_mm)))
    return shown * np.clip(part - _lowered(part, -0.5 * samples_per_mm), 0, 1)


def _behind_lips(part: np.ndarray, samples_per_mm: float) -> np.ndarray:
    """(h, w) share of light on teeth and tongue: the lips take most, the upper one more."""
    sigma = 1.5 * samples_per_mm
    soft = cv2.GaussianBlur(part, (0, 0), sigma)
    soft = np.minimum(soft, _lowered(soft, 0.8 * sigma))
    return 0.22 + 0.78 * np.clip((soft - 0.12) / 0.62, 0, 1)
