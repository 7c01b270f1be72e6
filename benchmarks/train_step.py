"""How fast a training step is, and what the loop around the bare forward-backward costs.

    samae bench train-step [--set size_px=128] [--set batch_size=32] [--set ranks=1] [--json]

Measured in the processes that `samae train` starts on this machine: a rank a GPU, or without GPUs a rank a core, with
its threads and its allocator (`ranks` asks for another number). Five things run in turns, begun by all ranks at once,
so that a noisy machine hurts them alike, and medians are compared: the whole step with DeepSpeed, the whole step with
plain torch, the bare forward-backward of both networks on inputs prepared before (same losses, same number of pictures;
no rank waits for another), and the two things that the loop adds to it: plain torch's step on inputs prepared before
(`loop_alone`: gradients averaged over ranks, optimiser, averaged weights, checks), and the preparation alone.
Where there are more ranks than one, the same is measured afterwards in one process of all threads (`one_process_…`).
The peak is measured: the best bfloat16 matrix product and 3x3 convolution, on all ranks at once, just before.
"""

import io
import json
import math
import os
import socket
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from faces.errors import SamaeError
from faces.files import read_json
from faces.identity.registry import load_encoder
from faces.morphable.base import MorphableHead
from faces.morphable.registry import load_head
from faces.records import encode_sample
from training.config import Recipe, load_recipe
from training.methods.base import PARTNER_GROUP
from training.shards import ShardSet, write_index

SUMMARY = "images a second of a training step: DeepSpeed, plain torch, bare forward-backward; where the rest goes"
DEFAULTS: dict[str, Any] = {
    "recipe": "samae",
    "size_px": 0,
    "batch_size": 0,
    "ranks": 0,
    "steps": 20,
    "warmup": 3,
    "device": "auto",
}
#: After so many seconds without an end a measurement has failed.
PATIENCE_S = 900
#: What is told of the layout of one process as well.
ALSO_IN_ONE_PROCESS = (
    "images_per_s", "ddp_images_per_s", "bare_images_per_s", "loop_overhead_percent", "ddp_loop_overhead_percent",
    "loop_alone_overhead_percent", "prepare_alone_percent", "threads",
)  # fmt: skip


def run(settings: dict[str, Any]) -> dict[str, float | int | str]:
    """Figures with their units. Settings: recipe, size_px and batch_size (0: the recipe's), ranks (0: as `samae train`
    starts them), steps, warmup, device."""
    chosen = {key: type(value)(settings.get(key, value)) for key, value in DEFAULTS.items()}
    recipe = load_recipe(chosen["recipe"], _overrides(chosen))
    with tempfile.TemporaryDirectory(prefix="samae-bench-") as scratch:
        folder = Path(scratch)
        ranks = chosen["ranks"] or default_ranks(recipe, chosen["device"], folder)
        head, encoder = load_head("builtin"), load_encoder(recipe.identity.encoder)
        make_shards(folder / "shards", max(64, recipe.train.batch_size), recipe.size_px, head, encoder)
        found = figures(measure(ranks, chosen, folder))
        if ranks > 1:
            alone = figures(measure(1, chosen, folder))
            found |= {f"one_process_{name}": alone[name] for name in ALSO_IN_ONE_PROCESS}
    about: dict[str, Any] = {"recipe": recipe.name, "size_px": recipe.size_px, "batch_size": recipe.train.batch_size}
    return found | about


def default_ranks(recipe: Recipe, device: str, home: Path) -> int:
    """How many ranks `samae train` starts here for a recipe without SAMAE_RANKS."""
    import torch

    from assets.machine import cores
    from assets.room import free_here, ranks_that_fit

    most = (torch.cuda.device_count() if device != "cpu" else 0) or cores()
    multiple = math.lcm(PARTNER_GROUP, recipe.train.micro_batch or 1)
    return ranks_that_fit(most, recipe.train.batch_size, multiple, free_here(home))


def _overrides(chosen: dict[str, Any]) -> list[str]:
    overrides = ["train.total_kimg=1000000", "train.log_every_steps=10", "train.workers=1"]
    overrides += [f"size_px={chosen['size_px']}"] if chosen["size_px"] else []
    return overrides + ([f"train.batch_size={chosen['batch_size']}"] if chosen["batch_size"] else [])


