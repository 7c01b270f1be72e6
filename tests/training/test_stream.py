"""training.stream: the order is a pure function, ranks share it, a restart continues it exactly."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from shard_factory import key_of, make_sample, make_shards

from faces.errors import SamaeError
from training.shards import ShardSet
from training.stream import Stream, epoch_order, load_faces

DIGEST = "0123456789abcdef"


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> ShardSet:
    return make_shards(tmp_path_factory.mktemp("shards"), count=24, per_shard=8, splits={key_of(5): "validation"})


def keys(stream: Stream, samples_seen: int, steps: int) -> list[tuple[str, ...]]:
    return [batch.keys for batch in islice(stream.at(samples_seen), steps)]


@given(st.integers(0, 2**31), st.integers(0, 1000), st.integers(1, 200))
def test_an_epoch_is_a_permutation(seed: int, epoch: int, count: int) -> None:
    assert sorted(epoch_order(seed, epoch, DIGEST, count)) == list(range(count))


def test_the_order_depends_on_seed_epoch_and_digest_alone() -> None:
    order = epoch_order(3, 1, DIGEST, 50)
    np.testing.assert_array_equal(order, epoch_order(3, 1, DIGEST, 50))
    others = [epoch_order(4, 1, DIGEST, 50), epoch_order(3, 2, DIGEST, 50), epoch_order(3, 1, "f" * 16, 50)]
    assert all((order != other).any() for other in others)


def test_the_order_does_not_change_with_the_code() -> None:
    assert epoch_order(0, 0, DIGEST, 8).tolist() == [2, 1, 7, 6, 4, 0, 5, 3]


def test_every_picture_of_the_split_comes_once_an_epoch(shards: ShardSet) -> None:
    stream = Stream(shards, "train", batch_size=4, seed=1)
    shown = [key for batch in keys(stream, 0, 23) for key in batch]
    assert sorted(shown[:23]) == sorted(shards.keys("train"))
    assert sorted(shown[:92]) == sorted(shards.keys("train") * 4)
    assert shown[:23] != shown[23:46]


@pytest.mark.parametrize("world_size", [1, 2, 4, 8])
def test_ranks_share_one_global_order(shards: ShardSet, world_size: int) -> None:
    whole = keys(Stream(shards, "train", 8, seed=2), 16, 5)
    parts = [keys(Stream(shards, "train", 8, 2, rank, world_size), 16, 5) for rank in range(world_size)]
    joined = [sum((part[step] for part in parts), ()) for step in range(5)]
    assert joined == whole


def test_a_restart_continues_where_it_was(shards: ShardSet) -> None:
    whole = keys(Stream(shards, "train", 4, seed=5), 0, 12)
    assert keys(Stream(shards, "train", 4, seed=5), 28, 5) == whole[7:]
    assert keys(Stream(shards, "train", 4, seed=5, rank=1, world_size=2), 28, 5) == [keys[2:] for keys in whole[7:]]


def test_threads_and_prefetch_do_not_change_the_batches(shards: ShardSet) -> None:
    one = list(islice(Stream(shards, "train", 6, 1, workers=1, prefetch=1).at(0), 6))
    many = list(islice(Stream(shards, "train", 6, 1, workers=4, prefetch=9).at(0), 6))
    for a, b in zip(one, many, strict=True):
        assert a.keys == b.keys
        assert torch.equal(a.image, b.image)


def test_positions_name_the_pictures(shards: ShardSet) -> None:
    stream = Stream(shards, "train", 6, seed=9, rank=1, world_size=3)
    for placed, start in zip(islice(stream.placed_at(12), 3), (12, 18, 24), strict=False):
        assert placed.positions == range(start + 2, start + 4)
        assert placed.faces.keys == tuple(stream.key_at(position) for position in placed.positions)


def test_load_faces_keeps_order_shapes_and_ranges(shards: ShardSet) -> None:
    wanted = [key_of(7), key_of(0), key_of(7)]
    batch = load_faces(shards, wanted)
    assert batch.keys == tuple(wanted)
    assert batch.image.shape == (3, 3, 32, 32)
    assert batch.mask.shape == (3, 1, 32, 32)
    assert batch.image.dtype == batch.mask.dtype == torch.float32
    assert 0.3 < float(batch.image.max()) <= 1.0
    assert set(batch.mask.unique().tolist()) == {0.0, 1.0}
    assert batch.person.tolist() == [3, 0, 3]
    np.testing.assert_array_equal(batch.coefficients[0], make_sample(7)["coefficients"])
    np.testing.assert_array_equal(batch.landmarks[1], make_sample(0)["landmarks"])


def test_impossible_batches_are_refused_with_the_arithmetic(shards: ShardSet) -> None:
    with pytest.raises(SamaeError, match="23 samples < a batch of 2 ranks x 16 = 32"):
        Stream(shards, "train", 32, 0, 0, 2)
    with pytest.raises(SamaeError, match="9 is not a multiple of 2 ranks"):
        Stream(shards, "train", 9, 0, 0, 2)
    with pytest.raises(SamaeError, match="no keys"):
        load_faces(shards, [])


def test_a_damaged_sample_stops_the_stream_by_name(tmp_path: Path) -> None:
    shards = make_shards(tmp_path, count=8)
    row = shards.row(key_of(4))
    with (tmp_path / row.shard).open("r+b") as stream:
        stream.seek(row.offset_bytes + 900)
        stream.write(b"\xff\x00\xff")
    with pytest.raises(SamaeError, match=f"'{key_of(4)}'"):
        list(islice(Stream(shards, "train", 4, 0, workers=2).at(0), 2))
