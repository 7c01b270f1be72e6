"""EfficientNet-lite0's features (Tan and Le 2019; timm's tf_efficientnet_lite0), from a file the user supplies.

timm is not imported: its file `tf_efficientnet_lite0-0aa007d2.pth` (or the same tensors as
`tf_efficientnet_lite0.safetensors`) is read by name. Padding is TensorFlow's "same", batch norm's epsilon 1e-3.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from faces.errors import SamaeError
from training.networks.weight_files import find_file, read_state

FILES = ("tf_efficientnet_lite0.safetensors", "tf_efficientnet_lite0-0aa007d2.pth")
#: Stages: repeats, kernel, stride of the first block, expansion, channels.
STAGES = (
    (1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)  # fmt: skip
#: Features "0" to "3": after these stages, at 1/4, 1/8, 1/16 and 1/32.
TAPS = (1, 2, 4, 6)
CHANNELS = tuple(STAGES[tap][-1] for tap in TAPS)
EPSILON = 1e-3


class SameConv(nn.Conv2d):
    """A convolution padded as TensorFlow's "same": the odd pixel goes right and below."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) -> (N, C', ceil(H / stride), ceil(W / stride))."""
        pads = []
        for size, kernel, stride in zip(x.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1], strict=True):
            total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            pads += [total // 2, total - total // 2]
        return F.conv2d(F.pad(x, pads), self.weight, self.bias, self.stride, 0, 1, self.groups)


class Separable(nn.Module):
    """The first stage's block: depthwise convolution, then 1x1. Names of the modules are timm's."""

    def __init__(self, channels_in: int, channels: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv_dw = SameConv(channels_in, channels_in, kernel, stride, groups=channels_in, bias=False)
        self.bn1 = nn.BatchNorm2d(channels_in, EPSILON)
        self.conv_pw = nn.Conv2d(channels_in, channels, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels, EPSILON)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) -> (N, channels, ceil(H / stride), ceil(W / stride))."""
        return self.bn2(self.conv_pw(F.relu6(self.bn1(self.conv_dw(x)))))


class Inverted(nn.Module):
    """Inverted residual: 1x1 up, depthwise, 1x1 down, plus the input where the shape stays."""

    def __init__(self, channels_in: int, channels: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = channels_in * expansion
        self.conv_pw = nn.Conv2d(channels_in, wide, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(wide, EPSILON)
        self.conv_dw = SameConv(wide, wide, kernel, stride, groups=wide, bias=False)
        self.bn2 = nn.BatchNorm2d(wide, EPSILON)
        self.conv_pwl = nn.Conv2d(wide, channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels, EPSILON)
        self.is_residual = stride == 1 and channels_in == channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) -> (N, channels, ceil(H / stride), ceil(W / stride))."""
        h = F.relu6(self.bn2(self.conv_dw(F.relu6(self.bn1(self.conv_pw(x))))))
        h = self.bn3(self.conv_pwl(h))
        return x + h if self.is_residual else h


class EfficientNetFeatures(nn.Module):
    """Four feature maps of a picture."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_stem = SameConv(3, 32, 3, 2, bias=False)
        self.bn1 = nn.BatchNorm2d(32, EPSILON)
        stages, channels_in = [], 32
        for repeats, kernel, stride, expansion, channels in STAGES:
            blocks: list[nn.Module] = []
            for index in range(repeats):
                step = stride if index == 0 else 1
                if expansion == 1:
                    blocks.append(Separable(channels_in, channels, kernel, step))
                else:
                    blocks.append(Inverted(channels_in, channels, kernel, step, expansion))
                channels_in = channels
            stages.append(nn.Sequential(*blocks))
        self.blocks = nn.ModuleList(stages)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406])[:, None, None], persistent=False)
        self.register_buffer("deviation", torch.tensor([0.229, 0.224, 0.225])[:, None, None], persistent=False)

    def forward(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        """(N, 3, S, S) sRGB 0..1 -> maps with 24, 40, 112, 320 channels at S/4, S/8, S/16, S/32."""
        x = F.relu6(self.bn1(self.conv_stem((pictures - self.mean) / self.deviation)))
        maps = []
        for index, stage in enumerate(self.blocks):
            x = stage(x)
            if index in TAPS:
                maps.append(x)
        return maps


def efficientnet_path() -> Path | None:
    """The first weights file in the folders where weights are looked for, or None."""
    return find_file(FILES)


def load_efficientnet(path: Path) -> EfficientNetFeatures:
    """The frozen network with the weights of a file; SamaeError when a layer is missing or of another shape."""
    state = read_state(path)
    network = EfficientNetFeatures()
    wanted = network.state_dict()
    bad = [name for name, value in wanted.items() if name not in state or state[name].shape != value.shape]
    if bad:
        raise SamaeError(f"{path} lacks the EfficientNet-lite0 tensors {bad[:3]}; take timm's {FILES[1]}")
    network.load_state_dict({name: state[name] for name in wanted})
    return network.eval().requires_grad_(False)
