"""The faces of a picture set as the judge loads them: found, cropped, fitted, embedded once, and kept on disk.

A picture that cannot be read or holds no face does not stop the judge: its pairs are rows with a reason, counted as
failures (`missing`). A grey square stands in for it, so that the other pairs of a chunk go on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from evaluation.sets.base import PictureSet, Shot
from faces.camera import Camera
from faces.detection import load_detector, reader_digest
from faces.errors import SamaeError
from faces.files import atomic_file, digest_of
from faces.identity.registry import load_encoder
from faces.landmarks import ffhq_crop, ffhq_transform, transform_points
from faces.morphable.base import MorphableHead
from faces.morphable.registry import load_head
from faces.morphable.tables import read_npz
from faces.occluders import NETWORKS
from faces.readers import cover, weights
from faces.render.mesh_image import project_landmarks
from faces.synthetic.posing import frame
from faces.treatment import PHOTOGRAPH_FIT, PHOTOGRAPH_FIT_PX, PHOTOGRAPH_OCCLUDERS, fit_width_px, settings_of
from training.batch import FaceBatch
from training.pictures import face_of_crop, found_landmarks

#: Raise when faces are prepared in another way: kept ones are then made again.
VERSION = 1
_FIELDS = ("image", "mask", "coefficients", "embedding", "skin", "landmarks")


@dataclass(frozen=True)
class TrueFrame:
    """A true swap at the judge's size: image (S, S, 3) uint8, landmarks_px (68, 2) float32, mask (S, S) uint8."""

    image: np.ndarray
    landmarks_px: np.ndarray
    mask: np.ndarray


@dataclass(frozen=True, eq=False)
class PreparedFaces:
    """keys -> FaceBatch, the judge's `load_faces`. Plain data: every process loads head and encoder for itself.

    Attributes:
        pictures: the set.  size_px: of the swapper.  head, encoder: names or paths.  folder: where faces are kept.
        digest: names the set, its list and how its faces are made; part of every kept file's name.
    """

    pictures: PictureSet
    size_px: int
    head: str
    encoder: str
    folder: Path
    digest: str

    def prepare(self, keys: tuple[str, ...]) -> int:
        """Make the faces of one group (see `PictureSet.groups`) that are not kept yet; how many were made."""
        todo = tuple(key for key in keys if not self._path(key).is_file())
        for key, shot in zip(todo, self.pictures.shots(todo) if todo else (), strict=True):
            self._keep(key, self._made(key, shot))
        return len(todo)

    def __call__(self, keys: Sequence[str]) -> FaceBatch:
        """The faces of these keys, made now when they are not kept."""
        rows = [self._read(key) for key in keys]
        parts = {name: torch.from_numpy(np.stack([row[name] for row in rows])) for name in _FIELDS}
        parts["image"] = parts["image"].permute(0, 3, 1, 2).float() / 255
        parts["mask"] = parts["mask"][:, None].float() / 255
        person = torch.tensor([self.pictures.person(key) for key in keys])
        return FaceBatch(**parts, person=person, keys=tuple(keys))

    def missing(self, key: str) -> str:
        """Why a picture has no face, "" when it has one."""
        return str(self._read(key)["reason"])

    def truth(self, source_key: str, target_key: str) -> TrueFrame:
        """The true swap onto a target; its list has one source a target."""
        row = self._read(target_key)
        return TrueFrame(row["true_image"], row["true_landmarks"], row["true_mask"])

    @property
    def made_by(self) -> str:
        """Names all that the faces depend on, landmarks and networks that read them included: the judge's rows too."""
        readers = (self.pictures.landmarks_digest, reader_digest(), weights.reader_digest(cover.WEIGHTS))
        treatment = PHOTOGRAPH_FIT.digest, PHOTOGRAPH_OCCLUDERS.digest, PHOTOGRAPH_FIT_PX
        photographs = () if self.pictures.has_truth else treatment
        return digest_of([VERSION, self.digest, self.size_px, self.head, self.encoder, *readers, *photographs])

    def _path(self, key: str) -> Path:
        return self.folder / f"{digest_of([self.made_by, key])}.npz"

    def _read(self, key: str) -> dict[str, np.ndarray]:
        path = self._path(key)
        if not path.is_file():
            self.prepare((key,))
        return read_npz(path, None, "a face that was kept", "remove it and evaluate again")

    def _keep(self, key: str, arrays: dict[str, np.ndarray]) -> None:
        with atomic_file(self._path(key)) as scratch, scratch.open("wb") as stream:
            np.savez(stream, **arrays)  # type: ignore[arg-type]

    def _made(self, key: str, shot: Shot | str) -> dict[str, np.ndarray]:
        head = load_head(self.head)
        if isinstance(shot, str):
            return _nobody(head, self.size_px, load_encoder(self.encoder).dim, shot)
        # what is wrong with the installation ends the run; what is wrong with a picture is its row
        method = settings_of(self.pictures.has_truth)[1].method
        if method in NETWORKS:
            cover.load_cover(NETWORKS[method])
        if shot.landmarks_px is None:
            load_detector()
        try:
            face = self._face(key, shot, head)
        except SamaeError as error:
            return _nobody(head, self.size_px, load_encoder(self.encoder).dim, str(error))
        return face | (_true(shot, self.size_px) if shot.truth is not None else {})

    def _face(self, key: str, shot: Shot, head: MorphableHead) -> dict[str, np.ndarray]:
        points = shot.landmarks_px if shot.landmarks_px is not None else found_landmarks(shot.image, key)
        is_generated = self.pictures.has_truth
        fit_px = fit_width_px(self.size_px, is_generated)
        if shot.is_crop:
            large = resized(shot.image, fit_px)
            marks = points * (fit_px / len(shot.image))
        else:
            large = ffhq_crop(shot.image, points, fit_px)
            marks = transform_points(ffhq_transform(points, fit_px), points)
        marks, encoder = marks.astype(np.float32), load_encoder(self.encoder)
        face = face_of_crop(key, large, marks, self.size_px, head, encoder, is_generated)
        image = (face.image[0].permute(1, 2, 0).numpy() * 255 + 0.5).astype(np.uint8)
        rest = {name: getattr(face, name)[0].numpy() for name in _FIELDS[2:]}
        mask = (face.mask[0, 0].numpy() * 255 + 0.5).astype(np.uint8)
        return {"image": image, "mask": mask, **rest, "reason": np.array("")}


