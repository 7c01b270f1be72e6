"""Arrays out of a head's file, and whether they are what the file's format says. Every refusal is one sentence."""

from pathlib import Path
from typing import Any

import numpy as np

from faces.errors import SamaeError

#: Kinds of numpy numbers: real ones (complex numbers, text and objects are none), and whole ones.
NUMBERS, WHOLE = "biuf", "iu"


def read_npz(path: Path, needed: tuple[str, ...] | None, what: str, mend: str) -> dict[str, np.ndarray]:
    """The arrays `needed` (None: all) of an npz, nothing unpickled.

    Raises:
        SamaeError: a damaged or another file, or arrays that it lacks; `what` it should be and the `mend` are said.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            names = tuple(file.files)
            found = {name: file[name] for name in (names if needed is None else needed) if name in names}
    except Exception as error:
        # numpy's and zipfile's readers meet damage with whatever their parsers run into (also zlib's errors).
        problem = f"{type(error).__name__}: {error}"
        raise SamaeError(f"{path} cannot be read as {what} ({problem}); {mend}") from None
    missing = [name for name in needed or () if not isinstance(found.get(name), np.ndarray)]
    if missing:
        raise SamaeError(f"{path} lacks the arrays {', '.join(missing)}; it is not {what}: {mend}")
    return found


def as_array(path: Path, name: str, value: Any, mend: str) -> np.ndarray:
    """A value of somebody's file as an array; SamaeError when it is none (rows of different lengths)."""
    try:
        return np.asarray(value)
    except (TypeError, ValueError):
        raise SamaeError(f"{path}: {name} is no array of numbers; {mend}") from None


def check_numbers(path: Path, name: str, table: np.ndarray, shape: tuple[int, ...], mend: str) -> None:
    """Raise a SamaeError unless `table` holds finite real numbers in this shape."""
    if table.shape != shape:
        raise SamaeError(f"{path}: {name} has shape {table.shape} where {shape} is due; {mend}")
    if table.dtype.kind not in NUMBERS:
        raise SamaeError(f"{path}: {name} is no table of numbers but of {table.dtype}; {mend}")
    if not np.isfinite(table).all():
        raise SamaeError(f"{path}: {name} holds numbers that are not finite; {mend}")


def check_indices(path: Path, name: str, table: np.ndarray, low: int, high: int, mend: str, kinds: str = WHOLE) -> None:
    """Raise a SamaeError unless `table` holds whole numbers in low..high, and at least one.

    kinds: numpy's of the file's format; "iuf" where it writes whole numbers as floating point (MATLAB).
    """
    if not table.size:
        raise SamaeError(f"{path}: {name} is empty; {mend}")
    if table.dtype.kind not in kinds or (table != np.floor(table)).any():
        raise SamaeError(f"{path}: {name} holds {table.dtype} where whole numbers are due; {mend}")
    if table.min() < low or table.max() > high:
        raise SamaeError(f"{path}: {name} points outside {low}..{high}; {mend}")


def length_of(path: Path, name: str, table: np.ndarray, axes: int, mend: str) -> int:
    """Length of the first axis of a table; SamaeError unless it has so many axes."""
    if table.ndim != axes:
        raise SamaeError(f"{path}: {name} has shape {table.shape} where {axes} axes are due; {mend}")
    return len(table)
