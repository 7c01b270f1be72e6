"""The discriminator's step, which all adversarial methods share."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from training import losses
from training.config import Recipe
from training.methods.base import MethodBase, StepLosses


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Within the block the module's parameters ask for no gradient (its inputs still pass theirs on)."""
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)


def adversary_is_on(recipe: Recipe, step: int) -> bool:
    """Whether the generator already feels the discriminator, which learns from the first update on."""
    return step * recipe.train.batch_size >= recipe.losses.adversarial_from_kimg * 1000


def discriminator_step(method: MethodBase, real: torch.Tensor, fake: torch.Tensor, step: int) -> StepLosses:
    """Real against made pictures (N, 3, S, S) 0..1, and R1 at the real ones every `r1_every_steps` updates.

    The lazy R1 is multiplied by its distance in steps (StyleGAN2, appendix B).
    """
    judge, weights = method.discriminator, method.recipe.losses
    if judge is None:
        raise ValueError("this method was built without a discriminator (losses.adversarial is 0)")
    count = len(real)
    with method.autocast():
        both = judge(torch.cat([real, fake.detach()]) * 2 - 1)
        logits = [maps[-1] for maps in both]
        total = losses.discriminator_adversarial(
            [scale[:count] for scale in logits], [scale[count:] for scale in logits], weights.adversarial_form
        )
    parts = {
        "discriminator": total.detach(),
        "discriminator_real": torch.stack([scale[:count].float().mean() for scale in logits]).mean().detach(),
        "discriminator_fake": torch.stack([scale[count:].float().mean() for scale in logits]).mean().detach(),
    }
    if weights.r1 > 0 and step % weights.r1_every_steps == 0:
        penalty = losses.r1_penalty(judge, real * 2 - 1)
        total = total + weights.r1 * weights.r1_every_steps * penalty
        parts["r1"] = penalty.detach()
    return StepLosses(total, parts)
