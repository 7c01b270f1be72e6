"""VGG-16's convolutions (Simonyan and Zisserman 2014), from a file the user supplies: perceptual loss and LPIPS.

torchvision is not imported: its weights file `vgg16-397923af.pth` (or the same tensors as `vgg16.safetensors`) is read
by name; the classifier in it is left. 14.71 million parameters.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from training.networks.weight_files import find_file, load_published

FILES = ("vgg16.safetensors", "vgg16-397923af.pth")
#: Output channels in torchvision's order; "M" halves the map; a star after the width marks a map that is returned.
LAYOUT = (
    "64", "64*", "M", "128", "128*", "M", "256", "256", "256*", "M", "512", "512", "512*", "M", "512", "512", "512*",
)  # fmt: skip
#: Maps that the perceptual loss compares: relu1_2, relu2_2, relu3_3, relu4_3 (Johnson et al. 2016, section 3.2).
LOSS_MAPS = 4


class VggFeatures(nn.Module):
    """Frozen feature maps of a picture: relu1_2, relu2_2, relu3_3, relu4_3 and (with `maps` 5) relu5_3."""

    def __init__(self, maps: int = LOSS_MAPS) -> None:
        super().__init__()
        self.maps = maps
        self.convs = nn.ModuleDict()
        channels, index = 3, 0
        for item in LAYOUT:
            if item == "M":
                index += 1
                continue
            width = int(item.rstrip("*"))
            self.convs[str(index)] = nn.Conv2d(channels, width, 3, padding=1)
            channels, index = width, index + 2
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406])[:, None, None], persistent=False)
        self.register_buffer("deviation", torch.tensor([0.229, 0.224, 0.225])[:, None, None], persistent=False)

    def forward(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        """(N, 3, S, S) sRGB 0..1 -> maps with 64, 128, 256, 512[, 512] channels at S, S/2, S/4, S/8[, S/16]."""
        return self.features((pictures - self.mean) / self.deviation)

    def features(self, scaled: torch.Tensor) -> list[torch.Tensor]:
        """The same of pictures that are scaled already."""
        x, maps, index = scaled, [], 0
        for item in LAYOUT:
            if item == "M":
                x, index = F.max_pool2d(x, 2), index + 1
                continue
            x, index = F.relu(self.convs[str(index)](x)), index + 2
            if item.endswith("*"):
                maps.append(x)
            if len(maps) == self.maps:
                break
        return maps


def vgg_path() -> Path | None:
    """The first VGG-16 weights file in the folders where weights are looked for, or None."""
    return find_file(FILES)


def load_vgg(path: Path, maps: int = LOSS_MAPS) -> VggFeatures:
    """The frozen network with the weights of a file; SamaeError when its names are not VGG-16's."""
    network = VggFeatures(maps)
    names = {name: name.replace("convs.", "features.") for name in network.state_dict()}
    load_published(network, path, names, ignored=r"classifier\.", source=f"torchvision's {FILES[1]}")
    return network.eval().requires_grad_(False)
