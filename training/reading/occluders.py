"""Train the network that sees what covers a face (faces/readers/cover.py) on generated people. Ours.

    python -m training.reading.people people --count 9000 --size-px 192 --seed 7000
    python -m training.reading.occluders people --cache covers --parts 34 --covered-from 0 --steps 3000 \
        --out first.safetensors
    python -m training.reading.occluders people --cache covers --parts 34 --steps 1200 --seed 12 \
        --learning-rate 1.2e-3 --start-from first.safetensors

made the weights that are shipped for generated people (people-5), and

    python -m training.reading.people more --count 8000 --size-px 192 --seed 7300
    python -m training.reading.occluders more --cache covers-read --landmarks read --features 0.5 --bend 0.4 \
        --steps 2600 --seed 13 --learning-rate 2e-3 \
        --start-from faces/readers/weights/occluders.safetensors

those for photographs. Short (about an hour and a half of one core in all), so a run that was interrupted starts again;
its data stay.
"""

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from faces.errors import SamaeError
from faces.files import read_json
from faces.readers.cover import CHANNELS, PHOTOGRAPH_WEIGHTS, WEIGHTS, CoverNetwork
from faces.readers.weights import load_reader, save_reader
from training.precision import half_precision
from training.progress import duration
from training.reading import disturb
from training.reading.augment import elastic
from training.reading.covers import BEYOND, COVER, EXACT, KNOWN, READ, Covers, open_covers
from training.reading.features import painted_features
from training.reading.things import with_thing

Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class CoverRecipe:
    """Everything that decides the weights, with the people.

    Attributes:
        seed, steps, batch_size, learning_rate, weight_decay: of AdamW with a one-cycle rate.
        things: how often something is put before a face that the generator did not.
        beyond_weight: of pixels inside the fitted silhouette that show background; they count as covered.
        bare_weight: of those that show head outside the face region (ears, neck, scalp); they count as bare.
        covered_from: share of a pixel from which it counts as covered; 0 learns the share itself.
        dice: weight of the soft Dice loss beside the binary cross entropy.
        average: decay of the weights' running mean, which is what is kept.
        landmarks: "exact" or "read", for fits of generated people or as photographs have them (covers.py).
        features: how often brows, lids, lips and teeth are painted anew (features.py).
        bend: largest strength with which the photograph is bent off its fit (`elastic`), in half of the examples.
        start_from: weights file to go on from, its batch norms folded away; "" starts at random.
    """

    seed: int = 11
    steps: int = 1400
    batch_size: int = 24
    learning_rate: float = 3e-3
    weight_decay: float = 1e-3
    things: float = 0.45
    beyond_weight: float = 0.3
    bare_weight: float = 0.1
    covered_from: float = 0.56
    dice: float = 0.5
    average: float = 0.998
    landmarks: str = EXACT
    features: float = 0.0
    bend: float = 0.0
    start_from: str = ""

    def __post_init__(self) -> None:
        if self.landmarks not in (EXACT, READ):
            raise SamaeError(f"landmarks is {self.landmarks!r}; it must be {EXACT} or {READ}")


