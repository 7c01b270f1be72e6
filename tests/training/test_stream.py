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
from training.same_person import SecondPictures
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


def second_keys(stream: Stream, samples_seen: int, pictures: int) -> list[tuple[str, str | None]]:
    """(key, second key) of this rank's places of the steps from there on."""
    steps = range(samples_seen, samples_seen + pictures, stream.batch_size)
    return [(stream.key_at(p), stream.second_key_at(p)) for step in steps for p in stream.positions(step)]


def test_the_second_picture_is_another_one_of_the_same_person_wherever_there_is_one(tmp_path: Path) -> None:
    """22 people in 24 pictures, shuffled: two people have two pictures, the others one; and 6 people with four each."""
    few = make_shards(tmp_path / "few", count=24, people=22)
    pairs = second_keys(Stream(few, "train", 4, seed=1, second_every=2), 0, 48)
    with_two = {key_of(0): key_of(22), key_of(22): key_of(0), key_of(1): key_of(23), key_of(23): key_of(1)}
    assert {key: other for key, other in pairs if other is not None} == with_two
    assert len(pairs) == 48
    many = make_shards(tmp_path / "many", count=24, people=6)
    pairs = second_keys(Stream(many, "train", 4, seed=1, second_every=2), 0, 24 * 40)
    found = {(int(key), int(str(other))) for key, other in pairs}
    wanted = {(a, b) for a in range(24) for b in range(24) if a != b and a % 6 == b % 6}
    assert found == wanted  # every other picture of the person is drawn, and nothing else


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_second_pictures_are_the_same_for_every_number_of_ranks_and_after_a_restart(
    shards: ShardSet, world_size: int
) -> None:
    def batches(samples_seen: int, steps: int, rank: int = 0, size: int = 1) -> list[torch.Tensor | None]:
        stream = Stream(shards, "train", 8, 2, rank, size, workers=2, second_every=2)
        return [batch.second for batch in islice(stream.at(samples_seen), steps)]

    whole = batches(0, 7)
    assert [second is not None for second in whole] == [True, False] * 3 + [True]
    stream = Stream(shards, "train", 8, 2, second_every=2)
    for step, second in enumerate(whole):
        if second is not None:
            others = [stream.second_key_at(position) for position in stream.positions(8 * step)]
            stored = np.stack([make_sample(int(str(key)))["embedding"] for key in others])
            np.testing.assert_array_equal(second.numpy(), stored)
    parts = [batches(16, 5, rank, world_size) for rank in range(world_size)]
    for step in (0, 2, 4):
        shares = [part[step] for part in parts]
        assert all(share is not None for share in shares)
        assert torch.equal(torch.cat([share for share in shares if share is not None]), whole[2 + step])  # type: ignore[arg-type]


def test_who_asks_for_no_second_picture_gets_none(shards: ShardSet) -> None:
    stream = Stream(shards, "train", 8, 2)
    assert next(stream.at(0)).second is None
    assert stream.second_key_at(0) is None
    assert stream.notes == []


def test_a_set_of_one_person_is_refused_and_people_with_one_picture_are_counted(tmp_path: Path) -> None:
    alone = make_shards(tmp_path, count=8, people=1)
    with pytest.raises(SamaeError, match=r"all 8 training pictures show one person \(label 0\).*two people"):
        Stream(alone, "train", 4, 0, second_every=2)
    assert len(Stream(alone, "train", 4, 0).keys) == 8
    mixed = SecondPictures(np.array([5, -1, 7, 5, -1, 9]), seed=0)
    assert [mixed.place_at(place, 3) for place in range(6)] == [3, None, None, 0, None, None]
    assert "2 of 3 people, who have one picture and 2 pictures without a label" in mixed.note
    assert "no picture has an identity label" in SecondPictures(np.full(4, -1), seed=0).note


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


def test_second_pictures_come_with_the_same_updates_on_every_number_of_ranks(tmp_path: Path) -> None:
    shards = make_shards(tmp_path, count=16)
    for size in (1, 2, 4):
        stream = Stream(shards, "train", 8, 0, rank=size - 1, world_size=size, second_every=2)
        assert [batch.second is not None for batch in islice(stream.at(0), 4)] == [True, False] * 2
