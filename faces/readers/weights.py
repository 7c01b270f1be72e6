"""Weights of the small networks: NAME.safetensors, one byte a weight, and NAME.json with its SHA-256 and its making."""

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


def save_reader(network: nn.Module, path: Path, made_from: dict[str, Any]) -> None:
    """Write a trained network to `path` (.safetensors), and beside it `made_from` with sizes and SHA-256 (.json)."""
    quick = folded(network.cpu())
    with atomic_file(path) as scratch:
        save_file(packed(quick.state_dict(), BITS), scratch)
    parameters = sum(value.numel() for value in quick.parameters())
    write_json(path.with_suffix(".json"), made_from | {"parameters": parameters, "sha256": sha256_file(path)})


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
    try:
        quick.load_state_dict(unpacked(load_file(path), quick.state_dict(), BITS))
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
