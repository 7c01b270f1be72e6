"""The two networks that read plain photographs. Ours; trained by training/reading/ on generated people.

FinderNetwork runs over a whole picture of any size and says, for every 8 x 8 px, whether a face of 40 to 80 px (the
side of FFHQ's square) is centred there. PointsNetwork looks at one crop about such a square: 68 heat maps whose means
are the landmarks, and whether this is a face at all.
"""

import torch
from torch import nn

#: A cell of the finder, px; the side of FFHQ's square in the middle of its range, px.
CELL_PX, FINDER_SIDE_PX = 8, 56.0
#: Offsets come in this many px.
OFFSET_PX = 16.0
#: Width of a crop of the points network, and of one cell of its heat maps, px.
CROP_PX, HEAT_PX = 96, 4
HEAT_CELLS = CROP_PX // HEAT_PX
#: Answers of the finder: score (logit), offset x and y, log2 of the side, cosine and sine of the roll.
FINDER_CHANNELS = 6


def convolution(channels_in: int, channels_out: int, stride: int = 1, side: int = 3) -> nn.Sequential:
    """Convolution, batch norm, ReLU."""
    layer = nn.Conv2d(channels_in, channels_out, side, stride, side // 2, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(channels_out), nn.ReLU(inplace=True))


class Residual(nn.Module):
    """Two 3 x 3 convolutions around which the input is led."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = convolution(channels, channels)
        self.second = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        return torch.relu(x + self.second(self.first(x)))


class FinderNetwork(nn.Module):
    """Picture -> one answer a cell of 8 px; sees 87 px around it. About 112,000 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            convolution(3, 16, 2), convolution(16, 32, 2), convolution(32, 32), convolution(32, 48, 2),
            convolution(48, 48), convolution(48, 48), convolution(48, 48), convolution(48, 48),
        )  # fmt: skip
        self.head = nn.Conv2d(48, FINDER_CHANNELS, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.constant_(self.head.bias, 0.0)  # type: ignore[arg-type]
        with torch.no_grad():
            self.head.bias[0] = -4.0  # type: ignore[index]

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) float, (sRGB / 255 - 0.5) / 0.25 -> (N, 6, ceil(H / 8), ceil(W / 8)); see FINDER_CHANNELS."""
        return self.head(self.layers(pictures))


class PointsNetwork(nn.Module):
    """Crop -> heat maps of 68 points at a quarter of its width, and a face score. About 444,000 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.fine = nn.Sequential(convolution(3, 24, 2), convolution(24, 40, 2), Residual(40))
        self.middle = nn.Sequential(convolution(40, 64, 2), Residual(64))
        self.coarse = nn.Sequential(convolution(64, 96, 2), Residual(96))
        self.up_coarse, self.up_middle = convolution(96, 64, side=1), convolution(64, 64)
        self.join, self.up_fine = convolution(40, 64, side=1), convolution(64, 64)
        self.heat = nn.Conv2d(64, 68, 1)
        self.score = nn.Linear(96, 1)

    def forward(self, crops: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(N, 3, 96, 96) of mean 0 and deviation 1 -> heat (N, 68, 24, 24) logits, score (N,) logit."""
        fine = self.fine(crops)
        middle = self.middle(fine)
        coarse = self.coarse(middle)
        x = self.up_middle(middle + _twice(self.up_coarse(coarse)))
        x = self.up_fine(self.join(fine) + _twice(x))
        return self.heat(x), self.score(coarse.mean((2, 3)))[:, 0]


def _twice(x: torch.Tensor) -> torch.Tensor:
    return nn.functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def points_of_heat(heat: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Heat (N, 68, 24, 24) logits -> means (N, 68, 2) px of the crop, our pixels, and deviations (N, 68) px."""
    share = heat.float().flatten(2).softmax(-1).view(heat.shape)
    at = (torch.arange(HEAT_CELLS, dtype=torch.float32, device=heat.device) + 0.5) * HEAT_PX
    columns, rows = share.sum(2), share.sum(3)
    x, y = (columns * at).sum(-1), (rows * at).sum(-1)
    spread = (columns * (at - x[..., None]) ** 2).sum(-1) + (rows * (at - y[..., None]) ** 2).sum(-1)
    return torch.stack([x, y], -1), spread.clamp_min(1e-6).sqrt()
