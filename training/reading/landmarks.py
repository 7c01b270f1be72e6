"""Train the finder of faces and the reader of their 68 landmarks on generated people:

    python -m training.reading.people PEOPLE --count 6000 --size-px 192 --seed 7000
    python -m training.reading.landmarks PEOPLE OUT [--set points.steps=6000]

No photograph of a face is seen. OUT gets finder.pt and points.pt (kept as training goes on, so that a second call
continues) and at the end faces.safetensors with faces.json, which --ship copies to where the program looks for them.
With --start OUT a training begins with the weights of an earlier one, and the reader is shown what its finder mistook
for faces. With --only NETWORK the other network stays the shipped one (a reader then learns from the shipped finder's
mistakes). Settings are frozen below.
"""

import argparse
import json
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from faces.errors import SamaeError
from faces.files import atomic_file, make_folder
from faces.finding.detector import WEIGHTS, load_detector, save_detector
from faces.finding.finder import network_input as finder_input
from faces.finding.networks import CROP_PX, HEAT_CELLS, HEAT_PX, FinderNetwork, PointsNetwork, points_of_heat
from faces.finding.reader import network_input as points_input
from training.precision import half_precision
from training.progress import duration
from training.reading.clutter import Clutter
from training.reading.finding import Painter, face_crop, finder_canvas, no_face_crop
from training.reading.people import load_people

Batch = tuple[torch.Tensor, ...]


@dataclass(frozen=True)
class TrainingSettings:
    """Of one network: steps and pictures a step, the highest rate, decay of weights and of their average, the seed."""

    steps: int
    batch: int
    rate: float = 3e-3
    weight_decay: float = 1e-4
    average: float = 0.998
    seed: int = 1


FINDER = TrainingSettings(steps=2500, batch=16)
POINTS = TrainingSettings(steps=2400, batch=32, rate=2.5e-3)
#: Share of a batch of crops that shows no face, and pictures without faces in the bank.
NO_FACES, CLUTTER = 0.25, 400
#: Examples kept for later batches.
POOL = 3000
#: Pictures in which mistakes of an earlier finder are sought, to teach the reader that they are no faces.
MINED = 400
#: Deviation of the wanted heat about a point, cells.
HEAT_SIGMA = 1.0


