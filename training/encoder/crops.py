"""What encoders learn from: aligned crops with their labels, landmarks and inner-face masks, kept on disk and mapped.

Two sources: generated people, and any folder with one folder an identity (training/encoder/folders.py). A set is made
once, under the digest of what made it, and read through memory maps after that.
"""

import contextlib
import multiprocessing
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from faces.errors import SamaeError
from faces.files import atomic_folder, digest_of, is_complete
from faces.identity.crops import crop_matrices, identity_crops
from faces.landmarks import transform_points
from training.encoder.recipe import EncoderRecipe
from training.progress import duration

Report = Callable[[str], None]


@dataclass(frozen=True)
class CropSet:
    """P aligned crops, S px square.

    Attributes:
        pictures: (P, S, S, 3) uint8 sRGB.  labels: (P,) int64, people 0 .. n - 1; those from `train_people` on verify.
        landmarks: (P, 68, 2) float32, px of the crop.
        masks: (P, S, S) uint8, 255 on the inner face (skin, brows, eyes, nose, mouth; no hair, no occluder).
    """

    pictures: np.ndarray
    labels: np.ndarray
    landmarks: np.ndarray
    masks: np.ndarray
    train_people: int

    def rows(self, is_train: bool) -> np.ndarray:
        """Positions of the pictures that train, or of those that verify."""
        return np.flatnonzero((self.labels < self.train_people) == is_train)


def open_crops(recipe: EncoderRecipe, cache: Path, workers: int, report: Report) -> CropSet:
    """The set of a recipe: read from `cache` when it is there whole, else made there first."""
    if recipe.data == "people":
        folder = people_folder(recipe, cache)
        if not is_complete(folder):
            _write(folder, *_render_people(recipe, workers, report), recipe.people)
        return _read(folder)
    from training.encoder.folders import cut_folder, folder_digest

    folder = cache / f"folder-{folder_digest(recipe)}"
    if not is_complete(folder):
        _write(folder, *cut_folder(recipe, report))
    return _read(folder)


def people_folder(recipe: EncoderRecipe, cache: Path) -> Path:
    """Where the crops of a recipe's generated people lie, once they are made."""
    keys = ("people", "held_out_people", "pictures_per_person", "render_px", "crop_px", "seed")
    return cache / f"people-{digest_of({key: getattr(recipe, key) for key in keys})}"


def crop_faces(
    images: np.ndarray, masks: np.ndarray, landmarks_px: np.ndarray, crop_px: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(N, S, S, 3) uint8, (N, S, S) uint8, (N, 68, 2) px -> crops, masks (uint8) and landmarks (px) in the crop."""
    stacked = torch.from_numpy(np.concatenate([images, masks[..., None]], -1)).permute(0, 3, 1, 2).float() / 255
    marks = torch.from_numpy(np.asarray(landmarks_px, np.float32))
    crops = identity_crops(stacked[:, :3], marks, crop_px)
    inside = identity_crops(stacked[:, 3:].expand(-1, 3, -1, -1), marks, crop_px)[:, 0]
    moved = transform_points(crop_matrices(landmarks_px, crop_px), landmarks_px).astype(np.float32)
    pixels = (crops.permute(0, 2, 3, 1) * 255).round().byte().numpy()
    return pixels, (inside * 255).round().byte().numpy(), moved


def _render_person(task: tuple[EncoderRecipe, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Crops, masks and landmarks of all pictures of one person. Runs in a worker process."""
    from faces.synthetic.person import person_from_seed
    from faces.synthetic.portrait import render_person
    from faces.synthetic.scene import scene_from_seed

    recipe, index = task
    torch.set_num_threads(1)
    person = person_from_seed(recipe.seed, index)
    portraits = []
    for picture in range(index * recipe.pictures_per_person, (index + 1) * recipe.pictures_per_person):
        # Every other scene (hair, clothes, glasses) was drawn for somebody else, so that hair does not tell who it is.
        owner = person if picture % 2 == 0 else person_from_seed(recipe.seed, 1_000_000 + picture)
        portraits.append(render_person(person, scene_from_seed(recipe.seed, picture, owner), recipe.render_px))
    return crop_faces(
        np.stack([p.image for p in portraits]),
        np.stack([p.mask for p in portraits]),
        np.stack([p.landmarks_px for p in portraits]),
        recipe.crop_px,
    )


def _render_people(
    recipe: EncoderRecipe, workers: int, report: Report
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    tasks = [(recipe, index) for index in range(recipe.people + recipe.held_out_people)]
    rows = []
    start_s = time.monotonic()
    with contextlib.ExitStack() as stack:
        pool = stack.enter_context(multiprocessing.get_context("spawn").Pool(workers)) if workers > 1 else None
        for row in pool.imap(_render_person, tasks, chunksize=4) if pool else map(_render_person, tasks):
            rows.append(row)
            if len(rows) % 50 == 0:
                left_s = (time.monotonic() - start_s) / len(rows) * (len(tasks) - len(rows))
                report(f"people {len(rows)}/{len(tasks)}, {duration(left_s)} left")
    pictures, masks, landmarks = (np.concatenate(part) for part in zip(*rows, strict=True))
    return pictures, np.repeat(np.arange(len(tasks)), recipe.pictures_per_person), landmarks, masks


def _write(
    folder: Path,
    pictures: np.ndarray,
    labels: np.ndarray,
    landmarks: np.ndarray,
    masks: np.ndarray,
    train_people: int,
) -> None:
    arrays = {"pictures": pictures, "labels": labels, "landmarks": landmarks, "masks": masks}
    with atomic_folder(folder, {"kind": "crops", "train_people": train_people}) as scratch:
        for name, array in arrays.items():
            np.save(scratch / f"{name}.npy", array, allow_pickle=False)


def _read(folder: Path) -> CropSet:
    from faces.files import read_manifest

    names = ("pictures", "labels", "landmarks", "masks")
    try:
        arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in names}
    except (OSError, ValueError) as error:
        raise SamaeError(f"{folder} is damaged ({error}); remove it, and it is made again") from None
    return CropSet(**arrays, train_people=int(read_manifest(folder).metadata["train_people"]))
