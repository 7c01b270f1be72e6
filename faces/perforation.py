"""Perforation confusion: a training mask that says nothing about the true outline of the face (SAMAE).

The paper (Lee et al., ECCV 2024) gives the idea, not the numbers: the border of the hole must not tell the shape. Every
number here is ours (PerforationSettings); lengths are pixels at 256 and scale with the picture. All random numbers of a
batch are drawn at once, in one order, so that a generator gives one result, whichever branch a face takes.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import torch

from faces.errors import SamaeError

#: The size at which lengths in pixels are stated.
REFERENCE_PX = 256.0
#: Most shapes that one random mask, or one perforation, draws.
MOST_SHAPES = 8


@dataclass(frozen=True, kw_only=True)
class PerforationSettings:
    """The statistics of the training mask; probabilities 0..1, lengths in px at 256. All ours.

    Attributes:
        enabled: False gives the mask back unchanged (ablation).
        other_shape_probability: the random region is the silhouette of the same view with another person's shape;
            otherwise free-form blobs and strokes round the border.
        grown_shapes: fewest and most blobs or strokes of a free-form region.
        blob_radius_px: smallest and largest half axis of a blob.
        stroke_width_px, stroke_length_px: smallest and largest width and length of a stroke.
        stroke_probability: a free-form shape is a stroke and not a blob.
        dilate_px: largest dilation, drawn uniformly from 0.
        box_probability, box_margin: the mask becomes its bounding box, each side widened by 0..box_margin of it.
        hole_probability, holes: the mask is perforated, with this fewest and most blobs.
        hole_radius_px: smallest and largest half axis of a hole.
    """

    enabled: bool = True
    other_shape_probability: float = 0.5
    grown_shapes: tuple[int, int] = (2, 7)
    blob_radius_px: tuple[float, float] = (8.0, 34.0)
    stroke_width_px: tuple[float, float] = (8.0, 26.0)
    stroke_length_px: tuple[float, float] = (24.0, 90.0)
    stroke_probability: float = 0.4
    dilate_px: float = 12.0
    box_probability: float = 0.1
    box_margin: float = 0.2
    hole_probability: float = 0.5
    holes: tuple[int, int] = (1, 6)
    hole_radius_px: tuple[float, float] = (5.0, 22.0)

    def __post_init__(self) -> None:
        names = ("grown_shapes", "blob_radius_px", "stroke_width_px", "stroke_length_px", "holes", "hole_radius_px")
        for name in names:
            low, high = getattr(self, name)
            if not 0 <= low <= high < np.inf:
                raise SamaeError(f"{name} is ({low}, {high}); it must be the smallest and the largest value, from 0 up")
        for name in ("other_shape_probability", "stroke_probability", "box_probability", "hole_probability"):
            if not 0 <= getattr(self, name) <= 1:
                raise SamaeError(f"{name} is {getattr(self, name)}; it must be a probability in 0..1")
        for name in ("dilate_px", "box_margin"):
            if not 0 <= getattr(self, name) < np.inf:
                raise SamaeError(f"{name} is {getattr(self, name)}; it must be a number from 0 up")
        if max(self.grown_shapes[1], self.holes[1]) > MOST_SHAPES:
            raise SamaeError(f"grown_shapes and holes may be at most {MOST_SHAPES}")


def numpy_masks(mask: np.ndarray | torch.Tensor) -> np.ndarray:
    """(N, S, S) or (N, 1, S, S) masks, 0..1 (or uint8 or bool), torch or numpy -> (N, S, S) float32 0..1 numpy."""
    array = mask.detach().cpu().numpy() if isinstance(mask, torch.Tensor) else np.asarray(mask)
    if array.ndim == 4 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 3:
        raise SamaeError(f"masks must be (N, S, S) or (N, 1, S, S), but are {array.shape}")
    return array.astype(np.float32) / (255.0 if array.dtype == np.uint8 else 1.0)


def like(result: np.ndarray, mask: np.ndarray | torch.Tensor) -> np.ndarray | torch.Tensor:
    """(N, S, S) float32 -> the shape, kind, device and (for uint8) range of `mask`."""
    is_tensor = isinstance(mask, torch.Tensor)
    if mask.dtype == (torch.uint8 if is_tensor else np.uint8):
        result = np.rint(result * 255.0).astype(np.uint8)
    return torch.from_numpy(result).reshape(mask.shape).to(mask.device) if is_tensor else result.reshape(mask.shape)


def dilate(binary: np.ndarray, radius_px: float) -> np.ndarray:
    """(S, S) uint8 0/1 -> all pixels whose centre is at most radius_px (any real number) from a pixel of it."""
    if radius_px < 1.0 or not binary.any():
        return binary
    return (cv2.distanceTransform(1 - binary, cv2.DIST_L2, 5) <= radius_px).astype(np.uint8)


def perforate(
    mask: np.ndarray | torch.Tensor,
    silhouettes_other: np.ndarray | torch.Tensor | None,
    rng: np.random.Generator,
    settings: PerforationSettings | None = None,
    occluders: np.ndarray | torch.Tensor | None = None,
) -> np.ndarray | torch.Tensor:
    """The training mask of each picture.

    1. M0 = `mask`. 2. A random region: another shape's silhouette, or free-form shapes round M0's border. 3. Their
    union without occluders, dilated; sometimes its widened bounding box instead. 4. Random holes outside M0. A pixel
    of M0 is never unmasked: the result is at least `mask` everywhere.

    Args:
        mask: (N, S, S) or (N, 1, S, S), 0..1 float (or uint8 0..255): silhouette minus occluders. numpy or torch.
        silhouettes_other: like `mask`, the mesh of the same pose, expression and camera with another shape code; None
            takes free-form regions for all.
        rng: the only source of randomness.
        occluders: like `mask`, what lies in front of the face; None: the random region may cover it.
    Returns:
        Like `mask` in shape, kind and device; 0 or 1 but for soft pixels of `mask` itself.
    """
    settings = settings or PerforationSettings()
    base = numpy_masks(mask)
    draws = mask_draws(rng, len(base))
    if not settings.enabled:
        return like(base.copy(), mask)
    other = None if silhouettes_other is None else numpy_masks(silhouettes_other)
    hidden = None if occluders is None else numpy_masks(occluders)
    result = np.empty_like(base)
    for n in range(len(base)):
        shape, cover = (None if masks is None else masks[n] for masks in (other, hidden))
        result[n] = perforate_one(base[n], shape, cover, draws[n], settings)
    return like(result, mask)


def mask_draws(rng: np.random.Generator, count: int | None = None) -> np.ndarray:
    """The random numbers of `count` masks (N, D), or of one (D,), float32 0..1."""
    width = 8 + 2 * 6 * MOST_SHAPES
    return rng.random(width if count is None else (count, width), dtype=np.float32)


def perforate_one(
    mask: np.ndarray,
    other: np.ndarray | None,
    hidden: np.ndarray | None,
    draws: np.ndarray,
    settings: PerforationSettings,
) -> np.ndarray:
    """`perforate` of one face: mask, another's silhouette and occluders (S, S) float32 0..1, `mask_draws` (D,)."""
    inside = (mask >= 0.5).astype(np.uint8)
    return np.maximum(_grown(inside, other, hidden, draws, settings), mask)


