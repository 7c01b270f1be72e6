"""training.snapshots: fixed pairs, figures that mean what they say, warnings that come and go."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from shard_factory import key_of, make_shards
from toy import ToyEncoder

from faces.errors import SamaeError
from training.batch import FaceBatch, SwapResult
from training.shards import ShardSet
from training.snapshots import (
    GAP_PX,
    LABEL_PX,
    FixedPairs,
    choose_pairs,
    measure,
    swap_all,
    warnings,
    write_grid,
)

CPU = torch.device("cpu")
FINE = {"identity_to_source": 0.6, "identity_to_target": 0.2, "diversity": 0.9, "change": 0.1}


class Copy:
    """Returns one side unchanged."""

    def __init__(self, side: str) -> None:
        self.side = side

    def swap(self, source: FaceBatch, target: FaceBatch) -> SwapResult:
        """The source's or the target's picture."""
        return SwapResult({"source": source, "target": target}[self.side].image, target.mask)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> ShardSet:
    splits = {key_of(i): "validation" for i in range(12)}
    return make_shards(tmp_path_factory.mktemp("shards"), count=24, splits=splits)


@pytest.fixture(scope="module")
def pairs(shards: ShardSet) -> FixedPairs:
    """Pairs whose embeddings are the toy encoder's own."""
    chosen = choose_pairs(shards, seed=3)
    faces = []
    for batch in (chosen.source, chosen.target):
        embedding = ToyEncoder().embed_tensor(batch.image, batch.landmarks)
        faces.append(FaceBatch(**{**vars(batch), "embedding": embedding}))
    return FixedPairs(*faces)


def test_pairs_are_fixed_and_of_different_persons(shards: ShardSet) -> None:
    one, two = choose_pairs(shards, seed=3), choose_pairs(shards, seed=3)
    assert one.source.keys == two.source.keys
    assert one.target.keys == two.target.keys
    assert choose_pairs(shards, seed=4).target.keys != one.target.keys
    assert (one.source.person != one.target.person).all()
    assert set(one.source.keys + one.target.keys) <= set(shards.keys("validation"))


def test_without_validation_the_training_pictures_serve(tmp_path: Path) -> None:
    pairs = choose_pairs(make_shards(tmp_path / "a", count=3, people=1), seed=0)
    assert all(source != target for source, target in zip(pairs.source.keys, pairs.target.keys, strict=True))
    with pytest.raises(SamaeError, match="two are the least"):
        choose_pairs(make_shards(tmp_path / "b", count=1), seed=0)


def test_copying_the_target_looks_like_copying_the_target(pairs: FixedPairs) -> None:
    figures = measure(swap_all(Copy("target"), pairs, CPU), pairs, ToyEncoder(), CPU)
    assert figures["identity_to_target"] == pytest.approx(1, abs=1e-5)
    assert figures["change"] == 0
    assert figures["identity_to_source"] < 0.95
    assert "copies_target" in warnings(figures, {}, 2000)
    assert warnings(figures, {}, 500) == {}


def test_pasting_the_source_keeps_the_sources_diversity(pairs: FixedPairs) -> None:
    figures = measure(swap_all(Copy("source"), pairs, CPU), pairs, ToyEncoder(), CPU)
    assert figures["identity_to_source"] == pytest.approx(1, abs=1e-5)
    assert figures["diversity"] == pytest.approx(1, abs=1e-4)
    assert figures["change"] > 0.05
    assert warnings(figures, {}, 2000) == {}


def test_one_face_for_all_is_a_collapse(pairs: FixedPairs) -> None:
    same = pairs.target.image[:1].expand_as(pairs.target.image)
    figures = measure(same, pairs, ToyEncoder(), CPU)
    assert figures["diversity"] < 0.05
    assert "mode_collapse" in warnings(figures, {}, 6000)
    assert "mode_collapse" not in warnings(figures, {}, 2000)


def test_a_discriminator_without_loss_has_won() -> None:
    assert warnings(FINE, {"discriminator/discriminator": 1.3}, 2000) == {}
    assert set(warnings(FINE, {"discriminator/discriminator": 0.01}, 2000)) == {"discriminator_won"}


def test_the_grid_has_a_column_a_pair_and_a_name_a_row(pairs: FixedPairs, tmp_path: Path) -> None:
    results = swap_all(Copy("target"), pairs, CPU)
    write_grid(tmp_path / "grid.png", results, pairs)
    picture = cv2.imread(str(tmp_path / "grid.png"))[..., ::-1]
    step = 32 + GAP_PX
    assert picture.shape == (3 * step, LABEL_PX + 8 * step, 3)
    np.testing.assert_array_equal(picture[step : 2 * step, LABEL_PX:], picture[2 * step :, LABEL_PX:])
    second = np.rint(pairs.source.image[1].permute(1, 2, 0).numpy() * 255).astype(np.uint8)
    np.testing.assert_array_equal(picture[:32, LABEL_PX + step : LABEL_PX + step + 32], second)
    assert all((picture[row * step : (row + 1) * step, :LABEL_PX] < 128).any() for row in range(3))
    write_grid(tmp_path / "large.png", results, pairs, scale=2)
    assert cv2.imread(str(tmp_path / "large.png")).shape == (3 * (64 + GAP_PX), LABEL_PX + 8 * (64 + GAP_PX), 3)
