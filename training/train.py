"""Train a recipe. One loop for all methods, on one process or many, on the CPU or on GPUs.

    python -m training.train --recipe samae --shards SHARDS --run-dir RUN [--set train.total_kimg=20] [--dry-run]
    torchrun --nproc-per-node 2 -m training.train --recipe samae --shards SHARDS --run-dir RUN

Started again with the same run folder it continues from the newest valid checkpoint, exactly: everything random is a
function of (seed, pictures seen). SIGTERM ends the step, saves and leaves with code 143. A loss that is not a number
stops the run before the update, code 3. A rank that hears nothing of another for train.patience_s ends with code 4
(gloo; NCCL ends the process by itself). What the user can mend is one sentence, code 2.

RUN gets recipe.json, stats.jsonl, samples/*.png, checkpoints/, warnings.json, tracking/ and at the end export/.
"""

import argparse
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from faces.errors import SamaeError
from faces.lock import sole_writer
from faces.morphable.base import MorphableHead
from training.ahead import Ready
from training.config import Recipe, load_recipe
from training.engine import RankLost, World, leave
from training.methods.base import build_method
from training.precision import NOTE, is_bfloat16_quick
from training.process import EXIT_DIVERGED, EXIT_LOST, EXIT_MENDABLE, EXIT_STOPPED, start_with_allocator
from training.progress import OnProgress, duration, progress_file
from training.session import Diverged, Session, micro_batch_count, require_whole_groups
from training.shards import ShardSet
from training.tracking import make_tracker


@dataclass(frozen=True)
class Outcome:
    """How a run ended: `is_finished` is False after SIGTERM or max_hours (a checkpoint was saved)."""

    is_finished: bool
    samples_seen: int
    resumed_from: int | None
    seconds: float


class Stopper:
    """Whether this process was asked to stop: SIGTERM, SIGINT, or `max_hours` of this start are over."""

    def __init__(self, max_hours: float) -> None:
        self._deadline = time.monotonic() + max_hours * 3600 if max_hours > 0 else float("inf")
        self.is_asked = False

    def __call__(self) -> float:
        """1.0 when the run should end after this step."""
        return float(self.is_asked or time.monotonic() > self._deadline)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take SIGTERM and SIGINT as a wish inside the block (in the main thread; elsewhere nothing changes)."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._ask) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _ask(self, number: int, frame: object) -> None:
        self.is_asked = True


def update(session: Session, stop: Stopper, coming: Iterator[Ready]) -> tuple[dict[str, float], bool]:
    """One step: generator, discriminator, averaged weights. Returns mean losses, and whether a rank wants to stop."""
    method, recipe, engines = session.method, session.recipe, session.engines
    prepared, made = session.next_inputs(coming), []
    for inputs in prepared:
        made.append(method.generator_losses(inputs))
        engines["generator"].backward(made[-1].total)
    figures, wish = session.checked("generator", made, stop())
    with session.shares.of("optimiser"):
        engines["generator"].step(session.learning_rate(recipe.optimiser.learning_rate))
    if "discriminator" in engines:
        judged = []
        for inputs, generated in zip(prepared, made, strict=True):
            judged.append(method.discriminator_losses(inputs, generated.fake))
            engines["discriminator"].backward(judged[-1].total)
        figures |= session.checked("discriminator", judged)[0]
        with session.shares.of("optimiser"):
            engines["discriminator"].step(session.learning_rate(recipe.optimiser.discriminator_learning_rate))
    session.samples_seen += recipe.train.batch_size
    with session.shares.of("optimiser"):
        method.update_ema(recipe.train.batch_size, session.samples_seen)
    return figures, wish


def loop(session: Session, stop: Stopper) -> bool:
    """Step until the end or until somebody asks to stop; True at the end. Saves, snapshots and reports on the way."""
    settings = session.recipe.train
    session.report.begin(session.samples_seen)
    with closing(session.coming()) as coming:
        while session.samples_seen < session.total_samples:
            is_usual = session.step == 1  # step 0 has the gradient penalty in it, which most have not
            figures, wish = session.utilisation.counted(lambda: update(session, stop, coming), is_usual)
            is_last = session.samples_seen >= session.total_samples
            session.log(figures)
            if is_last or session.is_due(settings.snapshot_kimg):
                session.snapshot(figures)
            if is_last or wish or session.is_due(settings.checkpoint_kimg):
                session.save()
            if wish and not is_last:
                return False
    return True