def example(covers: Covers, index: int, recipe: CoverRecipe, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """One disturbed face: inputs (S, S, CHANNELS), target (S, S) and weight (S, S), all uint8."""
    planes, face = covers.row(index)
    other, other_face = covers.row(int(rng.integers(len(covers))))
    flip = disturb.chance(rng, 0.5)
    way = (rng.normal(0, 0.07), float(np.exp(rng.normal(0, 0.06))), rng.normal(0, 3.0, 2), flip)
    planes, face = disturb.moved(planes, *way), disturb.turned_points(face, *way)
    if disturb.chance(rng, 0.4):  # the fit lies beside the face
        slip = (rng.normal(0, 0.01), float(np.exp(rng.normal(0, 0.012))), rng.normal(0, 0.9, 2), False)
        planes[..., 3:CHANNELS] = disturb.moved(planes[..., 3:CHANNELS], *slip)
    if recipe.bend and disturb.chance(rng, 0.5):
        seen = [0, 1, 2, COVER, KNOWN, BEYOND]  # the photograph and its truth, not the fit
        planes[..., seen], face = elastic(planes[..., seen], face, rng, recipe.bend * rng.uniform())
    picture, cover = planes[..., :3].astype(np.float32) / 255, planes[..., COVER].astype(np.float32) / 255
    if recipe.features and disturb.chance(rng, recipe.features):
        picture = painted_features(rng, picture, face, 1 - cover)
    picture = disturb.relit(rng, picture, face)
    if disturb.chance(rng, recipe.things):
        picture, cover = with_thing(rng, picture, cover, face, planes, other, other_face)
    render = planes[..., 3:6].astype(np.float32) / 255
    picture, render = disturb.coloured(rng, np.stack([picture, render]))
    if disturb.chance(rng, 0.5):
        render = plainer(rng, render, planes[..., 6])
    inputs = planes[..., :CHANNELS].copy()
    inputs[..., :3] = disturb.filmed(rng, picture)
    inputs[..., 3:6] = np.rint(255 * np.clip(render, 0, 1))
    return inputs, *target_of(recipe, planes, cover)


def target_of(recipe: CoverRecipe, planes: np.ndarray, cover: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What is covered and how much each pixel counts, (S, S) uint8 each; nothing counts off the silhouette."""
    known = np.maximum(planes[..., KNOWN].astype(np.float32) / 255, cover)
    beyond = (planes[..., BEYOND] > 127) & (known < 0.5)
    share = cover / np.maximum(known, 1e-3) * (known > 0.3)
    if recipe.covered_from > 0:
        share = (share >= recipe.covered_from).astype(np.float32)
    target = np.where(beyond, 1.0, share)
    weight = np.where(beyond, recipe.beyond_weight, np.maximum(known, recipe.bare_weight))
    weight = weight * (planes[..., 6].astype(np.float32) / 255)
    return np.rint(255 * np.clip(target, 0, 1)).astype(np.uint8), np.rint(255 * weight).astype(np.uint8)


def plainer(rng: np.random.Generator, render: np.ndarray, silhouette: np.ndarray) -> np.ndarray:
    """A render of another gain, or with less of its own detail, as heads without albedo modes and poor fits give."""
    gain = np.exp(rng.normal(0, 0.05, 3) + rng.normal(0, 0.08)).astype(np.float32)
    render = np.clip(render, 1e-3, 1) * gain
    if disturb.chance(rng, 0.4):
        inside = (silhouette > 127)[..., None].astype(np.float32)
        soft = cv2.GaussianBlur(render * inside, (0, 0), 7.0) / np.maximum(
            cv2.GaussianBlur(inside, (0, 0), 7.0)[..., None], 0.05
        )
        render = render + np.float32(rng.uniform(0.3, 1.0)) * inside * (soft - render)
    return render.astype(np.float32)


def batches(covers: Covers, recipe: CoverRecipe) -> Iterator[Batch]:
    """Endless batches: inputs (B, CHANNELS, S, S) 0..1, target and weight (B, 1, S, S); order and noise by the seed."""

    def make(step: int) -> Batch:
        """The batch of one step."""
        rng = np.random.Generator(np.random.Philox(key=[recipe.seed, step]))
        rows = rng.integers(0, len(covers), recipe.batch_size)
        made = [example(covers, int(row), recipe, rng) for row in rows]
        inputs, target, weight = (torch.from_numpy(np.stack(part)).float() / 255 for part in zip(*made, strict=True))
        return (
            inputs.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last),
            target[:, None],
            weight[:, None],
        )

    with ThreadPoolExecutor(1, "faces", torch.set_num_threads, (1,)) as pool:
        waiting = [pool.submit(make, step) for step in range(3)]
        step = 3
        while True:
            waiting.append(pool.submit(make, step))
            step += 1
            yield waiting.pop(0).result()


def loss_of(logits: torch.Tensor, target: torch.Tensor, weight: torch.Tensor, dice: float) -> torch.Tensor:
    """Weighted binary cross entropy, and soft Dice over the batch."""
    entropy = functional.binary_cross_entropy_with_logits(logits, target, weight, reduction="sum") / weight.sum()
    found = torch.sigmoid(logits)
    both = (weight * found * target).sum()
    overlap = 2 * both / ((weight * found).sum() + (weight * target).sum() + 1.0)
    return entropy + dice * (1 - overlap)


def train(covers: Covers, recipe: CoverRecipe, report: Callable[[str], None]) -> CoverNetwork:
    """The network after `recipe.steps` updates, running mean of its weights; in evaluation mode."""
    torch.manual_seed(recipe.seed)
    network: nn.Module = CoverNetwork()
    if recipe.start_from:
        network = load_reader(network, Path(recipe.start_from)).requires_grad_(True)
    network = network.to(memory_format=torch.channels_last)
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(recipe.average), use_buffers=True)
    optimiser = torch.optim.AdamW(network.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay)
    started_s, losses = time.monotonic(), []
    for step, (inputs, target, weight) in enumerate(batches(covers, recipe)):
        if step == recipe.steps:
            break
        progress = step / recipe.steps
        rate = min(1.0, progress / 0.08) * 0.5 * (1 + math.cos(math.pi * progress))
        optimiser.param_groups[0]["lr"] = recipe.learning_rate * rate
        with half_precision("cpu"):
            logits = network(inputs)
        loss = loss_of(logits.float(), target, weight, recipe.dice)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        average.update_parameters(network)
        losses.append(float(loss.detach()))
        if step % 50 == 49:
            left_s = (time.monotonic() - started_s) / (step + 1) * (recipe.steps - step - 1)
            report(f"step {step + 1}/{recipe.steps} loss {np.mean(losses[-50:]):.4f}, {duration(left_s)} left")
    kept = average.module
    assert isinstance(kept, CoverNetwork)
    return kept.eval()


def main(arguments: list[str] | None = None) -> int:
    """Command line; the exit code, 2 where the user can mend it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("people", type=Path, help="folder of python -m training.reading.people")
    parser.add_argument("--cache", type=Path, default=Path(".samae/covers"), help="folder that keeps the close-ups")
    parser.add_argument("--out", type=Path, help="safetensors file to write, a .json beside it; else the shipped one")
    parser.add_argument("--parts", type=int, help="train on the first so many parts of the people only")
    for field in fields(CoverRecipe):
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=type(field.default), default=field.default)
    options = vars(parser.parse_args(arguments))
    try:
        recipe = CoverRecipe(**{field.name: options[field.name] for field in fields(CoverRecipe)})
        covers = open_covers(options["people"], options["cache"], _say, options["parts"], recipe.landmarks)
        network = train(covers, recipe, _say)
    except SamaeError as error:
        print(f"samae: {error}", file=sys.stderr)
        return 2
    made_from = {"licence": "Apache-2.0", "faces": len(covers), "recipe": asdict(recipe)}
    if recipe.start_from:
        before = read_json(Path(recipe.start_from).with_suffix(".json"))
        made_from["after"] = {key: before[key] for key in ("recipe", "sha256", "after") if key in before}
    shipped = WEIGHTS if recipe.landmarks == EXACT else PHOTOGRAPH_WEIGHTS
    save_reader(network, options["out"] or shipped, made_from)
    return 0


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
