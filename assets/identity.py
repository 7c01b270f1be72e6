"""identity_embeddings: who is in every picture, by the encoder that training uses (never one of the judge's)."""

from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np

from assets.common import PHOTOGRAPHS_PER_TASK, make_folders
from assets.graph import STAGES
from assets.ports import Pool, Samae
from assets.tables import OK, chunks, matrix, read_array, read_rows, write_rows


@dg.asset(**STAGES["identity_embeddings"].spec())
def identity_embeddings(
    context: dg.AssetExecutionContext, samae: dg.ResourceParam[Samae], pool: dg.ResourceParam[Pool]
) -> dg.MaterializeResult:
    """One unit vector a face."""
    report = samae.progress(context, "identity_embeddings")

    def make(partition: str, folder: Path) -> dict[str, Any]:
        aligned = samae.store.folder("aligned_faces", partition)
        rows = read_rows(aligned)
        landmarks = matrix(rows, "landmarks_px").reshape(-1, 68, 2)
        parts = chunks(len(rows), PHOTOGRAPHS_PER_TASK)
        tasks = [(samae.plan.encoder, aligned, part, landmarks[part]) for part in parts]
        vectors = np.concatenate(pool.map(embed_faces, tasks, report) or [np.zeros((0, 1), np.float32)])
        columns = {"key": rows["key"].to_pylist(), "status": [OK] * len(rows), "reason": [""] * len(rows)}
        write_rows(folder, columns | {"embedding": vectors})
        same, other = similarity(vectors, np.asarray(rows["person"]))
        return {"faces": len(rows), "similarity_same_person": same, "similarity_other_people": other}

    return make_folders(context, samae, "identity_embeddings", make)


def embed_faces(task: tuple[str, Path, slice, np.ndarray]) -> np.ndarray:
    """(encoder, folder of aligned_faces, which, landmarks (N, 68, 2) px) -> (N, M) float32 unit. Runs in a worker."""
    from faces.identity.registry import load_encoder

    name, aligned, part, landmarks_px = task
    images = np.array(read_array(aligned, "images")[part])
    return np.asarray(load_encoder(name).embed(images, landmarks_px), np.float32)


def similarity(vectors: np.ndarray, person: np.ndarray) -> tuple[float, float]:
    """Mean cosine between pictures of one person, and of different people (of 1,000 pictures at most); nan: unknown."""
    vectors, person = vectors[:1000], person[:1000]
    cosine = vectors @ vectors.T
    known = (person[:, None] >= 0) & (person[None] >= 0) & ~np.eye(len(person), dtype=bool)
    same = known & (person[:, None] == person[None])
    other = known & (person[:, None] != person[None])
    return tuple(float(cosine[which].mean()) if which.any() else float("nan") for which in (same, other))  # type: ignore[return-value]
