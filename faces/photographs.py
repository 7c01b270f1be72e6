"""The one entrance of somebody's pictures: PNG, JPEG and WebP files of any mode become upright sRGB of 8 bits. Ours."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from faces.landmark_list import LANDMARKS_NAME

FORMATS = ("PNG", "JPEG", "WEBP")
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp"})
#: FFHQ's listing of its pictures and their landmarks, at the root of a set.
LISTING_NAME = "ffhq-dataset-v2.json"
LISTINGS = (LISTING_NAME, LANDMARKS_NAME)
#: What Pillow raises at a file that is no picture of these: its own cap on pixels is met while it reads the header.
UNREADABLE = (Image.DecompressionBombError, OSError, SyntaxError, ValueError)
#: Larger pictures are refused before they are decoded (a decompression bomb), px: above cameras in common use, below
#: what Pillow warns of.
PIXEL_CAP = 80_000_000
#: What lies behind transparent pixels, sRGB 0..255: whatever colours a file hides there, a face is not lit by them.
BEHIND = 128


def pictures_below(folder: Path, made: Path) -> tuple[list[Path], list[str]]:
    """The pictures below a folder, sorted, and the names below it of what else is there.

    What earlier runs made in `made`, hidden files and listings of landmarks are neither, nor is what is no plain file.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    if made.resolve().is_relative_to(folder.resolve()):
        files = [path for path in files if not path.resolve().is_relative_to(made.resolve())]
    pictures = [path for path in files if path.suffix.lower() in SUFFIXES]
    others = [path for path in files if path.suffix.lower() not in SUFFIXES and path.name not in LISTINGS]
    names = [path.relative_to(folder).as_posix() for path in others]
    return pictures, [name for name in names if "/." not in f"/{name}"]


def named(names: Sequence[str], most: int = 10) -> str:
    """Files in a sentence: their number, and the first of them."""
    more = ", …" if len(names) > most else ""
    return f" ({len(names)}: {', '.join(names[:most])}{more})" if names else ""


def read_photograph(path: Path) -> np.ndarray | str:
    """The upright picture as (H, W, 3) uint8 sRGB, or the reason why it cannot be read; a missing file is damaged.

    16-bit grey keeps its upper bits, and transparent pixels are laid over mid grey.
    """
    try:
        with Image.open(path, formats=FORMATS) as picture:
            if picture.width * picture.height > PIXEL_CAP:
                return "too many pixels"
            return np.asarray(_opaque(ImageOps.exif_transpose(picture)))
    except UNREADABLE as error:
        return why_unreadable(error)


def why_unreadable(error: Exception) -> str:
    """The reason why a picture is refused whose opening or decoding raised one of UNREADABLE."""
    if isinstance(error, UnidentifiedImageError):
        return "not a PNG, JPEG or WebP picture"
    return "too many pixels" if isinstance(error, Image.DecompressionBombError) else "picture damaged"


def _opaque(picture: Image.Image) -> Image.Image:
    """Any mode -> RGB."""
    if picture.mode.startswith("I"):  # 16 bits, which Pillow's own conversion clips at 255
        picture = Image.fromarray(np.rint(np.asarray(picture, np.float32) / 257).clip(0, 255).astype(np.uint8))
    if picture.has_transparency_data:
        wall = Image.new("RGBA", picture.size, (BEHIND, BEHIND, BEHIND, 255))
        picture = Image.alpha_composite(wall, picture.convert("RGBA"))
    return picture.convert("RGB")
