"""Faces in photographs that come without landmarks: by the project's own networks, or by InsightFace where present.

Ours (faces/finding) are shipped and were trained on generated people alone. InsightFace's weights (`det_10g.onnx` and
`1k3d68.onnx` of the pack buffalo_l) are for non-commercial research and not shipped; where a user has them they come
first. SAMAE_LANDMARKS=own or insightface says otherwise. InsightFace's files are looked for before it is imported,
since a missing file there is an AssertionError and a missing pack an attempt to download it.
"""

import os
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np

from faces.errors import SamaeError
from faces.files import sha256_file
from faces.identity.registry import search_folders
from faces.landmarks import from_whole_pixels

DETECTOR_FILES = ("det_10g.onnx", "1k3d68.onnx")
_PACKS = (".", "buffalo_l", "models/buffalo_l")
#: Who may read landmarks: InsightFace where its weights are, else we; we; InsightFace.
READERS = ("auto", "own", "insightface")
VARIABLE = "SAMAE_LANDMARKS"
#: Reader -> what a command says about it.
ABOUT = {
    "own": "Samae's own networks, trained on generated people alone (Apache-2.0)",
    "insightface": "InsightFace's networks, trained on photographs (non-commercial research)",
}


class FaceDetector(Protocol):
    """What finds faces and their landmarks in a plain photograph."""

    def faces(self, image: np.ndarray) -> list[np.ndarray]:
        """(H, W, 3) uint8 sRGB -> (68, 2) float64 landmarks of every face, our pixels, the largest face first."""
        ...


def landmark_reader() -> str:
    """Who reads landmarks here, "own" or "insightface": what SAMAE_LANDMARKS asks for, by default who is there.

    Raises:
        SamaeError: the variable holds something else.
    """
    wanted = os.environ.get(VARIABLE) or READERS[0]
    if wanted not in READERS:
        raise SamaeError(f"{VARIABLE} is {wanted!r}: it may be {', '.join(READERS)}")
    if wanted == "auto":
        return "insightface" if find_detector_folder() else "own"
    return wanted


def reader_digest() -> str:
    """Names the reader and, of ours, the weights: part of what is kept with landmarks that were read."""
    reader = landmark_reader()
    if reader == "insightface":
        return reader
    from faces.finding.detector import WEIGHTS

    return f"own-{sha256_file(WEIGHTS)[:16]}" if WEIGHTS.is_file() else reader


def load_detector() -> FaceDetector:
    """The detector of `landmark_reader()`, loaded once a process.

    Raises:
        SamaeError: its weights are missing or damaged.
    """
    return _load(landmark_reader(), find_detector_folder())


@lru_cache(maxsize=2)
def _load(reader: str, folder: Path | None) -> FaceDetector:
    if reader == "insightface":
        return Detector(folder)
    from faces.finding.detector import load_detector as own

    return own()


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
                "finding faces by InsightFace needs its det_10g.onnx and 1k3d68.onnx (pack buffalo_l, "
                "non-commercial research): put both into a folder named by SAMAE_WEIGHTS or into "
                f"~/.insightface/models/buffalo_l, or let Samae's own networks find them: {VARIABLE}=own"
            )
        from insightface.app import FaceAnalysis

        modules = ["detection", "landmark_3d_68"]
        try:
            self._app = FaceAnalysis(name=str(folder), allowed_modules=modules, providers=["CPUExecutionProvider"])
            self._app.prepare(ctx_id=-1, det_thresh=least_score, det_size=(640, 640))
        except Exception as error:  # onnxruntime's own kinds, and AssertionError
            first = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise SamaeError(
                f"InsightFace's weights in {folder} cannot be loaded ({first}): get them anew, or let Samae's own "
                f"networks find faces: {VARIABLE}=own"
            ) from None

    def faces(self, image: np.ndarray) -> list[np.ndarray]:
        """(H, W, 3) uint8 sRGB -> (68, 2) float64 landmarks of every face, our pixels, the largest face first."""
        found = self._app.get(np.ascontiguousarray(image[..., ::-1]))
        found = [face for face in found if face.get("landmark_3d_68") is not None]
        found.sort(key=lambda face: -(face.bbox[2] - face.bbox[0]) * (face.bbox[3] - face.bbox[1]))
        return [from_whole_pixels(np.asarray(face["landmark_3d_68"], np.float64)[:, :2]) for face in found]
