"""Coefficients of pictures that nobody has fitted yet: find landmarks near the expected ones, then fit the head.

Source, target and result all go the same way, so what the locator and the fit get wrong on everybody cancels in their
differences; what is left is seen in the rows of copy-target (which should be 0) and true-swap. Ours.
"""

from dataclasses import dataclass

import numpy as np

from evaluation.context import Pictures, known_coefficients
from evaluation.locator import Locator, load_locator
from faces.files import digest_of
from faces.fitting.fit import fit
from faces.fitting.settings import FitSettings
from faces.morphable.base import MorphableHead
from faces.render.mesh_image import project_landmarks


def expected_landmarks(
    landmarks_px: np.ndarray, known: np.ndarray, expected: np.ndarray, head: MorphableHead, size_px: int
) -> np.ndarray:
    """Landmarks of pictures of `known` coefficients, moved as the change to `expected` moves the model's own."""
    moved = project_landmarks(expected, head, size_px) - project_landmarks(known, head, size_px)
    return landmarks_px + moved


#: Light under the mean albedo, from few pixels: five times as fast, and only relative light is compared.
QUICK = FitSettings(light_rounds=0, working_px=48, gaze_px=0)


@dataclass(frozen=True, eq=False)
class FitMeasurer:
    """Locate, then fit. Photometric too, so that light is measured."""

    head: MorphableHead
    locator: Locator
    settings: FitSettings = QUICK

    @property
    def digest(self) -> str:
        """Names the locator, the head and the fit's settings."""
        return digest_of({"locator": self.locator.digest, "head": self.head.digest, "fit": self.settings.digest})

    def locate(self, pictures: Pictures, start: np.ndarray) -> np.ndarray:
        """Pictures, (N, D) expected coefficients -> (N, 68, 2) px, the landmarks alone."""
        known = known_coefficients(pictures)
        begin = expected_landmarks(pictures.landmarks_px, known, start, self.head, pictures.size_px)
        return self.locator.locate(pictures.image, begin)

    def measure(self, pictures: Pictures, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pictures, (N, D) expected coefficients -> (N, D) fitted (NaN where that failed), (N, 68, 2) px found."""
        found = self.locate(pictures, start)
        fitted = fit(pictures.image, found, self.head, pictures.size_px, self.settings)
        coefficients = np.where(fitted.ok[:, None], fitted.coefficients, np.nan).astype(np.float32)
        return coefficients, found


def default_measurer(head: MorphableHead | None, has_truth: bool = True) -> FitMeasurer | None:
    """The shipped locator's measurer where it is to be trusted: generated people (they have true swaps), our head."""
    trusted = head is not None and has_truth and head.edition.startswith("builtin")
    return FitMeasurer(head, load_locator()) if trusted and head is not None else None
