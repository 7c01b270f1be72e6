"""A batch of faces as every method, the trainer and the judge see it, as the shards hold it, and the contract of a
trained swapper."""

from dataclasses import dataclass, fields
from typing import Protocol

import cv2
import numpy as np
import torch


@dataclass(frozen=True)
class FaceBatch:
    """N faces, S px square.

    Attributes:
        image: (N, 3, S, S) float32, sRGB 0..1.
        mask: (N, 1, S, S) float32 0..1, the visible face (silhouette minus occluders).
        coefficients: (N, D) float32, CoefficientLayout of the head, camera Camera.centred(S).
        embedding: (N, M) float32, unit length.
        skin: (N, 3) float32, skin colour, linear RGB 0..1.
        landmarks: (N, 68, 2) float32, px in the S px picture.
        person: (N,) int64, identity label, -1 where it is unknown.
        keys: N sample keys.
        second: (N, M) float32, embedding of another picture of the same person, zeros where there is none; None where
            none was asked for, or no row has one (training/same_person.py).
    """

    image: torch.Tensor
    mask: torch.Tensor
    coefficients: torch.Tensor
    embedding: torch.Tensor
    skin: torch.Tensor
    landmarks: torch.Tensor
    person: torch.Tensor
    keys: tuple[str, ...]
    second: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.keys)

    def to(self, device: torch.device | str) -> "FaceBatch":
        """The same batch on a device."""
        moved = {f.name: getattr(self, f.name) for f in fields(self)}
        return FaceBatch(**{k: v.to(device, non_blocking=True) if torch.is_tensor(v) else v for k, v in moved.items()})

    def select(self, index: list[int] | torch.Tensor) -> "FaceBatch":
        """The faces of these positions, in this order (a position may repeat)."""
        rows = torch.as_tensor(index)
        moved = {f.name: getattr(self, f.name) for f in fields(self)}
        parts = {k: v[rows.to(v.device)] for k, v in moved.items() if torch.is_tensor(v)}
        return FaceBatch(**parts, keys=tuple(self.keys[int(i)] for i in rows))


@dataclass(frozen=True)
class PackedFaces:
    """N faces as shards hold them: a quarter of a FaceBatch's bytes, until they are where they are used.

    Attributes:
        image: (N, S, S, 3) uint8, sRGB.
        mask: (N, S, S) uint8 0..255, the visible face.
        numbers: what a FaceBatch has besides, by name: coefficients, embedding, skin, landmarks, person, maybe second.
        keys: N sample keys.
    """

    image: torch.Tensor
    mask: torch.Tensor
    numbers: dict[str, torch.Tensor]
    keys: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.keys)

    def unpacked(self, device: torch.device | str = "cpu") -> FaceBatch:
        """The same faces in float32, made on the device, so that bytes alone go there."""
        device = torch.device(device)
        moved = {name: value.to(device, non_blocking=True) for name, value in self.numbers.items()}
        return FaceBatch(planes(self.image, device), planes(self.mask[..., None], device), **moved, keys=self.keys)


def planes(pictures: torch.Tensor, device: torch.device) -> torch.Tensor:
    """(N, S, S, C) uint8 on the CPU -> (N, C, S, S) float32 in 0..1 on a device.

    On the CPU picture by picture and channel by channel straight into the batch: a quarter of the time of permute,
    contiguous, float and div, and the same numbers.
    """
    if device.type != "cpu":
        return pictures.to(device, non_blocking=True).permute(0, 3, 1, 2).contiguous().float().div_(255)
    count, height, width, channels = pictures.shape
    into = np.empty((count, channels, height, width), np.float32)
    for picture, place in zip(pictures.numpy(), into, strict=True):
        for channel, plane in zip(cv2.split(picture), place, strict=True):
            np.divide(channel, np.float32(255), out=plane, dtype=np.float32)
    return torch.from_numpy(into)


@dataclass(frozen=True)
class SwapResult:
    """What a swap gives: image (N, 3, S, S) float32 sRGB 0..1; mask (N, 1, S, S) float32 0..1, what was changed."""

    image: torch.Tensor
    mask: torch.Tensor


class Swapper(Protocol):
    """A trained method, ready to swap. The judge, the report and the command line see nothing else of a method."""

    name: str
    size_px: int

    def swap(self, source: FaceBatch, target: FaceBatch) -> SwapResult:
        """Source's identity in target's picture: shape and embedding of the source, everything else of the target."""
        ...
