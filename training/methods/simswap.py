"""SimSwap (Chen et al., ACM MM 2020, arXiv 2106.06340): identity injected into the bottleneck of an encoder-decoder.

Paper's weights (recipe simswap-224): identity 10, reconstruction 10 (only where source and target are one person),
adversarial 1 (hinge), weak feature matching 10 on the last layers of a multi-scale PatchGAN, gradient penalty 1e-5
(ours: R1, every 16 steps). The released train.py (recipe simswap-script): identity 30, no gradient penalty, a projected
discriminator, and L1 x 10 of its deepest frozen feature in place of the weak matching. Same and cross identity come by
turns (training/methods/pairs.py).
"""

import torch

from faces.morphable.base import MorphableHead
from training import losses
from training.batch import FaceBatch, SwapResult
from training.config import Recipe
from training.methods.adversary import adversary_is_on, frozen
from training.methods.base import EncoderLike, StepLosses
from training.methods.pairs import PairInputs, PairMethod
from training.networks.projected import ProjectedDiscriminator
from training.networks.simswap import SimSwapGenerator
from training.perceptual import feature_terms


class SimSwap(PairMethod):
    """SimSwap as the trainer drives it; see training/methods/base.py."""

    name = "simswap"

    def __init__(self, recipe: Recipe, head: MorphableHead, encoder: EncoderLike, device: torch.device) -> None:
        size = recipe.generator
        generator = SimSwapGenerator(encoder.dim, width=size.width, multipliers=size.multipliers, blocks=size.blocks)
        super().__init__(recipe, head, encoder, generator, device)

    def generator_losses(self, inputs: PairInputs) -> StepLosses:
        """Identity, reconstruction (same person only), hinge and weak feature matching, by the recipe's weights."""
        weights = self.recipe.losses
        with self.autocast():
            made = self.generator(inputs.target, inputs.identity).float()
            form = weights.reconstruction_form
            terms = {"reconstruction": losses.same_identity(made, inputs.target, inputs.is_same, form)}
            terms |= feature_terms(self, made, inputs.target, inputs.landmarks, inputs.identity, inputs.positions)
            if self.discriminator is not None:
                terms |= self._adversarial(made, inputs.target, inputs.step)
        total = torch.stack([getattr(weights, name) * term for name, term in terms.items()]).sum()
        return StepLosses(total, {name: term.detach() for name, term in terms.items()}, made.detach())

    def _adversarial(self, made: torch.Tensor, target: torch.Tensor, step: int) -> dict[str, torch.Tensor]:
        assert self.discriminator is not None
        weights = self.recipe.losses
        terms: dict[str, torch.Tensor] = {}
        with frozen(self.discriminator):
            judged = self.discriminator(made * 2 - 1)
            if weights.feature_matching > 0:
                terms["feature_matching"] = self._feature_matching(judged, made * 2 - 1, target * 2 - 1)
        if adversary_is_on(self.recipe, step):
            logits = [maps[-1] for maps in judged]
            terms["adversarial"] = losses.generator_adversarial(logits, weights.adversarial_form)
        return terms

    def _feature_matching(
        self, judged: list[list[torch.Tensor]], made: torch.Tensor, target: torch.Tensor
    ) -> torch.Tensor:
        """The released script's form with a projected discriminator, the paper's with a PatchGAN; -1..1 pictures."""
        assert self.discriminator is not None
        if isinstance(self.discriminator, ProjectedDiscriminator):
            with torch.no_grad():
                wanted = self.discriminator.deepest(target)
            return losses.l1(self.discriminator.deepest(made), wanted)
        with torch.no_grad():
            real = self.discriminator(target)
        return losses.weak_feature_matching(judged, real, self.recipe.losses.feature_matching_from)

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
