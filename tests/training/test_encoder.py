"""training/encoder and training/verification.py: margins, blending and figures by hand, and a network that learns."""

import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from faces.errors import SamaeError
from faces.identity.encoder import save_encoder
from faces.identity.registry import KNOWN_ENCODERS, find_weights
from training.encoder import CropSet, EncoderRecipe, augment, check, margin_logits, train_encoder
from training.encoder.blend import Blender
from training.encoder.loop import EncoderRun, embed_crops, epoch_batches
from training.encoder.margin import MarginHead
from training.verification import verify


def test_arcface_adds_the_margin_to_the_true_angle_alone() -> None:
    cosine = torch.tensor([[0.8, 0.1], [0.3, -0.2]])
    logits = margin_logits(cosine, torch.tensor([0, 1]), "arcface", 64.0, 0.5)
    assert logits[0, 0].item() == pytest.approx(64 * math.cos(math.acos(0.8) + 0.5), abs=1e-4)
    assert logits[1, 1].item() == pytest.approx(64 * math.cos(math.acos(-0.2) + 0.5), abs=1e-4)
    assert logits[0, 1].item() == pytest.approx(6.4)
    assert logits[1, 0].item() == pytest.approx(19.2)


def test_cosface_subtracts_the_margin_from_the_true_cosine() -> None:
    logits = margin_logits(torch.tensor([[0.8, 0.1]]), torch.tensor([0]), "cosface", 30.0, 0.35)
    assert logits[0].tolist() == pytest.approx([30 * 0.45, 3.0])


@pytest.mark.parametrize("loss", ["arcface", "cosface"])
def test_a_face_exactly_at_its_centre_has_a_gradient(loss: str) -> None:
    cosine = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], requires_grad=True)
    margin_logits(cosine, torch.tensor([0, 0]), loss, 64.0, 0.5).sum().backward()
    assert cosine.grad is not None
    assert torch.isfinite(cosine.grad).all()


def test_the_length_of_a_centre_says_nothing() -> None:
    head = MarginHead(SMALL, 3)
    embeddings = torch.nn.functional.normalize(torch.randn(5, SMALL.dim, generator=torch.Generator().manual_seed(0)))
    labels = torch.tensor([0, 1, 2, 0, 1])
    before = head(embeddings, labels)
    with torch.no_grad():
        head.centres.mul_(torch.tensor([[0.1], [1.0], [20.0]]))
    torch.testing.assert_close(head(embeddings, labels), before)


def test_arcface_keeps_falling_beyond_pi_minus_margin() -> None:
    cosine = torch.linspace(-0.9999, 0.9999, 200)[:, None]
    logits = margin_logits(cosine, torch.zeros(200, dtype=torch.long), "arcface", 1.0, 0.5)[:, 0]
    assert (logits.diff() > 0).all()


def test_verification_by_hand() -> None:
    embeddings = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.6, 0.8]], np.float32)
    figures = verify(embeddings, np.array([0, 0, 1, 1]))
    assert figures.genuine_mean == pytest.approx((1.0 + 0.8) / 2)
    assert figures.impostor_mean == pytest.approx((0.0 + 0.6 + 0.0 + 0.6) / 4)
    assert figures.tar_at_far_1e3 == 1.0
    assert figures.accuracy == 1.0


def test_verification_needs_pairs() -> None:
    with pytest.raises(SamaeError, match="two people"):
        verify(np.eye(3, dtype=np.float32), np.array([0, 0, 0]))
    with pytest.raises(SamaeError, match="two pictures"):
        verify(np.eye(3, dtype=np.float32), np.array([0, 1, 2]))


def test_augmentation_is_a_function_of_its_generator() -> None:
    crops = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    one, two = (augment(crops, torch.Generator().manual_seed(9)) for _ in range(2))
    other = augment(crops, torch.Generator().manual_seed(10))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    assert one.min() >= 0
    assert one.max() <= 1