class Pool:
    """The last POOL examples: a batch takes a third of new ones and the rest out of these, since drawing is dear."""

    def __init__(self, make: Callable[[np.random.Generator], Any]) -> None:
        self._make = make
        self._kept: deque[Any] = deque(maxlen=POOL)

    def batch(self, count: int, rng: np.random.Generator) -> list[Any]:
        """`count` examples."""
        fresh = [self._make(rng) for _ in range(count if len(self._kept) < count else -(-count // 3))]
        old = [self._kept[int(n)] for n in rng.choice(len(self._kept), count - len(fresh))] if self._kept else []
        self._kept.extend(fresh)
        return (fresh + old)[:count]


def finder_batch(pools: dict[str, Pool], settings: TrainingSettings, rng: np.random.Generator) -> Batch:
    """Canvases (N, 3, S, S) and wanted answers (N, 7, S / 8, S / 8)."""
    canvases, wanted = zip(*pools["canvas"].batch(settings.batch, rng), strict=True)
    return finder_input(np.stack(canvases)), torch.from_numpy(np.stack(wanted))


def finder_loss(network: nn.Module, batch: Batch) -> torch.Tensor:
    """Focal cross-entropy of the score, smooth L1 of the square where there is a face."""
    pictures, wanted = batch
    with half_precision("cpu"):
        said = network(pictures.contiguous(memory_format=torch.channels_last))
    said = said.float()
    asked, face = wanted[:, 0] >= 0, wanted[:, 0].clamp_min(0)
    entropy = F.binary_cross_entropy_with_logits(said[:, 0], face, reduction="none")
    wrong = (said[:, 0].sigmoid() - face).abs()
    score = (wrong**2 * entropy * asked).sum() / face.sum().clamp_min(1)
    square = F.smooth_l1_loss(said[:, 1:], wanted[:, 1:6], reduction="none", beta=0.1)
    return score + (square * wanted[:, 6:]).sum() / wanted[:, 6].sum().clamp_min(1)


def points_batch(pools: dict[str, Pool], settings: TrainingSettings, rng: np.random.Generator) -> Batch:
    """Crops (N, 3, 96, 96), and points (M, 68, 2) px of the first M of them, which show faces."""
    none = round(settings.batch * NO_FACES)
    crops, points = zip(*pools["face"].batch(settings.batch - none, rng), strict=True)
    crops += tuple(pools["none"].batch(none, rng))
    return points_input(np.stack(crops)), torch.from_numpy(np.stack(points).astype(np.float32))


def points_loss(network: nn.Module, batch: Batch) -> torch.Tensor:
    """Cross-entropy of the heat with a Gaussian about every point in the crop, L1 of its mean, and of the score."""
    crops, points = batch
    faces = len(points)
    with half_precision("cpu"):
        heat, score = network(crops.contiguous(memory_format=torch.channels_last))
    heat, score = heat[:faces].float(), score.float()
    inside = ((points > 0) & (points < CROP_PX)).all(-1).float()
    entropy = -(wanted_heat(points) * heat.flatten(2).log_softmax(-1).view(heat.shape)).sum((2, 3))
    away = F.smooth_l1_loss(points_of_heat(heat)[0] / HEAT_PX, points / HEAT_PX, reduction="none", beta=0.3).sum(-1)
    is_face = torch.zeros_like(score)
    is_face[:faces] = 1
    marks = ((entropy + away) * inside).sum() / inside.sum().clamp_min(1)
    return marks + F.binary_cross_entropy_with_logits(score, is_face)


def wanted_heat(points: torch.Tensor) -> torch.Tensor:
    """(M, 68, 2) px -> (M, 68, 24, 24) shares that sum to one about the point."""
    at = (torch.arange(HEAT_CELLS, dtype=torch.float32) + 0.5) * HEAT_PX
    axis = -((at - points[..., None]) ** 2) / (2 * (HEAT_SIGMA * HEAT_PX) ** 2)
    x, y = axis.softmax(-1).unbind(-2)
    return y[..., :, None] * x[..., None, :]


def train(
    network: nn.Module, settings: TrainingSettings, batch_of: Callable[[np.random.Generator], Batch],
    loss_of: Callable[[nn.Module, Batch], torch.Tensor], kept: Path, start: Path | None,
    report: Callable[[str], None],
) -> nn.Module:  # fmt: skip
    """Train with a one-cycle rate; the average of the weights. Goes on from `kept`, written about every minute.

    start: of an earlier training (its kept file), whose average is where this one begins.
    """
    torch.manual_seed(settings.seed)
    if start is not None:
        network.load_state_dict(_average_of(start))
    network = network.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    average = torch.optim.swa_utils.AveragedModel(
        network, avg_fn=partial(_averaged, settings.average), use_buffers=True
    )
    optimiser = torch.optim.AdamW(network.parameters(), settings.rate, weight_decay=settings.weight_decay)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, settings.rate, settings.steps, pct_start=0.1)
    parts: dict[str, Any] = {"network": network, "average": average, "optimiser": optimiser, "rate": rate}
    first = _go_on(parts, kept, settings)
    started_s = told_s = time.monotonic()
    total, counted = 0.0, 0
    for step in range(first, settings.steps):
        loss = loss_of(network, batch_of(np.random.default_rng([settings.seed, step])))
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        rate.step()
        average.update_parameters(network)
        total, counted = total + float(loss.detach()), counted + 1
        now_s = time.monotonic()
        if now_s - told_s > 60 or step == settings.steps - 1:
            _keep(parts, kept, settings, step + 1)
            left_s = (now_s - started_s) / (step + 1 - first) * (settings.steps - step - 1)
            report(f"step {step + 1}/{settings.steps}, loss {total / counted:.4f}, {duration(left_s)} left")
            told_s, total, counted = now_s, 0.0, 0
    return average.module.eval()


def _averaged(most: float, average: torch.Tensor, new: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
    """A moving average that forgets faster at the beginning."""
    if not average.is_floating_point():
        return new
    return average + (new - average) * (1 - min(most, (1 + int(count)) / (10 + int(count))))


def _keep(parts: dict[str, Any], kept: Path, settings: TrainingSettings, step: int) -> None:
    state = {name: part.state_dict() for name, part in parts.items()}
    with atomic_file(kept) as scratch:
        torch.save({**state, "step": step, "settings": asdict(settings)}, scratch)


def _read(kept: Path) -> dict[str, Any]:
    try:
        return dict(torch.load(kept, weights_only=True))
    except Exception as error:  # torch has many ways to say that a file is damaged
        raise SamaeError(f"{kept} cannot be read ({str(error)[:80]}): name another folder or remove it") from None


def _average_of(kept: Path) -> dict[str, torch.Tensor]:
    """The averaged weights of a kept training."""
    named = _read(kept)["average"].items()
    return {name.removeprefix("module."): value for name, value in named if name.startswith("module.")}


def _go_on(parts: dict[str, Any], kept: Path, settings: TrainingSettings) -> int:
    """Take the state of an earlier call; the step it came to, 0 when there is none."""
    if not kept.is_file():
        return 0
    state = _read(kept)
    if state["settings"] != asdict(settings):
        raise SamaeError(f"{kept} was trained with other settings ({state['settings']}): name another folder")
    for name, part in parts.items():
        part.load_state_dict(state[name])
    return int(state["step"])


def with_settings(given: list[str]) -> dict[str, TrainingSettings]:
    """["points.steps=600"] -> the frozen settings of both networks with these changes."""
    chosen = {"finder": FINDER, "points": POINTS}
    for text in given:
        key, equals, value = text.partition("=")
        name, dot, field = key.partition(".")
        if not equals or not dot or name not in chosen or field not in asdict(FINDER):
            names = ", ".join(asdict(FINDER))
            raise SamaeError(f"--set {text!r} is not finder.NAME=VALUE or points.NAME=VALUE with a name of {names}")
        chosen[name] = replace(chosen[name], **{field: type(getattr(FINDER, field))(json.loads(value))})
    return chosen


def main(arguments: list[str] | None = None) -> int:
    """Command line; the exit code, 2 where the user can mend it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("people", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="NETWORK.NAME=VALUE")
    parser.add_argument("--only", choices=("finder", "points"), help="train it beside the other, shipped one")
    parser.add_argument("--start", type=Path, help="the OUT of an earlier training whose weights this one begins with")
    parser.add_argument("--ship", action="store_true", help="also write them where the program looks")
    chosen = parser.parse_args(arguments)
    try:
        settings = with_settings(chosen.settings)
        run(chosen.people, chosen.out, settings, only=chosen.only, ship=chosen.ship, start=chosen.start)
    except SamaeError as error:
        print(f"samae: {error}", file=sys.stderr)
        return 2
    return 0


def _say(name: str, line: str) -> None:
    print(f"{name}: {line}", flush=True)


def run(
    people: Path, out: Path, settings: dict[str, TrainingSettings], *, only: str | None, ship: bool, start: Path | None
) -> None:
    """Train what is asked for and write the weights."""
    make_folder(out)
    painter = Painter(load_people(people), Clutter(CLUTTER, settings["finder"].seed))
    made: dict[str, nn.Module] = {}
    if only is not None:
        shipped = load_detector()
        made = {"finder": shipped.finder, "points": shipped.points}
    earlier = made.get("finder") if start is None or only else _finder_of(start)
    if earlier is not None and only != "finder":
        painter.mine(earlier, MINED, np.random.default_rng([0x313, settings["points"].seed]))
        _say("points", f"{len(painter.mistakes)} mistakes of the earlier finder are among the crops without faces")
    makers: dict[str, Any] = {"canvas": finder_canvas, "face": face_crop, "none": no_face_crop}
    pools = {name: Pool(partial(make, painter)) for name, make in makers.items()}
    kinds: dict[str, Any] = {
        "finder": (FinderNetwork(), finder_batch, finder_loss), "points": (PointsNetwork(), points_batch, points_loss)
    }  # fmt: skip
    for name, (network, batch_of, loss_of) in kinds.items():
        if only in (None, name):
            kept, begin = out / f"{name}.pt", start / f"{name}.pt" if start else None
            batches = partial(batch_of, pools, settings[name])
            made[name] = train(network, settings[name], batches, loss_of, kept, begin, partial(_say, name))
    about: dict[str, object] = {
        "trained_on": f"{len(painter.people)} generated people", "made_by": "training/reading/landmarks.py",
        "settings": {name: asdict(own) for name, own in settings.items() if only in (None, name)},
    }  # fmt: skip
    for path in [out / WEIGHTS.name, *([WEIGHTS] if ship else [])]:
        save_detector(path, made["finder"], made["points"], about)
        print(f"{path}: {path.stat().st_size / 1e6:.2f} MB", flush=True)


def _finder_of(start: Path) -> nn.Module:
    """The finder of an earlier training."""
    finder = FinderNetwork()
    finder.load_state_dict(_average_of(start / "finder.pt"))
    return finder.eval().requires_grad_(False)


if __name__ == "__main__":
    sys.exit(main())
