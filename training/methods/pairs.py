"""Whose identity goes into which picture during training: same person and cross identity by turns.

Even updates take a source of the same person, odd updates another person's, as SimSwap's released train.py does.
The same person's source is any other picture of theirs in the split (training/same_person.py); the other person's is
found among `PARTNER_GROUP` neighbours of the training order. Where no identity labels exist, or a person has a single
picture, the source of an even update is the picture itself under colour jitter and mirroring (ours); the run says how
many people that are.
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
from training.methods.base import EncoderLike, MethodBase, StepLosses, lacks_second, partners
from training.perceptual import FrozenFeatures, frozen_features


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
    if step % method.second_every == 0:
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
    """(N, M): the embedding of another picture of the person, or of the picture itself, augmented, without one."""
    second = torch.zeros_like(batch.embedding) if batch.second is None else batch.second
    rows = torch.nonzero(lacks_second(second)).flatten().tolist()
    if not rows:
        return second.float()
    alone, places = batch.select(rows), [positions[row] for row in rows]
    turned = flips(seed, places)
    pictures = colour_jitter(mirror(alone.image, turned), jitter_factors(method.recipe.identity, seed, places))
    marks = mirror_landmarks(alone.landmarks, turned, method.size_px)
    with method.autocast():
        own = method.encoder.embed_tensor(pictures, marks).float()
    return second.float().index_copy(0, torch.tensor(rows, device=own.device), own)


class PairMethod(MethodBase):
    """What swappers that see one picture and one identity share: sources by turns, discriminator, frozen features."""

    features: FrozenFeatures
    second_every = 2

    def __init__(
        self, recipe: Recipe, head: MorphableHead, encoder: EncoderLike, generator: nn.Module, device: torch.device
    ) -> None:
        if recipe.train.batch_size < 2:
            raise SamaeError(f"{self.name} swaps inside a batch: set train.batch_size to 2 or more")
        discriminator, notes = discriminator_for(recipe)
        super().__init__(recipe, head, encoder, generator, discriminator, device)
        self.features = frozen_features(encoder, recipe, device)
        self.notes += notes

    def prepare(self, batch: FaceBatch, *, seed: int, positions: Sequence[int], step: int) -> PairInputs:
        """Choose every target's source: the same person on even updates, another one on odd updates."""
        return paired(self, batch, seed, positions, step)

    def discriminator_losses(self, inputs: PairInputs, fake: torch.Tensor) -> StepLosses:
        """Real against made pictures, and the gradient penalty."""
        return discriminator_step(self, inputs.target, fake, inputs.step)
