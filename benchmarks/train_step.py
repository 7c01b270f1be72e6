"""How fast a training step is, and what the loop around the bare forward-backward costs.

    samae bench train-step [--set size_px=128] [--set batch_size=32] [--json]

Five things run in turns, so that a noisy machine hurts them alike, and medians are compared: the whole step with
DeepSpeed, the whole step with plain torch, the bare forward-backward of both networks on inputs prepared before (same
losses, same number of pictures), and the two things that the loop adds to it: plain torch's step on inputs prepared
before (`loop_alone`: engine, optimiser, averaged weights, checks), and the preparation alone, on one thread.
The peak is measured: the best bfloat16 matrix product and 3x3 convolution of this machine, just before.
"""

import io
import itertools
import statistics
import tarfile
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from faces.identity.registry import load_encoder
from faces.morphable.base import MorphableHead
from faces.morphable.registry import load_head
from faces.records import encode_sample
from training.ahead import Ready
from training.config import Recipe, load_recipe
from training.engine import World
from training.methods.base import Method, build_method
from training.session import Session
from training.shards import ShardSet, write_index
from training.tracking import NoTracker
from training.train import Stopper, update
from training.utilisation import FlopCount, matrix_peak_flop_per_s

SUMMARY = "images a second of a training step: DeepSpeed, plain torch, bare forward-backward; where the rest goes"
DEFAULTS: dict[str, Any] = {
    "recipe": "samae",
    "size_px": 0,
    "batch_size": 0,
    "steps": 12,
    "warmup": 3,
    "device": "auto",
}


#: Steps that one contender takes in a row.
BLOCK = 4


@dataclass
class Contender:
    """One thing that is timed: seconds of every step; `settle` waits for what it does beside its steps."""

    name: str
    step: Callable[[], None]
    settle: Callable[[], None] = lambda: None
    seconds: list[float] = field(default_factory=list)


def run(settings: dict[str, Any]) -> dict[str, float | int | str]:
    """Figures with their units. Settings: recipe, size_px and batch_size (0: the recipe's), steps, warmup, device."""
    chosen = {key: type(value)(settings.get(key, value)) for key, value in DEFAULTS.items()}
    with tempfile.TemporaryDirectory(prefix="samae-bench-") as scratch:
        return _measure(chosen, World(chosen["device"]), Path(scratch))


