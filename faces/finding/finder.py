"""Where faces may be: the finder network over a picture at many sizes."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import nn

from faces.finding.networks import CELL_PX, FINDER_SIDE_PX, OFFSET_PX

#: Ratio of neighbouring sizes of the picture; the finder knows faces within one octave.
STEP = 2**0.5
#: Width of the largest size looked at, px, and how far a small picture is enlarged.
LARGEST_PX, MOST_ENLARGED = 1024, 1.4142135623730951
#: The coarsest size is that at which a face of this share of the picture's longer side is in the finder's middle.
LARGEST_FACE = 1.5


@dataclass(frozen=True)
class Proposal:
    """A place where a face may be: FFHQ's square about it.

    Attributes:
        centre_px: (2,) our pixels.  side_px: of the square.  roll_rad: clockwise in the picture.  score: 0..1.
    """

    centre_px: np.ndarray
    side_px: float
    roll_rad: float
    score: float


def sizes(height_px: int, width_px: int) -> list[float]:
    """Scales at which a picture is looked at, largest first."""
    longer = max(height_px, width_px)
    scale, found = min(MOST_ENLARGED, LARGEST_PX / longer), list[float]()
    least = FINDER_SIDE_PX / (LARGEST_FACE * longer)
    while scale > least or not found:
        found.append(scale)
        scale /= STEP
    return found


def propose(network: nn.Module, image: np.ndarray, least_score: float, most: int) -> list[Proposal]:
    """(H, W, 3) uint8 sRGB -> up to `most` places of at least this score, the best first, none twice."""
    found: list[np.ndarray] = []
    height, width = image.shape[:2]
    for scale in sizes(height, width):
        size = (max(CELL_PX, round(width * scale)), max(CELL_PX, round(height * scale)))
        way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        small = image if size == (width, height) else cv2.resize(image, size, interpolation=way)
        found.append(_answers(network, small, least_score, np.array([width / size[0], height / size[1]])))
    return _apart(np.concatenate(found), most)


def network_input(pictures: np.ndarray) -> torch.Tensor:
    """(N, H, W, 3) uint8 -> (N, 3, H, W) float32 as the finder network takes it."""
    pixels = torch.from_numpy(np.array(pictures)).permute(0, 3, 1, 2)
    return (pixels.float() * (1 / 255) - 0.5) * 4.0


def _answers(network: nn.Module, small: np.ndarray, least_score: float, factor: np.ndarray) -> np.ndarray:
    """(K, 5) score, x, y, side, roll of the cells above the least score, in px of the whole picture."""
    with torch.inference_mode():
        said = network(network_input(small[None]))[0].double().numpy()
    score = 1 / (1 + np.exp(-said[0]))
    rows, columns = np.nonzero(score >= least_score)
    x = ((columns + 0.5) * CELL_PX + said[1, rows, columns] * OFFSET_PX) * factor[0]
    y = ((rows + 0.5) * CELL_PX + said[2, rows, columns] * OFFSET_PX) * factor[1]
    side = FINDER_SIDE_PX * 2 ** np.clip(said[3, rows, columns], -1, 1) * factor.mean()
    return np.stack([score[rows, columns], x, y, side, np.arctan2(said[5, rows, columns], said[4, rows, columns])], 1)


def _apart(answers: np.ndarray, most: int) -> list[Proposal]:
    """The best answers that are not about the same face as a better one; answers about one face are averaged."""
    answers = answers[np.argsort(-answers[:, 0], kind="stable")]
    kept: list[Proposal] = []
    while len(answers) and len(kept) < most:
        best = answers[0]
        distance = np.hypot(*(answers[:, 1:3] - best[1:3]).T)
        same = (distance < 0.3 * np.maximum(answers[:, 3], best[3])) & (np.abs(np.log2(answers[:, 3] / best[3])) < 1)
        group = answers[same]
        weight = group[:, 0] ** 2
        roll = np.angle((weight * np.exp(1j * group[:, 4])).sum())
        centre, side = weight @ group[:, 1:3] / weight.sum(), np.exp(weight @ np.log(group[:, 3]) / weight.sum())
        kept.append(Proposal(centre, float(side), float(roll), float(best[0])))
        answers = answers[~same]
    return kept
