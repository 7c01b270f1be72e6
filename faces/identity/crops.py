"""The crop that identity encoders see: ArcFace's five-point similarity template, differentiable.

One path serves pictures of any size, both for embedding (uint8) and inside a loss (float tensors with gradients), so
that training and judging never differ in their preprocessing.
"""

import numpy as np
import torch
from torch.nn import functional

from faces.errors import SamaeError
from faces.landmarks import arcface_transform


def crop_matrices(landmarks_px: np.ndarray, crop_px: int) -> np.ndarray:
    """(N, 68, 2) px -> (N, 2, 3) float64: picture px -> crop px, both with the first pixel's centre at 0.5."""
    landmarks_px = np.asarray(landmarks_px, np.float64)
    if landmarks_px.ndim != 3 or landmarks_px.shape[1:] != (68, 2):
        raise SamaeError(f"landmarks must have the shape (N, 68, 2), not {landmarks_px.shape}")
    return arcface_transform(landmarks_px, crop_px)


def identity_crops(images: torch.Tensor, landmarks_px: torch.Tensor, crop_px: int) -> torch.Tensor:
    """(N, 3, S, S) sRGB 0..1 and (N, 68, 2) px -> (N, 3, crop_px, crop_px) sRGB 0..1, differentiable in the images.

    Pictures more than twice as fine as the crop are averaged down first, so that the bilinear warp does not alias
    (ours). Outside the picture the border colour is repeated. A crop does not depend on who else is in the batch.
    """
    size_px = images.shape[-1]
    forward = crop_matrices(landmarks_px.detach().cpu().numpy(), crop_px)
    theta = torch.as_tensor(_sampling_grid(forward, size_px, crop_px), dtype=torch.float32, device=images.device)
    with torch.autocast(images.device.type, enabled=False):  # a grid in bfloat16 is off by half a pixel at 256 px
        grid = functional.affine_grid(theta, [len(images), 3, crop_px, crop_px], align_corners=False)
    factors = shrink_factors(forward, size_px)
    parts = [np.flatnonzero(factors == factor) for factor in np.unique(factors)]
    crops = [_sample(images[rows], grid[rows], int(factors[rows[0]])) for rows in parts] if len(parts) > 1 else []
    if not crops:
        return _sample(images, grid, int(factors[0]) if len(factors) else 1)
    return torch.cat(crops)[np.argsort(np.concatenate(parts))]


def shrink_factors(forward: np.ndarray, size_px: int) -> np.ndarray:
    """By how much each picture is averaged down before its crop: (N, 2, 3) -> (N,), the largest divisor of the side
    that leaves the picture at least as fine as the crop."""
    shrink = 1.0 / np.sqrt(np.abs(np.linalg.det(forward[:, :, :2])))
    divisors = np.array([n for n in range(1, size_px + 1) if size_px % n == 0])
    return divisors[np.maximum(np.searchsorted(divisors, shrink, side="right") - 1, 0)]


def _sample(images: torch.Tensor, grid: torch.Tensor, factor: int) -> torch.Tensor:
    images = functional.avg_pool2d(images, factor) if factor > 1 else images
    return functional.grid_sample(
        images, grid.to(images.dtype), mode="bilinear", padding_mode="border", align_corners=False
    )


def _sampling_grid(forward: np.ndarray, size_px: int, crop_px: int) -> np.ndarray:
    """Crop's normalised coordinates (-1..1) -> picture's normalised coordinates, as (N, 2, 3) for affine_grid."""
    square = np.concatenate([forward, np.tile([[[0.0, 0.0, 1.0]]], (len(forward), 1, 1))], axis=1)
    to_picture_px = np.linalg.inv(square)
    from_unit = np.array([[crop_px / 2, 0, crop_px / 2], [0, crop_px / 2, crop_px / 2], [0, 0, 1.0]])
    to_unit = np.array([[2 / size_px, 0, -1], [0, 2 / size_px, -1], [0, 0, 1.0]])
    return (to_unit @ to_picture_px @ from_unit)[:, :2]
