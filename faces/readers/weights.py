"""Weights of the small networks: NAME.safetensors with one byte a weight, NAME.json with its SHA-256 and what made it.

Batch norms are folded away first. Weights of convolutions and linear layers are rounded to 255 steps an output channel,
with a half-precision scale each (`NAME.scale`); everything else is half precision. The networks compute in float32.
"""

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from faces.errors import SamaeError
from faces.files import atomic_file, read_json, sha256_file, write_json
from faces.readers.blocks import folded

FOLDER = Path(__file__).parent / "weights"
SCALE = ".scale"


def packed(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A folded network's state in one byte a weight; see the module docstring."""
    tensors = {}
    for name, value in state.items():
        if value.ndim < 2:
            tensors[name] = value.half()
            continue
        size = value.flatten(1).abs().amax(1)
        scale = (size / 127).clamp_min(1e-6).half()
        steps = (value / scale.float().reshape(-1, *[1] * (value.ndim - 1))).round().clamp(-127, 127)
        tensors[name], tensors[name + SCALE] = steps.to(torch.int8).contiguous(), scale
    return tensors


def unpacked(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What `packed` made -> the state, float32."""
    state = {}
    for name, value in tensors.items():
        if name.endswith(SCALE):
            continue
        scale = tensors.get(name + SCALE)
        state[name] = value.float()
        if scale is not None:
            state[name] = state[name] * scale.float().reshape(-1, *[1] * (value.ndim - 1))
    return state


def save_reader(network: nn.Module, path: Path, made_from: dict[str, Any]) -> None:
    """Write a trained network to `path` (.safetensors), and beside it `made_from` with sizes and SHA-256 (.json)."""
    quick = folded(network.cpu())
    with atomic_file(path) as scratch:
        save_file(packed({key: value.contiguous() for key, value in quick.state_dict().items()}), scratch)
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
    if sha256_file(path) != read_json(note).get("sha256"):
        raise SamaeError(f"{path} does not match the SHA-256 in {note.name}: it is damaged; set both files back")
    quick = folded(network)
    try:
        quick.load_state_dict(unpacked(load_file(path)))
    except (SafetensorError, OSError, RuntimeError) as error:
        reason = str(error).splitlines()[-1].strip()
        raise SamaeError(f"{path} does not hold a {type(network).__name__} ({reason}); set the file back") from None
    return quick


def reader_digest(path: Path) -> str:
    """16 hexadecimal digits of the SHA-256 of a network's weights, as its .json says."""
    return str(read_json(path.with_suffix(".json"))["sha256"])[:16]
