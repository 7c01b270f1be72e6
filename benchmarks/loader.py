"""Shards to batches at 256 px: Samae's stream against the decoders alone and against the loaders others use.

Every figure comes from a process of its own, in rounds (A B C, A B C, …), medians over the rounds; all processes
have the same allocator setting. The peers read the same pictures: WebDataset our tars, litdata and
mosaicml-streaming their own containers filled with the same bytes. A peer that is not installed is skipped by name:
WebDataset comes with Samae, litdata with `pip install -c constraints.txt -e '.[bench]'`, mosaicml-streaming (it asks
for numpy < 2.2, so it cannot be an extra) with `pip install --no-deps mosaicml-streaming brotli python-snappy cramjam
xxhash zstd catalogue boto3 s3transfer`.
"""

import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from faces.records import FIELDS, encode_sample
from training.members import read_members
from training.shards import ShardSet, write_index

SUMMARY = "Loader: pictures a second from shards to batches, against the decoders alone and three other loaders"
#: What `--set` may name.
SETTINGS: tuple[str, ...] = ("pictures", "size_px", "seconds", "rounds", "workers", "people")
ENVIRONMENT = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "17179869184",
    "OMP_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
PEERS = {"webdataset": "webdataset", "litdata": "litdata", "mosaic": "streaming"}
PER_SHARD = 64


def run(settings: dict) -> dict[str, Any]:
    """Settings: pictures (512), size_px (256), seconds (2.5) a measurement, rounds (2), workers (2), people (24)."""
    pictures, size_px = int(settings.get("pictures", 512)), int(settings.get("size_px", 256))
    seconds, rounds = float(settings.get("seconds", 2.5)), int(settings.get("rounds", 2))
    workers, drawn = int(settings.get("workers", 2)), int(settings.get("people", 24))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        shards = write_shards(folder / "shards", pictures, size_px, drawn)
        skipped = prepare_peers(folder, shards)
        peers = [name for name in PEERS if name not in skipped]
        asked = [("decode", workers, "ours"), *(("samae", n, "ours") for n in sorted({1, workers, 4}))]
        asked += [("samae-float", workers, "ours")]
        asked += [(name, workers, decoder) for name in peers for decoder in ("pil", "ours")]
        answers: dict[tuple[str, int, str], list[dict[str, float]]] = {what: [] for what in asked}
        for _ in range(rounds):
            for what in asked:
                answer = measure(*what, folder, seconds)
                if answer is None:
                    skipped.setdefault(what[0], "failed; run python -m benchmarks._loader_run to see why")
                else:
                    answers[what].append(answer)
    return figures(answers, workers, skipped) | {"pictures": pictures, "size_px": size_px, "rounds": rounds}


def figures(answers: dict[Any, list[dict[str, float]]], workers: int, skipped: dict[str, str]) -> dict[str, Any]:
    """The medians by name, the ratios, and who was skipped."""

    def median(what: Any, name: str) -> float:
        """Over the rounds; 0 where nothing was measured."""
        values = [answer[name] for answer in answers.get(what, [])]
        return round(statistics.median(values), 3) if values else 0.0

    ours, alone = ("samae", workers, "ours"), ("decode", workers, "ours")
    found: dict[str, Any] = {
        "loader_images_per_s": median(ours, "images_per_s"),
        "decode_images_per_s": median(alone, "images_per_s"),
        "loader_float_images_per_s": median(("samae-float", workers, "ours"), "images_per_s"),
        "ratio": round(median(ours, "images_per_s") / max(median(alone, "images_per_s"), 1e-9), 3),
        "loader_images_per_cpu_s": median(ours, "images_per_cpu_s"),
        "decode_images_per_cpu_s": median(alone, "images_per_cpu_s"),
        "ratio_cpu": round(median(ours, "images_per_cpu_s") / max(median(alone, "images_per_cpu_s"), 1e-9), 3),
    }
    peers = {what: median(what, "images_per_s") for what in answers if what[0] in PEERS and answers[what]}
    best = max(peers, key=lambda what: peers[what]) if peers else None
    found["best_peer"] = f"{best[0]} with {_decoder(best[2])}" if best else "none is installed"
    found["best_peer_images_per_s"] = peers[best] if best else 0.0
    found["times_best_peer"] = round(found["loader_images_per_s"] / peers[best], 3) if best else 0.0
    for what in answers:
        if what[0] in PEERS and answers[what]:
            tail = "" if what[2] == "pil" else "_with_our_decoders"
            found[f"{what[0]}{tail}_images_per_s"] = peers[what]
    for name in dict.fromkeys(what[0] for what in answers if what[0] not in ("decode", "samae-float")):
        what = next(what for what in answers if what[0] == name and what[1] == workers)
        if answers[what]:
            found[f"{name}_first_batch_s"] = median(what, "first_batch_s")
            found[f"{name}_memory_mib"] = median(what, "memory_mib")
    for what in answers:
        if what[0] == "samae":
            found[f"samae_{what[1]}_workers_images_per_s"] = median(what, "images_per_s")
    found["workers"] = workers
    found["skipped"] = "; ".join(f"{name}: {why}" for name, why in skipped.items()) or "nobody"
    return found


