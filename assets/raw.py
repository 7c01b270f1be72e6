"""photographs and raw_faces: which photographs there are, and which of them can be trusted.

`photographs` writes people into a folder in FFHQ's own layout unless SAMAE_RAW names a folder; from there on there is
one entrance for generated and real photographs. `raw_faces` checks every file of one folder against
ffhq-dataset-v2.json and the rules of the plan (assets/rules.py); whatever is wrong with a photograph becomes its
reason. REASONS lists them all.
"""

import hashlib
import io
import json
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
from PIL import Image

from assets.common import PHOTOGRAPHS_PER_TASK, batches, contact_sheet, counts_table, make_folders, result
from assets.graph import STAGES, provenance
from assets.listing import folder_entries, folder_names, photograph_counts
from assets.partitions import FOLDERS_NAME
from assets.parts import Parts
from assets.ports import Pool, Samae
from assets.room import require_room
from assets.rules import Rules, part_of
from assets.tables import OK, REJECTED, write_rows
from faces.files import write_json
from faces.photographs import FORMATS, UNREADABLE, why_unreadable
from faces.quality import picture_hash, pose_degrees, same_pictures, sharpness

#: Smaller ones hold too little of a face, px.
SMALLEST_PX = 64
#: Larger pictures are refused by their header: prepared faces of FFHQ have 1 million, px.
PIXEL_CAP = 16_000_000
#: Larger files are not read into memory, bytes.
MOST_BYTES = 256 << 20
#: Every reason why a photograph is refused here -> what kind of trouble it is (the limits are in assets/checks.py).
REASONS = {
    "licence not kept": "policy",
    "on the deny-list": "policy",
    "landmarks missing": "listing",
    "listing damaged": "listing",
    "path outside the set": "listing",
    "file missing": "damage",
    "file unreadable": "damage",
    "truncated": "damage",
    "file size differs": "damage",
    "file md5 differs": "damage",
    "picture damaged": "damage",
    "pixel size differs": "damage",
    "pixel md5 differs": "damage",
    "not a PNG, JPEG or WebP picture": "damage",
    "too many bytes": "content",
    "too many pixels": "content",
    "too small": "content",
    "not square": "content",
    "not RGB": "content",
    "blurred": "content",
    "extreme pose": "content",
    "duplicate": "content",
}


@dg.asset(**STAGES["photographs"].spec())
def photographs(context: dg.AssetExecutionContext, samae: dg.ResourceParam[Samae]) -> dg.MaterializeResult:
    """Write (or find) the set of photographs and register its folders as partitions."""
    plan, store = samae.plan, samae.store
    if plan.raw is None:
        from faces.synthetic.dataset import write_dataset

        require_room(samae, "photographs", plan.photographs)
        report = samae.progress(context, "photographs")
        write_dataset(
            store.raw,
            plan.photographs,
            size_px=plan.photo_px,
            people=plan.people,
            seed=plan.seed,
            progress=partial(_forward, report),
        )
    counts = photograph_counts(store)
    with store.write("photographs", None, provenance("photographs", None, plan, store)) as (folder, _):
        write_json(folder / "source.json", plan.source_identity)
    register_folders(context.instance, folder_names(store))
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
    report = samae.progress(context, "raw_faces")
    rules = Rules.of(samae.plan)

    def make(partition: str, folder: Path, done: Parts) -> dict[str, Any]:
        """Verify one folder of the set, row by row; metadata with the counts of every reason."""
        entries = list(folder_entries(samae.store, partition).items())
        tasks = [(samae.store.raw, part, rules) for part in batches(entries, PHOTOGRAPHS_PER_TASK)]
        rows = [row for part in done.map(pool, verify_photographs, tasks, report) for row in part]
        refuse_repeated(rows)
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


def verify_photographs(task: tuple[Path, list[tuple[str, dict[str, Any]]], Rules]) -> list[dict[str, Any]]:
    """(root of the set, [(index, entry of the listing)], rules) -> one row a photograph. Runs in a worker."""
    root, entries, rules = task
    return [verify_photograph(root, index, entry, rules) for index, entry in entries]


def verify_photograph(root: Path, index: str, entry: dict[str, Any], rules: Rules) -> dict[str, Any]:
    """One row of raw_faces. Whatever is wrong with the photograph or its entry becomes `reason`; nothing is raised."""
    row = empty_row(index, entry)
    try:
        reason = rules.reason_by_listing(entry) or _landmarks_reason(part_of(entry, "image"), row)
        reason = reason or _file_reason(root, part_of(entry, "image"), row, rules)
    except (TypeError, ValueError, OverflowError):
        reason = "listing damaged"
    except OSError:
        reason = "file unreadable"
    row["reason"], row["status"] = reason, REJECTED if reason else OK
    return row


