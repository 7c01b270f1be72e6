"""Small networks in few bytes: batch norms folded away, weights in a few bits each. Ours.

Weights of convolutions and linear layers are rounded to whole steps of an output channel, whose half-precision size is
the one (of nine, up to the largest weight) that loses least; biases are half precision. Computing is in float32.
"""

import copy

import numpy as np
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

#: Bits a weight where nobody says otherwise; 2 to 8.
BITS = 6
_SHRINK = np.linspace(0.6, 1.0, 9)


def folded(network: nn.Module) -> nn.Module:
    """A frozen copy for inference, batch norms folded into the convolutions before them."""
    quick = copy.deepcopy(network).eval().requires_grad_(False)
    for module in list(quick.modules()):
        if isinstance(module, nn.Sequential):
            for n in range(len(module) - 1):
                conv, norm = module[n], module[n + 1]
                if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                    module[n], module[n + 1] = fuse_conv_bn_eval(conv, norm), nn.Identity()
    return quick


def packed(state: dict[str, torch.Tensor], bits_each: int = BITS) -> dict[str, torch.Tensor]:
    """A folded network's state -> for every weight NAME.bits (bytes) and NAME.step (C,), for every bias NAME, half."""
    tensors = {}
    for name, value in state.items():
        if value.ndim < 2:
            tensors[name] = value.half()
            continue
        steps, size = rounded(value.flatten(1).double().numpy(), bits_each)
        whole = (steps + 2 ** (bits_each - 1)).astype(np.uint8)
        bits = np.unpackbits(whole.reshape(-1, 1), axis=1)[:, 8 - bits_each :]
        tensors[f"{name}.bits"] = torch.from_numpy(np.packbits(bits))
        tensors[f"{name}.step"] = torch.from_numpy(size)
    return tensors


def rounded(weights: np.ndarray, bits_each: int = BITS) -> tuple[np.ndarray, np.ndarray]:
    """(C, K) -> whole steps (C, K) and the size of a step of each row (C,) float16."""
    most = 2 ** (bits_each - 1) - 1
    largest = np.maximum(np.abs(weights).max(1), 1e-4) / most
    best = np.full(len(weights), np.inf)
    steps, size = np.zeros(weights.shape), np.zeros(len(weights), np.float16)
    for shrink in _SHRINK:
        tried = (largest * shrink).astype(np.float16)
        found = np.clip(np.rint(weights / tried[:, None].astype(float)), -most, most)
        lost = ((found * tried[:, None].astype(float) - weights) ** 2).sum(1)
        better = lost < best
        best[better], steps[better], size[better] = lost[better], found[better], tried[better]
    return steps, size


def unpacked(
    tensors: dict[str, torch.Tensor], like: dict[str, torch.Tensor], bits_each: int = BITS
) -> dict[str, torch.Tensor]:
    """What `packed` made -> the state, float32, in the shapes of `like`; what is missing is left out."""
    state = {}
    for name, value in like.items():
        if name in tensors:
            state[name] = tensors[name].float()
        elif f"{name}.bits" in tensors:
            count = value.numel()
            bits = np.unpackbits(tensors[f"{name}.bits"].numpy())[: count * bits_each].reshape(-1, bits_each)
            steps = bits @ (2 ** np.arange(bits_each - 1, -1, -1)) - 2 ** (bits_each - 1)
            size = tensors[f"{name}.step"].float().reshape(-1, *[1] * (value.ndim - 1))
            state[name] = torch.from_numpy(steps.astype(np.float32)).reshape(value.shape) * size
    return state
