"""Faces in photographs that come without landmarks: InsightFace's detector and its 68-point model, where present.

The weights (`det_10g.onnx` and `1k3d68.onnx` of the pack buffalo_l) are InsightFace's, for non-commercial research; the
project ships none. They are looked for before InsightFace is imported, since a missing file there is an
AssertionError and a missing pack an attempt to download it.
"""

from pathlib import Path

import numpy as np

from faces.errors import SamaeError
from faces.identity.registry import search_folders
from faces.landmarks import from_whole_pixels

DETECTOR_FILES = ("det_10g.onnx", "1k3d68.onnx")
_PACKS = (".", "buffalo_l", "models/buffalo_l")


def find_detector_folder() -> Path | None:
    """The folder that holds both weight files, or None. $SAMAE_WEIGHTS comes first, then ~/.insightface."""
    for folder in search_folders():
        for pack in _PACKS:
            if all((folder / pack / name).is_file() for name in DETECTOR_FILES):
                return (folder / pack).resolve()
    return None


class Detector:
    """InsightFace's detector (SCRFD) with its 68 landmarks, on the CPU.

    Args:
        folder: where the weight files are; looked for when None.
        least_score: detections below this confidence (0..1) are no faces; 0.6 as in SimSwap's released inference.

    Raises:
        SamaeError: the weights are missing; the sentence says which files and where they are looked for.
    """

    def __init__(self, folder: Path | None = None, least_score: float = 0.6) -> None:
        folder = folder or find_detector_folder()
        if folder is None:
            raise SamaeError(
                "finding faces in plain photographs needs InsightFace's det_10g.onnx and 1k3d68.onnx (pack buffalo_l, "
                "non-commercial research): put both into a folder named by SAMAE_WEIGHTS or into "
                "~/.insightface/models/buffalo_l; a folder in FFHQ layout needs neither"
            )
        from insightface.app import FaceAnalysis

        modules = ["detection", "landmark_3d_68"]
        self._app = FaceAnalysis(name=str(folder), allowed_modules=modules, providers=["CPUExecutionProvider"])
        self._app.prepare(ctx_id=-1, det_thresh=least_score, det_size=(640, 640))

    def faces(self, image: np.ndarray) -> list[np.ndarray]:
        """(H, W, 3) uint8 sRGB -> (68, 2) float64 landmarks of every face, our pixels, the largest face first."""
        found = self._app.get(np.ascontiguousarray(image[..., ::-1]))
        found = [face for face in found if face.get("landmark_3d_68") is not None]
        found.sort(key=lambda face: -(face.bbox[2] - face.bbox[0]) * (face.bbox[3] - face.bbox[1]))
        return [from_whole_pixels(np.asarray(face["landmark_3d_68"], np.float64)[:, :2]) for face in found]