def resized(image: np.ndarray, size_px: int) -> np.ndarray:
    """A square picture at another width: averaged when it shrinks, cubic when it grows."""
    way = cv2.INTER_AREA if size_px < len(image) else cv2.INTER_CUBIC
    return image if len(image) == size_px else cv2.resize(image, (size_px, size_px), interpolation=way)


def _true(shot: Shot, size_px: int) -> dict[str, np.ndarray]:
    truth: Any = shot.truth
    marks = np.asarray(truth.landmarks_px, np.float32) * np.float32(size_px / len(truth.image))
    parts = {"true_image": resized(truth.image, size_px), "true_mask": resized(truth.mask, size_px)}
    return {**parts, "true_landmarks": marks}


@lru_cache(maxsize=4)
def _template(head_digest: str, size_px: int, head: MorphableHead) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients and landmarks of the mean face, looking into the camera."""
    rotation, translation = frame(head.mean_mm[head.landmarks], 0.0, 0.0, Camera.centred(size_px))
    packed = head.layout.pack(rotation_rad=rotation[None], translation_mm=translation[None])
    return packed[0], project_landmarks(packed, head, size_px)[0]


def _nobody(head: MorphableHead, size_px: int, dim: int, reason: str) -> dict[str, np.ndarray]:
    """What stands in for a face that is not there, with the reason."""
    coefficients, marks = _template(head.digest, size_px, head)
    embedding = np.zeros(dim, np.float32)
    embedding[0] = 1.0
    return {
        "image": np.full((size_px, size_px, 3), 128, np.uint8), "mask": np.zeros((size_px, size_px), np.uint8),
        "coefficients": coefficients, "embedding": embedding, "skin": np.full(3, 0.3, np.float32),
        "landmarks": marks, "reason": np.array(reason[:300]),
    }  # fmt: skip
