"""faces/saving.py: what of another picture is kept in a file, and what a format changes."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps, JpegImagePlugin

from faces.errors import SamaeError
from faces.saving import encode_like, encode_picture

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def smooth(height: int = 64, width: int = 96) -> np.ndarray:
    """(H, W, 3) uint8: waves of colour, as smooth as a photograph."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / 7 + channel) + np.cos(y / (5 + channel)) for channel in range(3)]
    return np.rint(128 + 60 * np.stack(waves, -1)).clip(0, 255).astype(np.uint8)


def repainted(path: Path, suffix: str) -> tuple[np.ndarray, Image.Image]:
    """The picture of a file as it is read, and its copy with a black square at 8..24 px as it is written."""
    with Image.open(path) as opened:
        was = np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))
    pixels = was.copy()
    pixels[8:24, 8:24] = 0
    return was, Image.open(io.BytesIO(encode_like(pixels, was, path, suffix)))


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_transparency_and_every_other_colour_stay(tmp_path: Path, suffix: str) -> None:
    drawn = np.dstack([smooth(), np.arange(64 * 96).reshape(64, 96).astype(np.uint8)])
    Image.fromarray(drawn).save(tmp_path / "target.png")
    _, made = repainted(tmp_path / "target.png", suffix)
    wanted = drawn.copy()
    wanted[8:24, 8:24, :3] = 0
    np.testing.assert_array_equal(np.asarray(made), wanted)


@pytest.mark.parametrize("suffix", [".png", ".webp", ".jpg"])
def test_a_colour_profile_goes_along_and_no_orientation_does(tmp_path: Path, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    Image.fromarray(smooth()).save(tmp_path / "target.jpg", icc_profile=PROFILE, exif=exif)
    _, made = repainted(tmp_path / "target.jpg", suffix)
    assert made.size == (64, 96)
    assert made.info["icc_profile"] == PROFILE
    assert not made.getexif()


def test_a_profile_of_other_colours_is_left_behind(tmp_path: Path) -> None:
    grey = PROFILE[:16] + b"GRAY" + PROFILE[20:]
    Image.fromarray(smooth()[..., 0]).save(tmp_path / "target.png", icc_profile=grey)
    assert "icc_profile" not in repainted(tmp_path / "target.png", ".png")[1].info


@pytest.mark.parametrize(("quality", "sampling"), [(60, 2), (80, 1), (97, 0)])
def test_a_jpeg_keeps_its_coding_and_changes_less_by_it(tmp_path: Path, quality: int, sampling: int) -> None:
    path = tmp_path / "target.jpg"
    Image.fromarray(smooth()).save(path, quality=quality, subsampling=sampling)
    was, made = repainted(path, ".jpg")
    with Image.open(path) as target:
        assert isinstance(made, JpegImagePlugin.JpegImageFile)
        assert isinstance(target, JpegImagePlugin.JpegImageFile)
        assert made.quantization == target.quantization
        assert JpegImagePlugin.get_sampling(made) == JpegImagePlugin.get_sampling(target) == sampling
    anew = Image.open(io.BytesIO(encode_picture(was, ".jpg")))
    errors = [np.abs(np.asarray(one).astype(int) - was)[32:].mean() for one in (made, anew)]
    assert errors[0] <= errors[1]


def test_a_turned_or_other_picture_becomes_a_jpeg_of_whole_chroma(tmp_path: Path) -> None:
    Image.fromarray(smooth()).save(tmp_path / "target.png")
    made = repainted(tmp_path / "target.png", ".jpeg")[1]
    assert isinstance(made, JpegImagePlugin.JpegImageFile)
    assert JpegImagePlugin.get_sampling(made) == 0


def test_what_a_format_cannot_hold_is_one_sentence() -> None:
    with pytest.raises(SamaeError, match=r"a picture of 17000 x 1 px cannot be written as WEBP .*: write a PNG"):
        encode_picture(np.zeros((1, 17000, 3), np.uint8), ".webp")


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_picture_without_colour_gets_none(tmp_path: Path, suffix: str) -> None:
    grey = smooth()[..., 1]
    Image.fromarray(grey).save(tmp_path / "target.png")
    was = np.repeat(grey[..., None], 3, axis=-1)
    pixels = was.copy()
    pixels[8:24, 8:24] = (200, 80, 60)
    made = np.asarray(Image.open(io.BytesIO(encode_like(pixels, was, tmp_path / "target.png", suffix))).convert("RGB"))
    assert (made == made[..., :1]).all()
    assert abs(int(made[16, 16, 0]) - 114) <= 8  # 0.299, 0.587 and 0.114 of 200, 80 and 60
    if suffix == ".png":
        np.testing.assert_array_equal(made[24:], was[24:])
