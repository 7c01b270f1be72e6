"""Recognisers in ONNX files (InsightFace's w600k_r50, glint360k and their kin): 112 px ArcFace crop -> embedding.

They embed in onnxruntime. In a loss the same graph runs in torch (onnx_network.py), so that a recipe may train with
one. Weights come from the user: InsightFace's are for non-commercial research.
"""

from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from faces.errors import SamaeError
from faces.files import sha256_file
from faces.identity.crops import identity_crops
from faces.identity.onnx_network import OnnxNetwork


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
        self._path, self._network = path, None  # type: tuple[Path, OnnxNetwork | None]
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
        """(N, 3, S, S) sRGB 0..1 and (N, 68, 2) px -> (N, dim) of unit length, differentiable in the images.

        Raises:
            SamaeError: the graph has an operator that torch does not run here, or the package onnx is missing.
        """
        crops = identity_crops(images, landmarks_px, self.crop_px) * 2 - 1
        return functional.normalize(self._torch_network(images.device)(crops.float()), dim=1)

    @property
    def differentiable(self) -> bool:
        """Whether `embed_tensor` works: asked before a training starts."""
        try:
            self._torch_network(torch.device("cpu"))
        except SamaeError:
            return False
        return True

    def _torch_network(self, device: torch.device) -> OnnxNetwork:
        if self._network is None:
            self._network = OnnxNetwork(self._path).eval()
        return self._network.to(device)
