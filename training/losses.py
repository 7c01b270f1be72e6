"""The losses of all methods. Pictures are sRGB 0..1, (N, 3, S, S); every loss is a float32 scalar.

Each is a mean over pictures, so that a batch cut into equal shares (ranks, micro-batches) has the same loss as a whole.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F

Maps = list[torch.Tensor]


def l1(made: torch.Tensor, truth: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    """Mean absolute difference; with `weight` (N, 1, S, S) each picture's weighted mean over its own support (0 where
    there is none), mean over pictures."""
    difference = (made.float() - truth.float()).abs()
    if weight is None:
        return difference.mean()
    support = weight.sum((1, 2, 3)) * made.shape[1]
    return ((difference * weight).sum((1, 2, 3)) / support.clamp_min(1.0)).mean()


def detail(made: torch.Tensor, truth: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    """L1 of the differences between neighbouring pixels, down and across: punishes fog more than L1 does (ours)."""
    error = made.float() - truth.float()
    down, across = error[..., 1:, :] - error[..., :-1, :], error[..., 1:] - error[..., :-1]
    if weight is None:
        return (down.abs().mean() + across.abs().mean()) / 2
    parts = (
        l1(down, torch.zeros_like(down), weight[..., 1:, :]),
        l1(across, torch.zeros_like(across), weight[..., 1:]),
    )
    return (parts[0] + parts[1]) / 2


def same_identity(made: torch.Tensor, target: torch.Tensor, is_same: torch.Tensor, form: str = "l1") -> torch.Tensor:
    """Reconstruction that counts only where source and target are one person (is_same (N,) 0 or 1), mean over pictures.

    form: "l1" (SimSwap) or "half_squared", 0.5 * MSE (maum-ai/faceshifter, which BlendFace builds on).
    """
    difference = made.float() - target.float()
    each = difference.abs() if form == "l1" else 0.5 * difference.square()
    return (each.mean((1, 2, 3)) * is_same).mean()


def identity_distance(made: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Mean of 1 - cos of unit vectors (N, M) (SimSwap, equation 3; the form for SAMAE is ours)."""
    return (1 - (made.float() * wanted.float()).sum(-1)).mean()


def feature_distance(made: Maps, truth: Maps) -> torch.Tensor:
    """Squared difference of maps whose vectors are scaled to unit length at every place, mean over places, summed over
    layers and divided by their number (LPIPS, Zhang et al. 2018, section 3, with all channel weights one)."""
    terms = []
    for a, b in zip(made, truth, strict=True):
        a, b = F.normalize(a.float(), dim=1), F.normalize(b.float(), dim=1)
        terms.append((a - b).square().sum(1).mean())
    return torch.stack(terms).mean()


def generator_adversarial(logits: Maps, form: str) -> torch.Tensor:
    """The generator's side: -mean(D) ("hinge") or softplus(-D) ("nonsaturating"), mean over scales."""
    if form == "hinge":
        return torch.stack([-scale.float().mean() for scale in logits]).mean()
    return torch.stack([F.softplus(-scale.float()).mean() for scale in logits]).mean()


def discriminator_adversarial(real: Maps, fake: Maps, form: str) -> torch.Tensor:
    """relu(1 - D(real)) + relu(1 + D(fake)) (hinge), or softplus(-D(real)) + softplus(D(fake)); mean over scales."""
    if form == "hinge":
        terms = [F.relu(1 - r.float()).mean() + F.relu(1 + f.float()).mean() for r, f in zip(real, fake, strict=True)]
    else:
        terms = [F.softplus(-r.float()).mean() + F.softplus(f.float()).mean() for r, f in zip(real, fake, strict=True)]
    return torch.stack(terms).mean()


def r1_penalty(judge: Callable[[torch.Tensor], list[Maps]], real: torch.Tensor) -> torch.Tensor:
    """R1 (Mescheder et al. 2018, equation 9): mean over pictures of |d D / d picture|^2 / 2, in float32, where D of
    a picture is the mean of its logits over patches and scales (ours).

    `judge` must be the bare discriminator: torch.autograd.grad does not survive an engine's wrapper.
    """
    pictures = real.detach().float().requires_grad_(True)
    with torch.autocast(pictures.device.type, enabled=False):
        total = torch.stack([maps[-1].float().mean((1, 2, 3)).sum() for maps in judge(pictures)]).mean()
        (gradient,) = torch.autograd.grad(total, pictures, create_graph=True)
    return gradient.square().sum((1, 2, 3)).mean() / 2


def weak_feature_matching(made: list[Maps], target: list[Maps], first_layer: int) -> torch.Tensor:
    """SimSwap's weak feature matching (section 3.3): L1 of the discriminator's maps from `first_layer` to the last map
    before the logits, all scales. Earlier layers carry texture and would hold the identity back."""
    terms = []
    for made_maps, target_maps in zip(made, target, strict=True):
        chosen = list(zip(made_maps[:-1], target_maps[:-1], strict=True))[first_layer:]
        terms += [(a.float() - b.detach().float()).abs().mean() for a, b in chosen]
    return torch.stack(terms).mean()
