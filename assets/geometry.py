"""face_coefficients, neutral_albedo and face_masks: what the morphable head says about every picture.

Landmarks of generated people are exact; those of photographs were read by a network or a hand, and are believed less
(PHOTOGRAPH_FIT, PHOTOGRAPH_OCCLUDERS).
"""

from collections import Counter
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa

from assets.common import PHOTOGRAPHS_PER_TASK, contact_sheet, counts_table, make_folders
from assets.graph import STAGES
from assets.parts import Parts
from assets.ports import Pool, Samae
from assets.store import Store
from assets.tables import OK, REJECTED, accepted, chunks, matrix, read_array, read_rows, write_array, write_rows


@dg.asset(**STAGES["face_coefficients"].spec())
def face_coefficients(
    context: dg.AssetExecutionContext, samae: dg.ResourceParam[Samae], pool: dg.ResourceParam[Pool]
) -> dg.MaterializeResult:
    """Fit the head to every aligned picture. A bad fit is a row with a reason."""
    report = samae.progress(context, "face_coefficients")

    def make(partition: str, folder: Path, done: Parts) -> dict[str, Any]:
        """Fit the faces of one folder."""
        aligned = samae.store.folder("aligned_faces", partition)
        rows = read_rows(aligned)
        landmarks = matrix(rows, "landmarks_px").reshape(-1, 68, 2)
        parts, generated = chunks(len(rows), PHOTOGRAPHS_PER_TASK), are_generated(rows)
        tasks = [(samae.plan.head, aligned, part, landmarks[part], generated) for part in parts]
        fits = done.map(pool, fit_faces, tasks, report) or [no_fits(samae.plan.head)]
        columns: dict[str, Any] = {"key": rows["key"].to_pylist()}
        columns |= {name: np.concatenate([fit[name] for fit in fits]) for name in fits[0]}
        columns["status"] = [OK if good else REJECTED for good in columns.pop("ok")]
        columns["reason"] = [str(reason) for reason in columns["reason"]]
        write_rows(folder, columns)
        good = np.array([status == OK for status in columns["status"]], bool)
        return {
            "faces": len(good),
            "rejected": int((~good).sum()),
            "reasons": counts_table(dict(Counter(columns["reason"]))),
            "landmark_nme_percent": _mean(columns["landmark_nme_percent"][good]),
            "photometric_error": _mean(columns["photometric_error"][good]),
        }

    return make_folders(context, samae, "face_coefficients", make)


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values)) if len(values) else float("nan")


def are_generated(rows: pa.Table) -> bool:
    """Whether every row of aligned_faces is a generated person, whose landmarks are exact."""
    return all(rows["synthetic"].to_pylist())


def fit_faces(task: tuple[str, Path, slice, np.ndarray, bool]) -> dict[str, np.ndarray]:
    """(head, folder of aligned_faces, which, landmarks (N, 68, 2) px, generated) -> columns of N rows. In a worker."""
    from faces.fitting import fit
    from faces.morphable.registry import load_head
    from faces.treatment import settings_of

    head_name, aligned, part, landmarks_px, generated = task
    images = np.array(read_array(aligned, "images")[part])
    found = fit(images, landmarks_px, load_head(head_name), images.shape[1], settings_of(generated)[0])
    return {
        "coefficients": np.asarray(found.coefficients, np.float32),
        "landmark_nme_percent": np.asarray(found.landmark_nme_percent, np.float32),
        "photometric_error": np.asarray(found.photometric_error, np.float32),
        "ok": np.asarray(found.ok, bool),
        "reason": np.array(list(found.reason), dtype=str),
    }


def no_fits(head_name: str) -> dict[str, np.ndarray]:
    """What `fit_faces` says about a folder without one accepted photograph: its columns, of 0 rows."""
    from faces.morphable.registry import load_head

    nothing = np.zeros(0, np.float32)
    return {
        "coefficients": np.zeros((0, load_head(head_name).layout.size), np.float32),
        "landmark_nme_percent": nothing,
        "photometric_error": nothing,
        "ok": np.zeros(0, bool),
        "reason": np.zeros(0, str),
    }


