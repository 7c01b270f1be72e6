"""BlendFace's swapper: the official sizes, its losses by hand, alternation, averaged weights, swaps."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from method_fakes import SIZE_PX, TINY, tiny_batch, tiny_encoder, tiny_head

from faces.errors import SamaeError
from training.config import load_recipe
from training.methods.base import build_method
from training.methods.blendface import BlendFace
from training.networks.aei import AadLayer, AeiNet

HERE = [*TINY, "generator.width=4", "generator.multipliers=[1, 2, 2, 2]"]


def blendface(*overrides: str) -> BlendFace:
    method = build_method(load_recipe("blendface", [*HERE, *overrides]), tiny_head(), tiny_encoder())
    assert isinstance(method, BlendFace)
    return method


def test_the_official_network_has_the_counted_parameters() -> None:
    recipe = load_recipe("blendface-256")
    with torch.device("meta"):
        network = AeiNet(512, width=recipe.generator.width, multipliers=recipe.generator.multipliers)
    counts = [sum(p.numel() for p in part.parameters()) for part in (network.encoder, network.generator)]
    assert counts == [67_092_800, 283_029_403]


def test_the_attribute_maps_double_from_the_deepest_to_the_picture() -> None:
    network = AeiNet(16, width=4, multipliers=[1, 2, 2, 2])
    maps = network.encoder(torch.rand(2, 3, 32, 32))
    assert [tuple(m.shape[1:]) for m in maps] == [(8, 2, 2), (16, 4, 4), (16, 8, 8), (8, 16, 16), (8, 32, 32)]


def test_attention_chooses_between_attribute_and_identity() -> None:
    torch.manual_seed(0)
    layer = AadLayer(4, 3, 5).eval()
    x, attribute, identity = torch.randn(2, 4, 6, 6), torch.randn(2, 3, 6, 6), torch.randn(2, 5)
    layer.attention.weight.data.zero_()
    normed = layer.norm(x)
    for bias, other in ((50.0, "attribute"), (-50.0, "identity")):
        layer.attention.bias.data.fill_(bias)
        made = layer(x, attribute, identity)
        if other == "attribute":  # all attention on the identity: the attribute map does not matter
            torch.testing.assert_close(made, layer(x, attribute + 1, identity))
            scale, shift = layer.identity_scale(identity), layer.identity_shift(identity)
            torch.testing.assert_close(made, normed * scale[:, :, None, None] + shift[:, :, None, None])
        else:
            torch.testing.assert_close(made, layer(x, attribute, identity + 1))


def test_the_losses_are_the_ones_by_hand() -> None:
    method = blendface("losses.feature_stride=1", "losses.cycle=2", "losses.mask=3")
    inputs = method.prepare(tiny_batch(), seed=0, positions=range(8), step=0)
    torch.manual_seed(3)
    method.generator.eval()
    losses = method.generator_losses(inputs)
    with torch.no_grad():
        made, logits = method.generator(inputs.target, inputs.identity)
        cycled, _ = method.generator(made, inputs.own)
        embedded = tiny_encoder().embed_tensor(made, inputs.landmarks)
    share = torch.sigmoid(logits)
    wanted = {
        "reconstruction": 0.5 * (made - inputs.target).square().mean(),
        "mask": -(inputs.mask * share.log() + (1 - inputs.mask) * (1 - share).log()).mean(),
        "cycle": (cycled - inputs.target).abs().mean(),
        "identity": 1 - F.cosine_similarity(embedded, inputs.identity).mean(),
    }
    assert set(losses.parts) == set(wanted)
    for name, value in wanted.items():
        torch.testing.assert_close(losses.parts[name], value, atol=1e-5, rtol=1e-4)
    total = sum(getattr(method.recipe.losses, name) * value for name, value in wanted.items())
    torch.testing.assert_close(losses.total.detach(), total, atol=1e-4, rtol=1e-4)


def test_reconstruction_counts_for_one_person_only() -> None:
    method, batch = blendface(), tiny_batch(people=8)
    odd = method.prepare(batch, seed=0, positions=range(8), step=1)
    assert odd.is_same.tolist() == [0.0] * 8
    assert method.generator_losses(odd).parts["reconstruction"] == 0
    even = method.prepare(batch, seed=0, positions=range(8), step=2)
    assert method.generator_losses(even).parts["reconstruction"] > 0


def test_every_weight_learns_and_the_averaged_ones_follow() -> None:
    method = blendface("losses.adversarial_from_kimg=0", "train.ema_halflife_kimg=0.008", "train.ema_rampup_ratio=1.0")
    losses = method.generator_losses(method.prepare(tiny_batch(), seed=0, positions=range(8), step=0))
    losses.total.backward()
    assert "adversarial" in losses.parts
    assert [name for name, p in method.generator.named_parameters() if p.grad is None] == []
    assert method.discriminator is not None
    assert all(p.grad is None for p in method.discriminator.parameters())
    for part in ("encoder.down.0.0.weight", "generator.blocks.0.convs.0.weight", "mask.weight"):
        before = method.ema.get_parameter(part).clone()
        with torch.no_grad():
            method.generator.get_parameter(part).add_(1.0)
        method.update_ema(8, samples_seen=1_000_000)
        assert (method.ema.get_parameter(part) - before).abs().max() > 0.4


def test_a_swap_blends_by_the_mask_head() -> None:
    method, batch = blendface(), tiny_batch()
    method.ema.mask.weight.data.zero_()
    method.ema.mask.bias.data.fill_(-40.0)
    result = method.swap(batch.select([4, 5]), batch.select([0, 1]))
    torch.testing.assert_close(result.image, batch.image[:2])
    assert result.mask.max() < 1e-6
    method.ema.mask.bias.data.fill_(40.0)
    changed = method.swap(batch.select([4, 5]), batch.select([0, 1]))
    other = method.swap(replace(batch.select([4, 5]), embedding=-batch.embedding[[4, 5]]), batch.select([0, 1]))
    assert (changed.image - batch.image[:2]).abs().max() > 0.05
    assert (changed.image - other.image).abs().max() > 1e-5
    assert changed.image.shape == (2, 3, SIZE_PX, SIZE_PX)


def test_it_needs_two_pictures_in_a_batch_and_a_fitting_size() -> None:
    with pytest.raises(SamaeError, match="2 or more"):
        blendface("train.batch_size=1")
    with pytest.raises(SamaeError, match="not a multiple of 16"):
        blendface("size_px=40")
