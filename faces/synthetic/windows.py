"""Windows of a picture's samples: the rows and columns that hold something and a little more. Ours."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Window:
    """Rows top..bottom and columns left..right (ends excluded) of the samples."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def part(self) -> tuple[slice, slice]:
        """Index of the window in an array of samples."""
        return slice(self.top, self.bottom), slice(self.left, self.right)


def window_of(pixels: np.ndarray, shape: tuple[int, ...], pad: float) -> Window | None:
    """The window round pixels (n, 2 or more), `pad` samples wider, in a picture of `shape` (H, W); None outside it."""
    low, high = np.floor(pixels[:, :2].min(0) - pad), np.ceil(pixels[:, :2].max(0) + pad)
    left, top = np.clip(low, 0, shape[1::-1]).astype(int)
    right, bottom = np.clip(high, 0, shape[1::-1]).astype(int)
    return Window(int(top), int(bottom), int(left), int(right)) if left < right and top < bottom else None


def window_of_mask(mask: np.ndarray, pad: float) -> Window | None:
    """The window round all samples of a mask (H, W) that are not 0, `pad` samples wider; None without any."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return None
    return window_of(np.array([[columns[0], rows[0]], [columns[-1] + 1, rows[-1] + 1]]), mask.shape, pad)
