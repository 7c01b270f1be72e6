"""One process of `samae bench train-step`: python -m benchmarks._train_step_run '<JSON>', or as many at once as ranks
meet (RANK, WORLD_SIZE and where, as torchrun gives them). Each writes what it measured to `folder`/RANK.json.

asked: {"recipe", "overrides", "shards", "folder", "warmup", "steps", "device"}.
"""

import itertools
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from faces.files import write_json
from faces.identity.registry import load_encoder
from faces.morphable.registry import load_head
from training.ahead import Ready
from training.config import load_recipe
from training.engine import World, leave
from training.methods.base import build_method
from training.session import Session
from training.shards import ShardSet
from training.tracking import NoTracker
from training.train import Stopper, update
from training.utilisation import FlopCount, matrix_peak_flop_per_s

ENGINES = ("deepspeed", "ddp")
#: Steps that one contender takes in a row.
BLOCK = 4


@dataclass
class Contender:
    """One thing that is timed: seconds of every step; `settle` waits for what it does beside its steps."""

    name: str
    step: Callable[[], None]
    settle: Callable[[], None] = lambda: None
    seconds: list[float] = field(default_factory=list)


def measure(asked: dict[str, Any]) -> dict[str, Any]:
    """Median seconds of each contender's step in this rank, the shares of DeepSpeed's, operations and peak."""
    world = World(asked["device"])
    sessions = {engine: _session(engine, asked, world) for engine in ENGINES}
    flop = _count_flop(sessions["ddp"])
    world.barrier()
    peak = matrix_peak_flop_per_s(world.device)
    contenders = [_whole_step(engine, session) for engine, session in sessions.items()]
    contenders.append(Contender("bare", _bare_step(sessions["ddp"])))
    contenders.append(Contender("loop_alone", _step_on_kept_inputs(sessions["ddp"])))
    contenders.append(Contender("prepare_alone", _preparation(sessions["ddp"])))
    _take_turns(contenders, asked["warmup"], 1, world)
    sessions["deepspeed"].shares.take()
    rounds = max(1, asked["steps"] // BLOCK)
    _take_turns(contenders, BLOCK, rounds, world)
    medians = {one.name: statistics.median(one.seconds) for one in contenders}
    _, shares = sessions["deepspeed"].shares.take()
    spent_s = medians["deepspeed"] * rounds * (BLOCK + 1)  # the shares know of the uncounted steps, too
    return {
        "images": sessions["ddp"].stream.rank_batch,
        "seconds": medians,
        "percent": {name: 100 * seconds / spent_s for name, seconds in shares.items()},
        "flop": flop,
        "peak": peak,
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if world.device.type == "cuda" else "cpu",
    }


def _session(engine: str, asked: dict[str, Any], world: World) -> Session:
    recipe = load_recipe(asked["recipe"], asked["overrides"])
    recipe = replace(recipe, train=replace(recipe.train, engine=engine))
    head, encoder = load_head("builtin"), load_encoder(recipe.identity.encoder, str(world.device))
    method = build_method(recipe, head, encoder, world.device)
    run_dir = Path(asked["folder"]) / engine
    run_dir.mkdir(exist_ok=True)
    return Session(recipe, method, encoder, ShardSet.open(asked["shards"]), run_dir, world, NoTracker())


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
    again, stop = itertools.repeat(Ready([_prepared(session)], 1e-9, 1e-9)), Stopper(0)

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


def _bare_step(session: Session) -> Callable[[], None]:
    method, inputs = session.method, _prepared(session)

    def step() -> None:
        """Forward and backward of every loss; the gradients are thrown away as an engine's step does it."""
        made = method.generator_losses(inputs)
        made.total.backward()
        method.generator.zero_grad(set_to_none=True)
        if method.discriminator is not None and made.fake is not None:
            method.discriminator_losses(inputs, made.fake).total.backward()
            method.discriminator.zero_grad(set_to_none=True)

    return step


def _prepared(session: Session) -> Any:
    placed = next(session.stream.placed_at(0))
    batch = placed.faces.unpacked(session.world.device)
    return session.method.prepare(batch, seed=0, positions=placed.positions, step=1)


def _count_flop(session: Session) -> float:
    """Floating-point operations of one bare step (two a multiplication with addition)."""
    step = _bare_step(session)
    with FlopCount() as count:
        step()
    return float(count.total)


def _take_turns(contenders: list[Contender], steps: int, rounds: int, world: World) -> None:
    """So many rounds of blocks of steps, each begun by all ranks at once.

    A block's first step finds its inputs prepared already and is not counted; at its end nothing is left running that
    would take time from the next contender.
    """
    for contender in contenders:
        contender.seconds.clear()
    for contender in contenders * rounds:
        world.barrier()
        for counted in [False] + [True] * steps:
            start = time.perf_counter()
            contender.step()
            if world.device.type == "cuda":
                torch.cuda.synchronize()
            if counted:
                contender.seconds.append(time.perf_counter() - start)
        contender.settle()


def main(asked: dict[str, Any]) -> None:
    """Measure, and write the answer."""
    answer = measure(asked)
    write_json(Path(asked["folder"]) / f"{os.environ.get('RANK', '0')}.json", answer)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
    leave(0)
