"""A method small enough for tests of the loop: a blur that learns, a critic with R1, the contract of methods/base.py.

Run as a script it trains one: `python toy.py SHARDS RUN '{"train": {...}}'`; the kill tests and torchrun do so.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from training.batch import FaceBatch, SwapResult
from training.config import Recipe, recipe_from_dict
from training.engine import World, leave
from training.methods.base import MethodBase, StepLosses, generator_at
from training.progress import OnProgress
from training.session import Session
from training.shards import ShardSet
from training.tracking import NoTracker, Tracker
from training.train import Outcome, Stopper, run

DIM = 16


class ToyEncoder:
    """A fixed random projection to unit vectors."""

    name = "toy"
    dim = DIM

    def embed_tensor(self, images: torch.Tensor, landmarks_px: torch.Tensor) -> torch.Tensor:
        """(N, 3, S, S), (N, 68, 2) -> (N, 16)."""
        small = nn.functional.adaptive_avg_pool2d(images, 4).flatten(1)
        weights = torch.randn(small.shape[1], DIM, generator=torch.Generator().manual_seed(7))
        return nn.functional.normalize(small @ weights, dim=1)


@dataclass(frozen=True)
class ToyInputs:
    """Noisy pictures, and the clean ones."""

    noisy: torch.Tensor
    clean: torch.Tensor


class Toy(MethodBase):
    """Removes noise; its critic tells clean from cleaned."""

    name = "toy"

    def __init__(self, recipe: Recipe, explode_at_step: int = -1) -> None:
        torch.manual_seed(recipe.seed)
        generator = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.SiLU(), nn.Conv2d(8, 3, 3, padding=1))
        critic = nn.Sequential(nn.Conv2d(3, 8, 4, 2), nn.SiLU(), nn.Conv2d(8, 1, 4, 2))
        super().__init__(recipe, None, ToyEncoder(), generator, critic, torch.device("cpu"))  # type: ignore[arg-type]
        self.explode_at_step = explode_at_step

    def prepare(self, batch: FaceBatch, *, seed: int, positions: Sequence[int], step: int) -> ToyInputs:
        """Noise of each picture from (seed, position)."""
        shape = batch.image.shape[1:]
        noise = [torch.from_numpy(generator_at(seed, p, "noise").normal(0, 0.2, shape)).float() for p in positions]
        noisy = batch.image + torch.stack(noise)
        return ToyInputs(noisy * float("nan") if step == self.explode_at_step else noisy, batch.image)

    def generator_losses(self, inputs: ToyInputs) -> StepLosses:
        """L1 and a little of the critic's opinion."""
        assert self.discriminator is not None
        with self.autocast():
            made = self.generator(inputs.noisy)
        l1 = (made.float() - inputs.clean).abs().mean()
        self.discriminator.requires_grad_(False)
        fooled = nn.functional.softplus(-self.discriminator(made.float())).mean()
        self.discriminator.requires_grad_(True)
        return StepLosses(l1 + 0.1 * fooled, {"l1": l1.detach(), "fooled": fooled.detach()}, made.detach().float())

    def discriminator_losses(self, inputs: ToyInputs, fake: torch.Tensor) -> StepLosses:
        """Non-saturating, with R1 at every step."""
        assert self.discriminator is not None
        real = inputs.clean.clone().requires_grad_(True)
        score = self.discriminator(real)
        (slope,) = torch.autograd.grad(score.mean((1, 2, 3)).sum(), real, create_graph=True)
        r1 = slope.square().sum((1, 2, 3)).mean()
        judged = nn.functional.softplus(-score).mean() + nn.functional.softplus(self.discriminator(fake)).mean()
        return StepLosses(judged + r1, {"discriminator": judged.detach(), "r1": r1.detach()})

    @torch.no_grad()
    def swap(self, source: FaceBatch, target: FaceBatch) -> SwapResult:
        """The target, cleaned."""
        return SwapResult(self.ema(target.image).float().clamp(0, 1), target.mask)


def toy_recipe(**train: Any) -> Recipe:
    """Four pictures a step, every step logged, sixteen steps, plain torch in float32."""
    settings = {
        "total_kimg": 0.064, "batch_size": 4, "engine": "ddp", "precision": "fp32", "channels_last": False,
        "snapshot_kimg": 0.032, "checkpoint_kimg": 0.016, "log_every_steps": 1, "ema_halflife_kimg": 0.01,
    }  # fmt: skip
    optimiser = {"learning_rate": 1e-2, "discriminator_learning_rate": 1e-3}
    tree = {"name": "toy", "method": "samae", "size_px": 32, "train": settings | train, "optimiser": optimiser}
    return recipe_from_dict(tree)


class ToySession(Session):
    """A session whose export is one line, since a toy cannot be loaded again."""

    def export(self) -> None:
        """Leave a note."""
        if self.world.is_main:
            (self.run_dir / "exported.txt").write_text(str(self.samples_seen))


def train_toy(
    recipe: Recipe,
    shards: Path,
    run_dir: Path,
    world: World,
    *,
    tracker: Tracker | None = None,
    on_progress: OnProgress | None = None,
    explode_at_step: int = -1,
    stop: Stopper | None = None,
) -> Outcome:
    """Train or continue a toy."""
    run_dir.mkdir(parents=True, exist_ok=True)
    stop = stop or Stopper(recipe.train.max_hours)
    method = Toy(recipe, explode_at_step)
    with stop.listening():
        session = ToySession(
            recipe, method, ToyEncoder(), ShardSet.open(shards), run_dir, world, tracker or NoTracker(), on_progress
        )
        return run(session, stop)


def losses_of(run_dir: Path) -> list[dict[str, float]]:
    """The lines of stats.jsonl without what depends on the clock."""
    lines = [json.loads(line) for line in (run_dir / "stats.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if not k.startswith("perf/")} for line in lines]


if __name__ == "__main__":
    the_world = World("cpu")
    outcome = train_toy(toy_recipe(**json.loads(sys.argv[3])), Path(sys.argv[1]), Path(sys.argv[2]), the_world)
    leave(0 if outcome.is_finished else 143)
