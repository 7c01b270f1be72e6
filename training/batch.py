"""A batch of faces as every method, the trainer and the judge see it, and the contract of a trained swapper."""

from dataclasses import dataclass, fields
from typing import Protocol

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
    """

    image: torch.Tensor
    mask: torch.Tensor
    coefficients: torch.Tensor
    embedding: torch.Tensor
    skin: torch.Tensor
    landmarks: torch.Tensor
    person: torch.Tensor
    keys: tuple[str, ...]

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
