"""photographs and raw_faces: which photographs there are, and which of them can be trusted.

`photographs` writes people into a folder in FFHQ's own layout unless SAMAE_RAW names a folder; from there on there is
one entrance for generated and real photographs. `raw_faces` checks every file of one folder against
ffhq-dataset-v2.json; whatever is wrong with a photograph becomes its reason.
"""

import hashlib
import json
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
from PIL import Image, UnidentifiedImageError

from assets.common import batches, contact_sheet, counts_table, make_folders, result
from assets.graph import STAGES, entries_by_folder, provenance
from assets.partitions import FOLDERS_NAME
from assets.ports import Pool, Samae
from assets.tables import OK, REJECTED, write_rows
from faces.errors import SamaeError
from faces.files import write_json

#: Larger pictures are refused before they are decoded (a decompression bomb), px.
PIXEL_CAP = 16_000_000
#: Smaller ones hold too little of a face, px.
SMALLEST_PX = 64
FORMATS = ("PNG", "JPEG", "WEBP")


@dg.asset(**STAGES["photographs"].spec())
def photographs(context: dg.AssetExecutionContext, samae: dg.ResourceParam[Samae]) -> dg.MaterializeResult:
    """Write (or find) the set of photographs and register its folders as partitions."""
    plan, store = samae.plan, samae.store
    if plan.raw is None:
        from faces.synthetic.dataset import write_dataset

        report = samae.progress(context, "photographs")
        write_dataset(
            store.raw,
            plan.photographs,
            size_px=plan.photo_px,
            people=plan.people,
            seed=plan.seed,
            progress=partial(_forward, report),
        )
    folders = entries_by_folder(store)
    with store.write("photographs", None, provenance("photographs", None, plan, store)) as (folder, _):
        write_json(folder / "source.json", plan.source_identity)
    register_folders(context.instance, list(folders))
    counts = {name: len(entries) for name, entries in folders.items()}
    return result(
        samae,
        "photographs",
        None,
        {
            "folder": dg.MetadataValue.path(str(store.raw)),
            "photographs": sum(counts.values()),
            "folders": len(counts),
        },
    )


def _forward(report: Any, done: float, total: float, *_: Any) -> None:
    report(done, total, "")


def register_folders(instance: dg.DagsterInstance, folders: list[str]) -> list[str]:
    """Make the instance's partitions exactly these folders; the new ones."""
    known = set(instance.get_dynamic_partitions(FOLDERS_NAME))
    new = [folder for folder in folders if folder not in known]
    for gone in sorted(known - set(folders)):
        instance.delete_dynamic_partition(FOLDERS_NAME, gone)
    if new:
        instance.add_dynamic_partitions(FOLDERS_NAME, new)
    return new


@dg.asset(**STAGES["raw_faces"].spec())
def raw_faces(
    context: dg.AssetExecutionContext, samae: dg.ResourceParam[Samae], pool: dg.ResourceParam[Pool]
) -> dg.MaterializeResult:
    """Verify every photograph of a folder."""
    folders = entries_by_folder(samae.store)
    report = samae.progress(context, "raw_faces")

    def make(partition: str, folder: Path) -> dict[str, Any]:
        if partition not in folders:
            raise SamaeError(f"{samae.store.raw} has no folder {partition!r}; its folders are {', '.join(folders)}")
        tasks = [(samae.store.raw, part) for part in batches(list(folders[partition].items()), 128)]
        rows = [row for part in pool.map(verify_photographs, tasks, report) for row in part]
        write_rows(folder, {name: [row[name] for row in rows] for name in rows[0]})
        counts = Counter(row["reason"] for row in rows)
        good = [samae.store.raw / row["file_path"] for row in rows if row["status"] == OK][:24]
        return {
            "photographs": len(rows),
            "accepted": counts[""],
            "rejected": len(rows) - counts[""],
            "reasons": counts_table(dict(counts)),
            "preview": contact_sheet(np.array([_thumbnail(p) for p in good])),
        }

    return make_folders(context, samae, "raw_faces", make)


def _thumbnail(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB").resize((64, 64)))


def verify_photographs(task: tuple[Path, list[tuple[str, dict[str, Any]]]]) -> list[dict[str, Any]]:
    """(root of the set, [(index, entry of the listing)]) -> one row a photograph. Runs in a worker."""
    root, entries = task
    return [verify_photograph(root, index, entry) for index, entry in entries]


def verify_photograph(root: Path, index: str, entry: dict[str, Any]) -> dict[str, Any]:
    """One row of raw_faces. Whatever is wrong with the photograph or its entry becomes `reason`; nothing is raised."""
    image: dict[str, Any] = entry["image"] if isinstance(entry.get("image"), dict) else {}
    synthetic = entry.get("synthetic")
    row: dict[str, Any] = {
        "key": f"{int(index):05d}",
        "status": REJECTED,
        "reason": "",
        "file_path": str(image.get("file_path", "")),
        "size_px": 0,
        "licence": str((entry.get("metadata") or {}).get("license", "")),
        "person": int(synthetic["person"]) if synthetic else -1,
        "landmarks_px": [],
        "synthetic": json.dumps(synthetic, sort_keys=True) if synthetic else "",
    }
    reason = _landmarks_reason(image, row) or _file_reason(root, image, row)
    row["reason"], row["status"] = reason, REJECTED if reason else OK
    return row


def _landmarks_reason(image: dict[str, Any], row: dict[str, Any]) -> str:
    try:
        points = np.asarray(image.get("face_landmarks"), np.float32)
    except (TypeError, ValueError):
        return "landmarks missing"
    if points.shape != (68, 2) or not np.isfinite(points).all():
        return "landmarks missing"
    # FFHQ puts pixel centres at whole numbers, faces/camera.py at halves.
    row["landmarks_px"] = (points + 0.5).ravel()
    return ""


def _file_reason(root: Path, image: dict[str, Any], row: dict[str, Any]) -> str:
    path = (root / row["file_path"]).resolve()
    if not path.is_relative_to(root.resolve()):
        return "path outside the set"
    if not path.is_file():
        return "file missing"
    expected = image.get("file_size")
    size_bytes = path.stat().st_size
    if expected is not None and size_bytes != int(expected):
        return "truncated" if size_bytes < int(expected) else "file size differs"
    data = path.read_bytes()
    if image.get("file_md5") and hashlib.md5(data, usedforsecurity=False).hexdigest() != image["file_md5"]:
        return "file md5 differs"
    return _picture_reason(path, image, row)


def _picture_reason(path: Path, image: dict[str, Any], row: dict[str, Any]) -> str:
    try:
        with Image.open(path, formats=FORMATS) as picture:
            width, height = picture.size
            row["size_px"] = width
            if width * height > PIXEL_CAP:
                return "too many pixels"
            if min(width, height) < SMALLEST_PX:
                return "too small"
            if width != height:
                return "not square"
            if picture.mode != "RGB":
                return "not RGB"
            pixels = np.asarray(picture)
    except UnidentifiedImageError:
        return "not a PNG, JPEG or WebP picture"
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return "picture damaged"
    if image.get("pixel_size") and list(image["pixel_size"]) != [width, height]:
        return "pixel size differs"
    if (
        image.get("pixel_md5")
        and hashlib.md5(pixels.tobytes(), usedforsecurity=False).hexdigest() != image["pixel_md5"]
    ):
        return "pixel md5 differs"
    return ""
