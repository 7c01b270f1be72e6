"""The real methods on a batch as a whole and cut into shares, as ranks and micro-batches cut it: the same losses."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from method_fakes import TINY, tiny_batch, tiny_encoder, tiny_head
from torch import nn

from training.batch import FaceBatch
from training.config import load_recipe
from training.methods.base import Method, StepLosses, build_method
from training.methods.samae import Samae
from training.perceptual import feature_terms

WHOLE, HALVES = [range(8)], [range(4), range(4, 8)]
#: No loss waits, every loss counts.
NOW = ["losses.adversarial_from_kimg=0", "losses.r1=1", "losses.perceptual=0.5", "losses.feature_stride=2"]


def method_of(recipe: str, *overrides: str) -> Method:
    return build_method(load_recipe(recipe, [*TINY, *NOW, *overrides]), tiny_head(), tiny_encoder())


def faces_of_unequal_size() -> FaceBatch:
    """The first four faces are covered below the nose."""
    batch = tiny_batch(people=8)
    mask = batch.mask.clone()
    mask[:4, :, 14:] = 0
    return replace(batch, mask=mask)


def mean_of(made: list[StepLosses]) -> dict[str, float]:
    parts = {name: float(torch.stack([one.parts[name] for one in made]).mean()) for name in made[0].parts}
    return parts | {"total": float(torch.stack([one.total.detach() for one in made]).mean())}


def step(method: Method, shares: Sequence[range], number: int) -> tuple[dict[str, float], torch.Tensor]:
    """Mean losses of both networks over the shares, and all gradients as engines average them."""
    assert method.discriminator is not None
    batch, made, judged = faces_of_unequal_size(), [], []
    networks = (method.generator, method.discriminator)
    for network in networks:
        network.zero_grad(set_to_none=True)
    for positions in shares:
        inputs = method.prepare(batch.select(list(positions)), seed=1, positions=positions, step=number)
        made.append(method.generator_losses(inputs))
        (made[-1].total / len(shares)).backward()
        assert made[-1].fake is not None
        judged.append(method.discriminator_losses(inputs, made[-1].fake))
        (judged[-1].total / len(shares)).backward()
    gradients = [p.grad.flatten() for network in networks for p in network.parameters() if p.grad is not None]
    discriminator = {f"discriminator/{name}": value for name, value in mean_of(judged).items()}
    return mean_of(made) | discriminator, torch.cat(gradients)


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize(
    ("recipe", "overrides"),
    [
        ("samae", ["losses.adversarial=0.1"]),
        ("simswap", []),
        ("blendface", []),
    ],
)
def test_two_shares_have_the_losses_and_gradients_of_the_whole(recipe: str, overrides: list[str], number: int) -> None:
    """SimSwap and BlendFace with the statistics of their batch norms held still: docs/training.md says why."""
    method = method_of(recipe, *overrides)
    for module in method.generator.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
        elif isinstance(module, nn.Conv2d) and module.weight.abs().max() == 0:
            nn.init.normal_(module.weight, std=0.05)
    whole, gradient = step(method, WHOLE, number)
    halves, gradient_of_halves = step(method, HALVES, number)
    assert halves == pytest.approx(whole, abs=1e-4)
    assert float((gradient - gradient_of_halves).norm() / gradient.norm()) < 1e-3


def test_the_holes_of_those_shares_differ() -> None:
    method = method_of("samae", "losses.adversarial=0.1")
    assert isinstance(method, Samae)
    hole = method.prepare(faces_of_unequal_size(), seed=1, positions=range(8), step=0).conditions.hole
    assert hole[4:].sum() > 1.3 * hole[:4].sum()


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_feature_terms_of_single_pictures_have_the_mean_of_the_whole(stride: int) -> None:
    method = method_of("samae", f"losses.feature_stride={stride}")
    assert isinstance(method, Samae)
    batch = tiny_batch()
    made = 1 - batch.image

    def terms(rows: range) -> dict[str, torch.Tensor]:
        seen = batch.select(list(rows))
        return feature_terms(method, made[list(rows)], seen.image, seen.landmarks, seen.embedding, rows)

    whole, single = terms(range(8)), [terms(range(row, row + 1)) for row in range(8)]
    assert {"identity", "perceptual"} == whole.keys()
    assert all(one.keys() == whole.keys() for one in single)
    for name, value in whole.items():
        torch.testing.assert_close(torch.stack([one[name] for one in single]).mean(), value, atol=1e-5, rtol=0)
