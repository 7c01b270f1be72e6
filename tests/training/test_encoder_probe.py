"""The probe of encoders: pairs by hand, peaks, saliency by hand, LFW's ten folds and pair lists."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from faces.errors import SamaeError
from training.encoder.figures import draw_saliency, draw_similarities
from training.encoder.probe import Probe, Similarities, peak, saliency, similarities
from training.verification import read_pairs, ten_fold


class ByColour:
    """An encoder that sees a picture's mean colour."""

    name, dim = "colour", 3

    def embed(self, images: np.ndarray, landmarks_px: np.ndarray) -> np.ndarray:
        vectors = images.reshape(len(images), -1, 3).mean(1)
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_pairs_are_same_different_and_swapped() -> None:
    colours = np.array([[9, 0, 0], [9, 0, 0], [0, 9, 0], [0, 9, 0], [9, 9, 0]], np.uint8)
    images = np.repeat(np.repeat(colours[:, None, None], 4, 1), 4, 2)
    wearer, owner = np.array([0, 0, 1, 1, 0]), np.array([0, 0, 1, 1, 1])  # the last: person 0 in the head of person 1
    probe = Probe(images, np.zeros((5, 4, 4), np.uint8), np.zeros((5, 68, 2)), wearer, owner)
    found = similarities(ByColour(), probe)  # type: ignore[arg-type]
    assert found.same.tolist() == [1.0, 1.0]
    assert found.different.tolist() == [0.0] * 4
    np.testing.assert_allclose(found.swapped, [2**-0.5] * 2, rtol=1e-6)


def test_the_peak_is_where_most_lie() -> None:
    values = np.concatenate([np.full(50, 0.62), np.linspace(-1, 1, 40)])
    assert peak(values) == pytest.approx(0.62, abs=0.08)


def test_saliency_marks_the_pixels_that_the_encoder_reads() -> None:
    torch.manual_seed(0)
    crops = torch.rand(3, 3, 16, 16) + 0.2

    def embed(x: torch.Tensor) -> torch.Tensor:
        read = torch.stack([x[:, 0, 4:8, 4:8].mean((1, 2)), torch.full((len(x),), 0.2)], 1)
        return torch.nn.functional.normalize(read, dim=1)

    found = saliency(embed, crops, crops, [4])
    assert found[4:8, 4:8].min() > 0.05
    assert np.abs(found[10:, 10:]).max() < 1e-6
    covered = crops.clone()
    covered[:, :, 4:8, 4:8] = 0
    by_hand = float((1 - (embed(covered) * embed(crops)).sum(1)).mean())
    assert found[4:8, 4:8].max() <= by_hand + 1e-6


def test_ten_folds_choose_the_threshold_on_the_others() -> None:
    similarity = np.tile([0.9, 0.1], 10)
    assert ten_fold(similarity, np.tile([True, False], 10)) == (1.0, 0.0)
    similarity[0], similarity[1] = 0.1, 0.9  # one fold is all wrong
    assert ten_fold(similarity, np.tile([True, False], 10))[0] == pytest.approx(0.9)
    with pytest.raises(SamaeError, match="10 folds"):
        ten_fold(np.ones(4), np.ones(4, bool))


def test_lfw_lists_are_read_and_their_gaps_named(tmp_path: Path) -> None:
    for name, count in (("Ann", 2), ("Bob", 1)):
        (tmp_path / name).mkdir()
        for number in range(1, count + 1):
            (tmp_path / name / f"{name}_{number:04d}.jpg").write_bytes(b"")
    (tmp_path / "pairs.txt").write_text("10\t300\nAnn\t1\t2\nAnn\t2\tBob\t1\n")
    pairs = read_pairs(tmp_path / "pairs.txt", tmp_path)
    assert [(a.name, b.name, same) for a, b, same in pairs] == [
        ("Ann_0001.jpg", "Ann_0002.jpg", True), ("Ann_0002.jpg", "Bob_0001.jpg", False),
    ]  # fmt: skip
    (tmp_path / "pairs.txt").write_text("Ann 1 3\n")
    with pytest.raises(SamaeError, match="Ann_0003"):
        read_pairs(tmp_path / "pairs.txt", tmp_path)


def test_the_figures_are_pictures(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    found = Similarities(rng.normal(0.7, 0.1, 99), rng.normal(0, 0.1, 99), rng.normal(0.5, 0.1, 99))
    draw_similarities({"one": found, "two": found}, tmp_path / "histogram.png")
    crop = rng.integers(0, 255, (16, 16, 3)).astype(np.uint8)
    draw_saliency({"one": (crop, rng.random((16, 16)), 0.25)}, tmp_path / "saliency.png")
    for name, height in (("histogram.png", 460), ("saliency.png", 250)):
        picture = cv2.imread(str(tmp_path / name))
        assert picture.shape[0] == height
        assert picture.std() > 5
