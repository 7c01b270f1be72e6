"""What encoders learn from: aligned crops with their labels, landmarks and inner-face masks, kept on disk and mapped.

Two sources: generated people, and any folder with one folder an identity (training/encoder/folders.py). A set is made
once, under the digest of what made it, and read through memory maps after that.
"""

import contextlib
import multiprocessing
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from faces.errors import SamaeError
from faces.files import atomic_folder, digest_of, is_complete
from faces.identity.crops import crop_matrices, identity_crops
from faces.landmarks import transform_points
from training.encoder.recipe import EncoderRecipe
from training.progress import duration

Report = Callable[[str], None]
#: Crops (n, S, S, 3) uint8, masks (n, S, S) uint8 and landmarks (n, 68, 2) px of all pictures of one person.
PersonCrops = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class CropSet:
    """P aligned crops, S px square.

    Attributes:
        pictures: (P, S, S, 3) uint8 sRGB.  labels: (P,) int64, people 0 .. n - 1; those from `train_people` on verify.
        landmarks: (P, 68, 2) float32, px of the crop.
        masks: (P, S, S) uint8, 255 on the inner face (skin, brows, eyes, nose, mouth; no hair, no occluder).
        digest: `data_digest` of what the set was made from.
    """

    pictures: np.ndarray
    labels: np.ndarray
    landmarks: np.ndarray
    masks: np.ndarray
    train_people: int
    digest: str = ""

    def rows(self, is_train: bool) -> np.ndarray:
        """Positions of the pictures that train, or of those that verify."""
        return np.flatnonzero((self.labels < self.train_people) == is_train)


def data_digest(recipe: EncoderRecipe) -> str:
    """16 hexadecimal digits over everything that decides a recipe's crops: the generator's edition, or the folder."""
    if recipe.data == "people":
        from faces.synthetic.dataset import GENERATOR

        keys = ("people", "held_out_people", "pictures_per_person", "render_px", "crop_px", "seed")
        return digest_of({key: getattr(recipe, key) for key in keys} | {"generator": GENERATOR})
    from training.encoder.folders import folder_digest

    return folder_digest(recipe)


def open_crops(recipe: EncoderRecipe, cache: Path, workers: int, report: Report) -> CropSet:
    """The set of a recipe: read from `cache` when it is there whole, else made there first."""
    folder = crops_folder(recipe, cache)
    if not is_complete(folder):
        metadata: dict[str, Any] = {"kind": "crops"}
        with atomic_folder(folder, metadata) as scratch:
            if recipe.data == "people":
                _write(scratch, _render_people(recipe, workers, report))
                metadata["train_people"] = recipe.people
            else:
                from training.encoder.folders import cut_people, held_out

                people = _write(scratch, cut_people(recipe, report))
                metadata["train_people"] = people - held_out(recipe, people)
                report(f"{metadata['train_people']} people train, {held_out(recipe, people)} verify")
    return _read(folder, folder.name.rpartition("-")[2])


def crops_folder(recipe: EncoderRecipe, cache: Path) -> Path:
    """Where a recipe's crops lie, once they are made; the name ends in their `data_digest`."""
    return cache / f"{'people' if recipe.data == 'people' else 'folder'}-{data_digest(recipe)}"


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


def _render_people(recipe: EncoderRecipe, workers: int, report: Report) -> Iterator[PersonCrops]:
    """Every person's crops in turn, those that verify last."""
    tasks = [(recipe, index) for index in range(recipe.people + recipe.held_out_people)]
    start_s = time.monotonic()
    with contextlib.ExitStack() as stack:
        pool = stack.enter_context(multiprocessing.get_context("spawn").Pool(workers)) if workers > 1 else None
        made = pool.imap(_render_person, tasks, chunksize=4) if pool else map(_render_person, tasks)
        for done, row in enumerate(made, 1):
            yield row
            if done % 50 == 0:
                left_s = (time.monotonic() - start_s) / done * (len(tasks) - done)
                report(f"people {done}/{len(tasks)}, {duration(left_s)} left")


def _write(folder: Path, people: Iterator[PersonCrops]) -> int:
    """Write one person after the other, so that no more than a person's pictures is held; the number of people."""
    names, counts = ("pictures", "masks", "landmarks"), []
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(GrowingArray(folder / f"{name}.npy")) for name in names]
        for person in people:
            for file, part in zip(files, person, strict=True):
                file.append(part)
            counts.append(len(person[0]))
    np.save(folder / "labels.npy", np.repeat(np.arange(len(counts)), counts), allow_pickle=False)
    return len(counts)


class GrowingArray:
    """An .npy file that takes rows one after the other; its header gets their number at the end.

    numpy leaves room in the header for the first axis to grow. Written, not mapped: a full disk is then an error of a
    write and not the end of the process.
    """

    def __init__(self, path: Path) -> None:
        self._file, self._rows, self._like = path.open("wb"), 0, np.empty(0, np.uint8)

    def __enter__(self) -> "GrowingArray":
        return self

    def append(self, rows: np.ndarray) -> None:
        """Rows of the shape and type of the first ones."""
        if self._rows == 0:
            self._like = rows[:0]
            self._head()
        self._file.write(np.ascontiguousarray(rows, self._like.dtype).data)
        self._rows += len(rows)

    def __exit__(self, *_: object) -> None:
        self._file.seek(0)
        self._head()
        self._file.close()

    def _head(self) -> None:
        kind = np.lib.format.header_data_from_array_1_0(self._like)
        np.lib.format.write_array_header_1_0(self._file, kind | {"shape": (self._rows, *self._like.shape[1:])})


def _read(folder: Path, digest: str) -> CropSet:
    from faces.files import read_manifest

    names = ("pictures", "labels", "landmarks", "masks")
    try:
        arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in names}
    except (OSError, ValueError) as error:
        raise SamaeError(f"{folder} is damaged ({error}); remove it, and it is made again") from None
    return CropSet(**arrays, train_people=int(read_manifest(folder).metadata["train_people"]), digest=digest)
