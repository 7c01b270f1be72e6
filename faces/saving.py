"""Pictures into files: as little changed as the format allows, with the transparency and colour profile of another.

Pixels are upright, so no EXIF orientation is written, nor anything else of EXIF (ours).
"""

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageOps, JpegImagePlugin

from faces.errors import SamaeError

#: Suffix -> the format that a picture is written in.
FORMAT_OF = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
#: Format -> how Pillow writes it: PNG and WebP without loss, JPEG at quality 95 with whole chroma.
OPTIONS: dict[str, dict[str, Any]] = {
    "PNG": {"compress_level": 3},
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"lossless": True, "exact": True},
}


def encode_picture(pixels: np.ndarray, suffix: str) -> bytes:
    """(H, W, 3) uint8 sRGB -> the bytes of a file whose name ends so (a key of FORMAT_OF)."""
    return _encode(Image.fromarray(pixels), suffix, {})


def encode_like(pixels: np.ndarray, was: np.ndarray, target: Path, suffix: str) -> bytes:
    """The picture in `target`, changed from `was` to `pixels`, as a file whose name ends in `suffix`.

    PNG and WebP: transparency stays, and wherever `pixels` is `was`, so does every colour of 8 bits. JPEG to JPEG: the
    target's own quantisation and chroma sampling, which change the rest least. An RGB colour profile goes with it. A
    picture without any colour gets none (ours).

    Args:
        pixels, was: (H, W, 3) uint8 sRGB, upright.
        suffix: a key of FORMAT_OF.

    Raises:
        SamaeError: the format does not hold pictures of this size.
    """
    if (was == was[..., :1]).all():
        pixels = np.repeat(np.asarray(Image.fromarray(pixels).convert("L"))[..., None], 3, axis=-1)
    with Image.open(target, formats=sorted(set(FORMAT_OF.values()))) as opened:
        options = _profile(opened) | (_coding(opened) if FORMAT_OF[suffix] == "JPEG" else {})
        if FORMAT_OF[suffix] == "JPEG" or not opened.has_transparency_data:
            return _encode(Image.fromarray(pixels), suffix, options)
        whole = np.array(ImageOps.exif_transpose(opened).convert("RGBA"))
    changed = (pixels != was).any(-1)
    whole[changed, :3] = pixels[changed]
    return _encode(Image.fromarray(whole), suffix, options)


def _encode(picture: Image.Image, suffix: str, options: dict[str, Any]) -> bytes:
    stream = io.BytesIO()
    form = FORMAT_OF[suffix]
    try:
        picture.save(stream, form, **OPTIONS[form] | options)
    except (OSError, ValueError) as error:
        size = f"{picture.width} x {picture.height}"
        raise SamaeError(f"a picture of {size} px cannot be written as {form} ({error}): write a PNG") from None
    return stream.getvalue()


def _profile(picture: Image.Image) -> dict[str, Any]:
    """A file's colour profile, where it is one of RGB (bytes 16 to 20 of its header; ICC.1:2010, 7.2.6)."""
    profile = picture.info.get("icc_profile") or b""
    return {"icc_profile": profile} if profile[16:20] == b"RGB " else {}


def _coding(picture: Image.Image) -> dict[str, Any]:
    """How a JPEG of colours was coded, if its pixels lie as they are shown; else nothing."""
    if not isinstance(picture, JpegImagePlugin.JpegImageFile) or picture.mode != "RGB":
        return {}
    sampling = JpegImagePlugin.get_sampling(picture)
    if sampling < 0 or picture.getexif().get(ExifTags.Base.Orientation, 1) != 1:
        return {}
    return {"qtables": picture.quantization, "subsampling": sampling, "quality": -1}
