"""Colour jitter and mirroring."""

import torch

from training.augment import (
    LUMA,
    MIRROR_68,
    colour_jitter,
    flips,
    hue_matrices,
    jitter_factors,
    mirror,
    mirror_landmarks,
)
from training.config import IdentitySettings


def test_unchanged_factors_change_nothing() -> None:
    images = torch.rand(2, 3, 8, 8)
    same = torch.tensor([[1.0, 1.0, 1.0, 0.0]]).expand(2, 4)
    torch.testing.assert_close(colour_jitter(images, same), images, atol=1e-5, rtol=0)


def test_each_factor_does_its_one_thing() -> None:
    images = torch.rand(1, 3, 8, 8) * 0.4 + 0.2
    luma = torch.tensor(LUMA)[:, None, None]

    def jitter(*factors: float) -> torch.Tensor:
        return colour_jitter(images, torch.tensor([factors]))

    torch.testing.assert_close(jitter(1.2, 1, 1, 0), images * 1.2, atol=1e-5, rtol=0)
    grey = jitter(1, 1, 0, 0)
    torch.testing.assert_close(grey, (images * luma).sum(1, keepdim=True).expand_as(images), atol=1e-5, rtol=0)
    flat = jitter(1, 0, 1, 0)
    assert flat.std() < 1e-5
    turned = jitter(1, 1, 1, 0.05)
    torch.testing.assert_close((turned * luma).sum(1), (images * luma).sum(1), atol=2e-3, rtol=0)
    assert (turned - images).abs().max() > 0.01


def test_hue_turns_add_up() -> None:
    a, b, both = hue_matrices(torch.tensor([0.03, 0.07, 0.10]))
    torch.testing.assert_close(a @ b, both, atol=1e-5, rtol=0)


def test_a_pictures_draw_depends_on_its_place_alone() -> None:
    settings = IdentitySettings()
    together, apart = jitter_factors(settings, 3, [5, 6, 7]), jitter_factors(settings, 3, [7])
    torch.testing.assert_close(together[2], apart[0], atol=0, rtol=0)
    assert not torch.equal(together[0], together[1])
    assert not torch.equal(jitter_factors(settings, 4, [7]), apart)


def test_jitter_stays_within_its_settings() -> None:
    factors = jitter_factors(IdentitySettings(brightness=0.2, contrast=0.0, saturation=0.4, hue=0.1), 0, range(200))
    assert factors[:, 0].min() >= 0.8
    assert factors[:, 0].max() <= 1.2
    assert (factors[:, 1] == 1).all()
    assert factors[:, 3].abs().max() <= 0.1
    assert factors[:, 2].std() > 0.15


def test_mirroring_twice_is_nothing_and_pairs_left_with_right() -> None:
    assert sorted(MIRROR_68) == list(range(68))
    assert [MIRROR_68[MIRROR_68[i]] for i in range(68)] == list(range(68))
    assert (MIRROR_68[36], MIRROR_68[48], MIRROR_68[8], MIRROR_68[30]) == (45, 54, 8, 30)
    chosen, pictures, marks = torch.tensor([True, False]), torch.rand(2, 3, 4, 4), torch.rand(2, 68, 2) * 4
    torch.testing.assert_close(mirror(mirror(pictures, chosen), chosen), pictures)
    torch.testing.assert_close(mirror_landmarks(mirror_landmarks(marks, chosen, 4), chosen, 4), marks)
    torch.testing.assert_close(mirror_landmarks(marks, chosen, 4)[1], marks[1])
    assert mirror_landmarks(marks, chosen, 4)[0, 45, 0] == 4 - marks[0, 36, 0]


def test_about_half_of_the_pictures_turn() -> None:
    assert 0.4 < flips(0, range(400)).float().mean() < 0.6
