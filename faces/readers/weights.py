"""Weights of the small networks: NAME.safetensors, one byte a weight, and NAME.json with its SHA-256 and its making.

A network that goes on from another may keep the bytes of most of its weights and have its own sizes of a step, biases
and few layers (`base`): some kilobytes in place of hundreds. Its NAME.json names the other file and that one's SHA-256.
"""

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from faces.errors import SamaeError
from faces.files import atomic_file, read_json, sha256_file, write_json
from faces.finding.packing import folded, packed, unpacked

FOLDER = Path(__file__).parent / "weights"
#: Bits a weight (faces/finding/packing.py).
BITS = 8


def save_reader(network: nn.Module, path: Path, made_from: dict[str, Any], base: Path | None = None) -> None:
    """Write a trained network to `path` (.safetensors), and beside it `made_from` with sizes and SHA-256 (.json).

    base: weights of the same shape, in the folder of `path` when they are read. A layer that differs from theirs by a
    factor a channel alone is written as these factors.
    """
    quick = folded(network.cpu())
    tensors = packed(quick.state_dict(), BITS)
    if base is not None:
        tensors = _beside(tensors, quick.state_dict(), load_file(base))
        made_from = made_from | {"base": {"file": base.name, "sha256": sha256_file(base)}}
    with atomic_file(path) as scratch:
        save_file(tensors, scratch)
    parameters = sum(value.numel() for value in quick.parameters())
    write_json(path.with_suffix(".json"), made_from | {"parameters": parameters, "sha256": sha256_file(path)})


def _beside(
    tensors: dict[str, torch.Tensor], state: dict[str, torch.Tensor], base: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Packed tensors of a network without the bytes that it shares with `base`."""
    own = unpacked(base, state, BITS)
    out = dict(tensors)
    for name, value in state.items():
        if value.ndim < 2:
            continue
        rows, other = value.flatten(1).double(), own[name].flatten(1).double()
        factor = (rows * other).sum(1) / (other * other).sum(1).clamp_min(1e-12)
        if (rows - factor[:, None] * other).abs().max() < 1e-6 * other.abs().max():
            del out[f"{name}.bits"]
            out[f"{name}.step"] = (base[f"{name}.step"].double() * factor).half()
    return out


def load_reader(network: nn.Module, path: Path) -> nn.Module:
    """The weights of a file in a network of that shape: folded, frozen, channels last, ready to read.

    Raises:
        SamaeError: the file is missing, does not match the SHA-256 in its .json, or belongs to another network.
    """
    note = path.with_suffix(".json")
    for file in (path, note):
        if not file.is_file():
            raise SamaeError(f"{file} is missing: install the project anew, or set the file back")
    if sha256_file(path) != noted_sha256(path):
        raise SamaeError(f"{path} does not match the SHA-256 in {note.name}: it is damaged; set both files back")
    quick = folded(network).to(memory_format=torch.channels_last)
    base = read_json(note).get("base")
    try:
        tensors = load_file(path)
        if base is not None:
            other = path.with_name(base["file"])
            if not other.is_file() or sha256_file(other) != base["sha256"]:
                raise SamaeError(f"{path} belongs to another {other.name}: install the project anew, or set both back")
            tensors = load_file(other) | tensors
        quick.load_state_dict(unpacked(tensors, quick.state_dict(), BITS))
    except (SafetensorError, OSError, RuntimeError) as error:
        reason = str(error).splitlines()[-1].strip()
        raise SamaeError(f"{path} does not hold a {type(network).__name__} ({reason}); set the file back") from None
    return quick


def noted_sha256(path: Path) -> str:
    """The SHA-256 of a network's weights as its .json says; SamaeError when that file says none."""
    note = path.with_suffix(".json")
    try:
        return str(read_json(note)["sha256"])
    except (KeyError, TypeError):
        raise SamaeError(f"{note} names no SHA-256: it is damaged; install the project anew, or set it back") from None


def reader_digest(path: Path) -> str:
    """16 hexadecimal digits of the SHA-256 of a network's weights, as its .json says; SamaeError as noted_sha256."""
    return noted_sha256(path)[:16]
