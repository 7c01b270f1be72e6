"""Recognisers in ONNX files (InsightFace's w600k_r50, glint360k and their kin): 112 px ArcFace crop -> embedding.

They measure and they embed; they give no gradients, so a recipe cannot use one as a loss. Weights come from the user:
InsightFace's are for non-commercial research.
"""

from pathlib import Path

import numpy as np
import torch

from faces.errors import SamaeError
from faces.files import sha256_file
from faces.identity.crops import identity_crops


class OnnxEncoder:
    """An ONNX recogniser with one input (N, 3, 112, 112) RGB, (x - 127.5) / 127.5, and one output (N, dim)."""

    crop_px = 112

    def __init__(self, path: Path, name: str, licence: str) -> None:
        from onnxruntime import InferenceSession

        try:
            self._session = InferenceSession(str(path), providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises classes of its own that it does not export
            raise SamaeError(f"{path} is not a readable ONNX model ({str(error).splitlines()[0]})") from None
        (entry,) = self._session.get_inputs()[:1]
        if list(entry.shape[1:]) != [3, 112, 112]:
            raise SamaeError(f"{path} takes {entry.shape}; a recogniser takes (N, 3, 112, 112)")
        self.name, self.licence, self.digest = name, licence, sha256_file(path)[:16]
        self._input, self._output = entry.name, self._session.get_outputs()[0]
        self.dim = int(self._output.shape[-1])

    def embed(self, images: np.ndarray, landmarks_px: np.ndarray) -> np.ndarray:
        """(N, S, S, 3) uint8 sRGB and (N, 68, 2) px -> (N, dim) float32 of unit length."""
        pictures = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 255
        crops = identity_crops(pictures, torch.from_numpy(np.asarray(landmarks_px)), self.crop_px).numpy() * 2 - 1
        rows = [self._session.run([self._output.name], {self._input: crop[None]})[0] for crop in crops]
        vectors = np.concatenate(rows).astype(np.float32) if rows else np.zeros((0, self.dim), np.float32)
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)

    def embed_tensor(self, images: torch.Tensor, landmarks_px: torch.Tensor) -> torch.Tensor:
        """Refuses: ONNX gives no gradients."""
        raise SamaeError(f"{self.name} is an ONNX file and gives no gradients: set identity to builtin for training")
