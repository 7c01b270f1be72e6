"""Finds the 68 landmarks of a RESULT near where they are expected, so that pose, expression and shape can be fitted.

A cascade of linear regressions on gradient histograms about the current points (supervised descent, Xiong and De la
Torre 2013), trained by evaluation/train_locator.py on generated people: it is to be trusted on generated people
alone, and judged by its error on pictures with known landmarks. Photographs have detectors for this. The tables lie
beside this file (locator.safetensors, 0.8 MB, ours, Apache-2.0): half precision, the regressions' weights in one byte
each times a scale a column.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np

from faces.errors import SamaeError
from faces.files import sha256_file

WEIGHTS = Path(__file__).with_name("locator.safetensors")
#: Pictures are brought to this size first; all px inside are of this picture.
WORKING_PX = 96
BINS = 8
#: Distance of the 3 x 3 sampling points of a descriptor, a stage, in working px: coarse to fine.
SPACINGS_PX = (7.0, 5.0, 3.5, 2.5)
GRID = np.array([(dx, dy) for dy in (-1, 0, 1) for dx in (-1, 0, 1)], np.float32)
DESCRIPTOR = BINS * len(GRID)
#: The tables of a stage in the file.
PARTS = ("spacing_px", "mean", "basis", "weights", "weights_scale")


@dataclass(frozen=True, eq=False)
class Stage:
    """One regression. P landmarks = 68.

    Attributes:
        spacing_px: distance of the sampling points.
        mean: (DESCRIPTOR,) and basis: (DESCRIPTOR, K): the descriptors' principal components.
        weights: (68 * K + 1, 136), the last row the bias: components -> movement in working px.
    """

    spacing_px: float
    mean: np.ndarray
    basis: np.ndarray
    weights: np.ndarray

    def move(self, channels: np.ndarray, points_px: np.ndarray) -> np.ndarray:
        """(N, H, W, BINS), (N, 68, 2) working px -> the points after this stage."""
        features = reduced(describe(channels, points_px, self.spacing_px), self.mean, self.basis)
        return points_px + (features @ self.weights[:-1] + self.weights[-1]).reshape(-1, 68, 2)


@dataclass(frozen=True, eq=False)
class Locator:
    """The trained cascade. `digest` names its tables."""

    stages: tuple[Stage, ...]
    digest: str

    def locate(self, images: np.ndarray, start_px: np.ndarray) -> np.ndarray:
        """(N, S, S, 3) uint8, (N, 68, 2) expected px -> (N, 68, 2) float32 px where the landmarks are found."""
        scale = WORKING_PX / images.shape[1]
        points = start_px.astype(np.float32) * scale
        channels = gradient_channels(images)
        for stage in self.stages:
            points = stage.move(channels, points)
        return (points / scale).astype(np.float32)

    @cached_property
    def bytes(self) -> int:
        """Size of the tables in memory."""
        return sum(stage.weights.nbytes + stage.basis.nbytes for stage in self.stages)


def load_locator(path: Path = WEIGHTS) -> Locator:
    """Read the tables; SamaeError when the file is missing."""
    from safetensors.numpy import load_file

    if not path.is_file():
        raise SamaeError(f"{path} is missing; make it with 'python -m evaluation.train_locator'")
    tables = {name: table.astype(np.float32) for name, table in load_file(path).items()}
    stages = []
    for n in range(len(SPACINGS_PX)):
        spacing, mean, basis, whole, scale = (tables[f"{n}.{part}"] for part in PARTS)
        stages.append(Stage(float(spacing[0]), mean, basis, whole * scale))
    return Locator(tuple(stages), sha256_file(path)[:16])


def save_locator(path: Path, stages: Sequence[Stage]) -> None:
    """Write the tables; the weights are rounded to 255 steps a column."""
    from safetensors.numpy import save_file

    tables: dict[str, np.ndarray] = {}
    for n, stage in enumerate(stages):
        scale = (np.abs(stage.weights).max(axis=0) / 127).astype(np.float16)
        whole = np.rint(stage.weights / np.maximum(scale.astype(np.float32), 1e-12)).clip(-127, 127)
        half = [np.array([stage.spacing_px]), stage.mean, stage.basis]
        parts = [*(np.ascontiguousarray(part.astype(np.float16)) for part in half), whole.astype(np.int8), scale]
        tables |= {f"{n}.{name}": part for name, part in zip(PARTS, parts, strict=True)}
    save_file(tables, path)


def gradient_channels(images: np.ndarray) -> np.ndarray:
    """(N, S, S, 3) uint8 -> (N, 96, 96, BINS) float32: blurred gradient length by direction (0..360 degrees)."""
    sheets = []
    for image in images:
        way = cv2.INTER_AREA if image.shape[0] > WORKING_PX else cv2.INTER_CUBIC
        grey = cv2.cvtColor(cv2.resize(image, (WORKING_PX, WORKING_PX), interpolation=way), cv2.COLOR_RGB2GRAY)
        grey = cv2.GaussianBlur(grey.astype(np.float32) / 255, (0, 0), 0.8)
        dx, dy = cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)
        turn = np.arctan2(dy, dx) / (2 * np.pi) * BINS
        length = np.sqrt(np.hypot(dx, dy))
        away = np.abs((turn[..., None] - np.arange(BINS) + BINS / 2) % BINS - BINS / 2)
        binned = length[..., None] * np.maximum(1 - away, 0)
        sheets.append(np.stack([cv2.GaussianBlur(binned[..., b], (0, 0), 1.6) for b in range(BINS)], -1))
    return np.stack(sheets).astype(np.float32)


def describe(channels: np.ndarray, points_px: np.ndarray, spacing_px: float) -> np.ndarray:
    """(N, H, W, BINS), (N, 68, 2) px -> (N, 68, DESCRIPTOR) unit descriptors of 3 x 3 bilinear samples."""
    count, height, width = channels.shape[:3]
    where = points_px[:, :, None] + GRID * spacing_px - 0.5
    u, v = np.clip(where[..., 0], 0, width - 1.001), np.clip(where[..., 1], 0, height - 1.001)
    left, top = u.astype(np.int64), v.astype(np.int64)
    fu, fv = (u - left)[..., None], (v - top)[..., None]
    rows = np.arange(count)[:, None, None]
    upper = channels[rows, top, left] * (1 - fu) + channels[rows, top, left + 1] * fu
    lower = channels[rows, top + 1, left] * (1 - fu) + channels[rows, top + 1, left + 1] * fu
    values = (upper * (1 - fv) + lower * fv).reshape(count, points_px.shape[1], -1)
    return values / (np.linalg.norm(values, axis=-1, keepdims=True) + 0.05)


def reduced(descriptors: np.ndarray, mean: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """(N, 68, DESCRIPTOR) -> (N, 68 * K) principal components."""
    return ((descriptors - mean) @ basis).reshape(len(descriptors), -1)