def _measure(chosen: dict[str, Any], world: World, scratch: Path) -> dict[str, float | int | str]:
    recipe = _recipe(chosen)
    head, encoder = load_head("builtin"), load_encoder(recipe.identity.encoder, str(world.device))
    shards = make_shards(scratch / "shards", max(64, recipe.train.batch_size), recipe.size_px, head, encoder)
    sessions = {
        engine: _session(
            replace(recipe, train=replace(recipe.train, engine=engine)), head, encoder, shards, world, scratch
        )
        for engine in ("deepspeed", "ddp")
    }
    method = sessions["ddp"].method
    batch_size = recipe.train.batch_size
    flop = _count_flop(method, sessions["ddp"])
    peak = matrix_peak_flop_per_s(world.device)
    contenders = [_whole_step(engine, session) for engine, session in sessions.items()]
    contenders.append(Contender("bare", _bare_step(method, sessions["ddp"])))
    contenders.append(Contender("loop_alone", _step_on_kept_inputs(sessions["ddp"])))
    contenders.append(Contender("prepare_alone", _preparation(sessions["ddp"])))
    _take_turns(contenders, chosen["warmup"], 1, world)
    sessions["deepspeed"].shares.take()
    rounds = max(1, chosen["steps"] // BLOCK)
    _take_turns(contenders, BLOCK, rounds, world)
    deepspeed_s, ddp_s, bare_s, kept_s, prepare_s = (statistics.median(one.seconds) for one in contenders)
    _, shares = sessions["deepspeed"].shares.take()
    spent = deepspeed_s * rounds * (BLOCK + 1)  # the shares know of the uncounted steps, too
    return {
        "images_per_s": batch_size / deepspeed_s,
        "ddp_images_per_s": batch_size / ddp_s,
        "bare_images_per_s": batch_size / bare_s,
        "loop_overhead_percent": 100 * (deepspeed_s / bare_s - 1),
        "ddp_loop_overhead_percent": 100 * (ddp_s / bare_s - 1),
        "loop_alone_overhead_percent": 100 * (kept_s / bare_s - 1),
        "prepare_alone_percent": 100 * prepare_s / bare_s,
        "data_wait_percent": 100 * shares["data_wait"] / spent,
        "render_percent": 100 * shares["render"] / spent,
        "prepare_beside_percent": 100 * shares["prepare_beside"] / spent,
        "optimiser_percent": 100 * shares["optimiser"] / spent,
        "mfu_percent": 100 * flop / bare_s / peak,
        "gflop_per_image": flop / batch_size / 1e9,
        "peak_gflop_per_s": peak / 1e9,
        "recipe": recipe.name,
        "size_px": recipe.size_px,
        "batch_size": batch_size,
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if world.device.type == "cuda" else "cpu",
    }


def _recipe(chosen: dict[str, Any]) -> Recipe:
    overrides = ["train.total_kimg=1000000", "train.log_every_steps=10", "train.workers=1"]
    overrides += [f"size_px={chosen['size_px']}"] if chosen["size_px"] else []
    overrides += [f"train.batch_size={chosen['batch_size']}"] if chosen["batch_size"] else []
    return load_recipe(chosen["recipe"], overrides)


def _session(
    recipe: Recipe, head: MorphableHead, encoder: Any, shards: ShardSet, world: World, scratch: Path
) -> Session:
    method = build_method(recipe, head, encoder, world.device)
    run_dir = scratch / recipe.train.engine
    run_dir.mkdir()
    return Session(recipe, method, encoder, shards, run_dir, world, NoTracker())


def _whole_step(engine: str, session: Session) -> Contender:
    coming = session.coming()
    stop = Stopper(0)

    def step() -> None:
        """One update, its losses taken into the means as the loop does."""
        figures, _ = update(session, stop, coming)
        session.means.add(figures)

    return Contender(engine, step, coming.settle)


def _step_on_kept_inputs(session: Session) -> Callable[[], None]:
    """The loop's step, on one step's inputs again and again."""
    again, stop = itertools.repeat(Ready([_prepared(session.method, session)], 1e-9, 1e-9)), Stopper(0)

    def step() -> None:
        """One update."""
        session.means.add(update(session, stop, again)[0])

    return step


def _preparation(session: Session) -> Callable[[], None]:
    """What ahead.py's thread does for one step after the other, in this thread."""
    coming = session.stream.placed_at(0)

    def step() -> None:
        """Prepare the next step on one thread, as that thread does."""
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        placed = next(coming)
        batch = placed.faces.unpacked(session.world.device)
        session.method.prepare(batch, seed=0, positions=placed.positions, step=1)
        torch.set_num_threads(threads)

    return step


def _bare_step(method: Method, session: Session) -> Callable[[], None]:
    inputs = _prepared(method, session)

    def step() -> None:
        """Forward and backward; the gradients are thrown away."""
        made = method.generator_losses(inputs)
        made.total.backward()
        method.generator.zero_grad(set_to_none=True)
        if method.discriminator is not None and made.fake is not None:
            method.discriminator_losses(inputs, made.fake).total.backward()
            method.discriminator.zero_grad(set_to_none=True)

    return step


def _prepared(method: Method, session: Session) -> Any:
    placed = next(session.stream.placed_at(0))
    batch = placed.faces.unpacked(session.world.device)
    return method.prepare(batch, seed=0, positions=placed.positions, step=1)


def _count_flop(method: Method, session: Session) -> float:
    """Floating-point operations of one bare step (two a multiplication with addition)."""
    step = _bare_step(method, session)
    with FlopCount() as count:
        step()
    return float(count.total)


def _take_turns(contenders: list[Contender], steps: int, rounds: int, world: World) -> None:
    """So many rounds of blocks of steps. A block's first step finds its inputs prepared already and is not counted; at
    its end nothing is left running that would take time from the next contender."""
    for contender in contenders:
        contender.seconds.clear()
    for contender in contenders * rounds:
        for counted in [False] + [True] * steps:
            start = time.perf_counter()
            contender.step()
            if world.device.type == "cuda":
                torch.cuda.synchronize()
            if counted:
                contender.seconds.append(time.perf_counter() - start)
        contender.settle()


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
