"""Tiny stand-ins for the judge's tests: people as coloured discs, an encoder that reads the face's colours, a head
layout."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from evaluation.batch import LoadFaces
from evaluation.pairs import FaceIndex, PairList, choose_pairs
from faces.errors import SamaeError
from training.batch import FaceBatch, SwapResult

SIZE_PX = 48
PEOPLE = 6
KEYS = tuple(f"{i:05d}" for i in range(24))


@dataclass
class FakePortrait:
    """The part of a Portrait that the judge reads."""

    image: np.ndarray
    landmarks_px: np.ndarray
    mask: np.ndarray


def person_of(key: str) -> int:
    return int(key) % PEOPLE


def disc(centre: tuple[float, float], radius: float) -> np.ndarray:
    v, u = np.mgrid[:SIZE_PX, :SIZE_PX] + 0.5
    return (u - centre[0]) ** 2 + (v - centre[1]) ** 2 < radius**2


def portrait(person: int, scene: int) -> FakePortrait:
    """The scene's backdrop, a face disc in the scene's tone, two eyes and a mouth in the person's colours."""
    look, place = np.random.default_rng(1000 + person), np.random.default_rng(2000 + scene)
    image = place.integers(0, 255, (SIZE_PX // 8, SIZE_PX // 8, 3)).repeat(8, 0).repeat(8, 1).astype(np.uint8)
    centre = (24 + place.uniform(-3, 3), 24 + place.uniform(-3, 3))
    inside = disc(centre, 14)
    image[inside] = place.integers(90, 220, 3)
    for dx, dy, radius in ((-5, -3, 4.0), (5, -3, 4.0), (0, 6, 4.5)):
        image[disc((centre[0] + dx, centre[1] + dy), radius)] = look.integers(0, 255, 3)
    angles = np.linspace(0, 2 * np.pi, 68, endpoint=False)
    landmarks = np.stack([centre[0] + 10 * np.cos(angles), centre[1] + 10 * np.sin(angles)], 1).astype(np.float32)
    return FakePortrait(image, landmarks, inside.astype(np.uint8) * 255)


def load_faces(keys: Sequence[str]) -> FaceBatch:
    """keys -> FaceBatch of portraits: the key is the scene, the key modulo PEOPLE the person."""
    shots = [portrait(person_of(k), int(k)) for k in keys]
    count = len(keys)
    return FaceBatch(
        image=torch.from_numpy(np.stack([s.image for s in shots])).permute(0, 3, 1, 2).float() / 255,
        mask=torch.from_numpy(np.stack([s.mask for s in shots]))[:, None].float() / 255,
        coefficients=torch.zeros(count, 35),
        embedding=torch.ones(count, 4) / 2,
        skin=torch.full((count, 3), 0.3),
        landmarks=torch.from_numpy(np.stack([s.landmarks_px for s in shots])),
        person=torch.tensor([person_of(k) for k in keys]),
        keys=tuple(keys),
    )


def truth(source_key: str, target_key: str) -> FakePortrait:
    return portrait(person_of(source_key), int(target_key))


class ColourEncoder:
    """Colours about the eyes and the mouth, found by the landmarks' centre, centred and of unit length."""

    licence = "test"

    def __init__(self, name: str = "colours", shift: float = 0.0) -> None:
        self.name, self.digest, self.dim, self.shift = name, f"digest-{name}", 9, shift
        self.pictures = 0

    def embed(self, images: np.ndarray, landmarks_px: np.ndarray) -> np.ndarray:
        self.pictures += len(images)
        rows = []
        for image, marks in zip(images, landmarks_px, strict=True):
            u, v = marks.mean(axis=0)
            spots = [image[int(v + dy), int(u + dx)] for dx, dy in ((-5, -3), (5, -3), (0, 6))]
            vector = np.concatenate(spots).astype(np.float32) - 128 + self.shift
            rows.append(vector / max(float(np.linalg.norm(vector)), 1e-6))
        return np.array(rows, np.float32)


class FakeSwapper:
    """Moves `share` of the truth into the target; fails on the targets named."""

    name = "fake"
    size_px = SIZE_PX

    def __init__(self, share: float = 1.0, fails_on: tuple[str, ...] = (), nan_on: tuple[str, ...] = ()) -> None:
        self.share, self.fails_on, self.nan_on = share, fails_on, nan_on

    def swap(self, source: FaceBatch, target: FaceBatch) -> SwapResult:
        bad = set(target.keys) & set(self.fails_on)
        if bad:
            raise SamaeError(f"cannot swap onto {sorted(bad)}")
        shots = np.stack([truth(s, t).image for s, t in zip(source.keys, target.keys, strict=True)])
        perfect = torch.from_numpy(shots).permute(0, 3, 1, 2).float() / 255
        image = self.share * perfect + (1 - self.share) * target.image
        for n, key in enumerate(target.keys):
            if key in self.nan_on:
                image[n] = float("nan")
        return SwapResult(image, target.mask)


def index() -> FaceIndex:
    rng = np.random.default_rng(0)
    return FaceIndex(
        KEYS,
        np.array([person_of(k) for k in KEYS]),
        rng.uniform(-0.5, 0.5, (len(KEYS), 3)),
        rng.normal(size=(len(KEYS), 5)),
        rng.uniform(0.1, 0.7, (len(KEYS), 3)),
        digest="data-1",
        occlusion=rng.uniform(0, 0.6, len(KEYS)),
    )


def pairs(count: int = 20, seed: int = 3) -> PairList:
    return choose_pairs(index(), count, seed)


LOAD: LoadFaces = load_faces
