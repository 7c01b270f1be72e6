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
    return np.stack([arcface_transform(points, crop_px) for points in landmarks_px])


def identity_crops(images: torch.Tensor, landmarks_px: torch.Tensor, crop_px: int) -> torch.Tensor:
    """(N, 3, S, S) sRGB 0..1 and (N, 68, 2) px -> (N, 3, crop_px, crop_px) sRGB 0..1, differentiable in the images.

    Pictures more than twice as fine as the crop are averaged down first, so that the bilinear warp does not alias
    (ours). Outside the picture the border colour is repeated.
    """
    size_px = images.shape[-1]
    forward = crop_matrices(landmarks_px.detach().cpu().numpy(), crop_px)
    shrink = 1.0 / np.sqrt(np.abs(np.linalg.det(forward[:, :, :2]))).mean()
    factor = int(shrink)
    if factor >= 2 and size_px % factor == 0:
        images = functional.avg_pool2d(images, factor)
    theta = torch.as_tensor(_sampling_grid(forward, size_px, crop_px), dtype=images.dtype, device=images.device)
    grid = functional.affine_grid(theta, [len(images), 3, crop_px, crop_px], align_corners=False)
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _sampling_grid(forward: np.ndarray, size_px: int, crop_px: int) -> np.ndarray:
    """Crop's normalised coordinates (-1..1) -> picture's normalised coordinates, as (N, 2, 3) for affine_grid."""
    square = np.concatenate([forward, np.tile([[[0.0, 0.0, 1.0]]], (len(forward), 1, 1))], axis=1)
    to_picture_px = np.linalg.inv(square)
    from_unit = np.array([[crop_px / 2, 0, crop_px / 2], [0, crop_px / 2, crop_px / 2], [0, 0, 1.0]])
    to_unit = np.array([[2 / size_px, 0, -1], [0, 2 / size_px, -1], [0, 0, 1.0]])
    return (to_unit @ to_picture_px @ from_unit)[:, :2]
