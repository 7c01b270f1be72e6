"""training_shards: one tar a folder of photographs, the same bytes for the same inputs, and the index over all of them.

The only module that imports webdataset, for its TarWriter. A folder whose inputs did not change keeps its tar (a hard
link into the new set), so one new folder costs one new tar and a new index.
"""

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np

from assets.aligned import resize
from assets.common import contact_sheet, counts_table, result
from assets.graph import STAGES, provenance
from assets.identities import encoder_identity, head_identity
from assets.listing import folder_names, photograph_counts
from assets.plan import Plan
from assets.ports import Pool, Samae
from assets.room import require_room
from assets.splits import person_name, split_people
from assets.store import Store
from assets.tables import OK, accepted, matrix, read_array, read_rows
from faces.files import atomic_file, digest_of, is_complete, read_manifest
from faces.quality import same_pictures
from faces.records import encode_sample

#: Folder stages whose rows must all be "ok" for a photograph to enter a shard, in the order of the graph.
FOLDER_STAGES = (
    "raw_faces",
    "aligned_faces",
    "face_coefficients",
    "neutral_albedo",
    "face_masks",
    "identity_embeddings",
)
#: Raised when a tar's bytes change for the same inputs; what the index alone says is the stage's code version.
TAR_VERSION = "1"
#: Photographs to training set: what `samae bench` prepares.
DATA_STAGES = ("photographs", *FOLDER_STAGES, "training_shards")


@dg.asset(**STAGES["training_shards"].spec())
def training_shards(
    context: dg.AssetExecutionContext, samae: dg.ResourceParam[Samae], pool: dg.ResourceParam[Pool]
) -> dg.MaterializeResult:
    """Write the tars that changed, link the others, and write the index last."""
    from training.shards import write_index

    plan, store = samae.plan, samae.store
    report = samae.progress(context, "training_shards")
    folders = folder_names(store)
    require_room(samae, "training_shards", sum(photograph_counts(store).values()))
    made_from = provenance("training_shards", None, plan, store)
    with store.write("training_shards", None, made_from) as (scratch, metadata):
        repeated = repeated_keys(store, folders)
        digests = {folder: part_digest(folder, made_from, repeated.get(folder, {})) for folder in folders}
        metadata["parts"] = digests
        stale = [folder for folder in folders if not _link_old(store, folder, digests[folder], scratch)]
        tasks = [(store, plan, folder, digests[folder], frozenset(repeated.get(folder, {}))) for folder in stale]
        pool.map(write_shard, tasks, report)
        for folder in stale:
            if (tar := finished_tar(store, folder, digests[folder])).stat().st_size:
                os.link(tar, scratch / f"{folder}.tar")
        rejected = [row for folder in folders for row in rejected_rows(store, folder, repeated.get(folder, {}))]
        shards = write_index(
            scratch,
            size_px=plan.picture_px,
            head=made_from["settings"]["head"],
            encoder=made_from["settings"]["encoder"],
            splits=_splits(store, folders, (row["key"] for row in rejected)),
            rejected=rejected,
        )
        first = shards.keys()[:24]
        preview = contact_sheet(np.array([shards.read(key, ("image",))["image"] for key in first]))
        splits = {split: len(shards.keys(split)) for split in ("train", "validation", "test")}
        shards.close()
    shutil.rmtree(store.home / "parts" / "training_shards", ignore_errors=True)
    return result(
        samae,
        "training_shards",
        None,
        {
            "samples": sum(splits.values()),
            **splits,
            "rejected": len(rejected),
            "shards": len(folders),
            "shards_written": len(stale),
            "preview": preview,
            "digest": shards.digest,
            "reasons": counts_table(dict(Counter(row["status"] for row in rejected))),
        },
    )


def part_digest(folder: str, made_from: dict[str, Any], repeated: dict[str, str] | None = None) -> str:
    """Digest of what one tar was made from: code, settings, its folder's inputs, what earlier folders have."""
    inputs = {name: value for name, value in made_from["inputs"].items() if name.endswith(f"/{folder}")}
    return digest_of([TAR_VERSION, made_from["settings"], inputs, *([repeated] if repeated else [])])


def repeated_keys(store: Store, folders: list[str]) -> dict[str, dict[str, str]]:
    """Folder -> {key: the key in an earlier folder that looks the same}. Repetition inside a folder is raw_faces'
    affair; the earlier folder keeps the photograph, so a new folder never changes an old one's tar."""
    tables = [(folder, accepted(read_rows(store.folder("raw_faces", folder)))) for folder in folders]
    keys = [(folder, key) for folder, table in tables for key in table["key"].to_pylist()]
    hashes = [bytes.fromhex(text) for _, table in tables for text in table["picture_hash"].to_pylist()]
    found: dict[str, dict[str, str]] = {}
    for again, first in same_pictures(hashes).items():
        if keys[again][0] != keys[first][0]:
            found.setdefault(keys[again][0], {})[keys[again][1]] = keys[first][1]
    return found


