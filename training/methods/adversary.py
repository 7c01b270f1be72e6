"""The discriminator's step, which all adversarial methods share."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from training import losses
from training.config import Recipe
from training.methods.base import MethodBase, StepLosses
from training.networks.efficientnet import FILES, efficientnet_path, load_efficientnet
from training.networks.patchgan import MultiScaleDiscriminator
from training.networks.projected import ProjectedDiscriminator


def discriminator_for(recipe: Recipe) -> tuple[nn.Module | None, list[str]]:
    """The discriminator that a recipe names (None when it weighs nothing), and what the run should say about it."""
    judge, weights = recipe.discriminator, recipe.losses
    if weights.adversarial == 0 and weights.feature_matching == 0:
        return None, []
    if judge.kind == "projected":
        path = efficientnet_path()
        if path is not None:
            return ProjectedDiscriminator(load_efficientnet(path), recipe.size_px), [
                f"projected discriminator on the features of {path.name}"
            ]
    network = MultiScaleDiscriminator(3, width=judge.width, layers=judge.layers, scales=judge.scales)
    if judge.kind == "projected":
        return network, [
            f"the projected discriminator's weights are missing, so a multi-scale PatchGAN stands in for it: put "
            f"timm's {FILES[1]} into a folder named by SAMAE_WEIGHTS to train the released script's form"
        ]
    return network, []


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
        if isinstance(judge, ProjectedDiscriminator):  # its batch norms see one kind at a time, as in the script
            on_fake, on_real = ([maps[-1] for maps in judge(part * 2 - 1)] for part in (fake.detach(), real))
        else:
            both = [maps[-1] for maps in judge(torch.cat([real, fake.detach()]) * 2 - 1)]
            on_real, on_fake = [scale[:count] for scale in both], [scale[count:] for scale in both]
        total = losses.discriminator_adversarial(on_real, on_fake, weights.adversarial_form)
    parts = {
        "discriminator": total.detach(),
        "discriminator_real": torch.stack([scale.float().mean() for scale in on_real]).mean().detach(),
        "discriminator_fake": torch.stack([scale.float().mean() for scale in on_fake]).mean().detach(),
    }
    if weights.r1 > 0 and step % weights.r1_every_steps == 0:
        penalty = losses.r1_penalty(judge, real * 2 - 1)
        total = total + weights.r1 * weights.r1_every_steps * penalty
        parts["r1"] = penalty.detach()
    return StepLosses(total, parts)