def fitted_faces(store: Store, partition: str) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Faces with a good fit: keys, their positions (N,) in aligned_faces, and coefficients (N, D)."""
    table = read_rows(store.folder("face_coefficients", partition))
    good = np.array([status == OK for status in table["status"].to_pylist()], bool)
    rows = accepted(table)
    return rows["key"].to_pylist(), np.flatnonzero(good), matrix(rows, "coefficients")


@dg.asset(**STAGES["neutral_albedo"].spec())
def neutral_albedo(
    context: dg.AssetExecutionContext, samae: dg.ResourceParam[Samae], pool: dg.ResourceParam[Pool]
) -> dg.MaterializeResult:
    """Take the fitted light away from every picture and neutralise its skin tone."""
    report = samae.progress(context, "neutral_albedo")

    def make(partition: str, folder: Path, done: Parts) -> dict[str, Any]:
        """Neutralise the albedo of one folder."""
        keys, albedo = _map_fitted(neutralise_faces, samae, pool, done, partition, report, "albedo")
        write_rows(folder, {"key": keys, "status": [OK] * len(keys), "reason": [""] * len(keys)})
        write_array(folder, "albedo", albedo)
        return {"faces": len(keys), "preview": contact_sheet(albedo)}

    return make_folders(context, samae, "neutral_albedo", make)


def _map_fitted(
    function: Any, samae: Samae, pool: Pool, done: Parts, partition: str, report: Any, *names: str
) -> tuple[Any, ...]:
    """Map over the well-fitted faces of a folder; their keys and the named arrays, joined."""
    keys, where, coefficients = fitted_faces(samae.store, partition)
    aligned = samae.store.folder("aligned_faces", partition)
    parts, generated = chunks(len(keys), PHOTOGRAPHS_PER_TASK), are_generated(read_rows(aligned))
    tasks = [(samae.plan.head, aligned, where[part], coefficients[part], generated) for part in parts]
    answers = done.map(pool, function, tasks, report)
    size_px = samae.plan.working_px
    empty = {"skin": np.zeros((0, 3), np.float32), "mask": np.zeros((0, size_px, size_px), np.uint8)}
    blank = np.zeros((0, size_px, size_px, 3), np.uint8)
    return keys, *(np.concatenate([a[name] for a in answers] or [empty.get(name, blank)]) for name in names)


def neutralise_faces(task: tuple[str, Path, np.ndarray, np.ndarray, bool]) -> dict[str, np.ndarray]:
    """(head, folder of aligned_faces, positions, coefficients, _) -> {"albedo": (N, S, S, 3) uint8}. In a worker."""
    from faces.albedo import neutral_albedo as neutralise
    from faces.morphable.registry import load_head

    head_name, aligned, where, coefficients, _ = task
    return {"albedo": neutralise(read_array(aligned, "images")[where], coefficients, load_head(head_name))}


@dg.asset(**STAGES["face_masks"].spec())
def face_masks(
    context: dg.AssetExecutionContext, samae: dg.ResourceParam[Samae], pool: dg.ResourceParam[Pool]
) -> dg.MaterializeResult:
    """The visible face of every picture, and the colour of its skin."""
    report = samae.progress(context, "face_masks")

    def make(partition: str, folder: Path, done: Parts) -> dict[str, Any]:
        """Find the masks and skin colours of one folder."""
        keys, masks, skin = _map_fitted(mask_faces, samae, pool, done, partition, report, "mask", "skin")
        coverage = (masks.mean(axis=(1, 2)) / 255).astype(np.float32)
        status = [OK if share > 0 else REJECTED for share in coverage]
        reason = ["" if share > 0 else "face hidden" for share in coverage]
        write_rows(
            folder,
            {
                "key": keys,
                "status": status,
                "reason": reason,
                "coverage": coverage,
                "skin": skin,
            },
        )
        write_array(folder, "masks", masks)
        return {"faces": len(keys), "coverage_percent": 100 * _mean(coverage), "preview": contact_sheet(masks)}

    return make_folders(context, samae, "face_masks", make)


def mask_faces(task: tuple[str, Path, np.ndarray, np.ndarray, bool]) -> dict[str, np.ndarray]:
    """(head, folder of aligned_faces, positions, coefficients, generated) -> {"mask", "skin"}. Runs in a worker."""
    from faces.albedo import skin_colour
    from faces.masks import face_mask
    from faces.morphable.registry import load_head
    from faces.treatment import settings_of

    head_name, aligned, where, coefficients, generated = task
    images, head = read_array(aligned, "images")[where], load_head(head_name)
    masks = face_mask(images, coefficients, head, settings_of(generated)[1])
    return {"mask": masks, "skin": np.asarray(skin_colour(images, coefficients, masks, head), np.float32)}
