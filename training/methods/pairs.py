"""Whose identity goes into which picture during training: same person and cross identity by turns.

Even updates take a source of the same person, odd updates another person's, as SimSwap's released train.py does.
Sources are found among `PARTNER_GROUP` neighbours of the training order. Where no identity labels exist, or a group
holds no second picture of a person, the source of an even update is the picture itself under colour jitter and
mirroring (ours); methods say so in their notes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from faces.errors import SamaeError
from faces.morphable.base import MorphableHead
from training.augment import colour_jitter, flips, jitter_factors, mirror, mirror_landmarks
from training.batch import FaceBatch
from training.config import Recipe
from training.methods.adversary import discriminator_for, discriminator_step
from training.methods.base import PARTNER_GROUP, EncoderLike, MethodBase, StepLosses, partners
from training.perceptual import FrozenFeatures, frozen_features

NOTE = (
    "same-identity updates without a second picture of the person (always so on a set without identity labels, such as "
    "FFHQ) use the picture itself, augmented"
)


@dataclass(frozen=True)
class PairInputs:
    """One prepared batch.

    Attributes:
        target: (N, 3, S, S) sRGB 0..1.  landmarks: (N, 68, 2) px of the target.  mask: (N, 1, S, S) its visible face.
        identity: (N, M) unit embedding of the source.  own: (N, M) the target's.
        is_same: (N,) float32, 1 where source and target are one person (the reconstruction loss counts there).
        positions, step: places in the training order, and number of the update.
    """

    target: torch.Tensor
    landmarks: torch.Tensor
    mask: torch.Tensor
    identity: torch.Tensor
    own: torch.Tensor
    is_same: torch.Tensor
    positions: tuple[int, ...]
    step: int


@torch.no_grad()
def paired(method: MethodBase, batch: FaceBatch, seed: int, positions: Sequence[int], step: int) -> PairInputs:
    """Choose every target's source: the same person on even updates, another one on odd updates."""
    if batch.image.shape[-1] != method.size_px:
        raise SamaeError(
            f"the shards hold {batch.image.shape[-1]} px pictures, but the recipe says size_px={method.size_px}; "
            f"train with --set size_px={batch.image.shape[-1]} or make shards of that size"
        )
    batch = batch.to(method.device)
    own = batch.embedding.float()
    if step % 2 == 0:
        identity, is_same = _same_identity(method, batch, seed, positions), torch.ones(len(batch))
    else:
        rows = torch.tensor(partners(positions, seed), device=method.device)
        identity = own[rows]
        same = (rows == torch.arange(len(batch), device=method.device)) | (
            (batch.person[rows] == batch.person) & (batch.person >= 0)
        )
        is_same = same.float()
    return PairInputs(
        batch.image, batch.landmarks, batch.mask, identity, own, is_same.to(method.device), tuple(positions), step
    )


def _same_identity(method: MethodBase, batch: FaceBatch, seed: int, positions: Sequence[int]) -> torch.Tensor:
    """(N, M): the embedding of another picture of the person in the group, else of the augmented picture itself."""
    turned = flips(seed, positions)
    pictures = mirror(batch.image, turned)
    pictures = colour_jitter(pictures, jitter_factors(method.recipe.identity, seed, positions))
    with method.autocast():
        own = method.encoder.embed_tensor(pictures, mirror_landmarks(batch.landmarks, turned, method.size_px)).float()
    rows = torch.tensor(same_person(batch.person.tolist(), positions), device=method.device)
    usable = rows != torch.arange(len(rows), device=method.device)
    return torch.where(usable[:, None], batch.embedding[rows].float(), own)


def same_person(person: Sequence[int], positions: Sequence[int]) -> list[int]:
    """For every row the next row of the same person in its group of positions; the row itself where there is none."""
    count = len(person)
    chosen = []
    for row in range(count):
        others = [(row + step) % count for step in range(1, count)]
        fit = (
            other
            for other in others
            if person[other] == person[row] >= 0
            and positions[other] // PARTNER_GROUP == positions[row] // PARTNER_GROUP
        )
        chosen.append(next(fit, row))
    return chosen


class PairMethod(MethodBase):
    """What swappers that see one picture and one identity share: sources by turns, discriminator, frozen features."""

    features: FrozenFeatures

    def __init__(
        self, recipe: Recipe, head: MorphableHead, encoder: EncoderLike, generator: nn.Module, device: torch.device
    ) -> None:
        if recipe.train.batch_size < 2:
            raise SamaeError(f"{self.name} swaps inside a batch: set train.batch_size to 2 or more")
        discriminator, notes = discriminator_for(recipe)
        super().__init__(recipe, head, encoder, generator, discriminator, device)
        self.features = frozen_features(encoder, recipe, device)
        self.notes += [NOTE, *notes]

    def prepare(self, batch: FaceBatch, *, seed: int, positions: Sequence[int], step: int) -> PairInputs:
        """Choose every target's source: the same person on even updates, another one on odd updates."""
        return paired(self, batch, seed, positions, step)

    def discriminator_losses(self, inputs: PairInputs, fake: torch.Tensor) -> StepLosses:
        """Real against made pictures, and the gradient penalty."""
        return discriminator_step(self, inputs.target, fake, inputs.step)
