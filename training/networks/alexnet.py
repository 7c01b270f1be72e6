"""AlexNet's convolutions (Krizhevsky 2014, "One weird trick"), from a file the user supplies: the trunk of LPIPS.

torchvision is not imported: its weights file `alexnet-owt-7be5be79.pth` (or the same tensors as `alexnet.safetensors`)
is read by name; the classifier in it is left. 2.47 million parameters.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from training.networks.weight_files import load_published

FILES = ("alexnet.safetensors", "alexnet-owt-7be5be79.pth")
#: Index in torchvision's `features`, channels out, kernel, stride, padding; a pool of 3 with stride 2 before some.
LAYOUT = ((0, 64, 11, 4, 2), (3, 192, 5, 1, 2), (6, 384, 3, 1, 1), (8, 256, 3, 1, 1), (10, 256, 3, 1, 1))
POOLED_BEFORE = (3, 6)


class AlexNetFeatures(nn.Module):
    """Five frozen feature maps: relu1 to relu5."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleDict()
        channels = 3
        for index, width, kernel, stride, padding in LAYOUT:
            self.convs[str(index)] = nn.Conv2d(channels, width, kernel, stride, padding)
            channels = width

    def features(self, scaled: torch.Tensor) -> list[torch.Tensor]:
        """(N, 3, S, S) scaled pictures, S at least 32 -> maps with 64, 192, 384, 256, 256 channels, from about S/4."""
        x, maps = scaled, []
        for index, *_ in LAYOUT:
            if index in POOLED_BEFORE:
                x = F.max_pool2d(x, 3, 2)
            x = F.relu(self.convs[str(index)](x))
            maps.append(x)
        return maps


def load_alexnet(path: Path) -> AlexNetFeatures:
    """The frozen network with the weights of a file; SamaeError when its names are not AlexNet's."""
    network = AlexNetFeatures()
    names = {name: name.replace("convs.", "features.") for name in network.state_dict()}
    load_published(network, path, names, ignored=r"classifier\.", source=f"torchvision's {FILES[1]}")
    return network.eval().requires_grad_(False)
