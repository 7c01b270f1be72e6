"""FID and KID: Fréchet and kernel distance of Inception features of the results and of the real targets of the list.

Features: the 2,048 numbers before the classifier of TensorFlow's Inception-v3 of December 2015, on pictures that were
resized to 299 px as clean-fid does (Parmar et al. 2022: antialiased bicubic of Pillow, every channel in floating
point, clipped to 0..255, not rounded), scaled by (x - 128) / 128. FID: population means, sample covariances. KID: the
unbiased estimate over all pictures at once; clean-fid averages subsets of at most 1,000, which estimates the same.
Range: FID 0 upwards, KID about 0 upwards; lower is better; no unit. One number a set. FID of few pairs is strongly
biased: compare equal N, and no figure of another list; below some thousands of pairs read the KID. Weights:
training/networks/inception.py; without them neither is there, and `frechet_identity_features` does not stand in for
them. Source: Heusel et al. 2017 (arXiv 1706.08500) for the FID, Binkowski et al. 2018 (arXiv 1801.01401) for the KID.
"""

import numpy as np
import torch
from PIL import Image

from evaluation.networks import NetworkFiles
from training.networks.inception import INPUT_PX

#: Column of the rows table that holds the features.
COLUMN = "inception"
BATCH = 8


def clean_resize(image: np.ndarray, size_px: int = INPUT_PX) -> np.ndarray:
    """(S, S, 3) uint8 -> (size_px, size_px, 3) float32 0..255, as clean-fid's mode "clean"."""
    channels = [Image.fromarray(np.ascontiguousarray(image[..., c], np.float32)) for c in range(3)]
    resized = [channel.resize((size_px, size_px), Image.Resampling.BICUBIC) for channel in channels]
    return np.stack([np.asarray(channel, np.float32).clip(0, 255) for channel in resized], axis=-1)


def inception_features(images: np.ndarray, files: NetworkFiles) -> np.ndarray:
    """(N, S, S, 3) uint8 -> (N, 2048) float32."""
    network, rows = files.load(), []
    with torch.inference_mode():
        for start in range(0, len(images), BATCH):
            part = np.stack([clean_resize(image) for image in images[start : start + BATCH]])
            rows.append(network(torch.from_numpy(part).permute(0, 3, 1, 2).contiguous()).numpy())
    return np.concatenate(rows)
