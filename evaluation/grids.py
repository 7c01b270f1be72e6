"""Picture grids for a tracker: rows of source, target, result and true swap on one sheet. uint8 in, uint8 out."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from evaluation.evaluation import Example

GAP_PX = 6
HEADER_PX = 26
PAPER = 250
INK = (60, 60, 64)


def pair_grid(columns: Sequence[tuple[str, Sequence[np.ndarray]]], size_px: int = 128) -> np.ndarray:
    """Columns of (title, K pictures (S, S, 3) uint8) -> one (H, W, 3) uint8 sheet, each picture `size_px` square."""
    n_rows = max(len(pictures) for _, pictures in columns)
    pitch = size_px + GAP_PX
    sheet = np.full((HEADER_PX + n_rows * pitch, GAP_PX + len(columns) * pitch, 3), PAPER, np.uint8)
    for c, (title, pictures) in enumerate(columns):
        left = GAP_PX + c * pitch
        cv2.putText(sheet, title, (left + 1, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.42, INK, 1, cv2.LINE_AA)
        for r, picture in enumerate(pictures):
            top = HEADER_PX + r * pitch
            sheet[top : top + size_px, left : left + size_px] = resize(picture, size_px)
    return sheet


def resize(picture: np.ndarray, size_px: int) -> np.ndarray:
    """(S, S, 3) uint8 -> (size_px, size_px, 3) uint8: area averaging down, Lanczos up."""
    if picture.shape[0] == size_px:
        return picture
    way = cv2.INTER_AREA if picture.shape[0] > size_px else cv2.INTER_LANCZOS4
    return cv2.resize(picture, (size_px, size_px), interpolation=way)


def failed_picture(size_px: int) -> np.ndarray:
    """(size_px, size_px, 3) uint8: a pale field with a cross, in the place of a result that does not exist."""
    picture = np.full((size_px, size_px, 3), 232, np.uint8)
    far = size_px - 1
    for a, b in (((0, 0), (far, far)), ((0, far), (far, 0))):
        cv2.line(picture, a, b, (200, 200, 200), 1, cv2.LINE_AA)
    return picture


def example_rows(examples: Sequence["Example"]) -> tuple[list[tuple[str, list[np.ndarray]]]]:
    """The arguments of `pair_grid` for some examples; the truth's column only when all of them have one."""
    columns = [(part, [getattr(e, part) for e in examples]) for part in ("source", "target", "result")]
    if all(e.truth is not None for e in examples):
        columns.append(("true swap", [e.truth for e in examples if e.truth is not None]))
    return (columns,)
