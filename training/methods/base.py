"""What a method is to the trainer: modules, a pure preparation, two losses, a swap. The trainer knows nothing else.

One training step, as training/train.py drives it:

    inputs = method.prepare(batch, seed=seed, positions=positions, step=step)    # no gradient, pure
    made = method.generator_losses(inputs)            # engine_g.backward(made.total); engine_g.step()
    if method.discriminator is not None:
        judged = method.discriminator_losses(inputs, made.fake)    # engine_d.backward(judged.total); engine_d.step()
    method.update_ema(global_batch_size, samples_seen)

Rules both sides keep:
- A method calls its modules bare (never an engine's wrapper): R1 needs torch.autograd.grad through the forward, and
  DeepSpeed does not survive that through `engine(x)`. The engine averages gradients over ranks by itself.
- Parameters are float32. bfloat16 comes from torch.autocast inside the method (train.precision); no engine casts.
- `generator_losses` freezes the discriminator while it runs; `discriminator_losses` detaches what the generator made.
- `positions` are the places of the batch's pictures in the global training order (a rank holds a contiguous range).
  Every random number of a picture comes from (seed, position) and partners are chosen inside groups of
  `PARTNER_GROUP` consecutive positions, so the inputs do not depend on restarts, nor on the number of ranks as long
  as every rank's batch is a multiple of the group.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from faces.errors import SamaeError
from faces.morphable.base import MorphableHead
from training.batch import FaceBatch, SwapResult
from training.config import Recipe
from training.precision import half_precision

#: Partners (another shape for the mask, another identity for a cross swap) come from the same group of positions.
PARTNER_GROUP = 4


@dataclass(frozen=True)
class StepLosses:
    """What one loss function gives.

    Attributes:
        total: scalar float32 with gradient, what the engine goes backward on.
        parts: name -> detached scalar float32, unweighted; what is logged.
        fake: (N, 3, S, S) float32 0..1 detached pictures the generator made (None from the discriminator).
    """

    total: torch.Tensor
    parts: dict[str, torch.Tensor]
    fake: torch.Tensor | None = None


class EncoderLike(Protocol):
    """The part of faces.identity's Encoder that methods use."""

    @property
    def name(self) -> str:
        """Of the registry or of the file."""
        ...

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        ...

    def embed_tensor(self, images: torch.Tensor, landmarks_px: torch.Tensor) -> torch.Tensor:
        """(N, 3, S, S) float 0..1 and (N, 68, 2) px -> (N, dim) unit vectors, differentiable."""
        ...


class Method(Protocol):
    """A trainable face swapper. `generator` holds everything that the generator's optimiser trains, in one module.

    `second_every`: updates 0, k, 2k … are given `FaceBatch.second`, the embedding of another picture of each person;
    0: no update is, and no such picture is read.
    """

    name: str
    size_px: int
    recipe: Recipe
    generator: nn.Module
    discriminator: nn.Module | None
    ema: nn.Module
    notes: list[str]
    head: MorphableHead
    encoder: EncoderLike
    device: torch.device
    second_every: int

    def prepare(self, batch: FaceBatch, *, seed: int, positions: Sequence[int], step: int) -> Any:
        """Everything the losses need, without gradient. `step` counts updates.

        A pure function of its arguments that reads no trained weight: it runs in a thread, beside the step before.
        """
        ...

    def generator_losses(self, inputs: Any) -> StepLosses:
        """The generator's loss on prepared inputs, and the pictures it made."""
        ...

    def discriminator_losses(self, inputs: Any, fake: torch.Tensor) -> StepLosses:
        """The discriminator's loss on prepared inputs and the pictures of the generator's step just done."""
        ...

    def swap(self, source: FaceBatch, target: FaceBatch) -> SwapResult:
        """Source's identity in target's pictures, made by the averaged weights `ema`, without gradient."""
        ...

    def update_ema(self, batch_size: int, samples_seen: int) -> None:
        """Move the averaged weights towards the generator's after an update that used `batch_size` pictures."""
        ...


