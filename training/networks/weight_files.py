"""Weights that a user supplies for networks of others (VGG-16, AlexNet, LPIPS, Inception): found, read, checked.

Nothing is unpickled: safetensors, or PyTorch's files with weights_only. A file must hold exactly what the network
has, or the sentence lists every name that is missing, left over, or of another shape.
"""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from faces.errors import SamaeError
from faces.files import sha256_file
from faces.identity.registry import search_folders


def find_file(names: Iterable[str]) -> Path | None:
    """The first of these files in the folders where weights are looked for ($SAMAE_WEIGHTS first), or None."""
    names = tuple(names)
    return next((folder / n for folder in search_folders() for n in names if (folder / n).is_file()), None)


def read_state(path: Path) -> dict[str, torch.Tensor]:
    """Name -> tensor of a .safetensors file, or of a PyTorch file that is a plain state dictionary.

    Raises:
        SamaeError: the file cannot be read so, or holds something else than tensors.
    """
    try:
        state = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except SafetensorError as error:
        raise SamaeError(f"{path} is not a readable safetensors file ({error}); download it anew") from None
    except Exception as error:  # torch raises classes of its own and of the unpickler
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SamaeError(f"{path} is no plain state dictionary ({reason}); download it anew") from None
    if not isinstance(state, dict) or not all(torch.is_tensor(value) for value in state.values()):
        raise SamaeError(f"{path} is no plain state dictionary (it holds other things than tensors); download it anew")
    return dict(state)


def load_published(
    network: nn.Module, path: Path, names: Mapping[str, str], ignored: str = r"$^", source: str = "the published file"
) -> None:
    """Put a file's tensors into a network, whole or not at all.

    Args:
        names: every name of the network's state -> its name in the file.
        ignored: pattern of the file's names that the published file has and this network has no use for.
        source: which file to take instead, for the sentence.

    Raises:
        SamaeError: names missing, left over, or of another shape; all of them are in the sentence.
    """
    state, own = read_state(path), network.state_dict()
    missing = sorted(theirs for theirs in names.values() if theirs not in state)
    unexpected = sorted(name for name in set(state) - set(names.values()) if not re.match(ignored, name))
    shapes = sorted(t for ours, t in names.items() if t in state and state[t].shape != own[ours].shape)
    if missing or unexpected or shapes:
        lists = {"missing": missing, "unexpected": unexpected, "of another shape": shapes}
        told = "; ".join(f"{what} {len(found)}: {', '.join(found)}" for what, found in lists.items() if found)
        raise SamaeError(f"{path} does not fit {type(network).__name__} ({told}); take {source}")
    network.load_state_dict({ours: state[theirs] for ours, theirs in names.items()}, strict=False)


@lru_cache(maxsize=32)
def _digest(path: Path, size: int, changed_ns: int) -> str:
    return sha256_file(path)


def file_digest(path: Path) -> str:
    """SHA-256 of a file, 64 hexadecimal digits, read once until the file changes."""
    stat = path.stat()
    return _digest(path, stat.st_size, stat.st_mtime_ns)


def is_as_published(path: Path, digest: str) -> bool | None:
    """Whether a file is the published one: its name ends in the first digits of its SHA-256 (name-397923af.pth).

    None when the name has no such digits (a conversion to safetensors).
    """
    found = re.search(r"-([0-9a-f]{8,64})\.pth$", path.name)
    return digest.startswith(found.group(1)) if found else None
