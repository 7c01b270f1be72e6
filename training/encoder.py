r"""Train an identity encoder on generated people and write it as half-precision safetensors.

    python -m training.encoder --out faces/identity/weights/builtin.safetensors
    python -m training.encoder --loss cosface --seed 202 --depth 10 --width 32 --people 420 \
        --out faces/identity/weights/judge-1.safetensors
    python -m training.encoder --seed 303 --depth 34 --width 16 --people 420 \
        --out faces/identity/weights/judge-2.safetensors

The people of an encoder come from its own seed; the judges' seeds and backbones differ from the trainer's encoder,
so that no swapper is scored by the network that taught it. ArcFace margin: Deng et al., arXiv 1801.07698, equation 3;
CosFace margin: Wang et al., arXiv 1801.09414, equation 4. Sizes, scale and augmentation are ours.
"""

import argparse
import math
import multiprocessing
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from faces.errors import SamaeError
from faces.files import atomic_file, digest_of
from faces.identity.encoder import TorchEncoder, save_encoder
from faces.identity.iresnet import IResNet, IResNetConfig
from training.verification import Verification, verify


@dataclass(frozen=True, kw_only=True)
class EncoderRecipe:
    """Everything that decides an encoder's weights.

    Attributes:
        loss: "arcface" (additive angle) or "cosface" (additive cosine).
        margin: radians for arcface, cosine for cosface.  scale: s of both papers.
        people, pictures_per_person: training set; held_out_people are rendered beside them for verification.
        render_px: size of the generated pictures before the crop.
        epochs, batch_size, learning_rate, weight_decay: SGD with momentum 0.9 and a one-cycle schedule.
    """

    depth: int = 18
    width: int = 24
    dim: int = 256
    crop_px: int = 64
    loss: str = "arcface"
    scale: float = 32.0
    margin: float = 0.3
    people: int = 700
    pictures_per_person: int = 8
    held_out_people: int = 60
    render_px: int = 128
    seed: int = 101
    epochs: int = 20
    batch_size: int = 128
    learning_rate: float = 0.2
    weight_decay: float = 5e-4

    def __post_init__(self) -> None:
        if self.loss not in {"arcface", "cosface"}:
            raise SamaeError(f"the loss is arcface or cosface, not {self.loss!r}")
        if self.pictures_per_person < 2:
            raise SamaeError("an encoder needs at least 2 pictures of every person: raise pictures_per_person")


