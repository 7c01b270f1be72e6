"""Augmentation: colour jitter of the identity crop, and mirroring.

Factors are drawn apart from being applied, and a picture's draw depends on nothing but its place in the training order.
"""

from collections.abc import Sequence

import numpy as np
import torch

from training.config import IdentitySettings
from training.methods.base import generators_at

#: Rec. 601 luma, the grey that contrast and saturation turn about.
LUMA = (0.299, 0.587, 0.114)
#: Rows I and Q of the YIQ transform: chroma, whose plane the hue turns.
_YIQ = ((0.299, 0.587, 0.114), (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))


def jitter_factors(settings: IdentitySettings, seed: int, positions: Sequence[int]) -> torch.Tensor:
    """(N, 4) float32: factors of brightness, contrast and saturation (1: unchanged), hue in turns (0: unchanged)."""
    widths = np.array([settings.brightness, settings.contrast, settings.saturation, settings.hue])
    draws = np.stack([rng.uniform(-1, 1, 4) for rng in generators_at(seed, positions, "jitter")])
    return torch.from_numpy((draws * widths + np.array([1, 1, 1, 0])).astype(np.float32))


def colour_jitter(images: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """(N, 3, S, S) sRGB 0..1 and (N, 4) factors of `jitter_factors` -> the same, clipped to 0..1.

    Brightness multiplies, contrast moves about the mean luma, saturation about the luma, hue turns the chroma plane of
    YIQ (torchvision turns HSV's hue; the turn of YIQ is linear in the pixels: ours). Nothing is clipped in between, so
    all four are one matrix and one offset a picture.
    """
    brightness, contrast, saturation, hue = (f[:, None, None].to(images) for f in factors.unbind(1))
    luma = images.new_tensor(LUMA)
    pixels = images.flatten(2)
    mean = (pixels.mean(2) * luma).sum(1)[:, None, None] * brightness
    grey = luma.expand(3, 3)
    colour = hue_matrices(hue.flatten()) @ (grey + (torch.eye(3).to(images) - grey) * saturation)
    offset = colour.sum(2, keepdim=True) * mean * (1 - contrast)
    return torch.baddbmm(offset, colour * (brightness * contrast), pixels).clamp_(0, 1).view(images.shape)


def hue_matrices(turns: torch.Tensor) -> torch.Tensor:
    """(N,) turns -> (N, 3, 3) matrices on RGB that turn YIQ's chroma plane by that angle."""
    yiq = turns.new_tensor(_YIQ)
    cos, sin = torch.cos(turns * 2 * torch.pi), torch.sin(turns * 2 * torch.pi)
    turn = torch.zeros(len(turns), 3, 3, dtype=turns.dtype, device=turns.device)
    turn[:, 0, 0] = 1
    turn[:, 1, 1], turn[:, 1, 2], turn[:, 2, 1], turn[:, 2, 2] = cos, -sin, sin, cos
    return torch.linalg.inv(yiq) @ turn @ yiq


def flips(seed: int, positions: Sequence[int]) -> torch.Tensor:
    """(N,) bool: which pictures of the training order are mirrored (half of them)."""
    return torch.tensor([bool(rng.integers(2)) for rng in generators_at(seed, positions, "flip")])


#: iBUG-68 index of each landmark in the mirrored picture.
MIRROR_68 = (
    list(range(16, -1, -1)) + list(range(26, 16, -1)) + list(range(27, 31)) + list(range(35, 30, -1))
    + [45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40]
    + [54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65]
)  # fmt: skip


def mirror(pictures: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """(N, C, S, S) with the chosen rows (N,) bool mirrored left to right."""
    return torch.where(chosen.to(pictures.device)[:, None, None, None], pictures.flip(-1), pictures)


def mirror_landmarks(landmarks_px: torch.Tensor, chosen: torch.Tensor, size_px: int) -> torch.Tensor:
    """(N, 68, 2) px with the chosen rows mirrored in a picture `size_px` wide, left and right names exchanged."""
    mirrored = landmarks_px[:, MIRROR_68].clone()
    mirrored[..., 0] = size_px - mirrored[..., 0]
    return torch.where(chosen.to(landmarks_px.device)[:, None, None], mirrored, landmarks_px)
