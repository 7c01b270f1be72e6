"""Where a pair of eyes looks: a small network that reads it off the picture, near landmarks that are known.

Input: the strip of both eyes, cut by the landmarks' eye centres (72 x 24 px, the eyes 36 px apart), and all 68 points
in the strip's frame, which tell the head's pose. Output: yaw and pitch of the gaze, and how sure that is. Trained by
evaluation/train_gaze.py on generated people whom no data set uses, plain pictures and true swaps alike, so that a
swap is read by its target's landmarks: to be trusted on generated people alone. The weights lie beside this file
(gaze.safetensors, ours, Apache-2.0). docs/judging.md has the error against the truth.
"""

from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from faces.errors import SamaeError
from faces.fitting.gaze import gaze_vectors
from faces.landmarks import EYE_LEFT, EYE_RIGHT, transform_points, umeyama

WEIGHTS = Path(__file__).with_name("gaze.safetensors")
#: The layer that holds most of the numbers, and its scales, in the file.
WIDEST, SCALE = "head.0.weight", "head.0.weight_scale"
STRIP_PX = (72, 24)
#: Eye centres in the strip, picture-left first, our pixels.
EYES_AT = np.array([[18.0, 12.0], [54.0, 12.0]])


class GazeNetwork(nn.Module):
    """Strip and landmarks -> yaw, pitch, log variance. 95,000 parameters."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 16, 32, 32)
        layers: list[nn.Module] = []
        for a, b in pairwise(widths):
            layers += [nn.Conv2d(a, b, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        self.eyes = nn.Sequential(*layers, nn.Flatten())
        self.head = nn.Sequential(nn.Linear(32 * 9 * 3 + 136, 80), nn.ReLU(), nn.Linear(80, 3))

    def forward(self, strips: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """(N, 3, 24, 72) normalised, (N, 136) -> (N, 3) yaw and pitch in radians, log variance of both."""
        return self.head(torch.cat([self.eyes(strips), points], 1))


def strip_transforms(landmarks_px: np.ndarray) -> np.ndarray:
    """(N, 68, 2) px -> (N, 2, 3) similarity from the picture to its strip of eyes."""
    eyes = np.stack([landmarks_px[:, part].mean(axis=1) for part in (EYE_RIGHT, EYE_LEFT)], axis=1)
    return umeyama(eyes, np.broadcast_to(EYES_AT, eyes.shape))


def network_input(images: np.ndarray, landmarks_px: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """(N, S, S, 3) uint8, (N, 68, 2) px -> strips (N, 3, 24, 72) of mean 0 and deviation 1, points (N, 136)."""
    matrices, strips = strip_transforms(landmarks_px), []
    for image, matrix in zip(images, matrices, strict=True):
        whole = np.concatenate([matrix[:, :2], (matrix[:, 2] + matrix[:, :2] @ [0.5, 0.5] - 0.5)[:, None]], 1)
        strip = cv2.warpAffine(image, whole, STRIP_PX, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        strips.append((strip - strip.mean()) / (strip.std() + 4.0))
    points = (transform_points(matrices, landmarks_px) - EYES_AT.mean(axis=0)) / 36.0
    pixels = torch.from_numpy(np.stack(strips).astype(np.float32)).permute(0, 3, 1, 2)
    return pixels.contiguous(), torch.from_numpy(points.reshape(len(points), -1).astype(np.float32))


def turned(vectors: np.ndarray, matrices: np.ndarray, back: bool = False) -> np.ndarray:
    """(N, 3) directions in the picture -> those in the strip, whose eyes are level; `back` the other way."""
    cosine, sine = matrices[:, 0, 0], matrices[:, 1, 0]
    size = np.hypot(cosine, sine)
    cosine, sine = cosine / size, (-sine if back else sine) / size
    x, y = vectors[:, 0], -vectors[:, 1]
    return np.stack([cosine * x - sine * y, -(sine * x + cosine * y), vectors[:, 2]], axis=1)


def angle_degrees(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(N, 3) unit vectors twice -> (N,) angle between them, degrees; exactly 0 for equal ones."""
    return np.degrees(2 * np.arcsin(np.clip(np.linalg.norm(a - b, axis=1) / 2, 0, 1)))


class GazeReader:
    """The trained network."""

    def __init__(self, network: GazeNetwork) -> None:
        self.network = network.eval().requires_grad_(False)

    def read(self, images: np.ndarray, landmarks_px: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pictures by known landmarks: (N, S, S, 3) uint8, (N, 68, 2) px.

        Returns:
            (N, 3) float64 unit vectors in the picture's frame (+x right, +y up, +z to the camera), and (N,) the
            expected error of yaw and pitch, degrees (one standard deviation, by the network's own word).
        """
        with torch.inference_mode():
            answer = self.network(*network_input(images, landmarks_px)).double().numpy()
        level = gaze_vectors(answer[:, :2])
        return turned(level, strip_transforms(landmarks_px), back=True), np.degrees(np.exp(answer[:, 2] / 2))


def save_reader(path: Path, network: GazeNetwork) -> None:
    """Write the weights: the widest layer as one byte a number times a scale a row, the rest in half precision."""
    weights = network.state_dict()
    widest = weights.pop(WIDEST)
    scale = (widest.abs().amax(1, keepdim=True) / 127).half()
    whole = (widest / scale.float().clamp(min=1e-12)).round().clamp(-127, 127).to(torch.int8)
    halves = {name: value.half().contiguous() for name, value in weights.items()}
    save_file(halves | {WIDEST: whole, SCALE: scale}, path)


@lru_cache(maxsize=2)
def load_reader(path: Path = WEIGHTS) -> GazeReader:
    """The shipped reader, read once a process; SamaeError when the file is missing."""
    if not path.is_file():
        raise SamaeError(f"{path} is missing; make it with 'python -m evaluation.train_gaze'")
    network = GazeNetwork()
    weights = {name: value.float() for name, value in load_file(path).items()}
    weights[WIDEST] = weights[WIDEST] * weights.pop(SCALE)
    network.load_state_dict(weights)
    return GazeReader(network)
