"""The pictures that `samae bench evaluate` judges: generated people, their true swaps and results, as PNG files."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from evaluation.pairs import FaceIndex, PairList, choose_pairs
from faces.files import atomic_file
from faces.fitting import fit
from faces.morphable.registry import load_head
from faces.records import decode_colour, encode_png
from faces.synthetic.pictures import person_and_scene, picture_of, true_swap
from faces.synthetic.portrait import Portrait, render_person
from training.batch import FaceBatch, SwapResult

SEED = 314
#: Pictures a worker draws at once.
PART = 8


@dataclass(frozen=True)
class PictureSet:
    """A folder of F faces, and of every pair its true swap and a result. `size_px` square pictures."""

    folder: Path
    faces: int
    people: int
    size_px: int

    def pairs(self, count: int) -> PairList:
        """`count` frozen pairs of different people."""
        keys = tuple(f"{i:05d}" for i in range(self.faces))
        persons = np.array([person_of(self, i) for i in range(self.faces)])
        return choose_pairs(FaceIndex(keys, persons, digest="bench"), count, SEED)

    def picture(self, kind: str, name: str) -> Path:
        """Where a picture lies; kind is "faces", "truth" or "results", name a key or "source-target"."""
        return self.folder / kind / f"{name}.png"

    def known(self, kind: str, name: str) -> dict[str, np.ndarray]:
        """What is known of it beside the pixels: landmarks_px, mask, skin, and of faces coefficients."""
        with np.load(self.folder / kind / f"{name}.npz", allow_pickle=False) as kept:
            return {key: kept[key] for key in kept.files}

    def write(self, kind: str, name: str, image: np.ndarray, **known: Any) -> None:
        """Keep a picture, its data last."""
        with atomic_file(self.picture(kind, name)) as scratch:
            scratch.write_bytes(encode_png(image))
        with atomic_file(self.folder / kind / f"{name}.npz") as scratch, scratch.open("wb") as stream:
            np.savez(stream, **known)


def person_of(pictures: PictureSet, number: int) -> int:
    """Who is in a face picture."""
    return picture_of(SEED, number, pictures.people)[0]


def prepare(pictures: PictureSet, pairs: PairList, pool: Any) -> None:
    """Draw what is missing, spread over the pool's workers."""
    keys = [key for key in dict.fromkeys((*pairs.source_keys, *pairs.target_keys))]
    both = list(zip(pairs.source_keys, pairs.target_keys, strict=True))
    pool.map(partial(_draw_faces, pictures), [keys[i : i + PART] for i in range(0, len(keys), PART)])
    pool.map(partial(_draw_truths, pictures), [both[i : i + PART] for i in range(0, len(both), PART)])


def _data(portrait: Portrait) -> dict[str, np.ndarray]:
    return {"landmarks_px": portrait.landmarks_px, "mask": portrait.mask, "skin": portrait.skin}


def _draw_faces(pictures: PictureSet, keys: Sequence[str]) -> None:
    if all((pictures.folder / "faces" / f"{key}.npz").is_file() for key in keys):
        return
    shots = [render_person(*person_and_scene(SEED, int(key), pictures.people), pictures.size_px) for key in keys]
    landmarks = np.stack([shot.landmarks_px for shot in shots])
    fitted = fit(np.stack([shot.image for shot in shots]), landmarks, load_head("builtin"), pictures.size_px)
    for key, shot, coefficients in zip(keys, shots, fitted.coefficients, strict=True):
        pictures.write("faces", key, shot.image, **_data(shot), coefficients=coefficients)


def _draw_truths(pictures: PictureSet, pairs: Sequence[tuple[str, str]]) -> None:
    """True swaps, and results: the truth, a quarter of the target shining through, blurred by one pixel's shift."""
    for source, target in pairs:
        name = f"{source}-{target}"
        if (pictures.folder / "results" / f"{name}.npz").is_file():
            continue
        truth = true_swap(SEED, source, target, pictures.people, pictures.size_px)
        below = decode_colour(pictures.picture("faces", target).read_bytes())
        mixed = 0.75 * truth.image.astype(np.float32) + 0.25 * np.roll(below, 1, axis=1)
        pictures.write("truth", name, truth.image, **_data(truth))
        pictures.write("results", name, mixed.round().astype(np.uint8))


@dataclass(frozen=True)
class Loader:
    """Keys -> FaceBatch, decoded anew."""

    pictures: PictureSet

    def __call__(self, keys: Sequence[str]) -> FaceBatch:
        """The faces of these keys."""
        images = [decode_colour(self.pictures.picture("faces", key).read_bytes()) for key in keys]
        known = [self.pictures.known("faces", key) for key in keys]
        column = {name: torch.from_numpy(np.stack([k[name] for k in known])) for name in known[0]}
        persons = [person_of(self.pictures, int(key)) for key in keys]
        return FaceBatch(
            image=torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255,
            mask=column["mask"][:, None].float() / 255,
            coefficients=column["coefficients"].float(),
            embedding=torch.ones(len(keys), 4) / 2,
            skin=column["skin"].float(),
            landmarks=column["landmarks_px"].float(),
            person=torch.tensor(persons),
            keys=tuple(keys),
        )


@dataclass(frozen=True)
class TruePicture:
    """image (S, S, 3) uint8, landmarks_px (68, 2), mask (S, S) uint8."""

    image: np.ndarray
    landmarks_px: np.ndarray
    mask: np.ndarray


@dataclass(frozen=True)
class Truths:
    """(source key, target key) -> the true swap, decoded anew."""

    pictures: PictureSet

    def __call__(self, source: str, target: str) -> TruePicture:
        """The true swap of a pair."""
        name = f"{source}-{target}"
        known = self.pictures.known("truth", name)
        image = decode_colour(self.pictures.picture("truth", name).read_bytes())
        return TruePicture(image, known["landmarks_px"], known["mask"])


@dataclass(frozen=True)
class Results:
    """A "swapper" that reads finished results: what is timed is the judging."""

    pictures: PictureSet
    name: str = "results"

    @property
    def size_px(self) -> int:
        """Width of a picture."""
        return self.pictures.size_px

    def swap(self, source: FaceBatch, target: FaceBatch) -> SwapResult:
        """The results of these pairs."""
        names = [f"{s}-{t}" for s, t in zip(source.keys, target.keys, strict=True)]
        images = [decode_colour(self.pictures.picture("results", name).read_bytes()) for name in names]
        return SwapResult(torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255, target.mask)
