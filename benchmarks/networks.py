"""Parameters and multiply-adds of every network, beside the official figures. Counted on shapes alone: no weights."""

from collections.abc import Callable

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from faces.identity.iresnet import IResNet, IResNetConfig
from training.config import load_recipe
from training.networks.aei import AeiNet
from training.networks.simswap import SimSwapGenerator
from training.networks.unet import UNet

SUMMARY = "Parameters and multiply-adds a picture of every network, beside the official figures"
#: What `--set` may name.
SETTINGS: tuple[str, ...] = ()
#: Parameters of the released networks, counted on them, except where said; only the sources below state them.
OFFICIAL = {
    "simswap-224": 55_051_779,  # released generator
    "blendface-256.attributes": 67_092_800,  # released inference code
    "blendface-256.generator": 283_029_403,
}

Case = tuple[Callable[[], nn.Module], tuple[tuple[int, ...], ...]]


def cases() -> dict[str, Case]:
    """Name -> how to build the network, and the shapes of its inputs for one picture."""
    found: dict[str, Case] = {}
    for name, dim in (("simswap", 256), ("simswap-224", 512)):
        found[name] = (_simswap(name, dim), ((1, 3, *_square(name)), (1, dim)))
    for name, dim in (("blendface", 256), ("blendface-256", 512)):
        found[name] = (_aei(name, dim), ((1, 3, *_square(name)), (1, dim)))
    for name, dim in (("samae", 256), ("samae-256", 512)):
        found[name] = (_unet(name, dim + 3), ((1, 7, *_square(name)), (1, dim + 3)))
    for depth in (18, 50, 100):
        found[f"iresnet-{depth}"] = (_iresnet(IResNetConfig(depth=depth)), ((1, 3, 112, 112),))
    builtin = IResNetConfig(depth=18, width=24, dim=256, crop_px=64, head="depthwise")
    found["iresnet builtin"] = (_iresnet(builtin), ((1, 3, 64, 64),))
    return found


def _square(name: str) -> tuple[int, int]:
    return (load_recipe(name).size_px,) * 2


def _simswap(name: str, dim: int) -> Callable[[], nn.Module]:
    size = load_recipe(name).generator
    return lambda: SimSwapGenerator(dim, width=size.width, multipliers=size.multipliers, blocks=size.blocks)


def _aei(name: str, dim: int) -> Callable[[], nn.Module]:
    size = load_recipe(name).generator
    return lambda: AeiNet(dim, width=size.width, multipliers=size.multipliers)


def _unet(name: str, vector: int) -> Callable[[], nn.Module]:
    recipe = load_recipe(name)
    size = recipe.generator
    return lambda: UNet(
        7, 3, vector, size_px=recipe.size_px, width=size.width, multipliers=size.multipliers, blocks=size.blocks,
        attention_px=size.attention_px, condition_width=size.condition_width, patch_px=size.patch_px,
    )  # fmt: skip


def _iresnet(config: IResNetConfig) -> Callable[[], nn.Module]:
    return lambda: IResNet(config)


def parameters(network: nn.Module) -> int:
    """How many numbers of a network are trained."""
    return sum(parameter.numel() for parameter in network.parameters())


def multiply_adds(network: nn.Module, shapes: tuple[tuple[int, ...], ...]) -> int:
    """Multiply-adds of convolutions, matrix products and attention in one forward pass of one picture."""
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        network.eval()(*(torch.empty(shape, device="meta") for shape in shapes))
    return counter.get_total_flops() // 2


def run(settings: dict) -> dict[str, float | int | str]:
    """Settings: none. Figures: NAME_parameters, NAME_official_parameters where known, NAME_gmacs_per_picture."""
    figures: dict[str, float | int | str] = {}
    for name, (build, shapes) in cases().items():
        with torch.device("meta"):
            network = build()
        parts = {name: network}
        if isinstance(network, AeiNet):
            parts |= {f"{name}.attributes": network.encoder, f"{name}.generator": network.generator}
        for part, module in parts.items():
            figures[f"{part}_parameters"] = parameters(module)
            if part in OFFICIAL:
                figures[f"{part}_official_parameters"] = OFFICIAL[part]
        figures[f"{name}_gmacs_per_picture"] = round(multiply_adds(network, shapes) / 1e9, 3)
    return figures
