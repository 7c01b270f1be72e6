"""`landmarks.json` beside plain photographs: where their faces are, so that no detector is needed.

    {"name.jpg": [[x, y], … 68 of them or 5], "folder/other.png": …}

Names are paths relative to the folder of photographs, with "/". Points are px in the upright picture (after its EXIF
orientation), the first pixel's centre at (0, 0) as FFHQ's listing, dlib and OpenCV have it. 68 points are in iBUG
300-W's order; 5 are the eyes, the nose tip and the mouth corners, the one further left in the picture first, and are
completed by the mean head (faces/five_points.py).
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from faces.errors import SamaeError
from faces.files import read_json
from faces.five_points import complete_landmarks
from faces.landmarks import from_whole_pixels

LANDMARKS_NAME = "landmarks.json"
#: Reasons why a photograph is refused for what the file says of it.
NOT_LISTED, NOT_LANDMARKS = f"not in {LANDMARKS_NAME}", "landmarks are not 68 or 5 points of a face"


class LandmarkList:
    """The file, read once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        listed = read_json(path)
        if not isinstance(listed, dict) or not listed:
            raise SamaeError(f'{path} is not a list of landmarks: write {{"name.jpg": [[x, y], … 68 or 5 points], …}}')
        self._listed: dict[str, Any] = listed

    def check_names(self, names: Iterable[str]) -> None:
        """SamaeError when the file names none of these photographs: then its names are meant otherwise."""
        if not any(name in self._listed for name in names):
            first = next(iter(self._listed))
            raise SamaeError(
                f"{self.path} names none of the photographs (its first name is {first!r}): "
                f"write their paths relative to {self.path.parent}, or remove the file to have the faces found"
            )

    def landmarks(self, name: str) -> np.ndarray | str:
        """(68, 2) float64 landmarks in our pixels, or the reason why there are none."""
        if name not in self._listed:
            return NOT_LISTED
        try:
            points = from_whole_pixels(np.asarray(self._listed[name], np.float64))
            if points.shape not in ((68, 2), (5, 2)) or not np.isfinite(points).all():
                return NOT_LANDMARKS
            return points if len(points) == 68 else complete_landmarks(points)
        except (TypeError, ValueError):
            return NOT_LANDMARKS