def pattern_set(people: int = 10, held: int = 2) -> CropSet:
    """Twelve noisy copies of a pattern a person; landmarks and masks are those of a face in the middle."""
    rng = np.random.default_rng(1)
    patterns = rng.integers(0, 255, (people, 1, 4, 4, 3))
    noise = rng.integers(-40, 40, (people, 12, 32, 32, 3))
    pictures = np.clip(np.kron(patterns, np.ones((1, 1, 8, 8, 1))) + noise, 0, 255).astype(np.uint8)
    masks = np.zeros((people * 12, 32, 32), np.uint8)
    masks[:, 8:24, 8:24] = 255
    return CropSet(
        pictures=pictures.reshape(-1, 32, 32, 3),
        labels=np.repeat(np.arange(people), 12),
        landmarks=rng.uniform(0, 32, (people * 12, 68, 2)).astype(np.float32),
        masks=masks,
        train_people=people - held,
    )


SMALL = EncoderRecipe(
    depth=10, width=8, dim=16, crop_px=32, people=8, pictures_per_person=12, batch_size=16, epochs=12,
    learning_rate=0.05,
)  # fmt: skip


def test_a_small_network_learns_to_tell_patterns_apart() -> None:
    crops = pattern_set()
    figures = check(train_encoder(SMALL, crops, lambda line: None), crops)
    assert figures.genuine_mean > figures.impostor_mean + 0.2


def test_a_run_that_was_stopped_goes_on_as_if_it_never_was(tmp_path: Path) -> None:
    crops, said = pattern_set(), []
    whole = train_encoder(replace(SMALL, epochs=2, schedule="polynomial"), crops, lambda line: None)
    run = EncoderRun(replace(SMALL, epochs=2, schedule="polynomial"), crops, torch.device("cpu"), tmp_path)
    blender = Blender(run.recipe, crops)
    for step, (pictures, labels) in enumerate(epoch_batches(blender, 0)):
        run.update(pictures, labels, step / 6 / 2)
    run.save()
    again = train_encoder(run.recipe, crops, said.append, tmp_path)
    assert [line.split(" loss")[0] for line in said] == ["epoch 2/2"]
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value, atol=0, rtol=0)


def test_a_run_folder_of_other_people_is_refused(tmp_path: Path) -> None:
    recipe, crops = replace(SMALL, epochs=1), replace(pattern_set(), digest="a" * 16)
    train_encoder(recipe, crops, lambda line: None, tmp_path)
    with pytest.raises(SamaeError, match=r"data_digest a{16}, this run has b{16}"):
        train_encoder(recipe, replace(crops, digest="b" * 16), lambda line: None, tmp_path)


def test_no_training_starts_from_a_judge_under_any_name(tmp_path: Path) -> None:
    judge = find_weights(KNOWN_ENCODERS["judge-1"])
    assert judge is not None
    renamed = tmp_path / "mine.safetensors"
    shutil.copy(judge, renamed)
    for name, words in (("judge-1", "'judge-1', which only"), (str(renamed), "'mine' .the weights of judge-1., which")):
        with pytest.raises(SamaeError, match=words):
            train_encoder(replace(SMALL, start_from=name), pattern_set(), lambda line: None)


def test_an_unknown_loss_is_refused() -> None:
    with pytest.raises(SamaeError, match="arcface or cosface"):
        EncoderRecipe(loss="softmax")


def test_a_network_too_narrow_for_some_processors_is_refused_with_its_recipe() -> None:
    with pytest.raises(SamaeError, match="8 channels or more, not 4"):
        EncoderRecipe(width=4)


def test_a_training_may_start_from_another_encoder(tmp_path: Path) -> None:
    crops = pattern_set()
    first = train_encoder(SMALL, crops, lambda line: None)
    save_encoder(first, tmp_path / "first.safetensors", {})
    recipe = replace(SMALL, start_from=str(tmp_path / "first.safetensors"), epochs=1, learning_rate=1e-6)
    said: list[str] = []
    again = train_encoder(recipe, crops, said.append)
    rows = crops.rows(is_train=False)
    alike = (embed_crops(first, crops.pictures[rows]) * embed_crops(again, crops.pictures[rows])).sum(1)
    assert alike.min() > 0.9
    fresh: list[str] = []
    train_encoder(replace(SMALL, epochs=1, learning_rate=1e-6), crops, fresh.append)
    losses = [float(line[0].split("loss ")[1].split(",")[0]) for line in (said, fresh)]
    assert losses[0] < losses[1] - 2
    with pytest.raises(SamaeError, match="choose depth"):
        train_encoder(replace(recipe, width=16), crops, said.append)