def run(session: Session, stop: Stopper) -> Outcome:
    """The loop between a start and an end that are told to the reader, the launcher and the tracker."""
    report, tracker = session.report, session.tracker
    start = f"at {session.samples_seen / 1000:g} kimg" if session.resumed_from is not None else "from the beginning"
    report.say(
        f"training {session.recipe.name} {start}: {session.recipe.train.total_kimg:g} kimg at "
        f"{session.recipe.size_px} px, {session.world.size} rank(s), {session.recipe.train.engine}, "
        f"{len(session.stream.keys)} photographs"
    )
    report.event("start", session.samples_seen, resumed_from=session.resumed_from)
    is_finished = loop(session, stop)
    if not session.is_saved:
        raise SamaeError(f"the last checkpoint of {session.run_dir} could not be written; free some space, start again")
    if is_finished:
        session.export()
    left = tracker.close("FINISHED" if is_finished else "KILLED")
    if left:
        report.say(f"WARNING: {left}")
    seconds = session.elapsed_s
    ending = "finished" if is_finished else "stopped; start again with the same run folder to continue"
    report.say(f"{ending}: {session.samples_seen / 1000:g} kimg in {duration(seconds)}, {session.run_dir}")
    report.event("done" if is_finished else "stopped", session.samples_seen, seconds=seconds)
    return Outcome(is_finished, session.samples_seen, session.resumed_from, seconds)


def train(
    recipe: Recipe,
    shards_dir: Path | str,
    run_dir: Path | str,
    *,
    tracking_uri: str | None = None,
    mlflow_run_id: str | None = None,
    on_progress: OnProgress | None = None,
    device: str = "auto",
    is_held: bool = False,
) -> Outcome:
    """Train a recipe on a folder of shards, or continue the run that lies in `run_dir`.

    Rank 0 holds the folder as its only writer: a second training there is refused and changes nothing in it.

    Args:
        tracking_uri: of MLflow; None tracks nowhere but in the run folder.
        mlflow_run_id: a run made by the caller; None makes one (and continues it after a restart).
        on_progress: called on rank 0 with one dictionary an event (training/progress.py).
        device: "auto", "cpu" or "cuda".
        is_held: the caller holds the folder already (faces/lock.py).

    Raises:
        Diverged: a loss or gradient is not finite. RankLost: another rank is gone. FolderTaken: another training writes
            there. SamaeError: anything else the user can mend.
    """
    run_dir = Path(run_dir)
    alone = nullcontext() if is_held or not is_main() else sole_writer(run_dir)
    stop, shard_set = Stopper(recipe.train.max_hours), ShardSet.open(shards_dir)
    with closing(shard_set), alone, stop.listening():
        world = World(device, recipe.train.patience_s)
        require_whole_groups(recipe.train.batch_size, world.size)
        head, encoder = fitting_parts(recipe, shard_set, str(world.device))
        method = build_method(recipe, head, encoder, world.device)
        tracker = make_tracker(run_dir, tracking_uri, mlflow_run_id, recipe.name, is_main=world.is_main)
        try:
            with world.noticing_lost_ranks():
                session = Session(recipe, method, encoder, shard_set, run_dir, world, tracker, on_progress)
                describe(session)
                return run(session, stop)
        except SamaeError as error:
            tracker.tags({"diverged" if isinstance(error, Diverged) else "failed": str(error)})
            tracker.close("FAILED")
            raise


def is_main() -> bool:
    """True in rank 0."""
    return os.environ.get("RANK", "0") == "0"


def describe(session: Session) -> None:
    """Parameters, digests and notes to the tracker, once a run."""
    if session.resumed_from is None:
        flat = dict(flatten(session.recipe.as_dict()))
        session.tracker.params(flat | {"recipe_digest": session.recipe.digest, "data_digest": session.shard_set.digest})
    notes = [*session.method.notes, *session.stream.notes]
    if session.recipe.train.precision == "bf16" and not is_bfloat16_quick(session.world.device.type):
        notes.append(NOTE)
    tags = {"engine": session.recipe.train.engine, "world_size": session.world.size, "run_dir": session.run_dir.name}
    session.tracker.tags({**tags, "resume_of_samples": session.resumed_from or 0, "notes": "; ".join(notes)})
    if session.origin:
        session.tracker.tags({f"init_from.{key}": value for key, value in session.origin.items()})
        if session.resumed_from is None:
            name, digest = session.origin["name"], session.origin["sha256"][:12]
            session.report.say(f"starts from the weights {name} (SHA-256 {digest}…)")
    if session.shard_set.embedder is not None:
        made_with = session.shard_set.encoder["name"]
        notes.append(f"embeddings come from {session.recipe.identity.encoder}; those in the shards are {made_with}'s")
    for note in notes:
        session.report.say(note)


