"""VGG-16's convolutions (Simonyan and Zisserman 2014) for a perceptual loss, from a file the user supplies.

torchvision is not imported: its weights file `vgg16-397923af.pth` (or the same tensors as `vgg16.safetensors`) is read
by name. Features after relu1_2, relu2_2, relu3_3 and relu4_3 (Johnson et al. 2016, section 3.2).
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from faces.errors import SamaeError

FILES = ("vgg16.safetensors", "vgg16-397923af.pth")
#: Output channels in torchvision's order; "M" halves the map; a star after the width marks a map that is returned.
LAYOUT = ("64", "64*", "M", "128", "128*", "M", "256", "256", "256*", "M", "512", "512", "512*")


class VggFeatures(nn.Module):
    """Four frozen feature maps of a picture."""

    def __init__(self) -> None:
        super().__init__()
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
        """(N, 3, S, S) sRGB 0..1 -> maps with 64, 128, 256, 512 channels at S, S/2, S/4, S/8."""
        x, maps, index = (pictures - self.mean) / self.deviation, [], 0
        for item in LAYOUT:
            if item == "M":
                x, index = F.max_pool2d(x, 2), index + 1
                continue
            x, index = F.relu(self.convs[str(index)](x)), index + 2
            if item.endswith("*"):
                maps.append(x)
        return maps


def load_vgg(path: Path) -> VggFeatures:
    """The frozen network with the weights of a file; SamaeError when a layer is missing."""
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        state = load_file(path)
    else:
        state = torch.load(path, map_location="cpu", weights_only=True)
    network = VggFeatures()
    wanted = {name: name.replace("convs.", "features.") for name in network.state_dict()}
    missing = [key for key in wanted.values() if key not in state]
    if missing:
        raise SamaeError(f"{path} lacks the VGG-16 layers {missing[:3]}; take torchvision's vgg16-397923af.pth")
    network.load_state_dict({name: state[key] for name, key in wanted.items()})
    return network.eval().requires_grad_(False)