class MethodBase:
    """What all methods share: averaged weights, autocast, memory layout, notes."""

    name = "base"
    second_every = 0

    def __init__(
        self,
        recipe: Recipe,
        head: MorphableHead,
        encoder: EncoderLike,
        generator: nn.Module,
        discriminator: nn.Module | None,
        device: torch.device,
    ) -> None:
        self.recipe, self.head, self.encoder = recipe, head, encoder
        self.size_px = recipe.size_px
        self.device = device
        layout = torch.channels_last if recipe.train.channels_last else torch.contiguous_format
        self.generator = generator.to(device, memory_format=layout)
        self.discriminator = discriminator.to(device, memory_format=layout) if discriminator is not None else None
        self.ema = copy.deepcopy(self.generator).eval().requires_grad_(False)
        if recipe.train.compile:
            self.generator.compile()
        self.notes: list[str] = []

    def autocast(self) -> AbstractContextManager[Any]:
        """bfloat16 autocast on the method's device when the recipe asks for it and the device does not emulate it."""
        return half_precision(self.device.type, self.recipe.train.precision == "bf16")

    @torch.no_grad()
    def update_ema(self, batch_size: int, samples_seen: int) -> None:
        """ema <- lerp(generator, ema, 0.5 ** (batch / half-life)), with StyleGAN2-ADA's ramp-up of the half-life."""
        halflife = self.recipe.train.ema_halflife_kimg * 1000
        halflife = min(halflife, max(samples_seen, 1) * self.recipe.train.ema_rampup_ratio)
        decay = 0.5 ** (batch_size / max(halflife, 1e-8))
        averaged, current = ([*module.parameters()] for module in (self.ema, self.generator))
        torch._foreach_lerp_(averaged, current, 1 - decay)
        for kept, moved in zip(self.ema.buffers(), self.generator.buffers(), strict=True):
            kept.copy_(moved)


def generator_at(seed: int, position: int, purpose: str) -> np.random.Generator:
    """The random numbers of one picture of the training order for one purpose (e.g. "mask"); Philox, counter-based."""
    word = int.from_bytes(purpose.encode()[:8].ljust(8, b"\0"), "little")
    return np.random.Generator(np.random.Philox(key=[(seed ^ word) & (2**64 - 1), position]))


def generators_at(seed: int, positions: Sequence[int], purpose: str) -> Iterator[np.random.Generator]:
    """`generator_at` of one position after the other: ONE generator, set anew, so use each before asking for the next
    (4 microseconds where a new one takes 13)."""
    if not positions:
        return
    generator = generator_at(seed, positions[0], purpose)
    state = generator.bit_generator.state
    for position in positions:
        state["state"]["key"][1] = position
        generator.bit_generator.state = state
        yield generator


def partners(positions: Sequence[int], seed: int) -> list[int]:
    """For every row the row of a partner of the same group of positions (never itself unless it is alone)."""
    groups: dict[int, list[int]] = {}
    for row, position in enumerate(positions):
        groups.setdefault(position // PARTNER_GROUP, []).append(row)
    chosen = list(range(len(positions)))
    for rows in groups.values():
        if len(rows) > 1:
            shift = int(generator_at(seed, positions[rows[0]], "partner").integers(1, len(rows)))
            for place, row in enumerate(rows):
                chosen[row] = rows[(place + shift) % len(rows)]
    return chosen


def lacks_second(second: torch.Tensor) -> torch.Tensor:
    """(N, M) `FaceBatch.second` -> (N,) bool: the person has no other picture (zeros)."""
    return second.abs().sum(1) == 0


def second_or(second: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
    """(N, M) twice: `FaceBatch.second` where there is one, elsewhere the row of `own`."""
    return torch.where(lacks_second(second)[:, None], own, second)


Builder = Callable[[Recipe, MorphableHead, EncoderLike, torch.device], Method]


def _builders() -> dict[str, Builder]:
    from training.methods.blendface import BlendFace
    from training.methods.samae import Samae
    from training.methods.simswap import SimSwap

    return {"samae": Samae, "simswap": SimSwap, "blendface": BlendFace}


def build_method(
    recipe: Recipe, head: MorphableHead, encoder: EncoderLike, device: torch.device | str = "cpu"
) -> Method:
    """The method that a recipe names, with freshly initialised networks (seeded by recipe.seed) on a device."""
    builders = _builders()
    if recipe.method not in builders:
        raise SamaeError(
            f"recipe {recipe.name!r} names the method {recipe.method!r}; known methods: {sorted(builders)}"
        )
    torch.manual_seed(recipe.seed)
    return builders[recipe.method](recipe, head, encoder, torch.device(device))