class MarginHead(nn.Module):
    """Class centres with a margin. (N, dim) unit embeddings and (N,) labels -> (N, people) logits."""

    def __init__(self, recipe: EncoderRecipe) -> None:
        super().__init__()
        self.recipe = recipe
        self.centres = nn.Parameter(torch.randn(recipe.people, recipe.dim) * 0.05)

    def forward(self, embeddings: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        cosine = functional.linear(embeddings, functional.normalize(self.centres, dim=1))
        return margin_logits(cosine, labels, self.recipe.loss, self.recipe.scale, self.recipe.margin)


def margin_logits(cosine: torch.Tensor, labels: torch.Tensor, loss: str, scale: float, margin: float) -> torch.Tensor:
    """(N, people) cosines -> scaled logits whose true class is made harder by the margin (equations of the module)."""
    true = cosine.gather(1, labels[:, None]).clamp(-1 + 1e-6, 1 - 1e-6)
    harder = torch.cos(torch.acos(true) + margin) if loss == "arcface" else true - margin
    # Beyond pi - margin the cosine would rise again; the published code falls back to a linear penalty there.
    if loss == "arcface":
        harder = torch.where(true > -math.cos(margin), harder, true - margin * math.sin(margin))
    return scale * cosine.scatter(1, labels[:, None], harder)


def _render_person(task: tuple[EncoderRecipe, int]) -> np.ndarray:
    """All crops of one person: (pictures, crop_px, crop_px, 3) uint8. Runs in a worker process."""
    from faces.identity.crops import identity_crops
    from faces.synthetic.person import person_from_seed
    from faces.synthetic.portrait import render_person
    from faces.synthetic.scene import scene_from_seed

    recipe, index = task
    torch.set_num_threads(1)
    person = person_from_seed(recipe.seed, index)
    portraits = []
    for picture in range(index * recipe.pictures_per_person, (index + 1) * recipe.pictures_per_person):
        # Every other scene (hair, clothes, glasses) was drawn for somebody else, so that hair does not tell who it is.
        owner = person if picture % 2 == 0 else person_from_seed(recipe.seed, 1_000_000 + picture)
        portraits.append(render_person(person, scene_from_seed(recipe.seed, picture, owner), recipe.render_px))
    pictures = torch.from_numpy(np.stack([p.image for p in portraits])).permute(0, 3, 1, 2).float() / 255
    marks = torch.from_numpy(np.stack([p.landmarks_px for p in portraits]))
    crops = identity_crops(pictures, marks, recipe.crop_px)
    return (crops.permute(0, 2, 3, 1) * 255).round().byte().numpy()


def render_crops(recipe: EncoderRecipe, cache: Path, workers: int, report: Callable[[str], None]) -> np.ndarray:
    """(people + held out, pictures, crop_px, crop_px, 3) uint8, kept in `cache` under the digest of what made it."""
    keys = ("people", "held_out_people", "pictures_per_person", "render_px", "crop_px", "seed")
    path = cache / f"crops-{digest_of({key: getattr(recipe, key) for key in keys})}.npy"
    if path.is_file():
        return np.load(path, mmap_mode="r", allow_pickle=False)
    tasks = [(recipe, index) for index in range(recipe.people + recipe.held_out_people)]
    rows: list[np.ndarray] = []
    start_s = time.monotonic()
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        for row in pool.imap(_render_person, tasks, chunksize=4):
            rows.append(row)
            if len(rows) % 100 == 0:
                left_s = (time.monotonic() - start_s) / len(rows) * (len(tasks) - len(rows))
                report(f"people {len(rows)}/{len(tasks)}, {left_s:.0f} s left")
    with atomic_file(path) as scratch, scratch.open("wb") as stream:
        np.save(stream, np.stack(rows), allow_pickle=False)
    return np.load(path, mmap_mode="r", allow_pickle=False)


def augment(crops: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """(N, 3, S, S) 0..1 -> the same, flipped, shifted by a few pixels, blurred and colour-jittered at random (ours)."""
    count = len(crops)

    def draw(low: float, high: float, *shape: int) -> torch.Tensor:
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


def _batches(recipe: EncoderRecipe, crops: np.ndarray) -> Iterator[tuple[torch.Tensor, torch.Tensor, int, int]]:
    """Augmented (N, 3, S, S) in -1..1 with labels, and (step, steps). Order and noise depend on the seed alone."""
    generator = torch.Generator().manual_seed(recipe.seed)
    per_person = recipe.pictures_per_person
    count = recipe.people * per_person
    steps_per_epoch = count // recipe.batch_size
    for epoch in range(recipe.epochs):
        order = torch.randperm(count, generator=generator).numpy()
        for step in range(steps_per_epoch):
            rows = order[step * recipe.batch_size : (step + 1) * recipe.batch_size]
            pictures = torch.from_numpy(np.stack([crops[r // per_person, r % per_person] for r in rows]))
            pictures = augment(pictures.permute(0, 3, 1, 2).float() / 255, generator)
            labels = torch.from_numpy(rows // per_person)
            yield pictures * 2 - 1, labels, epoch * steps_per_epoch + step, recipe.epochs * steps_per_epoch


def train_encoder(recipe: EncoderRecipe, crops: np.ndarray, report: Callable[[str], None]) -> IResNet:
    """Fit the network with the margin loss; returns it in evaluation mode."""
    torch.manual_seed(recipe.seed)
    config = IResNetConfig(
        depth=recipe.depth, width=recipe.width, dim=recipe.dim, crop_px=recipe.crop_px, head="depthwise"
    )
    network, head = IResNet(config).to(memory_format=torch.channels_last), MarginHead(recipe)
    optimiser = torch.optim.SGD(
        [*network.parameters(), *head.parameters()],
        lr=recipe.learning_rate, momentum=0.9, weight_decay=recipe.weight_decay, nesterov=True,
    )  # fmt: skip
    start_s = time.monotonic()
    for pictures, labels, step, steps in _batches(recipe, crops):
        progress = step / steps
        rate = min(1.0, progress / 0.1) * 0.5 * (1 + math.cos(math.pi * progress))
        optimiser.param_groups[0]["lr"] = recipe.learning_rate * rate
        with torch.autocast("cpu", torch.bfloat16):
            embeddings = network(pictures.contiguous(memory_format=torch.channels_last))
        loss = functional.cross_entropy(head(functional.normalize(embeddings.float(), dim=1), labels), labels)
        if not torch.isfinite(loss):
            raise SamaeError(f"the encoder's loss is {loss.item()} at step {step}: lower learning_rate")
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        if step % 50 == 0:
            left_s = (time.monotonic() - start_s) / (step + 1) * (steps - step)
            report(f"step {step}/{steps} loss {loss.item():.3f}, {left_s:.0f} s left")
    return network.eval()


def check(network: IResNet, crops: np.ndarray) -> Verification:
    """Verification figures on people the network never saw; crops is (people, pictures, S, S, 3) uint8."""
    encoder = TorchEncoder(network, "new", "", "")
    flat = torch.from_numpy(np.array(crops).reshape(-1, *crops.shape[2:])).permute(0, 3, 1, 2)
    with torch.inference_mode():
        parts = [encoder.network(part.float() / 127.5 - 1).float() for part in flat.split(256)]
    embeddings = functional.normalize(torch.cat(parts), dim=1).numpy()
    return verify(embeddings, np.repeat(np.arange(crops.shape[0]), crops.shape[1]))


def main(arguments: list[str] | None = None) -> None:
    """Command line: every field of EncoderRecipe is an option."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in asdict(EncoderRecipe()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value, help=f"default {value}")
    parser.add_argument("--out", type=Path, required=True, help="safetensors file to write")
    parser.add_argument("--cache", type=Path, default=Path(".samae/encoder"), help="folder that keeps the crops")
    parser.add_argument("--workers", type=int, default=2, help="processes that render people")
    options = vars(parser.parse_args(arguments))
    out, cache, workers = options.pop("out"), options.pop("cache"), options.pop("workers")
    recipe = EncoderRecipe(**options)

    def report(line: str) -> None:
        print(line, flush=True)

    crops = render_crops(recipe, cache, workers, report)
    network = train_encoder(recipe, crops, report)
    figures = check(network, np.asarray(crops[recipe.people :]))
    report(str(figures))
    metadata = {"licence": "Apache-2.0"} | {key: f"{value:.4f}" for key, value in asdict(figures).items()}
    with atomic_file(out) as scratch:
        save_encoder(network, scratch, asdict(recipe) | metadata)
    report(f"wrote {out} ({out.stat().st_size / 1e6:.2f} MB)")


if __name__ == "__main__":
    main()
