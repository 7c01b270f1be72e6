"""SimSwap's official checkpoints (`latest_net_G.pth`) as our generator: a strict map of names, and of value ranges.

Two forms are in circulation. "tanh": the 224 release, 0..1 in, (tanh + 1) / 2 out. "linear": what the released
train.py (April 2022) writes, ImageNet-normalised in and out. Our generator takes -1..1 and gives 0.5 + linear, so the
first and the last convolution are rewritten; that is exact, since both pad by reflection. The form cannot be read off
the file. The identity must come from the encoder that the checkpoint was trained with (its own ArcFace).
"""

from pathlib import Path
from typing import Literal

import torch

from faces.errors import SamaeError
from training.networks.simswap import SimSwapGenerator
from training.networks.weight_files import read_state

Form = Literal["tanh", "linear"]
MEAN, DEVIATION = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
#: How many names a message lists.
SHOWN = 6


def official_names(levels: int = 3, blocks: int = 9) -> dict[str, str]:
    """Name of a module of our generator -> its name in the checkpoint. `levels` strided convolutions (4: --Gdeep)."""
    names = {"stem.0": "first_layer.1", "stem.1": "first_layer.2", "out": "last_layer.1"}
    for level in range(levels):
        names |= {f"down.{level}.{part}": f"down{level + 1}.{part}" for part in (0, 1)}
        names |= {f"up.{level}.{part}": f"up{levels - level}.{part + 1}" for part in (0, 1)}
    for block in range(blocks):
        for part in (0, 1):
            theirs = f"BottleNeck.{block}"
            names[f"bottleneck.{block}.convs.{part}"] = f"{theirs}.conv{part + 1}.1"
            names[f"bottleneck.{block}.styles.{part}"] = f"{theirs}.style{part + 1}.linear"
    return names


def renamed(state: dict[str, torch.Tensor], network: SimSwapGenerator, source: Path) -> dict[str, torch.Tensor]:
    """The checkpoint under our names.

    Raises:
        SamaeError: a name is missing, left over, or has another shape; all three lists are in the sentence.
    """
    modules = official_names(len(network.down), len(network.bottleneck))
    wanted = {name: f"{modules[name.rpartition('.')[0]]}.{name.rpartition('.')[2]}" for name in network.state_dict()}
    missing = sorted(theirs for theirs in wanted.values() if theirs not in state)
    unexpected = sorted(set(state) - set(wanted.values()))
    ours = network.state_dict()
    shapes = [t for name, t in wanted.items() if t in state and state[t].shape != ours[name].shape]
    if missing or unexpected or shapes:
        raise SamaeError(
            f"{source} is no SimSwap generator of {len(network.bottleneck)} ID-blocks and {len(network.down)} levels: "
            f"missing {_some(missing)}; unexpected {_some(unexpected)}; of another shape {_some(shapes)}"
        )
    return {name: state[theirs] for name, theirs in wanted.items()}


def load_official(path: Path, form: Form = "tanh", deep: bool = False) -> SimSwapGenerator:
    """The generator of an official checkpoint, in evaluation mode; `deep` for 512 px by train.py --Gdeep True.

    Raises:
        SamaeError: the file is no plain state dictionary (weights_only), or its names do not fit (`renamed`).
    """
    multipliers = (1, 2, 4, 8, 8) if deep else (1, 2, 4, 8)
    network = SimSwapGenerator(512, width=64, multipliers=multipliers, blocks=9, is_tanh=form == "tanh")
    network.load_state_dict(renamed(read_state(path), network, path))
    with torch.no_grad():
        _rewrite(network, form)
    return network.eval()


def _rewrite(network: SimSwapGenerator, form: Form) -> None:
    """Fold the change of value range into the first and, for "linear", the last convolution."""
    first = network.stem[0]
    scale = torch.full((3,), 0.5) if form == "tanh" else 0.5 / DEVIATION
    shift = torch.full((3,), 0.5) if form == "tanh" else (0.5 - MEAN) / DEVIATION
    first.bias.add_((first.weight * shift[:, None, None]).sum((1, 2, 3)))  # type: ignore[union-attr,operator]
    first.weight.mul_(scale[:, None, None])  # type: ignore[union-attr,operator]
    if form == "linear":
        network.out.weight.mul_(DEVIATION[:, None, None, None])
        assert network.out.bias is not None
        network.out.bias.mul_(DEVIATION).add_(MEAN - 0.5)


def _some(names: list[str]) -> str:
    return f"{len(names)} ({', '.join(names[:SHOWN])}{', …' if len(names) > SHOWN else ''})" if names else "none"