def _grown(
    inside: np.ndarray,
    other: np.ndarray | None,
    hidden: np.ndarray | None,
    draws: np.ndarray,
    settings: PerforationSettings,
) -> np.ndarray:
    """Steps 2 to 4 for one face: (S, S) uint8 0/1 and its random numbers -> (S, S) uint8 0/1."""
    ratio = inside.shape[0] / REFERENCE_PX
    shapes = draws[8:].reshape(2, MOST_SHAPES, 6)
    region = inside.copy()
    if other is not None and draws[0] < settings.other_shape_probability:
        region |= other >= 0.5
    else:
        _draw_round_border(region, inside, shapes[0], draws[1], ratio, settings)
    if hidden is not None:
        region[hidden >= 0.5] = 0
    region = dilate(region, float(draws[2]) * settings.dilate_px * ratio)
    if draws[3] < settings.box_probability:
        _fill_box(region, draws[4], settings.box_margin)
    if draws[5] < settings.hole_probability:
        _punch(region, inside, shapes[1], draws[6], ratio, settings)
    return region


def _count(draw: float, low_high: tuple[int, int]) -> int:
    return low_high[0] + int(draw * (low_high[1] - low_high[0] + 1) * 0.999999)


def _between(draw: float, low_high: tuple[float, float]) -> float:
    return low_high[0] + float(draw) * (low_high[1] - low_high[0])


def _draw_round_border(
    region: np.ndarray, inside: np.ndarray, shapes: np.ndarray, draw: float, ratio: float, settings: PerforationSettings
) -> None:
    """Blobs and strokes centred on the border of `inside`, drawn into `region`."""
    contours, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return
    border = max(contours, key=len)[:, 0]
    for shape in shapes[: _count(draw, settings.grown_shapes)]:
        at = int(shape[0] * len(border) * 0.999999)
        if shape[5] < settings.stroke_probability:
            length = _between(shape[1], settings.stroke_length_px) * ratio
            width = max(1, round(_between(shape[2], settings.stroke_width_px) * ratio))
            path = border[(at + np.arange(max(2, int(length)))) % len(border)] + _offset(shape[3], width)
            cv2.polylines(region, [np.ascontiguousarray(path[:: max(1, width // 2)])], False, 1, width)
        else:
            axes = [max(1, round(_between(u, settings.blob_radius_px) * ratio)) for u in shape[1:3]]
            centre = (int(border[at, 0]), int(border[at, 1]))
            cv2.ellipse(region, centre, axes, float(shape[3]) * 180.0, 0, 360, 1, -1)


def _offset(draw: float, width: int) -> np.ndarray:
    """A shift of up to half a stroke's width in any direction, so that strokes do not trace the border itself."""
    angle = 2 * np.pi * float(draw)
    return np.rint(0.5 * width * np.array([np.cos(angle), np.sin(angle)])).astype(np.int32)


def _fill_box(region: np.ndarray, draw: float, margin: float) -> None:
    """Fill the bounding box, widened by up to `margin` of its sides."""
    x, y, width, height = cv2.boundingRect(region)
    if width == 0:
        return
    dx, dy = round(float(draw) * margin * width), round(float(draw) * margin * height)
    region[max(0, y - dy) : y + height + dy, max(0, x - dx) : x + width + dx] = 1


def _punch(
    region: np.ndarray, inside: np.ndarray, shapes: np.ndarray, draw: float, ratio: float, settings: PerforationSettings
) -> None:
    """Unmask blobs whose centres lie in the masked ring outside the face; the face itself is put back."""
    ring = np.flatnonzero(region & (1 - inside))
    if len(ring) == 0:
        return
    for shape in shapes[: _count(draw, settings.holes)]:
        row, column = divmod(int(ring[int(shape[0] * len(ring) * 0.999999)]), region.shape[1])
        axes = [max(1, round(_between(u, settings.hole_radius_px) * ratio)) for u in shape[1:3]]
        cv2.ellipse(region, (column, row), axes, float(shape[3]) * 180.0, 0, 360, 0, -1)
    region |= inside
