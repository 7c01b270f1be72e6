"""How a folder partition is kept: `rows.parquet` (one row a photograph, with status and reason) and arrays beside it.

An array file `NAME.npy` has one entry for each row whose status is "ok", in the order of the rows (face_masks: for each
face that was fitted, whether its mask was accepted or not). Vectors are fixed-size lists of float32 in Parquet. A
column's unit is in its metadata, the version in the table's.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from faces.errors import SamaeError
from faces.files import atomic_file

ROWS_NAME = "rows.parquet"
TABLE_VERSION = "2"
OK = "ok"
REJECTED = "rejected"

#: Column -> (Arrow type, unit). Vectors are lists of this element type.
COLUMNS: dict[str, tuple[pa.DataType, str]] = {
    "key": (pa.string(), ""),
    "status": (pa.string(), "ok or rejected"),
    "reason": (pa.string(), "why it was rejected"),
    "file_path": (pa.string(), "relative to the set"),
    "size_px": (pa.int32(), "px"),
    "licence": (pa.string(), ""),
    "photo_url": (pa.string(), "address of the photograph, as the listing gives it"),
    "author": (pa.string(), "as the listing gives it"),
    "file_md5": (pa.string(), "MD5 of the file's bytes, 32 hexadecimal digits"),
    "pixel_md5": (pa.string(), "MD5 of the RGB bytes, 32 hexadecimal digits"),
    "picture_hash": (pa.string(), "faces/quality.py, 256 bits as 64 hexadecimal digits"),
    "duplicate_of": (pa.string(), "key of the photograph that looks the same"),
    "sharpness": (pa.float32(), "fine detail over contrast, faces/quality.py"),
    "pitch_degrees": (pa.float32(), "degrees, positive: bowed"),
    "yaw_degrees": (pa.float32(), "degrees, positive: nose to the right of the picture"),
    "person": (pa.int64(), "identity label, -1 unknown"),
    "landmarks_px": (pa.list_(pa.float32()), "68 x (u, v), px, first pixel centre at 0.5"),
    "synthetic": (pa.string(), "JSON: generator, seed, person, picture"),
    "coefficients": (pa.list_(pa.float32()), "CoefficientLayout"),
    "landmark_nme_percent": (pa.float32(), "percent of the distance between the outer eye corners"),
    "photometric_error": (pa.float32(), "mean absolute difference, sRGB 0..1"),
    "coverage": (pa.float32(), "share of the picture, 0..1"),
    "skin": (pa.list_(pa.float32()), "linear RGB 0..1"),
    "embedding": (pa.list_(pa.float32()), "unit length"),
}


def write_rows(folder: Path, columns: Mapping[str, Sequence[Any]], metadata: Mapping[str, str] | None = None) -> None:
    """Write the columns (all of one length, all of COLUMNS) as rows.parquet."""
    fields = [pa.field(name, COLUMNS[name][0], metadata={"unit": COLUMNS[name][1]}) for name in columns]
    schema = pa.schema(fields, metadata={"table_version": TABLE_VERSION, **(metadata or {})})
    arrays = [_array(columns[f.name], f.type) for f in fields]
    with atomic_file(folder / ROWS_NAME) as scratch:
        pq.write_table(pa.Table.from_arrays(arrays, schema=schema), scratch, compression="zstd")


def _array(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """One column; an array of more than one axis is a list a row, taken as it lies in memory."""
    if not isinstance(values, np.ndarray) or values.ndim == 1:
        return pa.array(values, kind, from_pandas=False)
    flat = pa.array(values.ravel(), kind.value_type, from_pandas=False)
    ends = np.arange(len(values) + 1, dtype=np.int32) * (values.size // max(len(values), 1))
    return pa.ListArray.from_arrays(pa.array(ends), flat, type=kind)


def read_rows(folder: Path) -> pa.Table:
    """rows.parquet of a partition; another table version is refused."""
    try:
        table = pq.read_table(folder / ROWS_NAME)
    except (OSError, pa.ArrowInvalid) as error:
        raise SamaeError(f"{folder / ROWS_NAME} cannot be read ({error}); materialise that partition again") from None
    version = (table.schema.metadata or {}).get(b"table_version", b"").decode()
    if version != TABLE_VERSION:
        raise SamaeError(
            f"{folder / ROWS_NAME} has table version {version!r}, not {TABLE_VERSION}: materialise it again"
        )
    return table


def accepted(table: pa.Table) -> pa.Table:
    """The rows whose status is "ok", in order."""
    return table.filter(pc.equal(table["status"], OK))


def matrix(table: pa.Table, column: str) -> np.ndarray:
    """A column of vectors as (N, length) float32; (N, 0) when there are no rows."""
    values = table[column].combine_chunks()
    flat = values.flatten().to_numpy(zero_copy_only=False).astype(np.float32)
    return flat.reshape(len(table), -1) if len(table) else np.zeros((0, 0), np.float32)


def write_array(folder: Path, name: str, array: np.ndarray) -> None:
    """One array file of a partition."""
    np.save(folder / f"{name}.npy", array, allow_pickle=False)


def read_array(folder: Path, name: str) -> np.ndarray:
    """One array file of a partition, mapped into memory, read-only."""
    try:
        return np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise SamaeError(f"{folder / name}.npy cannot be read ({error}); materialise that partition again") from None


def chunks(count: int, size: int) -> list[slice]:
    """Slices of at most `size` that cover 0..count in order."""
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]
