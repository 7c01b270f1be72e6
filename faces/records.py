"""The one schema of a face sample: field name, file extension in a shard, dtype, shape, unit, and its codec.

A sample is a dictionary field name -> value. In a shard (a tar that WebDataset reads) the sample of key "00042" is the
members `00042.<extension>` of every field. S is the picture size in pixels, D the head's coefficient count, M the
encoder's embedding length. Decoders are explicit, one a field: nothing is unpickled, whatever an archive holds.
"""

import io
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import cv2
import numpy as np

from faces.errors import SamaeError

#: Raise when a field is added, removed or changes meaning; readers refuse another version.
SCHEMA_VERSION = 1
#: A member as it is decoded: its own bytes, or a view into the sample's.
Member = bytes | memoryview


@dataclass(frozen=True)
class Field:
    """One field of a sample. `encode` gives the member's bytes, `decode` the value; shapes are for documentation."""

    name: str
    extension: str
    dtype: str
    shape: str
    unit: str
    encode: Callable[[Any], bytes]
    decode: Callable[[Member], Any]


def encode_png(picture: np.ndarray, fast: bool = False) -> bytes:
    """(H, W) or (H, W, 3) uint8 RGB -> PNG bytes (the same bytes for the same pixels).

    fast: run lengths only, for photographs: a third of the time, a tenth more bytes.
    """
    bgr = picture if picture.ndim == 2 else picture[..., ::-1]
    flags = [] if fast else [cv2.IMWRITE_PNG_COMPRESSION, 3]
    ok, data = cv2.imencode(".png", np.ascontiguousarray(bgr), flags)
    if not ok:
        raise SamaeError(f"a picture of shape {picture.shape} and type {picture.dtype} cannot be written as PNG")
    return data.tobytes()


def encode_jpeg(picture: np.ndarray) -> bytes:
    """(H, W, 3) uint8 RGB -> JPEG bytes, quality 95, no chroma subsampling."""
    flags = [cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    ok, data = cv2.imencode(".jpg", np.ascontiguousarray(picture[..., ::-1]), flags)
    if not ok:
        raise SamaeError(f"a picture of shape {picture.shape} and type {picture.dtype} cannot be written as JPEG")
    return data.tobytes()


def decode_colour(data: Member) -> np.ndarray:
    """PNG, JPEG or WebP bytes -> (H, W, 3) uint8 RGB."""
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    if picture is None:
        raise SamaeError(f"{len(data)} bytes are not a readable picture")
    return picture


def decode_grey(data: Member) -> np.ndarray:
    """PNG bytes -> (H, W) uint8."""
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    if picture is None:
        raise SamaeError(f"{len(data)} bytes are not a readable mask")
    return picture


def encode_array(array: np.ndarray) -> bytes:
    """Any plain array -> .npy bytes, float32 for floating point."""
    array = np.asarray(array, np.float32) if np.issubdtype(np.asarray(array).dtype, np.floating) else np.asarray(array)
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()


def decode_array(data: Member) -> np.ndarray:
    """.npy bytes -> array; objects (pickles) are refused.

    A shard's arrays share a few headers, so each is parsed once: 3 us an array instead of numpy.load's 50.
    """
    start = 10 + int.from_bytes(data[8:10], "little")
    try:
        dtype, shape, order = _array_form(bytes(data[:start]))
        return np.frombuffer(data, dtype, math.prod(shape), start).reshape(shape, order=order).copy()
    except (ValueError, TypeError, EOFError, OSError) as error:
        raise SamaeError(f"{len(data)} bytes are not a plain .npy array ({error})") from None


@lru_cache(maxsize=256)
def _array_form(header: bytes) -> tuple[np.dtype, tuple[int, ...], Literal["C", "F"]]:
    """What a version 1.0 header (as numpy writes for plain arrays) says; ValueError for any other."""
    stream = io.BytesIO(header)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError("not version 1.0 of the format")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    if dtype.hasobject:
        raise ValueError("objects are refused")
    return dtype, shape, "F" if fortran else "C"


def encode_json(value: dict[str, Any]) -> bytes:
    """A JSON object -> bytes with sorted keys."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False).encode()


def decode_json(data: Member) -> dict[str, Any]:
    """Bytes -> JSON object."""
    try:
        return json.loads(bytes(data))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise SamaeError(f"{len(data)} bytes are not JSON ({error})") from None


FIELDS: dict[str, Field] = {
    field.name: field
    for field in (
        Field("image", "image.jpg", "uint8", "(S, S, 3)", "sRGB 0..255", encode_jpeg, decode_colour),
        Field("albedo", "albedo.png", "uint8", "(S, S, 3)", "neutral albedo, sRGB 0..255", encode_png, decode_colour),
        Field("mask", "mask.png", "uint8", "(S, S)", "0..255, silhouette minus occluders", encode_png, decode_grey),
        Field("coefficients", "coefficients.npy", "float32", "(D,)", "CoefficientLayout", encode_array, decode_array),
        Field("embedding", "embedding.npy", "float32", "(M,)", "unit length", encode_array, decode_array),
        Field("skin", "skin.npy", "float32", "(3,)", "skin colour, linear RGB 0..1", encode_array, decode_array),
        Field("landmarks", "landmarks.npy", "float32", "(68, 2)", "px, first centre 0.5", encode_array, decode_array),
        Field("meta", "meta.json", "object", "", "key, person, licence, source, head", encode_json, decode_json),
    )
}


def encode_sample(sample: dict[str, Any]) -> dict[str, bytes]:
    """A sample -> {extension: bytes} for one shard entry, in the order of FIELDS; every field must be there."""
    missing = [name for name in FIELDS if name not in sample]
    if missing:
        raise SamaeError(f"the sample lacks the fields {missing}")
    return {field.extension: field.encode(sample[field.name]) for field in FIELDS.values()}


def decode_sample(members: Mapping[str, Member], fields: tuple[str, ...] = tuple(FIELDS)) -> dict[str, Any]:
    """{extension: bytes} -> sample with the wanted fields; an absent member is a SamaeError that names it."""
    sample = {}
    for name in fields:
        field = FIELDS[name]
        if field.extension not in members:
            raise SamaeError(f"the sample lacks its member {field.extension!r}")
        sample[name] = field.decode(members[field.extension])
    return sample
