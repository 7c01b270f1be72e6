"""Neighbours in time: which rows of a chunk are consecutive frames of one clip. Keys are "clip/frame number". Ours.

The judge hands a clip to the metrics as one chunk (PictureSet.pairs_a_chunk). A metric of steps gives every frame the
step to its next frame, and the last frame of a clip the step from its previous one, so that every pair has its figure
and no pair looks failed. Frames that did fail have no picture to compare with: they are no neighbours (`ok`), and
split their clip in two.
"""

from collections.abc import Sequence

import numpy as np


def clips(keys: Sequence[str], ok: np.ndarray | None = None) -> list[np.ndarray]:
    """Rows of every clip in the order of its frames; clips in order of first appearance.

    ok: (N,) bool, the rows that count; all when None.
    """
    found: dict[str, list[int]] = {}
    for row, key in enumerate(keys):
        if ok is None or ok[row]:
            found.setdefault(key.rpartition("/")[0], []).append(row)
    return [np.array(sorted(rows, key=lambda row: frame_number(keys[row]))) for rows in found.values()]


def frame_number(key: str) -> int:
    """The number after the last slash, -1 when it is none."""
    last = key.rpartition("/")[2]
    return int(last) if last.isdecimal() else -1


def runs(keys: Sequence[str], ok: np.ndarray | None = None) -> list[np.ndarray]:
    """Rows of every longest run of consecutive frames, two rows at least. ok: as in `clips`."""
    found = []
    for rows in clips(keys, ok):
        numbers = np.array([frame_number(keys[row]) for row in rows])
        parts = np.split(rows, np.flatnonzero(np.diff(numbers) != 1) + 1)
        found += [part for part in parts if len(part) > 1]
    return found


def steps(keys: Sequence[str], ok: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """(K,), (K,) rows of a frame and of the next one, for every two consecutive frames. ok: as in `clips`."""
    found = runs(keys, ok)
    if not found:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    return np.concatenate([run[:-1] for run in found]), np.concatenate([run[1:] for run in found])


def of_steps(values: np.ndarray, keys: Sequence[str], ok: np.ndarray | None = None) -> np.ndarray:
    """(K,) figures of `steps` -> (N,) of the frames, NaN for a frame without a neighbour. ok: as in `clips`."""
    here, there = steps(keys, ok)
    spread = np.full(len(keys), np.nan)
    spread[there] = values  # the last frame of a run keeps this, all others are written again
    spread[here] = values
    return spread
