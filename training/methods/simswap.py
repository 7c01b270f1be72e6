"""SimSwap (Chen et al., ACM MM 2020, arXiv 2106.06340): identity injected into the bottleneck of an encoder-decoder.

Paper's weights: identity 10, reconstruction 10 (only where source and target are one person), adversarial 1 (hinge),
weak feature matching 10 on the last layers of a multi-scale PatchGAN, gradient penalty 1e-5 (ours: R1, every 16 steps).
Even updates take a source of the same identity, odd updates another person's, as in the released train.py. Where no
identity labels exist, or a group holds no second picture of a person, the source of an even update is the picture
itself under colour jitter and mirroring (ours). Sources are found among `PARTNER_GROUP` neighbours of the training
order.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from faces.errors import SamaeError
from faces.morphable.base import MorphableHead
from training import losses
from training.augment import colour_jitter, flips, jitter_factors, mirror, mirror_landmarks
from training.batch import FaceBatch, SwapResult
from training.config import Recipe
from training.methods.adversary import adversary_is_on, discriminator_step, frozen
from training.methods.base import PARTNER_GROUP, EncoderLike, MethodBase, StepLosses, partners
from training.networks.patchgan import MultiScaleDiscriminator
from training.networks.simswap import SimSwapGenerator
from training.perceptual import FrozenFeatures, feature_terms, frozen_features


@dataclass(frozen=True)
class SimSwapInputs:
    """One prepared batch.

    Attributes:
        target: (N, 3, S, S) sRGB 0..1.  landmarks: (N, 68, 2) px of the target.
        identity: (N, M) unit embedding of the source.
        is_same: (N,) float32, 1 where source and target are one person (the reconstruction loss counts there).
        positions, step: places in the training order, and number of the update.
    """

    target: torch.Tensor
    landmarks: torch.Tensor
    identity: torch.Tensor
    is_same: torch.Tensor
    positions: tuple[int, ...]
    step: int


class SimSwap(MethodBase):
    """SimSwap as the trainer drives it; see training/methods/base.py."""

    name = "simswap"
    features: FrozenFeatures

    def __init__(self, recipe: Recipe, head: MorphableHead, encoder: EncoderLike, device: torch.device) -> None:
        size, judge = recipe.generator, recipe.discriminator
        generator = SimSwapGenerator(encoder.dim, width=size.width, multipliers=size.multipliers, blocks=size.blocks)
        if recipe.train.batch_size < 2:
            raise SamaeError("simswap swaps inside a batch: set train.batch_size to 2 or more")
        discriminator = MultiScaleDiscriminator(3, width=judge.width, layers=judge.layers, scales=judge.scales)
        super().__init__(recipe, head, encoder, generator, discriminator, device)
        self.features = frozen_features(encoder, recipe, device)
        self.notes.append(
            "same-identity updates without a second picture of the person use the picture itself, augmented"
        )

    @torch.no_grad()
    def prepare(self, batch: FaceBatch, *, seed: int, positions: Sequence[int], step: int) -> SimSwapInputs:
        """Choose every target's source: the same person on even updates, another one on odd updates."""
        if batch.image.shape[-1] != self.size_px:
            raise SamaeError(
                f"the shards hold {batch.image.shape[-1]} px pictures, but the recipe says size_px={self.size_px}; "
                f"train with --set size_px={batch.image.shape[-1]} or make shards of that size"
            )
        batch = batch.to(self.device)
        if step % 2 == 0:
            identity, is_same = self._own_identity(batch, seed, positions), torch.ones(len(batch))
        else:
            rows = torch.tensor(partners(positions, seed), device=self.device)
            identity = batch.embedding[rows].float()
            same = (rows == torch.arange(len(batch), device=self.device)) | (
                (batch.person[rows] == batch.person) & (batch.person >= 0)
            )
            is_same = same.float()
        return SimSwapInputs(batch.image, batch.landmarks, identity, is_same.to(self.device), tuple(positions), step)

    def _own_identity(self, batch: FaceBatch, seed: int, positions: Sequence[int]) -> torch.Tensor:
        """(N, M): the embedding of another picture of the person in the group, else of the augmented picture itself."""
        turned = flips(seed, positions)
        pictures = mirror(batch.image, turned)
        pictures = colour_jitter(pictures, jitter_factors(self.recipe.identity, seed, positions))
        with self.autocast():
            own = self.encoder.embed_tensor(pictures, mirror_landmarks(batch.landmarks, turned, self.size_px)).float()
        rows = torch.tensor(same_person(batch.person.tolist(), positions), device=self.device)
        usable = rows != torch.arange(len(rows), device=self.device)
        return torch.where(usable[:, None], batch.embedding[rows].float(), own)

    def generator_losses(self, inputs: SimSwapInputs) -> StepLosses:
        """Identity, reconstruction (same person only), hinge and weak feature matching, by the recipe's weights."""
        weights = self.recipe.losses
        with self.autocast():
            made = self.generator(inputs.target, inputs.identity).float()
            terms = {"reconstruction": self._reconstruction(made, inputs)}
            terms |= feature_terms(self, made, inputs.target, inputs.landmarks, inputs.identity, inputs.positions)
            terms |= self._adversarial(made, inputs.target, inputs.step)
        total = torch.stack([getattr(weights, name) * term for name, term in terms.items()]).sum()
        return StepLosses(total, {name: term.detach() for name, term in terms.items()}, made.detach())

    def _reconstruction(self, made: torch.Tensor, inputs: SimSwapInputs) -> torch.Tensor:
        each = (made - inputs.target).abs().mean((1, 2, 3))
        return (each * inputs.is_same).mean()

    def _adversarial(self, made: torch.Tensor, target: torch.Tensor, step: int) -> dict[str, torch.Tensor]:
        assert self.discriminator is not None
        weights = self.recipe.losses
        with frozen(self.discriminator):
            judged = self.discriminator(made * 2 - 1)
            with torch.no_grad():
                real = self.discriminator(target * 2 - 1)
        terms = {"feature_matching": losses.weak_feature_matching(judged, real, weights.feature_matching_from)}
        if adversary_is_on(self.recipe, step):
            logits = [maps[-1] for maps in judged]
            terms["adversarial"] = losses.generator_adversarial(logits, weights.adversarial_form)
        return terms

    def discriminator_losses(self, inputs: SimSwapInputs, fake: torch.Tensor) -> StepLosses:
        """Real against made pictures, and the gradient penalty."""
        return discriminator_step(self, inputs.target, fake, inputs.step)

    @torch.no_grad()
    def swap(self, source: FaceBatch, target: FaceBatch) -> SwapResult:
        """The whole picture is remade; outside the target's face it is pasted back through the soft visible face."""
        from faces.masks import feather

        source, target = source.to(self.device), target.to(self.device)
        with self.autocast():
            made = self.ema(target.image, source.embedding.float())
        settings, unit = self.recipe.mask, self.size_px / 256
        soft = torch.as_tensor(feather(target.mask, settings.feather_px * unit))
        made = made.float().clamp(0, 1)
        return SwapResult(made * soft + target.image * (1 - soft), soft)


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
