"""An identity encoder: our own IResNets (torch, differentiable) and recognisers in ONNX files behind one contract."""

import json
import lzma
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch.nn import functional

from faces.errors import SamaeError
from faces.files import sha256_bytes
from faces.identity.crops import identity_crops
from faces.identity.iresnet import IResNet, IResNetConfig, folded

#: Faces embedded in one pass when a caller hands over more.
CHUNK = 64
#: More than any encoder holds, bytes: packed weights that grow beyond it are refused.
LARGEST = 2**30


class Encoder(Protocol):
    """What every encoder offers. `digest`: 16 hexadecimal digits of its weights; `licence`: their terms."""

    name: str
    digest: str
    licence: str
    dim: int
    crop_px: int

    def embed(self, images: np.ndarray, landmarks_px: np.ndarray) -> np.ndarray:
        """(N, S, S, 3) uint8 sRGB and (N, 68, 2) px -> (N, dim) float32 of unit length."""
        ...

    def embed_tensor(self, images: torch.Tensor, landmarks_px: torch.Tensor) -> torch.Tensor:
        """(N, 3, S, S) sRGB 0..1 and (N, 68, 2) px -> (N, dim) of unit length, differentiable in the images."""
        ...


class TorchEncoder:
    """An IResNet with frozen weights. Its parameters never receive gradients; the pictures do.

    Attributes:
        network: what embeds, its batch norms folded away.  trained: the network as it was trained, to train it further.
    """

    def __init__(self, network: IResNet, name: str, digest: str, licence: str) -> None:
        self.trained = network.eval().requires_grad_(False)
        self.network = folded(network).to(memory_format=torch.channels_last)
        self.name, self.digest, self.licence = name, digest, licence
        self.dim, self.crop_px = network.config.dim, network.config.crop_px

    def embed(self, images: np.ndarray, landmarks_px: np.ndarray) -> np.ndarray:
        """(N, S, S, 3) uint8 sRGB and (N, 68, 2) px -> (N, dim) float32 of unit length."""
        if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8:
            raise SamaeError(f"pictures must be (N, S, S, 3) uint8, not {images.shape} {images.dtype}")
        rows = []
        with torch.inference_mode():
            for start in range(0, len(images), CHUNK):
                part = torch.from_numpy(np.ascontiguousarray(images[start : start + CHUNK])).to(self._device())
                marks = torch.from_numpy(np.asarray(landmarks_px[start : start + CHUNK], np.float32))
                rows.append(self.embed_tensor(part.permute(0, 3, 1, 2).float() / 255, marks).cpu().numpy())
        return np.concatenate(rows) if rows else np.zeros((0, self.dim), np.float32)

    def embed_tensor(self, images: torch.Tensor, landmarks_px: torch.Tensor) -> torch.Tensor:
        """(N, 3, S, S) sRGB 0..1 and (N, 68, 2) px -> (N, dim) of unit length, differentiable in the images."""
        return functional.normalize(self.network(self.crops(images, landmarks_px)).float(), dim=1)

    def crops(self, images: torch.Tensor, landmarks_px: torch.Tensor) -> torch.Tensor:
        """The network's input: (N, 3, crop_px, crop_px) in -1..1."""
        crops = identity_crops(images, landmarks_px, self.crop_px) * 2 - 1
        return crops.contiguous(memory_format=torch.channels_last)

    def feature_maps(self, images: torch.Tensor, landmarks_px: torch.Tensor) -> list[torch.Tensor]:
        """The four stages' maps of the face crop, for a perceptual loss without VGG (ours)."""
        return self.network.features(self.crops(images, landmarks_px))

    def to(self, device: torch.device | str) -> "TorchEncoder":
        """Move the weights to a device; returns itself."""
        self.network.to(device)
        self.trained.to(device)
        return self

    def _device(self) -> torch.device:
        return next(self.network.parameters()).device


def save_encoder(network: IResNet, path: Path, metadata: dict[str, Any]) -> None:
    """Write an IResNet as half-precision safetensors; configuration and `metadata` go into the file's header."""
    state = {key: value.half() if value.is_floating_point() else value for key, value in network.state_dict().items()}
    header = {"architecture": "iresnet", **{k: str(v) for k, v in (network.config.to_dict() | metadata).items()}}
    save_file({key: value.contiguous() for key, value in state.items()}, path, metadata=header)


def weights_bytes(path: Path) -> bytes:
    """A safetensors file's bytes; those of NAME.safetensors.xz are unpacked: the same weights with the same digest.

    Raises:
        OSError, lzma.LZMAError: it cannot be read or unpacked, is cut short, or holds more than LARGEST bytes.
    """
    data = path.read_bytes()
    if path.suffix != ".xz":
        return data
    unpacker = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=2**28)
    held = unpacker.decompress(data, max_length=LARGEST)
    if not unpacker.eof:
        raise lzma.LZMAError("it is cut short or too large")
    return held


def encoder_header(data: bytes) -> dict[str, str]:
    """What `save_encoder` put into the header of a safetensors file of these bytes."""
    length = int.from_bytes(data[:8], "little")
    return dict(json.loads(data[8 : 8 + length]).get("__metadata__") or {})


def read_encoder(path: Path, name: str | None = None, device: torch.device | str = "cpu") -> TorchEncoder:
    """Read what `save_encoder` wrote, packed as .xz or not; anything else is a SamaeError that says what is wrong."""
    try:
        data = weights_bytes(path)
        state = load(data)
        header = encoder_header(data)
    except (SafetensorError, OSError, lzma.LZMAError) as error:
        raise SamaeError(f"{path} is not a readable safetensors file ({error}); restore it") from None
    if header.get("architecture") != "iresnet":
        raise SamaeError(f"{path} does not hold an identity encoder (architecture {header.get('architecture')!r})")
    whole = ("depth", "width", "dim", "crop_px")
    config = IResNetConfig(**{key: int(header[key]) for key in whole}, head=header["head"])  # type: ignore[arg-type]
    network = IResNet(config)
    try:
        network.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()})
    except RuntimeError as error:
        raise SamaeError(f"{path} does not fit its own header: {str(error).splitlines()[-1].strip()}") from None
    licence = header.get("licence", "unknown")
    return TorchEncoder(network.to(device), name or path.stem, sha256_bytes(data)[:16], licence)