def finished_tar(store: Store, folder: str, part: str) -> Path:
    """Where a worker leaves the tar it has finished, until the set is whole: a run that was killed finds it there.
    Empty when no photograph of the folder is complete."""
    return store.home / "parts" / "training_shards" / part / f"{folder}.tar"


def _link_old(store: Store, folder: str, part: str, scratch: Path) -> bool:
    old = store.folder("training_shards")
    if not is_complete(old) or read_manifest(old).metadata.get("parts", {}).get(folder) != part:
        return False
    if not (old / f"{folder}.tar").is_file():
        return False
    os.link(old / f"{folder}.tar", scratch / f"{folder}.tar")
    return True


def write_shard(task: tuple[Store, Plan, str, str, frozenset[str]]) -> None:
    """(store, plan, folder, its digest, keys to leave out): write one folder's tar, whole or not at all, unless it is
    there already. Runs in a worker."""
    store, plan, folder, part, left_out = task
    path = finished_tar(store, folder, part)
    if path.is_file():
        return
    write_tar(path, (one for one in samples(store, plan, folder) if one["meta"]["key"] not in left_out))


def write_tar(path: Path, kept: Iterable[dict[str, Any]]) -> None:
    """Write samples (every field of faces.records) as one tar, whole or not at all; without any, an empty file."""
    import webdataset as wds

    count = 0
    with atomic_file(path) as scratch:
        with (
            scratch.open("wb") as stream,
            wds.TarWriter(stream, user="", group="", mode=0o444, mtime=0, compress=False, encoder=False) as writer,
        ):
            for sample in kept:
                writer.write({"__key__": sample["meta"]["key"], **encode_sample(sample)})
                count += 1
        if not count:
            scratch.write_bytes(b"")


def samples(store: Store, plan: Plan, folder: str) -> Any:
    """The complete samples of one folder, in the order of their keys."""
    tables = {name: accepted(read_rows(store.folder(name, folder))) for name in FOLDER_STAGES[1:]}
    arrays = {
        "images": ("aligned_faces", read_array(store.folder("aligned_faces", folder), "images")),
        "albedo": ("neutral_albedo", read_array(store.folder("neutral_albedo", folder), "albedo")),
    }
    places = {name: {key: i for i, key in enumerate(table["key"].to_pylist())} for name, table in tables.items()}
    masks = read_array(store.folder("face_masks", folder), "masks")
    mask_places = {key: i for i, key in enumerate(read_rows(store.folder("face_masks", folder))["key"].to_pylist())}
    columns = {
        "coefficients": ("face_coefficients", matrix(tables["face_coefficients"], "coefficients")),
        "embedding": ("identity_embeddings", matrix(tables["identity_embeddings"], "embedding")),
        "skin": ("face_masks", matrix(tables["face_masks"], "skin")),
    }
    aligned = tables["aligned_faces"].to_pylist()
    makers = {"head": head_identity(plan.head), "encoder": encoder_identity(plan.encoder)}
    for row in aligned:
        key = row["key"]
        if any(key not in places[name] for name in places):
            continue
        taken = {field: values[places[name][key]] for field, (name, values) in columns.items()}
        pictures = {
            field: resize(np.asarray(array[places[name][key]]), plan.picture_px)
            for field, (name, array) in arrays.items()
        }
        landmarks = np.asarray(row["landmarks_px"], np.float32).reshape(68, 2) * (plan.picture_px / plan.working_px)
        yield taken | {
            "image": pictures["images"],
            "albedo": pictures["albedo"],
            "mask": resize(np.asarray(masks[mask_places[key]]), plan.picture_px),
            "landmarks": landmarks,
            "meta": _meta(row, makers),
        }


def _meta(row: dict[str, Any], makers: dict[str, Any]) -> dict[str, Any]:
    meta = {"key": row["key"], "person": row["person"], "licence": row["licence"], "source": row["file_path"]}
    return meta | makers | ({"synthetic": json.loads(row["synthetic"])} if row["synthetic"] else {})


def rejected_rows(store: Store, folder: str, repeated: dict[str, str] | None = None) -> list[dict[str, Any]]:
    """{"key", "person", "status"} of every photograph that some stage refused; status is stage and reason."""
    persons: dict[str, int] = {}
    refused: dict[str, str] = {}
    for name in FOLDER_STAGES:
        for row in read_rows(store.folder(name, folder)).to_pylist():
            persons.setdefault(row["key"], row.get("person", -1))
            if row["status"] != OK:
                refused.setdefault(row["key"], f"{name}: {row['reason']}")
    for key, first in (repeated or {}).items():
        refused.setdefault(key, f"training_shards: duplicate of {first}")
    return [{"key": key, "person": persons[key], "status": reason} for key, reason in refused.items()]


def _splits(store: Store, folders: list[str], refused: Iterable[str]) -> dict[str, str]:
    """Key -> split of every photograph that was aligned; `refused` ones give no pairs."""
    rows = [row for folder in folders for row in read_rows(store.folder("aligned_faces", folder)).to_pylist()]
    return split_people({row["key"]: person_name(row) for row in rows}, frozenset(refused))