def refuse_repeated(rows: list[dict[str, Any]]) -> None:
    """Refuse every good row that looks like an earlier good one ("duplicate", and of which); rows are changed."""
    good = [row for row in rows if row["status"] == OK]
    for again, first in same_pictures([bytes.fromhex(row["picture_hash"]) for row in good]).items():
        good[again] |= {"status": REJECTED, "reason": "duplicate", "duplicate_of": good[first]["key"]}


def empty_row(index: str, entry: dict[str, Any]) -> dict[str, Any]:
    """The row of a listing's entry before anything was verified: refused, without a reason yet."""
    about, synthetic = part_of(entry, "metadata"), part_of(entry, "synthetic")
    person = synthetic.get("person")
    return {
        "key": f"{int(index):05d}",
        "status": REJECTED,
        "reason": "",
        "file_path": str(part_of(entry, "image").get("file_path", "")),
        "size_px": 0,
        "licence": str(about.get("license", "")),
        "photo_url": str(about.get("photo_url", "")),
        "author": str(about.get("author", "")),
        "person": person if isinstance(person, int) else -1,
        "landmarks_px": [],
        "synthetic": json.dumps(synthetic, sort_keys=True) if synthetic else "",
        "file_md5": "",
        "pixel_md5": "",
        "picture_hash": "",
        "duplicate_of": "",
        "sharpness": 0.0,
        "pitch_degrees": 0.0,
        "yaw_degrees": 0.0,
    }


def _landmarks_reason(image: dict[str, Any], row: dict[str, Any]) -> str:
    try:
        points = np.asarray(image.get("face_landmarks"), np.float32)
    except (TypeError, ValueError):
        return "landmarks missing"
    if points.shape != (68, 2) or not np.isfinite(points).all():
        return "landmarks missing"
    # FFHQ puts pixel centres at whole numbers, faces/camera.py at halves.
    row["landmarks_px"] = (points + 0.5).ravel().tolist()
    return ""


def _file_reason(root: Path, image: dict[str, Any], row: dict[str, Any], rules: Rules) -> str:
    path = (root / row["file_path"]).resolve()
    if not path.is_relative_to(root.resolve()):
        return "path outside the set"
    if not path.is_file():
        return "file missing"
    expected = image.get("file_size")
    size_bytes = path.stat().st_size
    if expected is not None and size_bytes != int(expected):
        return "truncated" if size_bytes < int(expected) else "file size differs"
    if size_bytes > MOST_BYTES:
        return "too many bytes"
    data = path.read_bytes()
    row["file_md5"] = hashlib.md5(data, usedforsecurity=False).hexdigest()
    if image.get("file_md5") and row["file_md5"] != image["file_md5"]:
        return "file md5 differs"
    return _picture_reason(data, image, row, rules)


def _picture_reason(data: bytes, image: dict[str, Any], row: dict[str, Any], rules: Rules) -> str:
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
            row["size_px"] = picture.width
            if refused := _shape_reason(picture):
                return refused
            pixels = np.asarray(picture)
    except UNREADABLE as error:
        return why_unreadable(error)
    row["pixel_md5"] = hashlib.md5(pixels.tobytes(), usedforsecurity=False).hexdigest()
    if image.get("pixel_size") and list(image["pixel_size"]) != [pixels.shape[1], pixels.shape[0]]:
        return "pixel size differs"
    if image.get("pixel_md5") and row["pixel_md5"] != image["pixel_md5"]:
        return "pixel md5 differs"
    return rules.reason_by_sums(row["file_md5"], row["pixel_md5"]) or _look_reason(pixels, row, rules)


def _shape_reason(picture: Image.Image) -> str:
    """By the header alone: nothing is decoded yet."""
    if picture.width * picture.height > PIXEL_CAP:
        return "too many pixels"
    if min(picture.size) < SMALLEST_PX:
        return "too small"
    if picture.width != picture.height:
        return "not square"
    return "" if picture.mode == "RGB" else "not RGB"


def _look_reason(pixels: np.ndarray, row: dict[str, Any], rules: Rules) -> str:
    landmarks_px = np.asarray(row["landmarks_px"], np.float64).reshape(1, 68, 2)
    if np.ptp(landmarks_px[0], axis=0).min() < 1:
        return "landmarks missing"
    pitch, yaw, _ = (float(angle) for angle in pose_degrees(landmarks_px, pixels.shape[0])[0])
    row |= {"sharpness": sharpness(pixels), "pitch_degrees": pitch, "yaw_degrees": yaw}
    row["picture_hash"] = picture_hash(pixels).hex()
    return rules.reason_by_look(row["sharpness"], pitch, yaw)
