"""Margin losses: ArcFace (arXiv 1801.07698, equation 3) and CosFace (arXiv 1801.09414, equation 4)."""

import math

import torch
from torch import nn
from torch.nn import functional

from training.encoder.recipe import EncoderRecipe


class MarginHead(nn.Module):
    """Class centres with a margin. (N, dim) unit embeddings and (N,) labels -> (N, people) logits."""

    def __init__(self, recipe: EncoderRecipe, people: int) -> None:
        super().__init__()
        self.recipe = recipe
        self.centres = nn.Parameter(torch.randn(people, recipe.dim) * 0.05)

    def forward(self, embeddings: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """(N, dim) unit embeddings, (N,) labels 0..people-1 -> (N, people) logits for cross entropy."""
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
