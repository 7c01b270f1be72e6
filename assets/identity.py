"""identity_embeddings: who is in every picture, by the encoder that training uses (never one of the judge's).

identity_encoder[recipe]: an encoder of one's own; name its file in a recipe (identity.encoder) or by SAMAE_ENCODER.
"""

import re
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np

from assets.common import PHOTOGRAPHS_PER_TASK, make_folders, result
from assets.graph import STAGES, provenance
from assets.parts import Parts
from assets.planned import encoder_overrides
from assets.ports import Pool, Samae
from assets.room import bytes_below, encoder_workers, require_room
from assets.tables import OK, chunks, matrix, read_array, read_rows, write_rows
from faces.files import digest_of, is_complete
from faces.lock import sole_writer


@dg.asset(**STAGES["identity_embeddings"].spec())
def identity_embeddings(
    context: dg.AssetExecutionContext, samae: dg.ResourceParam[Samae], pool: dg.ResourceParam[Pool]
) -> dg.MaterializeResult:
    """One unit vector a face."""
    report = samae.progress(context, "identity_embeddings")

    def make(partition: str, folder: Path, done: Parts) -> dict[str, Any]:
        """Embed the faces of one folder."""
        aligned = samae.store.folder("aligned_faces", partition)
        rows = read_rows(aligned)
        landmarks = matrix(rows, "landmarks_px").reshape(-1, 68, 2)
        parts = chunks(len(rows), PHOTOGRAPHS_PER_TASK)
        tasks = [(samae.plan.encoder, aligned, part, landmarks[part]) for part in parts]
        vectors = np.concatenate(done.map(pool, embed_faces, tasks, report) or [np.zeros((0, 1), np.float32)])
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


#: The file of an encoder in its asset's folder.
ENCODER_NAME = "encoder.safetensors"


@dg.asset(**STAGES["identity_encoder"].spec(), pool="training")
def identity_encoder(context: dg.AssetExecutionContext, samae: dg.ResourceParam[Samae]) -> dg.MaterializeResult:
    """Train one encoder recipe; an interrupted training goes on after its last whole epoch."""
    from training.encoder.fit import fit
    from training.encoder.recipe import load_encoder_recipe

    name, store = context.partition_key, samae.store
    recipe = load_encoder_recipe(name, encoder_overrides(samae.plan, name))
    made_from = provenance("identity_encoder", name, samae.plan, store)
    run_dir, cache = store.runs / f"encoder-{name}-{digest_of(made_from)}", store.home / "cache" / "encoders"
    require_room(samae, "identity_encoder", partition=name, written=begun_bytes(recipe, run_dir, cache))
    said = samae.progress(context, "identity_encoder")

    def report(line: str) -> None:
        """A line of the training's output, "… 3/12 …", as progress."""
        found = re.search(r"(\d+)/(\d+)", line)
        if found:
            said(float(found[1]), float(found[2]), line)

    with sole_writer(run_dir):
        with store.write("identity_encoder", name, made_from) as (folder, metadata):
            figures = asdict(
                fit(recipe, folder / ENCODER_NAME, cache, encoder_workers(samae), report, run_dir, _device())
            )
            metadata |= {key: round(value, 4) for key, value in figures.items()}
        shutil.rmtree(run_dir, ignore_errors=True)
    return result(samae, "identity_encoder", name, metadata)


def begun_bytes(recipe: Any, run_dir: Path, cache: Path) -> int:
    """Bytes that lie there already of what is counted of an EncoderRecipe's training (training/footprint.py)."""
    from training.encoder.crops import crops_folder

    crops = crops_folder(recipe, cache)
    are_made = recipe.data == "people" and is_complete(crops)
    return bytes_below(run_dir) + (bytes_below(crops) if are_made else 0)


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
