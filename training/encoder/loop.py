"""The training loop of identity encoders. Sizes and augmentation are ours; margins: training/encoder/margin.py."""

import math
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from faces.errors import SamaeError
from faces.identity.encoder import TorchEncoder
from faces.identity.iresnet import IResNet
from faces.identity.registry import load_encoder, refuse_judge
from training.checkpoints import CheckpointStore, load_strictly
from training.encoder.blend import Blender
from training.encoder.crops import CropSet, Report
from training.encoder.margin import MarginHead
from training.encoder.recipe import EncoderRecipe
from training.precision import half_precision
from training.progress import duration
from training.verification import Verification, verify

MOMENTUM = 0.9
#: Checkpoints that a run folder keeps: the newest epoch's and the one before.
KEPT_CHECKPOINTS = 2
#: Norm that the gradient is cut to (BlendFace's released configuration).
CLIP_NORM = 5.0


def augment(crops: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """(N, 3, S, S) 0..1 -> the same, flipped, shifted by a few pixels, blurred and colour-jittered at random (ours)."""
    count = len(crops)

    def draw(low: float, high: float, *shape: int) -> torch.Tensor:
        """Uniform numbers of one batch, (count, *shape)."""
        return torch.rand(count, *shape, generator=generator) * (high - low) + low

    theta = torch.zeros(count, 2, 3)
    turn, zoom = draw(-0.08, 0.08), draw(0.93, 1.07)
    theta[:, 0, 0], theta[:, 0, 1] = zoom * turn.cos(), -zoom * turn.sin()
    theta[:, 1, 0], theta[:, 1, 1] = zoom * turn.sin(), zoom * turn.cos()
    theta[:, :, 2] = draw(-0.06, 0.06, 2)
    theta[:, :, 0] *= torch.where(draw(0, 1) < 0.5, -1.0, 1.0)[:, None]
    grid = functional.affine_grid(theta, list(crops.shape), align_corners=False)
    crops = functional.grid_sample(crops, grid, align_corners=False, padding_mode="border")
    soft = functional.avg_pool2d(functional.pad(crops, (1, 1, 1, 1), mode="replicate"), 3, 1)
    crops = torch.where((draw(0, 1) < 0.3)[:, None, None, None], soft, crops)
    grey = crops.mean(1, keepdim=True)
    crops = grey + (crops - grey) * draw(0.0, 1.5, 1, 1, 1)
    crops = crops * draw(0.75, 1.25, 3, 1, 1) * draw(0.7, 1.3, 1, 1, 1)
    middle = crops.mean((1, 2, 3), keepdim=True)
    return (middle + (crops - middle) * draw(0.7, 1.3, 1, 1, 1)).clamp(0, 1)


def epoch_batches(blender: Blender, epoch: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Augmented (N, 3, S, S) in -1..1 with labels (N,). Order, blends and noise depend on seed and epoch alone."""
    recipe, crops = blender.recipe, blender.crops
    generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + epoch)
    rng = np.random.Generator(np.random.Philox(key=[recipe.seed, epoch]))
    train = crops.rows(is_train=True)
    order = train[torch.randperm(len(train), generator=generator).numpy()]
    for start in range(0, len(order) - recipe.batch_size + 1, recipe.batch_size):
        rows = order[start : start + recipe.batch_size]
        pictures = torch.from_numpy(np.stack([blender.picture(int(row), rng, epoch / recipe.epochs) for row in rows]))
        pictures = augment(pictures.permute(0, 3, 1, 2).float() / 255, generator)
        yield pictures * 2 - 1, torch.from_numpy(np.asarray(crops.labels[rows]))


def build_network(recipe: EncoderRecipe) -> IResNet:
    """The network of a recipe, at random."""
    return IResNet(recipe.network)


class EncoderRun:
    """A network, its class centres and their optimiser, saved after every epoch where a run folder is given."""

    def __init__(self, recipe: EncoderRecipe, crops: CropSet, device: torch.device, run_dir: Path | None) -> None:
        torch.manual_seed(recipe.seed)
        self.network = build_network(recipe).to(device, memory_format=torch.channels_last)
        self.margin = MarginHead(recipe, crops.train_people).to(device)
        self.optimiser = torch.optim.SGD(
            [*self.network.parameters(), *self.margin.parameters()],
            lr=recipe.learning_rate, momentum=MOMENTUM, weight_decay=recipe.weight_decay,
            nesterov=recipe.schedule == "one_cycle",
        )  # fmt: skip
        self.recipe, self.data_digest, self.device, self.epoch = recipe, crops.digest, device, 0
        self.store = CheckpointStore(run_dir / "checkpoints", KEPT_CHECKPOINTS) if run_dir else None

    def start_from(self, encoder: TorchEncoder, crops: CropSet) -> None:
        """Take another encoder's weights, and the means of its embeddings of every person as class centres.

        Raises:
            SamaeError: it has another size than the recipe.
        """
        if encoder.network.config != self.network.config:
            raise SamaeError(
                f"{encoder.name} is an {encoder.network.config}, the recipe wants {self.network.config}: choose depth, "
                "width, dim, crop_px and head as in the encoder that the training starts from"
            )
        self.network.load_state_dict(encoder.trained.state_dict())
        rows = crops.rows(is_train=True)
        vectors = embed_crops(encoder.network, crops.pictures[rows])
        total = np.zeros((crops.train_people, vectors.shape[1]), np.float32)
        np.add.at(total, crops.labels[rows], vectors)
        with torch.no_grad():
            self.margin.centres.copy_(torch.from_numpy(total / np.linalg.norm(total, axis=1, keepdims=True)))

    def resume(self) -> None:
        """Go on after the newest whole epoch of the run folder, if there is one; SamaeError when its people differ."""
        about = {"recipe_digest": self.recipe.digest, "data_digest": self.data_digest}
        newest = self.store.newest(**about) if self.store else None
        if self.store is None or newest is None:
            return
        saved = self.store.load(newest)
        load_strictly(self.network, saved.groups["network"], "network")
        load_strictly(self.margin, saved.groups["margin"], "margin")
        for index, parameter in enumerate(self.optimiser.param_groups[0]["params"]):
            self.optimiser.state[parameter]["momentum_buffer"] = saved.groups["momentum"][str(index)].to(self.device)
        self.epoch = newest

    def save(self) -> None:
        """Keep the end of an epoch."""
        self.epoch += 1
        if self.store is None:
            return
        parameters = self.optimiser.param_groups[0]["params"]
        momentum = {str(i): self.optimiser.state[p]["momentum_buffer"] for i, p in enumerate(parameters)}
        groups = {"network": self.network.state_dict(), "margin": self.margin.state_dict(), "momentum": momentum}
        self.store.save(self.epoch, groups, {}, {"recipe_digest": self.recipe.digest, "data_digest": self.data_digest})

    def update(self, pictures: torch.Tensor, labels: torch.Tensor, progress: float) -> float:
        """One step; the loss. `progress` 0..1 of the whole run sets the learning rate."""
        self.optimiser.param_groups[0]["lr"] = self.recipe.learning_rate * rate(self.recipe.schedule, progress)
        pictures, labels = pictures.to(self.device), labels.to(self.device)
        with half_precision(self.device.type):
            embeddings = self.network(pictures.contiguous(memory_format=torch.channels_last))
        unit = functional.normalize(embeddings.float(), dim=1)
        loss = functional.cross_entropy(self.margin(unit, labels), labels)
        if not torch.isfinite(loss):
            raise SamaeError(f"the encoder's loss is {loss.item()} in epoch {self.epoch}: lower learning_rate")
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), CLIP_NORM)
        self.optimiser.step()
        return float(loss.detach())


def rate(schedule: str, progress: float) -> float:
    """Share of the peak learning rate at `progress` 0..1: "one_cycle" (ours) or "polynomial" (released: (1 - t)^2)."""
    if schedule == "polynomial":
        return (1 - progress) ** 2
    return min(1.0, progress / 0.1) * 0.5 * (1 + math.cos(math.pi * progress))


def train_encoder(
    recipe: EncoderRecipe, crops: CropSet, report: Report, run_dir: Path | None = None, device: str = "cpu"
) -> IResNet:
    """Fit the network with the margin loss; returns it in evaluation mode. Goes on where `run_dir` left off.

    Raises:
        SamaeError: fewer pictures than a batch, a loss that is not a number, a run folder of another recipe or
            other people, or a start from an encoder that judges.
    """
    train = len(crops.rows(is_train=True))
    steps = train // recipe.batch_size
    if not steps:
        raise SamaeError(f"there are {train} pictures to train on, fewer than a batch of {recipe.batch_size}: lower it")
    run = EncoderRun(recipe, crops, torch.device(device), run_dir)
    if recipe.start_from:
        beginning = load_encoder(recipe.start_from)
        refuse_judge(beginning.name, recipe.name, beginning.digest)
        if not isinstance(beginning, TorchEncoder):
            raise SamaeError(f"start_from={recipe.start_from} is an ONNX file: name a .safetensors encoder")
        run.start_from(beginning, crops)
    run.resume()
    blender = Blender(recipe, crops)
    start_s, first = time.monotonic(), run.epoch
    for epoch in range(first, recipe.epochs):
        losses = [
            run.update(pictures, labels, (epoch + step / steps) / recipe.epochs)
            for step, (pictures, labels) in enumerate(epoch_batches(blender, epoch))
        ]
        run.save()
        left_s = (time.monotonic() - start_s) / (run.epoch - first) * (recipe.epochs - run.epoch)
        report(f"epoch {run.epoch}/{recipe.epochs} loss {np.mean(losses):.3f}, {duration(left_s)} left")
    return run.network.eval()


def embed_crops(network: IResNet, pictures: np.ndarray) -> np.ndarray:
    """(N, S, S, 3) uint8 aligned crops -> (N, dim) float32 unit vectors."""
    encoder = TorchEncoder(network, "new", "", "")
    device = next(network.parameters()).device
    flat = torch.from_numpy(np.array(pictures)).permute(0, 3, 1, 2)
    with torch.inference_mode():
        parts = [encoder.network(part.to(device).float() / 127.5 - 1).float().cpu() for part in flat.split(256)]
    return functional.normalize(torch.cat(parts), dim=1).numpy()


def check(network: IResNet, crops: CropSet) -> Verification:
    """Verification figures on the people of the set that the network never saw."""
    rows = crops.rows(is_train=False)
    return verify(embed_crops(network, crops.pictures[rows]), np.asarray(crops.labels[rows]))
