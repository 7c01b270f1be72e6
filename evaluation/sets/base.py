"""What a set of pictures is to the judge: a frozen list of pairs, and pictures by key, in groups read together."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from evaluation.pairs import PairList
from faces.errors import SamaeError
from faces.files import read_json, sha256_file
from training.pictures import LANDMARKS_JSON, landmark_points


@dataclass(frozen=True)
class Shot:
    """One picture.

    Attributes:
        image: (H, W, 3) uint8 sRGB.  landmarks_px: (68, 2), our pixels; None leaves them to the detector.
        is_crop: whether it is FFHQ's crop already.
        truth: the true swap onto it (image, landmarks_px, mask as in evaluation/batch.py), of the same size, or None.
    """

    image: np.ndarray
    landmarks_px: np.ndarray | None = None
    is_crop: bool = False
    truth: Any | None = None


class PictureSet(Protocol):
    """Plain data, so that it travels to workers. `protocol` names it for `samae evaluate --protocol`."""

    protocol: str
    has_truth: bool
    pairs_a_chunk: int

    @property
    def landmarks_digest(self) -> str:
        """Names the landmarks that come with the pictures, where no pair list's digest does; "" without any."""
        ...

    def pairs(self, count: int | None = None) -> PairList:
        """The frozen list, or its first `count` pairs."""
        ...

    def groups(self, keys: Sequence[str]) -> list[tuple[str, ...]]:
        """The keys in groups that are read together (the frames of one video)."""
        ...

    def shots(self, keys: tuple[str, ...]) -> list[Shot | str]:
        """The pictures of one group, or why one cannot be had."""
        ...

    def person(self, key: str) -> int:
        """Identity label, -1 where nobody knows."""
        ...


def listed_landmarks(root: Path) -> dict[str, np.ndarray]:
    """key -> (68, 2) of the landmarks.json in a set's folder, our pixels; empty without one.

    Raises:
        SamaeError: an entry has not 68 points.
    """
    path = root / LANDMARKS_JSON
    if not path.is_file():
        return {}
    return {key: landmark_points(given, f"{path}: {key}") for key, given in read_json(path).items()}


def listed_digest(root: Path) -> str:
    """SHA-256 of the landmarks.json in a set's folder, "" without one."""
    path = root / LANDMARKS_JSON
    return sha256_file(path) if path.is_file() else ""


def first_pairs(pairs: PairList, count: int | None) -> PairList:
    """The first `count` pairs as a list of its own digest; all of them for None."""
    if count is None or count >= len(pairs):
        return pairs
    if count < 1:
        raise SamaeError(f"{count} pairs are none; ask for 1 at least")
    name = f"{pairs.name}-{count}"
    return PairList(name, pairs.protocol, pairs.seed, pairs.shards_digest, pairs.source_keys[:count],
                    pairs.target_keys[:count])  # fmt: skip
