"""The released script's form of SimSwap: projected discriminator, feature matching, the stand-in; losses by hand."""

from pathlib import Path

import pytest
import torch
from method_fakes import TINY, tiny_batch, tiny_encoder, tiny_head
from safetensors.torch import save_file

from faces.errors import SamaeError
from training import losses
from training.config import load_recipe
from training.methods.adversary import frozen
from training.methods.base import build_method
from training.methods.simswap import SimSwap
from training.networks.efficientnet import EfficientNetFeatures, SameConv, load_efficientnet
from training.networks.projected import ProjectedDiscriminator

HERE = [*TINY, "generator.multipliers=[1, 2]", "losses.feature_stride=1"]


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "tf_efficientnet_lite0.safetensors"
    save_file({**EfficientNetFeatures().state_dict(), "conv_head.weight": torch.zeros(1)}, path)
    monkeypatch.setenv("SAMAE_WEIGHTS", str(tmp_path))
    return path


def script() -> SimSwap:
    method = build_method(load_recipe("simswap-script", HERE), tiny_head(), tiny_encoder())
    assert isinstance(method, SimSwap)
    return method


def test_same_padding_is_tensorflows() -> None:
    conv = SameConv(1, 1, 3, 2, bias=False)
    conv.weight.data.fill_(1.0)
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    wanted = torch.nn.functional.conv2d(torch.nn.functional.pad(x, (0, 1, 0, 1)), conv.weight, stride=2)
    torch.testing.assert_close(conv(x), wanted)


def test_the_backbone_has_timms_parameters_and_strides(weights: Path) -> None:
    network = load_efficientnet(weights)
    # timm's tf_efficientnet_lite0 has 4,652,008; without conv_head (320 x 1280), bn2 (2 x 1280) and the classifier.
    count = sum(p.numel() for p in network.parameters())
    assert count == 4_652_008 - 320 * 1280 - 2 * 1280 - 1280 * 1000 - 1000
    assert [tuple(m.shape[1:]) for m in network(torch.rand(1, 3, 64, 64))] == [
        (24, 16, 16), (40, 8, 8), (112, 4, 4), (320, 2, 2),
    ]  # fmt: skip


def test_a_foreign_weights_file_is_refused(tmp_path: Path) -> None:
    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(SamaeError, match="lacks the EfficientNet-lite0 tensors"):
        load_efficientnet(tmp_path / "other.safetensors")


def test_the_frozen_part_is_neither_trained_nor_saved(weights: Path) -> None:
    judge = ProjectedDiscriminator(load_efficientnet(weights), 64)
    assert not any("conv_stem" in name or "ccm" in name for name in judge.state_dict())
    assert all(parameter.requires_grad for parameter in judge.parameters())
    judge.double()
    (maps,) = judge.float()(torch.rand(2, 3, 64, 64))
    assert maps[0].shape[0] == 2
    again = ProjectedDiscriminator(load_efficientnet(weights), 64)
    x = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(judge._frozen[1](judge._frozen[0](x)), again._frozen[1](again._frozen[0](x)))


def test_the_script_matches_the_deepest_frozen_feature(weights: Path) -> None:
    method = build_method(load_recipe("simswap-script", [*HERE, "size_px=64"]), tiny_head(), tiny_encoder())
    assert isinstance(method, SimSwap)
    assert isinstance(method.discriminator, ProjectedDiscriminator)
    assert any("projected discriminator on the features" in note for note in method.notes)
    made, target = torch.rand(2, 3, 64, 64), torch.rand(2, 3, 64, 64)
    with frozen(method.discriminator):
        terms = method._adversarial(made, target, step=0)
    features = load_efficientnet(weights)
    wanted = (features(made)[3] - features(target)[3]).abs().mean()
    torch.testing.assert_close(terms["feature_matching"], wanted, atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(
        terms["adversarial"], -method.discriminator(made * 2 - 1)[0][0].mean(), atol=1e-4, rtol=1e-3
    )


def test_without_the_weights_a_patchgan_stands_in_and_the_run_says_so() -> None:
    method = script()
    assert not isinstance(method.discriminator, ProjectedDiscriminator)
    assert any("tf_efficientnet_lite0" in note and "stands in" in note for note in method.notes)
    assert (
        "feature_matching"
        in method.generator_losses(method.prepare(tiny_batch(), seed=0, positions=range(8), step=0)).parts
    )


def test_the_two_recipes_have_the_two_sources_weights() -> None:
    paper, code = load_recipe("simswap-224"), load_recipe("simswap-script")
    assert (paper.losses.identity, paper.losses.reconstruction, paper.losses.feature_matching) == (10, 10, 10)
    assert (paper.losses.adversarial, paper.losses.adversarial_form, paper.losses.r1) == (1, "hinge", 1e-5)
    # The script's 10 are on pictures that are divided by ImageNet's deviations, 4.43 times as large as ours.
    imagenet = sum(1 / deviation for deviation in (0.229, 0.224, 0.225)) / 3
    assert (code.losses.identity, code.losses.feature_matching) == (30, 10)
    assert code.losses.reconstruction == round(10 * imagenet)
    assert (code.losses.r1, code.discriminator.kind, code.train.batch_size) == (0, "projected", 16)
    assert (code.optimiser.learning_rate, code.optimiser.beta1, code.optimiser.beta2) == (4e-4, 0.0, 0.99)


def test_weak_feature_matching_leaves_the_early_layers_out() -> None:
    made = [[torch.full((1, 1, 2, 2), v) for v in (1.0, 2.0, 3.0, 9.0)]]
    target = [[torch.zeros(1, 1, 2, 2)] * 4]
    assert losses.weak_feature_matching(made, target, 0).item() == pytest.approx((1 + 2 + 3) / 3)
    assert losses.weak_feature_matching(made, target, 1).item() == pytest.approx((2 + 3) / 2)
    assert losses.weak_feature_matching(made, target, 2).item() == pytest.approx(3)


def test_reconstruction_by_hand_counts_the_same_person_alone() -> None:
    made, target = torch.full((2, 3, 2, 2), 0.75), torch.full((2, 3, 2, 2), 0.25)
    is_same = torch.tensor([1.0, 0.0])
    assert losses.same_identity(made, target, is_same).item() == pytest.approx(0.25)
    assert losses.same_identity(made, target, is_same, "half_squared").item() == pytest.approx(0.0625)
