"""One run: the method, its engines, the stream's place, checkpoints, snapshots, reports. train.py has the loop."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from faces.errors import SamaeError
from faces.files import digest_of, read_json, write_json
from training.ahead import Coming, Ready
from training.batch import FaceBatch
from training.checkpoints import Checkpoint, CheckpointStore, load_strictly
from training.config import Recipe
from training.engine import Engine, World, make_engine
from training.methods.base import PARTNER_GROUP, Method, StepLosses
from training.progress import Means, OnProgress, Reporter, Shares
from training.shards import ShardSet
from training.snapshots import Embedder, choose_pairs, measure, swap_all, warnings, write_grid
from training.stream import Placed, Stream
from training.tracking import Tracker
from training.utilisation import Utilisation
from training.weights import find_weights, start_from

#: Settings that may change between two starts of one run: they do not change what a step computes, but for
#: `total_kimg`, whose end the learning rate falls towards where `optimiser.final_fraction` is below 1.
FREE_SETTINGS = (
    "total_kimg", "engine", "zero_stage", "micro_batch", "compile", "snapshot_kimg", "checkpoint_kimg",
    "keep_checkpoints", "log_every_steps", "workers", "max_hours", "patience_s",
)  # fmt: skip


#: What a run started from, in its folder.
INIT_NAME = "init_from.json"


class Diverged(SamaeError):
    """A loss or a gradient is not a number. Raised before the update; repeating the run would give the same."""


def resume_digest(recipe: Recipe) -> str:
    """Digest of the settings that a checkpoint must share with the run that continues it."""
    tree = recipe.as_dict()
    tree["train"] = {key: value for key, value in tree["train"].items() if key not in FREE_SETTINGS}
    return digest_of({key: value for key, value in tree.items() if key not in ("name", "description")})


class Session:
    """Everything a run holds between two steps. All ranks build one; rank 0 alone writes.

    Attributes:
        samples_seen: pictures shown so far over all ranks; the only clock.
        resumed_from: samples_seen of the checkpoint that this start continues, or None.
        origin: what `train.init_from` gave this run at its beginning (name, sha256, recipe, samples_seen); else empty.
    """

    def __init__(
        self,
        recipe: Recipe,
        method: Method,
        encoder: Embedder,
        shard_set: ShardSet,
        run_dir: Path,
        world: World,
        tracker: Tracker,
        on_progress: OnProgress | None = None,
    ) -> None:
        self.recipe, self.method, self.encoder, self.shard_set = recipe, method, encoder, shard_set
        self.run_dir, self.world, self.tracker = run_dir, world, tracker
        settings = recipe.train
        self.total_samples = round_up(settings.total_kimg * 1000, settings.batch_size)
        self.stream = Stream(
            shard_set, "train", settings.batch_size, recipe.seed, world.rank, world.size, workers=settings.workers,
            second_every=method.second_every,
        )  # fmt: skip
        self.micro_batches = micro_batch_count(self.stream.rank_batch, settings.micro_batch)
        self.report = Reporter(run_dir, self.total_samples, is_main=world.is_main, on_progress=on_progress)
        self.store = CheckpointStore(run_dir / "checkpoints", settings.keep_checkpoints)
        self.means, self.shares = Means(), Shares()
        self.utilisation = Utilisation(world.device, self.stream.rank_batch, is_on=not settings.compile)
        self.samples_seen = 0
        self.resumed_from: int | None = None
        self._logged_samples = 0
        self.started = time.monotonic()
        self._elapsed_before_s, self._is_saved = 0.0, False
        checkpoint = self._newest()
        self.origin = self._start_from_weights(checkpoint is None)
        if checkpoint is not None:
            self._restore_weights(checkpoint)
        self.engines = self._make_engines()
        if checkpoint is not None:
            self._restore_rest(checkpoint)
        self._pairs = choose_pairs(shard_set, recipe.seed) if world.is_main else None
        if world.is_main:
            self._write_card()
        self.report.rewind(self.samples_seen)

    @property
    def step(self) -> int:
        """Updates done so far."""
        return self.samples_seen // self.recipe.train.batch_size

    @property
    def encoder_digest(self) -> str:
        """Of the encoder that trains; the recipe has its name or path alone. Empty where an encoder has none."""
        return str(getattr(self.method.encoder, "digest", ""))

    @property
    def elapsed_s(self) -> float:
        """Seconds of training, those before a restart included."""
        return self._elapsed_before_s + time.monotonic() - self.started

    def learning_rate(self, peak: float) -> float:
        """Linear warm-up, then a straight line to `final_fraction` at the end; a pure function of samples_seen."""
        settings = self.recipe.optimiser
        if self.samples_seen < settings.warmup_kimg * 1000:
            return peak * (self.samples_seen + 1) / (settings.warmup_kimg * 1000)
        progress = min(self.samples_seen / self.total_samples, 1.0)
        return peak * (1 + (settings.final_fraction - 1) * progress)

    def micro(self, placed: Placed) -> list[tuple[FaceBatch, Sequence[int]]]:
        """This rank's batch in equal parts of consecutive positions, on the device."""
        batch = placed.faces.unpacked(self.world.device)
        if self.micro_batches == 1:
            return [(batch, placed.positions)]
        size = len(placed.positions) // self.micro_batches
        rows = [list(range(first, first + size)) for first in range(0, len(placed.positions), size)]
        return [(batch.select(r), placed.positions[r[0] : r[-1] + 1]) for r in rows]

    def coming(self) -> Coming:
        """The prepared steps from here on (training/ahead.py)."""
        batches = self.stream.placed_at(self.samples_seen)
        return Coming(batches, self.micro, self.method, self.recipe.seed, self.step)

    def next_inputs(self, coming: Iterator[Ready]) -> list[Any]:
        """The next step's inputs; the time that this waits is shared out to pictures and preparation as they took."""
        start = time.perf_counter()
        ready = next(coming)
        waited_s, work_s = time.perf_counter() - start, ready.data_s + ready.prepare_s
        self.shares.add("data_wait", waited_s * ready.data_s / work_s)
        self.shares.add("render", waited_s * ready.prepare_s / work_s)
        self.shares.add("prepare_beside", ready.prepare_s)
        return ready.inputs

    def checked(self, network: str, parts: list[StepLosses], stop: float = 0.0) -> tuple[dict[str, float], bool]:
        """Mean losses over micro-batches and ranks, and whether any rank wants to stop; Diverged if not finite.

        One all-reduce: every rank sees the same numbers, so all go on or all stop.
        """
        names = ["total", *parts[0].parts]
        rows = [torch.stack([p.total.detach().float(), *(p.parts[n].float() for n in names[1:])]) for p in parts]
        norm = self.engines[network].gradient_norm().float()
        vector = torch.cat([torch.stack(rows).mean(0), norm[None], torch.tensor([stop], device=norm.device)])
        *values, wish = self.world.mean(vector).tolist()
        figures = {f"{network}/{name}": value for name, value in zip([*names, "gradient_norm"], values, strict=True)}
        for name, value in figures.items():
            if not abs(value) < float("inf"):
                raise Diverged(
                    f"{name} became {value} at {self.samples_seen / 1000:.3f} kimg (step {self.step + 1}), before the "
                    f"update, so the weights are sound; {self._last_checkpoint()}; lower optimiser.learning_rate, or "
                    "set train.precision=fp32, and start in a new run folder"
                )
        return figures, wish > 0

    def log(self, figures: dict[str, float]) -> None:
        """Take a step's figures in; every log_every_steps write their means to stats.jsonl and the tracker."""
        self.means.add(figures)
        if self.step % self.recipe.train.log_every_steps and self.samples_seen < self.total_samples:
            return
        seconds, shares = self.shares.take()
        seen, self._logged_samples = self.samples_seen - self._logged_samples, self.samples_seen
        line = self.means.take() | {"perf/images_per_s": seen / max(seconds, 1e-9)}
        for purpose in ("data_wait", "render", "prepare_beside", "optimiser"):
            line[f"perf/{purpose}_percent"] = 100 * shares.get(purpose, 0.0) / max(seconds, 1e-9)
        used = self.utilisation.percent(seen / self.world.size, max(seconds, 1e-9))
        if used is not None:
            line["perf/mfu_percent"] = used
        if self.world.device.type == "cuda":
            line["perf/gpu_memory_gib"] = torch.cuda.max_memory_allocated() / 2**30
        self.report.stats(self.samples_seen, line)
        self.tracker.metrics(line, self.samples_seen)

    def is_due(self, every_kimg: float) -> bool:
        """True when the step just done passed a multiple of so many kimg (a pure function of samples_seen)."""
        every = every_kimg * 1000
        before = self.samples_seen - self.recipe.train.batch_size
        return every > 0 and self.samples_seen // every > before // every

    def save(self) -> bool:
        """A checkpoint of now; False, with a sentence to the reader, when the disk would not take it."""
        states = {f"{name}_optimiser": engine.state() for name, engine in self.engines.items()}
        problem = 0.0
        if self.world.is_main:
            groups = {name: module.state_dict() for name, module in self._modules().items()} | states
            loop = {
                "means": self.means.state(), "elapsed_s": self.elapsed_s, "samples_seen": self.samples_seen,
                "flop_per_image": self.utilisation.flop_per_image,
            }  # fmt: skip
            try:
                path = self.store.save(self.samples_seen, groups, loop, self.metadata())
                self.report.event("checkpoint", self.samples_seen, path=str(path))
            except SamaeError as error:
                self.report.say(f"WARNING: no checkpoint at {self.samples_seen / 1000:g} kimg: {error}")
                self.report.event("warning", self.samples_seen, warning="disk_full", sentence=str(error))
                problem = 1.0
        self._is_saved = self.world.maximum(problem) == 0
        return self._is_saved

    def snapshot(self, losses: dict[str, float]) -> dict[str, float]:
        """Draw and measure the fixed pairs, warn early. Rank 0 works, the others wait at their next collective."""
        if self._pairs is None:
            return {}
        results = swap_all(self.method, self._pairs, self.world.device)
        figures = measure(results, self._pairs, self.encoder, self.world.device)
        found = warnings(figures, losses, self.samples_seen)
        path = self.run_dir / "samples" / f"{self.samples_seen:09d}.png"
        try:
            write_grid(path, results, self._pairs, scale=max(1, 128 // self.recipe.size_px))
            self.tracker.image(path, "samples", self.samples_seen)
            write_json(
                self.run_dir / "warnings.json", {"samples_seen": self.samples_seen, "warnings": found, **figures}
            )
        except SamaeError as error:
            self.report.say(f"WARNING: no picture at {self.samples_seen / 1000:g} kimg: {error}")
        for name, sentence in found.items():
            self.report.say(f"WARNING {name}: {sentence}")
        self.tracker.metrics({f"snapshot/{name}": value for name, value in figures.items()}, self.samples_seen)
        self.tracker.tags({f"warning.{name}": found.get(name, "no") for name in WARNING_NAMES})
        self.report.event("snapshot", self.samples_seen, figures=figures, warnings=found, path=str(path))
        return figures

    def export(self) -> None:
        """Write the averaged weights for swapping to <run>/export (rank 0)."""
        from training.export import export_model

        if self.world.is_main:
            features = getattr(self.method, "features", None)
            perceptual = {"perceptual": features.source} if features and self.recipe.losses.perceptual else {}
            export_model(self.method, self.run_dir / "export", self.metadata() | perceptual)
            self.tracker.artifact(self.run_dir / "export", "export")

    def metadata(self) -> dict[str, Any]:
        """What made the weights."""
        return {
            "samples_seen": self.samples_seen,
            "recipe": self.recipe.name,
            "recipe_digest": resume_digest(self.recipe),
            "data_digest": self.shard_set.digest,
            "head": self.shard_set.head,
            "encoder": {"name": self.method.encoder.name, "digest": self.encoder_digest},
            "encoder_digest": self.encoder_digest,
            "world_size": self.world.size,
            "engine": self.recipe.train.engine,
            "batch_size": self.recipe.train.batch_size,
            **({"init_from": self.origin} if self.origin else {}),
        }

    def _modules(self) -> dict[str, nn.Module]:
        modules = {"generator": self.method.generator, "ema": self.method.ema}
        return modules | ({"discriminator": self.method.discriminator} if self.method.discriminator else {})

    def _make_engines(self) -> dict[str, Engine]:
        settings = self.recipe.train
        modules = {name: module for name, module in self._modules().items() if name != "ema"}
        return {
            name: make_engine(
                settings.engine, module, self.recipe.optimiser, self.world,
                stage=settings.zero_stage, micro_batches=self.micro_batches,
            )
            for name, module in modules.items()
        }  # fmt: skip

    def _newest(self) -> Checkpoint | None:
        found = -1
        if self.world.is_main:
            self.store.clean()
            newest = self.store.newest(
                recipe_digest=resume_digest(self.recipe),
                data_digest=self.shard_set.digest,
                encoder_digest=self.encoder_digest or None,
            )
            for reason in self.store.passed_over:
                self.report.say(f"WARNING: a damaged checkpoint is passed over: {reason}")
            found = -1 if newest is None else newest
        found = int(self.world.maximum(float(found)))
        return None if found < 0 else self.store.load(found)

    def _start_from_weights(self, is_new: bool) -> dict[str, Any]:
        """Load the weights of `train.init_from` into a new run and note them; a continued run reads its note."""
        note, wanted = self.run_dir / INIT_NAME, self.recipe.train.init_from
        if not wanted or (not is_new and not note.is_file()):
            return {}
        if not is_new:
            return dict(read_json(note))
        weights = find_weights(wanted)
        start_from(self.method, weights)
        if self.world.is_main:
            write_json(note, weights.origin())
        return weights.origin()

    def _restore_weights(self, checkpoint: Checkpoint) -> None:
        for name, module in self._modules().items():
            load_strictly(module, checkpoint.groups.get(name, {}), name)

    def _restore_rest(self, checkpoint: Checkpoint) -> None:
        for name, engine in self.engines.items():
            engine.load_state(checkpoint.groups.get(f"{name}_optimiser", {}))
        self.means.restore(checkpoint.state["means"])
        self.utilisation.flop_per_image = float(checkpoint.state.get("flop_per_image", 0.0))
        self._elapsed_before_s = float(checkpoint.state["elapsed_s"])
        self.samples_seen = self.resumed_from = self._logged_samples = checkpoint.samples_seen
        self._is_saved = True

    def _write_card(self) -> None:
        made_from = {key: value for key, value in self.metadata().items() if key != "samples_seen"}
        card = {"recipe": self.recipe.as_dict(), "digest": self.recipe.digest, "made_from": made_from}
        write_json(self.run_dir / "recipe.json", card)

    def _last_checkpoint(self) -> str:
        folders = sorted(self.store.folder.glob("[0-9]*"))
        return f"the last checkpoint is {folders[-1]}" if folders else "there is no checkpoint yet"

    @property
    def is_saved(self) -> bool:
        """Whether the last attempt to save succeeded."""
        return self._is_saved


WARNING_NAMES = ("copies_target", "mode_collapse", "discriminator_won")


def round_up(samples: float, batch_size: int) -> int:
    """The least whole number of batches that holds so many samples, in samples."""
    return max(1, -(-round(samples) // batch_size)) * batch_size


def require_whole_groups(batch_size: int, ranks: int) -> None:
    """SamaeError where ranks split partners: a picture alone would never be swapped with, and nobody told.

    A batch that ranks cannot share evenly is the stream's affair.
    """
    if ranks > 1 and batch_size % ranks == 0 and batch_size // ranks % PARTNER_GROUP:
        raise SamaeError(
            f"{ranks} ranks leave each {batch_size // ranks} pictures of train.batch_size {batch_size}, no multiple of "
            f"{PARTNER_GROUP}: a picture's partner (another identity, another shape) is one of {PARTNER_GROUP} "
            f"neighbours on the same rank; take fewer ranks or train.batch_size={ranks * PARTNER_GROUP} or more"
        )


def micro_batch_count(rank_batch: int, micro_batch: int) -> int:
    """Forward passes a step and rank; SamaeError with the arithmetic when they are not whole, or split partners."""
    if micro_batch <= 0 or micro_batch >= rank_batch:
        return 1
    if rank_batch % micro_batch:
        raise SamaeError(
            f"train.micro_batch {micro_batch} does not divide the {rank_batch} pictures of a rank "
            f"({rank_batch} / {micro_batch} = {rank_batch / micro_batch:.2f}); choose a divisor"
        )
    if micro_batch % PARTNER_GROUP:
        fitting = [0, *(size for size in range(PARTNER_GROUP, rank_batch, PARTNER_GROUP) if rank_batch % size == 0)]
        raise SamaeError(
            f"train.micro_batch {micro_batch} is not a multiple of {PARTNER_GROUP}: a picture's partner (another "
            f"identity, another shape) is one of {PARTNER_GROUP} neighbours, who must share a forward pass; choose "
            f"{' or '.join(map(str, fitting))} (0: all at once)"
        )
    return rank_batch // micro_batch
