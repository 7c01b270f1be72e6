"""Weight files in the layout of the published ones, filled with numbers that everybody can make again.

Names and shapes are written down here from torchvision's, lpips' and pytorch-fid's own files, not taken from our
networks, so that a name that ours gets wrong is found.
"""

from pathlib import Path

import torch

State = dict[str, torch.Tensor]
VGG = {0: (64, 3), 2: (64, 64), 5: (128, 64), 7: (128, 128), 10: (256, 128), 12: (256, 256), 14: (256, 256),
       17: (512, 256), 19: (512, 512), 21: (512, 512), 24: (512, 512), 26: (512, 512), 28: (512, 512)}  # fmt: skip
ALEX = {0: (64, 3, 11, 11), 3: (192, 64, 5, 5), 6: (384, 192, 3, 3), 8: (256, 384, 3, 3), 10: (256, 256, 3, 3)}
HEADS = {"alex": (64, 192, 384, 256, 256), "vgg": (64, 128, 256, 512, 512)}


def filled(shape: tuple[int, ...], salt: int) -> torch.Tensor:
    """float32 numbers between -1 and 1 over the square root of the inputs' number: a sine, the same everywhere."""
    count = torch.Size(shape).numel()
    inputs = max(count // shape[0], 1)
    wave = torch.sin(torch.arange(count, dtype=torch.float64) * 12.9898 + salt) * 43758.5453
    return ((wave - wave.floor()) * 2 - 1).div(inputs**0.5).mul(2.45).reshape(shape).float()


def vgg_state() -> State:
    """torchvision's vgg16-397923af.pth with a small classifier."""
    state = {}
    for index, (out, inputs) in VGG.items():
        state[f"features.{index}.weight"] = filled((out, inputs, 3, 3), index)
        state[f"features.{index}.bias"] = filled((out,), index + 100) * 0.05
    return state | {"classifier.6.weight": torch.zeros(10, 8), "classifier.6.bias": torch.zeros(10)}


def alexnet_state() -> State:
    """torchvision's alexnet-owt-7be5be79.pth with a small classifier."""
    state = {}
    for index, shape in ALEX.items():
        state[f"features.{index}.weight"] = filled(shape, index)
        state[f"features.{index}.bias"] = filled((shape[0],), index + 100) * 0.05
    return state | {"classifier.1.weight": torch.zeros(10, 8)}


def heads_state(trunk: str) -> State:
    """lpips' weights/v0.1/TRUNK.pth: weights are not negative."""
    return {f"lin{n}.model.1.weight": filled((1, c, 1, 1), n).abs() for n, c in enumerate(HEADS[trunk])}


def _inception_convs() -> dict[str, tuple[int, int, int, int]]:
    convs = {"Conv2d_1a_3x3": (32, 3, 3, 3), "Conv2d_2a_3x3": (32, 32, 3, 3), "Conv2d_2b_3x3": (64, 32, 3, 3),
             "Conv2d_3b_1x1": (80, 64, 1, 1), "Conv2d_4a_3x3": (192, 80, 3, 3)}  # fmt: skip
    for block, inputs, pooled in (("5b", 192, 32), ("5c", 256, 64), ("5d", 288, 64)):
        convs |= _named(block, branch1x1=(64, inputs, 1, 1), branch5x5_1=(48, inputs, 1, 1),
                        branch5x5_2=(64, 48, 5, 5), branch3x3dbl_1=(64, inputs, 1, 1), branch3x3dbl_2=(96, 64, 3, 3),
                        branch3x3dbl_3=(96, 96, 3, 3), branch_pool=(pooled, inputs, 1, 1))  # fmt: skip
    convs |= _named("6a", branch3x3=(384, 288, 3, 3), branch3x3dbl_1=(64, 288, 1, 1), branch3x3dbl_2=(96, 64, 3, 3),
                    branch3x3dbl_3=(96, 96, 3, 3))  # fmt: skip
    for block, c in (("6b", 128), ("6c", 160), ("6d", 160), ("6e", 192)):
        convs |= _named(block, branch1x1=(192, 768, 1, 1), branch7x7_1=(c, 768, 1, 1), branch7x7_2=(c, c, 1, 7),
                        branch7x7_3=(192, c, 7, 1), branch7x7dbl_1=(c, 768, 1, 1), branch7x7dbl_2=(c, c, 7, 1),
                        branch7x7dbl_3=(c, c, 1, 7), branch7x7dbl_4=(c, c, 7, 1), branch7x7dbl_5=(192, c, 1, 7),
                        branch_pool=(192, 768, 1, 1))  # fmt: skip
    convs |= _named("7a", branch3x3_1=(192, 768, 1, 1), branch3x3_2=(320, 192, 3, 3), branch7x7x3_1=(192, 768, 1, 1),
                    branch7x7x3_2=(192, 192, 1, 7), branch7x7x3_3=(192, 192, 7, 1),
                    branch7x7x3_4=(192, 192, 3, 3))  # fmt: skip
    for block, inputs in (("7b", 1280), ("7c", 2048)):
        convs |= _named(block, branch1x1=(320, inputs, 1, 1), branch3x3_1=(384, inputs, 1, 1),
                        branch3x3_2a=(384, 384, 1, 3), branch3x3_2b=(384, 384, 3, 1),
                        branch3x3dbl_1=(448, inputs, 1, 1), branch3x3dbl_2=(384, 448, 3, 3),
                        branch3x3dbl_3a=(384, 384, 1, 3), branch3x3dbl_3b=(384, 384, 3, 1),
                        branch_pool=(192, inputs, 1, 1))  # fmt: skip
    return convs


def _named(block: str, **convs: tuple[int, int, int, int]) -> dict[str, tuple[int, int, int, int]]:
    return {f"Mixed_{block}.{name}": shape for name, shape in convs.items()}


def inception_state() -> State:
    """pytorch-fid's pt_inception-2015-12-05-6726825d.pth with a small classifier."""
    state = {}
    for salt, (name, shape) in enumerate(_inception_convs().items()):
        state[f"{name}.conv.weight"] = filled(shape, salt)
        for part, value in (("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)):
            state[f"{name}.bn.{part}"] = value + 0.2 * filled((shape[0],), salt + 7).clamp(-1, 1)
    return state | {"fc.weight": torch.zeros(10, 8), "fc.bias": torch.zeros(10)}


def write_all(folder: Path) -> Path:
    """Every file under a name that is looked for; the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(vgg_state(), folder / "vgg16-397923af.pth")
    torch.save(alexnet_state(), folder / "alexnet-owt-7be5be79.pth")
    torch.save(inception_state(), folder / "pt_inception-2015-12-05-6726825d.pth")
    for trunk in HEADS:
        torch.save(heads_state(trunk), folder / f"{trunk}.pth")
    return folder
