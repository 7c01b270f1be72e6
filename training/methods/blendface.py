"""BlendFace's swapper (Shiohara, Yang, Taketomi, ICCV 2023, arXiv 2307.10854): AEI-Net, a mask head, cycle consistency.

    L = L_adv + L_mask + l1 L_id + l2 L_recon + l3 L_cycle       (confirmed by the author; weights and forms unknown)

Known from the released inference code: the network (training/networks/aei.py), output G m + T (1 - m), averaged
weights of generator, attribute encoder and mask head. The swapper's training code was never released: identity 5,
reconstruction 10 as 0.5 * MSE on same-identity pairs and the hinge are maum-ai/faceshifter's, which it builds on; the
mask loss (binary cross-entropy against the target's visible face), the cycle's form (L1 after the target's own
identity went back into the result), the weights of both, R1, and the alternation of same and cross identity are ours.
"""

import torch
import torch.nn.functional as F

from faces.morphable.base import MorphableHead
from training import losses
from training.batch import FaceBatch, SwapResult
from training.config import Recipe
from training.methods.adversary import adversary_is_on, frozen
from training.methods.base import EncoderLike, StepLosses
from training.methods.pairs import PairInputs, PairMethod
from training.networks.aei import AeiNet
from training.perceptual import feature_terms


class BlendFace(PairMethod):
    """BlendFace as the trainer drives it; see training/methods/base.py."""

    name = "blendface"
    generator: AeiNet
    ema: AeiNet

    def __init__(self, recipe: Recipe, head: MorphableHead, encoder: EncoderLike, device: torch.device) -> None:
        size = recipe.generator
        generator = AeiNet(encoder.dim, width=size.width, multipliers=size.multipliers)
        super().__init__(recipe, head, encoder, generator, device)

    def generator_losses(self, inputs: PairInputs) -> StepLosses:
        """Adversarial, mask, identity, reconstruction (same person only) and cycle, by the recipe's weights."""
        weights = self.recipe.losses
        with self.autocast():
            made, logits = self.generator(inputs.target, inputs.identity)
            made = made.float()
            form = weights.reconstruction_form
            terms = {
                "reconstruction": losses.same_identity(made, inputs.target, inputs.is_same, form),
                "mask": F.binary_cross_entropy_with_logits(logits.float(), inputs.mask),
            }
            terms |= feature_terms(self, made, inputs.target, inputs.landmarks, inputs.identity, inputs.positions)
            if weights.cycle > 0:
                terms["cycle"] = losses.l1(self.generator(made, inputs.own)[0], inputs.target)
            if self.discriminator is not None and adversary_is_on(self.recipe, inputs.step):
                with frozen(self.discriminator):
                    judged = [maps[-1] for maps in self.discriminator(made * 2 - 1)]
                terms["adversarial"] = losses.generator_adversarial(judged, weights.adversarial_form)
        total = torch.stack([getattr(weights, name) * term for name, term in terms.items()]).sum()
        return StepLosses(total, {name: term.detach() for name, term in terms.items()}, made.detach())

    @torch.no_grad()
    def swap(self, source: FaceBatch, target: FaceBatch) -> SwapResult:
        """The averaged network's own blend: its mask head says what changed."""
        source, target = source.to(self.device), target.to(self.device)
        with self.autocast():
            made, logits = self.ema(target.image, source.embedding.float())
        return SwapResult(made.float().clamp(0, 1), torch.sigmoid(logits.float()))
