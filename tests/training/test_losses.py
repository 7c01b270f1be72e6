"""Every loss against a value worked out by hand."""

import math

import pytest
import torch

from training import losses


def test_l1_with_and_without_weights() -> None:
    made, truth = torch.zeros(1, 3, 2, 2), torch.zeros(1, 3, 2, 2)
    made[0, :, 0, 0] = 1.0
    weight = torch.zeros(1, 1, 2, 2)
    weight[0, 0, 0] = 1.0
    assert losses.l1(made, truth).item() == pytest.approx(0.25)
    assert losses.l1(made, truth, weight).item() == pytest.approx(0.5)


def test_every_picture_counts_the_same_however_much_of_it_is_weighed() -> None:
    made, truth = torch.ones(3, 3, 4, 4), torch.zeros(3, 3, 4, 4)
    made[1] *= 0.5
    weight = torch.zeros(3, 1, 4, 4)
    weight[0, :, 0], weight[1] = 1.0, 1.0  # a row of the first, all of the second, nothing of the third
    assert losses.l1(made, truth, weight).item() == pytest.approx((1.0 + 0.5 + 0.0) / 3)


def test_detail_sees_edges_but_no_offsets() -> None:
    truth = torch.zeros(1, 1, 4, 4)
    assert losses.detail(truth + 0.5, truth).item() == 0
    edge = truth.clone()
    edge[..., 2:] = 1.0  # one edge across: 4 of 12 neighbours differ; none down
    assert losses.detail(edge, truth).item() == pytest.approx((4 / 12) / 2)


def test_identity_distance_is_one_minus_cosine() -> None:
    a, b = torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([[0.0, 1.0], [-1.0, 0.0]])
    assert losses.identity_distance(a, b).item() == pytest.approx(1.5)


def test_feature_distance_ignores_the_length_of_vectors() -> None:
    map_ = torch.randn(2, 5, 3, 3)
    assert losses.feature_distance([map_], [map_ * 7]).item() == pytest.approx(0, abs=1e-6)
    opposite = losses.feature_distance([map_, map_], [-map_, map_])
    assert opposite.item() == pytest.approx(2.0, rel=1e-5)  # |2u|^2 = 4 in one of two layers


@pytest.mark.parametrize(("form", "wanted"), [("hinge", -2.0), ("nonsaturating", math.log(1 + math.exp(-2.0)))])
def test_the_generators_adversarial_loss(form: str, wanted: float) -> None:
    assert losses.generator_adversarial([torch.full((2, 1, 2, 2), 2.0)], form).item() == pytest.approx(wanted)


def test_the_discriminators_losses() -> None:
    real, fake = [torch.full((1, 1, 2, 2), 0.5)], [torch.full((1, 1, 2, 2), -3.0)]
    assert losses.discriminator_adversarial(real, fake, "hinge").item() == pytest.approx(0.5)
    wanted = math.log(1 + math.exp(-0.5)) + math.log(1 + math.exp(-3.0))
    assert losses.discriminator_adversarial(real, fake, "nonsaturating").item() == pytest.approx(wanted)


def test_r1_of_a_linear_judge_is_half_its_squared_weights() -> None:
    weight = torch.tensor(2.0, requires_grad=True)

    def judge(x: torch.Tensor) -> list[list[torch.Tensor]]:
        return [[weight * x.sum((1, 2, 3), keepdim=True)]]

    penalty = losses.r1_penalty(judge, torch.rand(3, 1, 2, 2))
    assert penalty.item() == pytest.approx(4 * 2**2 / 2)  # four pixels, each with the gradient 2
    penalty.backward()
    assert weight.grad is not None
    assert weight.grad.item() == pytest.approx(8.0)  # d(4 w^2 / 2)/dw = 4 w


def test_weak_feature_matching_takes_the_last_layers_only() -> None:
    def maps(values: list[float]) -> list[list[torch.Tensor]]:
        return [[torch.full((1, 1, 2, 2), value) for value in values]]

    made, target = maps([9.0, 1.0, 2.0, 50.0]), maps([0.0, 0.0, 0.0, 0.0])
    assert losses.weak_feature_matching(made, target, 1).item() == pytest.approx(1.5)
    assert losses.weak_feature_matching(made, target, 2).item() == pytest.approx(2.0)
    assert losses.weak_feature_matching(made, target, 0).item() == pytest.approx(4.0)


def test_detail_weighs_each_difference_by_its_later_pixel() -> None:
    truth, made, weight = torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4)
    made[..., 2:, :] = 1.0  # one edge, from the second row to the third
    weight[..., 2:, :] = 1.0
    assert losses.detail(made, truth, weight).item() == pytest.approx((4 / 8 + 0) / 2)
    assert losses.detail(made.mT.contiguous(), truth, weight.mT.contiguous()).item() == pytest.approx((4 / 8 + 0) / 2)


def test_the_targets_features_teach_the_generator_alone() -> None:
    made, target = ([[torch.rand(1, 1, 2, 2, requires_grad=True) for _ in range(3)]] for _ in range(2))
    losses.weak_feature_matching(made, target, 0).backward()
    assert made[0][0].grad is not None
    assert target[0][0].grad is None


def test_r1_takes_the_mean_of_a_pictures_map_and_of_the_scales() -> None:
    def judge(x: torch.Tensor) -> list[list[torch.Tensor]]:
        """Maps of four places: each picture's mean has the slope 1/4 of its factor."""
        return [[2 * x], [x]]

    assert losses.r1_penalty(judge, torch.rand(3, 1, 2, 2)).item() == pytest.approx(4 * (1.5 / 4) ** 2 / 2)
