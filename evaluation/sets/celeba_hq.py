"""CelebA-HQ (Karras et al. 2018) in CelebAMask-HQ's folder layout: 1,000 pairs of ids that are held out by habit.

    CelebA-HQ-img/28000.jpg ..              ids 28000 .. 29999
    CelebA-HQ-to-CelebA-mapping.txt         idx, orig_idx, orig_file: which picture of CelebA each was
    identity_CelebA.txt                     "000001.jpg 2880", on request from CelebA's authors; optional

Target 28000 + n gets source 29000 + n (REFace's protocol). Pairs of one person by the identities are left out; without
that file persons are unknown, and retrieval counts the source picture alone. Landmarks: landmarks.json ("28000": 68
points) or the detector. A picture that is missing, damaged or without a face fails its pairs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np

from evaluation.pairs import PairList
from evaluation.sets.base import Shot, first_pairs, listed_digest, listed_landmarks
from faces.errors import SamaeError
from faces.files import digest_of

TARGETS, SOURCES = range(28_000, 29_000), range(29_000, 30_000)
IMAGES, MAPPING, IDENTITIES = "CelebA-HQ-img", "CelebA-HQ-to-CelebA-mapping.txt", "identity_CelebA.txt"


@dataclass(frozen=True)
class CelebaHq:
    """The set below a folder. Make it by `open_celeba_hq`. persons: id -> identity label of CelebA."""

    root: Path
    persons: dict[int, int] = field(hash=False)
    digest: str
    protocol: ClassVar[str] = "celeba-hq"
    has_truth: ClassVar[bool] = False
    pairs_a_chunk: ClassVar[int] = 8

    def pairs(self, count: int | None = None) -> PairList:
        """Target 28000 + n with source 29000 + n."""
        listed = [(s, t) for s, t in zip(SOURCES, TARGETS, strict=True) if not self._one_person(s, t)]
        sources, targets = (tuple(str(pair[side]) for pair in listed) for side in (0, 1))
        return first_pairs(PairList("celeba-hq", self.protocol, 0, self.digest, sources, targets), count)

    def _one_person(self, a: int, b: int) -> bool:
        return a in self.persons and self.persons[a] == self.persons.get(b)

    def groups(self, keys: Sequence[str]) -> list[tuple[str, ...]]:
        """Picture by picture."""
        return [(key,) for key in keys]

    def shots(self, keys: tuple[str, ...]) -> list[Shot | str]:
        """Decode them."""
        return [self._shot(key) for key in keys]

    def person(self, key: str) -> int:
        """CelebA's identity number, -1 without the identities."""
        return self.persons.get(int(key), -1)

    def _shot(self, key: str) -> Shot | str:
        from training.pictures import read_picture

        try:
            return Shot(read_picture(self.root / IMAGES / f"{key}.jpg"), self._landmarks.get(key))
        except SamaeError as error:
            return str(error)

    @cached_property
    def landmarks_digest(self) -> str:
        """Of landmarks.json, read once as it is."""
        return listed_digest(self.root)

    @cached_property
    def _landmarks(self) -> dict[str, np.ndarray]:
        return listed_landmarks(self.root)


def open_celeba_hq(root: Path) -> CelebaHq:
    """Read the layout below a folder; SamaeError naming what is missing or damaged."""
    folder = root / IMAGES
    sizes = [path.stat().st_size if (path := folder / f"{n}.jpg").is_file() else -1 for n in (*TARGETS, *SOURCES)]
    if max(sizes) < 0:
        raise SamaeError(f"{root} holds no {IMAGES}/28000.jpg to 29999.jpg: name CelebAMask-HQ's folder")
    persons = _persons(root)
    return CelebaHq(root, persons, digest_of([sizes, sorted(persons.items())]))


def _persons(root: Path) -> dict[int, int]:
    """id -> identity by way of the mapping; empty without the file of identities."""
    path = next((p for p in (root / IDENTITIES, root / "Anno" / IDENTITIES) if p.is_file()), None)
    if path is None:
        return {}
    if not (root / MAPPING).is_file():
        raise SamaeError(f"{root} holds {IDENTITIES} but no {MAPPING}, which says whose picture an id is: put it there")
    identity = {row[0]: _number(row[1], path) for row in _rows(path, 2, 0)}
    wanted, found = {*TARGETS, *SOURCES}, {}
    for row in _rows(root / MAPPING, 3, 1):
        number = _number(row[0], root / MAPPING)
        if number in wanted:
            if row[2] not in identity:
                raise SamaeError(f"{path} has no identity for {row[2]} (id {number}): fetch it anew")
            found[number] = identity[row[2]]
    if len(found) < len(wanted):
        raise SamaeError(f"{root / MAPPING} names {len(found)} of the {len(wanted)} ids from 28000 on: fetch it anew")
    return found


def _rows(path: Path, columns: int, skip: int) -> list[list[str]]:
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()[skip:]
    rows = [line.split() for line in lines if line.strip()]
    wrong = next((n for n, row in enumerate(rows) if len(row) != columns), None)
    if wrong is not None:
        line = f"{path}, line {wrong + skip + 1}: {' '.join(rows[wrong])!r}"
        raise SamaeError(f"{line} is not {columns} columns: fetch it anew")
    return rows


def _number(text: str, path: Path) -> int:
    try:
        return int(text)
    except ValueError:
        raise SamaeError(f"{path} holds {text!r} where a number should be: fetch it anew") from None
