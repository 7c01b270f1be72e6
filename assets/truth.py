"""True swaps of generated people for the judge: rendered as the photographs, resized as the shards, kept on disk."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from assets.aligned import resize
from assets.plan import Plan
from faces.files import atomic_file, digest_of
from faces.morphable.tables import read_npz


@dataclass(frozen=True)
class TruePicture:
    """image (S, S, 3) uint8 sRGB, landmarks_px (68, 2) float32, mask (S, S) uint8 visible face."""

    image: np.ndarray
    landmarks_px: np.ndarray
    mask: np.ndarray


@dataclass(frozen=True)
class TrueSwaps:
    """Callable (source key, target key) -> TruePicture. Plain data, so that it travels to workers.

    Attributes:
        generator: which code renders (part of the cache's name).  folder: the cache.
        seed, people, photo_px, aligned_px, picture_px: as in the plan that made the photographs.
    """

    generator: str
    folder: Path
    seed: int
    people: int
    photo_px: int
    aligned_px: int
    picture_px: int

    def __call__(self, source_key: str, target_key: str) -> TruePicture:
        """The true swap of one pair, from the cache when it was rendered before."""
        sizes = (self.photo_px, self.aligned_px, self.picture_px)
        name = digest_of([self.generator, self.seed, self.people, *sizes, source_key, target_key])
        path = self.folder / f"{name}.npz"
        if path.is_file():
            return _read(path)
        made = self._render(source_key, target_key)
        with atomic_file(path) as scratch, scratch.open("wb") as stream:
            np.savez(stream, image=made.image, landmarks_px=made.landmarks_px, mask=made.mask)
        return made

    def _render(self, source_key: str, target_key: str) -> TruePicture:
        from faces.synthetic.pictures import true_swap

        portrait = true_swap(self.seed, source_key, target_key, self.people, self.photo_px)
        image, mask = (self._shrink(np.asarray(part)) for part in (portrait.image, portrait.mask))
        scale = self.picture_px / self.photo_px
        return TruePicture(image, np.asarray(portrait.landmarks_px, np.float32) * scale, mask)

    def _shrink(self, picture: np.ndarray) -> np.ndarray:
        return resize(resize(picture, self.aligned_px), self.picture_px)


def _read(path: Path) -> TruePicture:
    needed = ("image", "landmarks_px", "mask")
    kept = read_npz(path, needed, "a true swap that was kept", "remove it and evaluate again")
    return TruePicture(*(kept[name] for name in needed))


def true_swaps(plan: Plan, folder: Path) -> Any:
    """The truth of this plan's photographs; None for photographs of real people, who have none."""
    if plan.raw is not None:
        return None
    from faces.synthetic.dataset import GENERATOR

    sizes = (plan.photo_px, plan.working_px, plan.picture_px)
    return TrueSwaps(GENERATOR, folder, plan.seed, plan.people, *sizes)