def measure(ranks: int, chosen: dict[str, Any], folder: Path) -> list[dict[str, Any]]:
    """What each of so many ranks at once measured (benchmarks/_train_step_run.py)."""
    from pipelines.launcher import TRAINING_ENVIRONMENT
    from pipelines.node import thread_environment

    place = folder / f"ranks{ranks}"
    place.mkdir()
    asked = {name: chosen[name] for name in ("recipe", "warmup", "steps", "device")}
    asked |= {"overrides": _overrides(chosen), "shards": str(folder / "shards"), "folder": str(place)}
    environment = {**os.environ, **TRAINING_ENVIRONMENT, **thread_environment(ranks)}
    if ranks > 1:
        environment |= {"WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port())}
    command = [sys.executable, "-m", "benchmarks._train_step_run", json.dumps(asked)]
    logs = [place / f"{rank}.log" for rank in range(ranks)]
    running = []
    try:
        for rank, log in enumerate(logs):
            own = environment | ({"RANK": str(rank), "LOCAL_RANK": str(rank)} if ranks > 1 else {})
            with log.open("w") as stream:
                running.append(subprocess.Popen(
                    command, stdout=stream, stderr=stream, env=own, cwd=Path(__file__).parent.parent
                ))  # fmt: skip
        codes = [process.wait(PATIENCE_S) for process in running]
    finally:
        for process in running:
            process.kill()
    for code, log in zip(codes, logs, strict=True):
        if code:
            said = log.read_text().strip().splitlines() or ["it said nothing"]
            raise SamaeError(f"a rank of the measurement ended with code {code}: {said[-1][:300]}")
    return [read_json(place / f"{rank}.json") for rank in range(ranks)]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def figures(answers: list[dict[str, Any]]) -> dict[str, float | int | str]:
    """The ranks' measurements as figures of the machine: images a second are summed, shares are means."""
    speed = {name: sum(one["images"] / one["seconds"][name] for one in answers) for name in answers[0]["seconds"]}
    images, flop, peak = (sum(one[name] for one in answers) for name in ("images", "flop", "peak"))
    shares = {name: sum(one["percent"][name] for one in answers) / len(answers) for name in answers[0]["percent"]}
    whole, bare = speed["deepspeed"], speed["bare"]
    return {
        "images_per_s": whole,
        "ddp_images_per_s": speed["ddp"],
        "bare_images_per_s": bare,
        "loop_overhead_percent": 100 * (bare / whole - 1),
        "ddp_loop_overhead_percent": 100 * (bare / speed["ddp"] - 1),
        "loop_alone_overhead_percent": 100 * (bare / speed["loop_alone"] - 1),
        "prepare_alone_percent": 100 * bare / speed["prepare_alone"],
        "data_wait_percent": shares["data_wait"],
        "render_percent": shares["render"],
        "prepare_beside_percent": shares["prepare_beside"],
        "optimiser_percent": shares["optimiser"],
        "mfu_percent": 100 * flop / images * whole / peak,
        "bare_mfu_percent": 100 * flop / images * bare / peak,
        "gflop_per_image": flop / images / 1e9,
        "peak_gflop_per_s": peak / 1e9,
        "ranks": len(answers),
        "threads": answers[0]["threads"],
        "device": answers[0]["device"],
    }


def make_shards(folder: Path, count: int, size_px: int, head: MorphableHead, encoder: Any) -> ShardSet:
    """Shards of grainy smooth pictures with heads in the middle: what a step costs does not depend on the content."""
    folder.mkdir(parents=True)
    with tarfile.open(folder / "00000.tar", "w") as archive:
        for index in range(count):
            for extension, data in encode_sample(_sample(index, size_px, head, encoder.dim)).items():
                member = tarfile.TarInfo(f"{index:05d}.{extension}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    return write_index(
        folder, size_px=size_px, head={"edition": head.edition, "digest": head.digest},
        encoder={"name": encoder.name, "digest": encoder.digest}, splits={f"{i:05d}": "train" for i in range(count)},
    )  # fmt: skip


def _sample(index: int, size_px: int, head: MorphableHead, dim: int) -> dict[str, Any]:
    rng, layout = np.random.default_rng(index), head.layout
    smooth = cv2.resize(rng.uniform(0, 255, (6, 6, 3)), (size_px, size_px), interpolation=cv2.INTER_CUBIC)
    image = np.clip(smooth + rng.normal(0, 6, smooth.shape), 0, 255).astype(np.uint8)
    mask = np.zeros((size_px, size_px), np.uint8)
    cv2.ellipse(mask, (size_px // 2, size_px // 2), (size_px // 4, size_px // 3), 0, 0, 360, 255, -1)
    light = rng.normal(0, 0.1, (1, 27))
    light[:, ::9] += 2.5
    embedding = rng.normal(size=dim).astype(np.float32)
    coefficients = layout.pack(
        identity=rng.normal(0, 0.7, (1, layout.n_identity)), rotation_rad=rng.normal(0, 0.2, (1, 3)), light=light,
        translation_mm=np.array([[0, 0, 1100.0]]),
    )[0]  # fmt: skip
    return {
        "image": image, "albedo": image, "mask": mask, "coefficients": coefficients, "landmarks": _landmarks(size_px),
        "embedding": embedding / np.linalg.norm(embedding), "skin": np.full(3, 0.4, np.float32),
        "meta": {"key": f"{index:05d}", "person": index // 4},
    }  # fmt: skip


def _landmarks(size_px: int) -> np.ndarray:
    """68 points on a plausible face: what the encoder's crop is aligned to."""
    angle = np.linspace(0, 2 * np.pi, 68, endpoint=False)
    points = np.stack([0.5 + 0.2 * np.cos(angle), 0.5 + 0.25 * np.sin(angle)], 1)
    points[36:42], points[42:48] = (0.4, 0.45), (0.6, 0.45)
    points[30], points[48], points[54] = (0.5, 0.55), (0.43, 0.65), (0.57, 0.65)
    return (points * size_px).astype(np.float32)
