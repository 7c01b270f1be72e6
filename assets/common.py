"""What every asset does the same way: take its provenance, write its folder whole, report its version and pictures."""

import base64
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import dagster as dg
import numpy as np

from assets.graph import provenance
from assets.listing import photograph_counts
from assets.parts import Parts
from assets.ports import Samae
from assets.room import require_room
from faces.records import encode_jpeg

#: Photographs a task: small enough to spread, large enough to hide the cost of a task.
PHOTOGRAPHS_PER_TASK = 32

#: (partition, its scratch folder to fill, parts that are done already) -> its metadata for the page.
Make = Callable[[str, Path, Parts], dict[str, Any]]


def make_folders(context: dg.AssetExecutionContext, samae: Samae, stage: str, make: Make) -> dg.MaterializeResult:
    """Make every partition of this run with `make(partition, scratch folder, parts)`; one data version a partition.

    A run over several partitions gets one joint version, because Dagster records one a run; `samae demo` and the
    manifests on disk keep one a partition.
    """
    partitions = list(context.partition_keys)
    counts = photograph_counts(samae.store)
    require_room(samae, stage, sum(counts.get(partition, 0) for partition in partitions))
    for partition in partitions:
        made_from = provenance(stage, partition, samae.plan, samae.store)
        parts = Parts(samae.store.home, stage, partition, made_from)
        with samae.store.write(stage, partition, made_from) as (folder, _):
            metadata = make(partition, folder, parts)
        parts.remove()
        context.add_asset_metadata(metadata, partition_key=partition)
    digests = [samae.store.digest(stage, partition) for partition in partitions]
    return dg.MaterializeResult(data_version=dg.DataVersion("-".join(digests) if len(digests) < 4 else _joint(digests)))


def _joint(digests: Sequence[str]) -> str:
    from faces.files import digest_of

    return digest_of(list(digests))


def result(samae: Samae, stage: str, partition: str | None, metadata: dict[str, Any]) -> dg.MaterializeResult:
    """The result of an asset that was written just now."""
    return dg.MaterializeResult(metadata=metadata, data_version=dg.DataVersion(samae.store.digest(stage, partition)))


def batches(items: Sequence[Any], size: int = PHOTOGRAPHS_PER_TASK) -> Iterator[Sequence[Any]]:
    """The items in runs of at most `size`, in order."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def contact_sheet(images: np.ndarray, columns: int = 12, cell_px: int = 64, rows: int = 2) -> dg.MarkdownMetadataValue:
    """The first pictures (N, S, S, 3) or masks (N, S, S), uint8, as one small JPEG inside Markdown for the page."""
    return dg.MetadataValue.md(f"![contact sheet]({sheet_uri(images, columns, cell_px, rows)})")


def sheet_uri(images: np.ndarray, columns: int, cell_px: int, rows: int) -> str:
    """A data URI of a sheet of the first columns x rows pictures."""
    cells = [_cell(np.asarray(image), cell_px) for image in images[: columns * rows]]
    if not cells:
        return ""
    columns = min(columns, len(cells))
    while len(cells) % columns:
        cells.append(np.full_like(cells[0], 255))
    lines = [np.concatenate(cells[start : start + columns], 1) for start in range(0, len(cells), columns)]
    return "data:image/jpeg;base64," + base64.b64encode(encode_jpeg(np.concatenate(lines, 0))).decode()


def _cell(image: np.ndarray, cell_px: int) -> np.ndarray:
    colour = image if image.ndim == 3 else np.repeat(image[..., None], 3, -1)
    return cv2.resize(colour, (cell_px, cell_px), interpolation=cv2.INTER_AREA)


def counts_table(counts: dict[str, int]) -> dg.MarkdownMetadataValue:
    """Reason -> how many, as a Markdown table."""
    lines = [f"| {reason or 'ok'} | {count} |" for reason, count in sorted(counts.items())]
    return dg.MetadataValue.md("\n".join(["| reason | photographs |", "|---|---|", *lines]))
