"""Tiny shard sets for tests: smooth random pictures with the real schema, packed with Python's own tarfile."""

import io
import tarfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from faces.identity.registry import load_encoder
from faces.morphable.registry import load_head
from faces.records import encode_sample
from training.shards import ShardSet, write_index

#: Coefficients a face and numbers an embedding of the pictures made here, unless a test asks for others.
COEFFICIENTS, DIM = 40, 16


def make_sample(
    index: int, size_px: int = 32, coefficients: int = COEFFICIENTS, dim: int = DIM, people: int = 4
) -> dict[str, Any]:
    """One sample with every field of faces.records: a smooth random picture, a disc as its mask."""
    rng = np.random.Generator(np.random.PCG64(index))
    coarse = rng.integers(0, 256, (4, 4, 3)).astype(np.uint8)
    image = cv2.resize(coarse, (size_px, size_px), interpolation=cv2.INTER_CUBIC)
    mask = np.zeros((size_px, size_px), np.uint8)
    cv2.circle(mask, (size_px // 2, size_px // 2), size_px // 3, 255, -1)
    embedding = rng.normal(size=dim).astype(np.float32)
    return {
        "image": image,
        "albedo": image[::-1].copy(),
        "mask": mask,
        "coefficients": rng.normal(size=coefficients).astype(np.float32),
        "embedding": embedding / np.linalg.norm(embedding),
        "skin": rng.uniform(0.1, 0.9, 3).astype(np.float32),
        "landmarks": rng.uniform(0, size_px, (68, 2)).astype(np.float32),
        "meta": {"key": key_of(index), "person": index % people, "licence": "CC0", "source": "test"},
    }


def key_of(index: int) -> str:
    """The key of the sample with this index."""
    return f"{index:05d}"


def write_tar(path: Path, samples: list[dict[str, Any]]) -> None:
    """Write samples side by side into one tar, with fixed times and owners."""
    with tarfile.open(path, "w") as archive:
        for sample in samples:
            for extension, data in encode_sample(sample).items():
                member = tarfile.TarInfo(f"{sample['meta']['key']}.{extension}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))


def make_shards(
    folder: Path, count: int = 24, per_shard: int = 8, splits: dict[str, str] | None = None, **sample: Any
) -> ShardSet:
    """A finished folder of shards with `count` samples; all are "train" unless `splits` says otherwise."""
    folder.mkdir(parents=True, exist_ok=True)
    sample.setdefault("size_px", 32)
    for first in range(0, count, per_shard):
        samples = [make_sample(i, **sample) for i in range(first, min(first + per_shard, count))]
        write_tar(folder / f"{first:05d}.tar", samples)
    everything = {key_of(i): "train" for i in range(count)} | (splits or {})
    maker = {"edition": "test-1", "digest": "0" * 16}
    encoder = {"name": "test", "digest": "1" * 16}
    return write_index(folder, size_px=sample["size_px"], head=maker, encoder=encoder, splits=everything)


def make_real_shards(folder: Path) -> None:
    """Sixteen smooth pictures with plausible coefficients of the built-in head, which every method trains on."""
    head, encoder = load_head("builtin"), load_encoder("builtin")
    samples = []
    for index in range(16):
        rng = np.random.default_rng(index)
        light = np.zeros((1, 27))
        light[:, ::9] = 2.5
        rows = head.layout.pack(
            identity=rng.normal(0, 0.7, (1, head.layout.n_identity)), light=light,
            translation_mm=np.array([[0.0, 0.0, 1100.0]]), rotation_rad=rng.normal(0, 0.1, (1, 3)),
        )  # fmt: skip
        samples.append(make_sample(index, dim=encoder.dim) | {"coefficients": rows[0]})
    write_tar(folder / "00000.tar", samples)
    splits = {f"{i:05d}": "validation" if i < 4 else "train" for i in range(16)}
    makers = {"edition": head.edition, "digest": head.digest}, {"name": encoder.name, "digest": encoder.digest}
    write_index(folder, size_px=32, head=makers[0], encoder=makers[1], splits=splits)
