"""faces/records.py: every field survives the way through a shard; hostile bytes are refused, never unpickled."""

import io
import pickle

import numpy as np
import pytest

from faces.errors import SamaeError
from faces.records import FIELDS, decode_array, decode_sample, encode_png, encode_sample


def make_sample(size_px: int = 16) -> dict:
    rng = np.random.default_rng(5)
    ramp = np.linspace(0, 255, size_px, dtype=np.uint8)
    image = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None, :], np.uint8(90)), axis=-1)
    return {
        "image": image,
        "albedo": rng.integers(0, 255, (size_px, size_px, 3), dtype=np.uint8),
        "mask": rng.integers(0, 255, (size_px, size_px), dtype=np.uint8),
        "coefficients": rng.normal(size=200).astype(np.float32),
        "embedding": rng.normal(size=64).astype(np.float32),
        "skin": rng.random(3).astype(np.float32),
        "landmarks": rng.random((68, 2)).astype(np.float32),
        "meta": {"key": "00007", "person": 3, "licence": "CC0 1.0"},
    }


def test_every_field_comes_back() -> None:
    sample = make_sample()
    members = encode_sample(sample)
    assert list(members) == [field.extension for field in FIELDS.values()]
    back = decode_sample(members)
    for name in ("albedo", "mask", "coefficients", "embedding", "skin", "landmarks"):
        np.testing.assert_array_equal(back[name], sample[name])
        assert back[name].dtype == sample[name].dtype
    assert back["meta"] == sample["meta"]
    assert np.abs(back["image"].astype(int) - sample["image"]).mean() < 2


def test_encoding_is_deterministic_and_keeps_rgb_order() -> None:
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 0] = 200
    assert encode_png(red) == encode_png(red.copy())
    assert FIELDS["albedo"].decode(encode_png(red))[0, 0].tolist() == [200, 0, 0]
    assert FIELDS["image"].decode(FIELDS["image"].encode(red))[4, 4, 0] > 190


def test_a_pickled_array_is_refused() -> None:
    stream = io.BytesIO()
    np.save(stream, np.array([{"x": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(SamaeError, match=r"not a plain \.npy array"):
        decode_array(stream.getvalue())
    with pytest.raises(SamaeError, match=r"not a plain \.npy array"):
        decode_array(pickle.dumps([1, 2]))


@pytest.mark.parametrize("name", ["image", "albedo", "mask", "coefficients", "meta"])
def test_garbage_is_a_sentence(name: str) -> None:
    with pytest.raises(SamaeError, match="9 bytes are not"):
        FIELDS[name].decode(b"\x80garbage\xff")


def test_missing_fields_are_named() -> None:
    sample = make_sample()
    del sample["skin"]
    with pytest.raises(SamaeError, match="skin"):
        encode_sample(sample)
    members = encode_sample(make_sample())
    del members["mask.png"]
    with pytest.raises(SamaeError, match=r"mask\.png"):
        decode_sample(members)
    assert set(decode_sample(members, ("skin", "meta"))) == {"skin", "meta"}
