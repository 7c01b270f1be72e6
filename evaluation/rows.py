"""The judge's rows, one a (system, pair), keyed so that a second run repeats and doubles nothing.

Columns: the key (system, pair_id, judge_digest, system_digest), what the pair is (source_key, target_key, covariates
for slices), status ("ok" or "failed") with its reason, every metric as a float column (NaN where it failed or does
not apply), and vectors for figures that belong to a set: `embedding`, the result's embedding by the first independent
encoder, and where that network is there `inception`, its features.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from faces.errors import SamaeError

KEY = ("system", "system_digest", "pair_id", "judge_digest")
COVARIATES = (
    "pose_difference_degrees",
    "target_yaw_degrees",
    "shape_difference",
    "source_skin_lightness",
    "skin_difference",
    "target_occlusion",
)
TEXT_COLUMNS = (*KEY, "source_key", "target_key", "status", "reason")


def rows_schema(metrics: Sequence[str], vectors: Sequence[str] = ("embedding",)) -> pa.Schema:
    """The schema for these metric columns and columns of vectors."""
    fields = [pa.field(name, pa.string()) for name in TEXT_COLUMNS]
    fields += [pa.field(name, pa.float64()) for name in (*COVARIATES, *metrics)]
    return pa.schema([*fields, *(pa.field(name, pa.list_(pa.float32())) for name in vectors)])


def merge_rows(old: pa.Table | None, new: pa.Table | None) -> pa.Table:
    """Both tables with one row a key: the later one wins, order of first appearance. Missing columns are null."""
    tables = [table for table in (old, new) if table is not None and table.num_rows]
    if not tables:
        empty = old if old is not None else new
        if empty is None:
            raise SamaeError("there are no rows to merge; judge some pairs first")
        return empty
    merged = pa.concat_tables(tables, promote_options="default")
    keys = list(zip(*(merged.column(name).to_pylist() for name in KEY), strict=True))
    last = {key: row for row, key in enumerate(keys)}
    return merged.take(pa.array(list(last.values()), pa.int64()))


def system_rows(rows: pa.Table, system: str) -> pa.Table:
    """The rows of one system."""
    return rows.filter(pc.equal(rows.column("system"), system))


def systems_of(rows: pa.Table) -> list[str]:
    """Names of the systems, in order of first appearance."""
    return list(dict.fromkeys(rows.column("system").to_pylist()))


def in_order(rows: pa.Table, pair_ids: Sequence[str]) -> pa.Table:
    """One system's rows in the order of a pair list; a missing pair is a SamaeError."""
    where = {pair: row for row, pair in enumerate(rows.column("pair_id").to_pylist())}
    missing = [pair for pair in pair_ids if pair not in where]
    if missing:
        raise SamaeError(f"{len(missing)} pairs have no row, {missing[0]!r} first; evaluate the list again")
    return rows.take(pa.array([where[pair] for pair in pair_ids], pa.int64()))


def column(rows: pa.Table, name: str) -> np.ndarray:
    """(N,) float64 of a numeric column; all NaN when the table lacks it, NaN where it is null."""
    if name not in rows.column_names:
        return np.full(rows.num_rows, np.nan)
    values = rows.column(name).to_numpy(zero_copy_only=False)
    return np.asarray(values, np.float64)


def embeddings(rows: pa.Table, name: str = "embedding") -> np.ndarray:
    """(K, dim) float32 vectors of the rows that have one in this column; (0, 0) when none has."""
    listed = rows.column(name).to_pylist() if name in rows.column_names else []
    found = [v for v in listed if v is not None]
    return np.array(found, np.float32) if found else np.zeros((0, 0), np.float32)
