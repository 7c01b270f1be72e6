"""Somebody's pictures in every mode become what an eye sees, and bombs are refused by their header."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from faces.photographs import PIXEL_CAP, read_photograph


def test_16_bit_grey_keeps_its_greys(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    Image.fromarray(ramp).save(tmp_path / "grey.png")
    found = read_photograph(tmp_path / "grey.png")
    np.testing.assert_array_equal(found, np.repeat(np.rint(ramp / 257).astype(np.uint8)[..., None], 3, 2))


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_colours_hidden_under_alpha_stay_hidden(tmp_path: Path, suffix: str) -> None:
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[..., :3] = 255, 0, 0
    pixels[:4, :, 3], pixels[4:6, :, 3] = 255, 51
    Image.fromarray(pixels).save(tmp_path / f"alpha{suffix}", lossless=True, exact=True)
    found = read_photograph(tmp_path / f"alpha{suffix}")
    assert not isinstance(found, str)
    np.testing.assert_array_equal(found[:4], np.broadcast_to([255, 0, 0], (4, 8, 3)))
    np.testing.assert_allclose(found[4:6], np.broadcast_to([153, 102, 102], (2, 8, 3)), atol=1)
    np.testing.assert_array_equal(found[6:], np.full((2, 8, 3), 128))


def test_a_transparent_place_of_a_palette_is_grey(tmp_path: Path) -> None:
    picture = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    picture.putpalette([9, 8, 7, 255, 0, 0])
    picture.save(tmp_path / "palette.png", transparency=1)
    np.testing.assert_array_equal(read_photograph(tmp_path / "palette.png"), [[[9, 8, 7], [128, 128, 128]]])


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "P"])
def test_plain_pictures_are_as_pillow_has_them(tmp_path: Path, mode: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    picture = Image.fromarray(pixels).convert(mode)
    picture.save(tmp_path / "plain.png")
    np.testing.assert_array_equal(read_photograph(tmp_path / "plain.png"), np.asarray(picture.convert("RGB")))


def test_a_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    """12,000 x 11,000 px of one grey in some 100 kB; only its header is looked at."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 12_000, 11_000, 8, 0, 0, 0, 0)
    squeeze, stream = zlib.compressobj(9), io.BytesIO(b"")
    for _ in range(11_000):
        stream.write(squeeze.compress(bytes(12_001)))
    stream.write(squeeze.flush())
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", stream.getvalue()) + chunk(b"IEND", b"")
    (tmp_path / "bomb.png").write_bytes(png)
    assert len(png) < 200_000
    assert PIXEL_CAP < 12_000 * 11_000
    assert read_photograph(tmp_path / "bomb.png") == "too many pixels"