def flatten(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested settings -> ("a.b", value)."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def fitting_parts(recipe: Recipe, shard_set: ShardSet, device: str) -> tuple[MorphableHead, Any]:
    """The shards' head and the recipe's encoder, which embeds the faces anew where the shards were made with another.

    Raises:
        SamaeError: the shards have another size or head than the recipe, or the encoder judges, under whatever name.
    """
    from faces.identity.registry import load_encoder, refuse_judge
    from faces.morphable.registry import load_head, require_same_edition

    if recipe.size_px != shard_set.size_px:
        raise SamaeError(
            f"recipe {recipe.name!r} is for {recipe.size_px} px, the shards in {shard_set.folder} have "
            f"{shard_set.size_px} px: set size_px={shard_set.size_px} or write shards of the other size"
        )
    head = load_head(shard_set.head["edition"].rpartition("-")[0])
    encoder = load_encoder(recipe.identity.encoder, device)
    refuse_judge(encoder.name, recipe.name, encoder.digest)
    made_with = shard_set.head
    require_same_edition(head, made_with["edition"], made_with["digest"], f"the set of shards in {shard_set.folder}")
    if shard_set.encoder["digest"] != encoder.digest:
        shard_set.embedder = encoder
    return head, encoder


def dry_run(recipe: Recipe, shards_dir: Path | str) -> None:
    """Print what a run (of one rank) would do: settings, data, steps; SamaeError where it would refuse."""
    micro_batch_count(recipe.train.batch_size, recipe.train.micro_batch)
    shard_set = ShardSet.open(shards_dir)
    splits = {split: len(shard_set.keys(split)) for split in ("train", "validation", "test")}
    steps = -(-round(recipe.train.total_kimg * 1000) // recipe.train.batch_size)
    for key, value in flatten(recipe.as_dict()):
        print(f"{key}: {value}")
    print(f"recipe digest: {recipe.digest}")
    print(f"shards: {splits}, {shard_set.size_px} px, digest {shard_set.digest}")
    print(f"steps: {steps} of {recipe.train.batch_size} pictures, {recipe.train.total_kimg:g} kimg")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser("training.train", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--recipe", required=True, help="name (training/recipes/NAME.yaml) or path of a recipe")
    parser.add_argument("--shards", required=True, help="folder or address (s3://…) of shards with shards.json")
    parser.add_argument("--run-dir", required=True, type=Path, help="folder of the run; an old one is continued")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override, e.g. size_px=128")
    parser.add_argument("--engine", choices=("deepspeed", "ddp"), help="short for --set train.engine=…")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument(
        "--tracking-uri", default=os.environ.get("MLFLOW_TRACKING_URI"), help="of MLflow; none: no MLflow"
    )
    parser.add_argument("--mlflow-run-id", default=os.environ.get("MLFLOW_RUN_ID"), help="continue this MLflow run")
    parser.add_argument("--dry-run", action="store_true", help="print settings, data and steps, train nothing")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Entry point; the exit code."""
    options = parse(arguments)
    try:
        if options.dry_run:
            dry_run(recipe_of(options), options.shards)
            return 0
    except SamaeError as error:
        return told(error)
    return train_as_asked(options, progress_file())


def recipe_of(options: argparse.Namespace) -> Recipe:
    """The recipe that a command line names, with its settings."""
    recipe = load_recipe(options.recipe, options.set)
    return replace(recipe, train=replace(recipe.train, engine=options.engine)) if options.engine else recipe


def train_as_asked(options: argparse.Namespace, on_progress: OnProgress | None, is_held: bool = False) -> int:
    """`train` with a command line's options; the exit code. What the user can mend is a sentence on standard error."""
    try:
        outcome = train(
            recipe_of(options), options.shards, options.run_dir, tracking_uri=options.tracking_uri,
            mlflow_run_id=options.mlflow_run_id, on_progress=on_progress, device=options.device, is_held=is_held,
        )  # fmt: skip
    except SamaeError as error:
        return told(error)
    return 0 if outcome.is_finished else EXIT_STOPPED


def told(error: SamaeError) -> int:
    """Say it, and give the exit code that goes with it."""
    print(f"samae: {error}", file=sys.stderr, flush=True)
    return error_code(error)


def error_code(error: SamaeError) -> int:
    """The exit code of a training that ended with this error."""
    if isinstance(error, Diverged):
        return EXIT_DIVERGED
    return EXIT_LOST if isinstance(error, RankLost) else EXIT_MENDABLE


if __name__ == "__main__":
    start_with_allocator()
    leave(main())