def _decoder(name: str) -> str:
    return {"pil": "its usual decoder (PIL)", "ours": "our decoders"}[name]


def measure(what: str, workers: int, decoder: str, folder: Path, seconds: float) -> dict[str, float] | None:
    """One measurement in its own process; None when it failed."""
    asked = {"what": what, "folder": str(folder), "workers": workers, "seconds": seconds, "decoder": decoder}
    command = [sys.executable, "-m", "benchmarks._loader_run", json.dumps(asked)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=90, cwd=Path(__file__).parent.parent,
            env={**os.environ, **ENVIRONMENT},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return None
    answer: dict[str, float] | None = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else None
    return answer


def write_shards(folder: Path, pictures: int, size_px: int, drawn: int) -> ShardSet:
    """`drawn` generated people, each repeated under other noise until there are `pictures`, as shards of PER_SHARD."""
    import webdataset as wds

    from faces.synthetic.pictures import render_picture

    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    portraits = [render_picture(0, index, drawn, size_px) for index in range(drawn)]
    splits = {}
    for start in range(0, pictures, PER_SHARD):
        with wds.TarWriter(str(folder / f"{start:05d}.tar"), mtime=0, encoder=False) as writer:
            for index in range(start, min(start + PER_SHARD, pictures)):
                portrait = portraits[index % drawn]
                noise = rng.normal(0, 1.5, portrait.image.shape)
                image = np.clip(portrait.image + noise, 0, 255).astype(np.uint8)
                splits[f"{index:05d}"] = "train"
                writer.write({"__key__": f"{index:05d}", **encode_sample(_sample(image, portrait.landmarks_px, rng))})
    maker = {"edition": "bench", "digest": "0" * 16}
    encoder = {"name": "bench", "digest": "0" * 16}
    return write_index(folder, size_px=size_px, head=maker, encoder=encoder, splits=splits)


def _sample(image: np.ndarray, landmarks_px: np.ndarray, rng: np.random.Generator) -> dict[str, Any]:
    mask = np.zeros(image.shape[:2], np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(np.asarray(landmarks_px, np.int32)), 255)
    numbers = {name: rng.normal(size=size).astype(np.float32) for name, size in
               (("coefficients", 200), ("embedding", 512), ("skin", 3))}  # fmt: skip
    landmarks = np.asarray(landmarks_px, np.float32)
    return numbers | {"image": image, "albedo": image, "mask": mask, "landmarks": landmarks, "meta": {"person": -1}}


def prepare_peers(folder: Path, shards: ShardSet) -> dict[str, str]:
    """Fill the peers' own containers with the same bytes; {name: why} of those that are left out."""
    skipped = {name: "not installed" for name, module in PEERS.items() if importlib.util.find_spec(module) is None}
    for name in ("litdata", "mosaic"):
        if name in skipped:
            continue
        command = [sys.executable, "-m", "benchmarks._loader_peers", name, str(folder)]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=300, cwd=Path(__file__).parent.parent,
            env={**os.environ, **ENVIRONMENT},
        )  # fmt: skip
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["no message"]
            skipped[name] = f"could not write its container ({lines[-1][:120]})"
    return skipped


def members_of(shards: ShardSet) -> list[dict[str, bytes]]:
    """{extension: bytes} of every sample that a batch needs, in the order of the manifest."""
    found = []
    for key in shards.keys("train"):
        row = shards.row(key)
        with (shards.folder / row.shard).open("rb") as stream:
            stream.seek(row.offset_bytes)
            members = read_members(stream.read(row.size_bytes), key)
        wanted = {field.extension for name, field in FIELDS.items() if name not in ("albedo", "meta")}
        found.append({name: bytes(data) for name, data in members.items() if name in wanted})
    return found
