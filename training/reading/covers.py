"""What faces/readers/cover.py learns from: fits of generated people, close up, with the true cover. Kept on disk.

The fits are real ones, of landmarks with the errors that detectors and hands make, so that the small misfits of a fit
are part of what the network sees and are no cover. For photographs (`READ`) the landmarks are those that our reader
finds, with larger errors, and the fits are those of photographs. One .npy file of planes and one of landmarks a part.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from faces.camera import Camera
from faces.errors import SamaeError
from faces.files import atomic_file, make_folder, read_json
from faces.finding.detector import load_detector
from faces.finding.finder import Proposal
from faces.finding.reader import read_face, square_of
from faces.fitting import fit
from faces.landmarks import transform_points
from faces.morphable.base import MorphableHead
from faces.morphable.registry import load_head
from faces.readers.blocks import each_face
from faces.readers.cover import CHANNELS, CLOSE_PX, closely, network_inputs
from faces.render.mesh_image import posed_vertices
from faces.render.rasterize import covered
from faces.treatment import settings_of
from training.progress import duration
from training.reading.people import PART, load_people, part_path

#: Faces fitted together.
BATCH = 25
#: Planes after the network's inputs: share of a pixel that is covered, that is face or cover, that is neither head
#: nor cover (the background beside a silhouette that is too large).
COVER, KNOWN, BEYOND = CHANNELS, CHANNELS + 1, CHANNELS + 2
PLANES = CHANNELS + 3
#: Standard deviation of the landmarks' errors, percent of the distance of the outer eye corners; one is drawn a face.
NOISE_PERCENT = (0.0, 0.3, 0.7, 1.4, 2.2)
#: The same for landmarks that were read, which have errors of their own. Our reader errs more on photographs.
READ_NOISE_PERCENT = (0.0, 0.0, 1.0, 2.0, 3.5)
#: What the landmarks of a fit start from: the true ones, or those that our reader finds in the picture.
EXACT, READ = "exact", "read"
#: Readings that score less are left out (0..1).
LEAST_SCORE = 0.5
#: Landmarks that err together: jaw, brows, nose, eyes, mouth.
GROUPS = ((0, 17), (17, 22), (22, 27), (27, 36), (36, 42), (42, 48), (48, 68))


@dataclass(frozen=True)
class Covers:
    """N faces close up, memory-mapped part by part.

    Attributes:
        planes: parts of (n, CLOSE_PX, CLOSE_PX, PLANES) uint8.  landmarks_px: parts of (n, 68, 2) float32 in them.
    """

    planes: list[np.ndarray]
    landmarks_px: list[np.ndarray]

    def __len__(self) -> int:
        return sum(len(part) for part in self.planes)

    def row(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Planes (CLOSE_PX, CLOSE_PX, PLANES) and landmarks (68, 2) of one face."""
        for planes, points in zip(self.planes, self.landmarks_px, strict=True):
            if index < len(planes):
                return np.asarray(planes[index]), np.asarray(points[index])
            index -= len(planes)
        raise IndexError(index)


def open_covers(
    people: Path, cache: Path, report: Callable[[str], None] = print, first: int | None = None, landmarks: str = EXACT
) -> Covers:
    """The close-ups of a folder of people (or of its first parts), made where `cache` lacks them.

    Parts of a set that is still being drawn may be used. `landmarks` is EXACT or READ; a cache may hold both.

    Raises:
        SamaeError: the people are not there.
    """
    note = people / "people.json"
    if not note.is_file():
        raise SamaeError(f"{people} holds no people: draw them with python -m training.reading.people {people}")
    count = read_json(note)["count"]
    starts = list(range(0, count, PART))[:first]
    make_folder(cache)
    head, started_s = load_head("builtin"), time.monotonic()
    for done, start in enumerate(starts, 1):
        stop = min(start + PART, count)
        if not _path(cache, start, landmarks, "points").is_file():
            made = close_up(read_part(people, start, stop), head, start, landmarks)
            for name, array in zip(("planes", "points"), made, strict=True):
                _write(_path(cache, start, landmarks, name), array)
            left_s = (time.monotonic() - started_s) / done * (len(starts) - done)
            report(f"close-ups {stop}/{count}, {duration(left_s)} left")
    parts = [
        [np.load(_path(cache, start, landmarks, name), mmap_mode="r", allow_pickle=False) for start in starts]
        for name in ("planes", "points")
    ]
    covers = Covers(parts[0], parts[1])
    if not len(covers):
        raise SamaeError(f"no face of {people} could be read and fitted: draw larger or more people")
    return covers


def _path(cache: Path, start: int, landmarks: str, name: str) -> Path:
    return cache / f"{start:07d}-{landmarks}-{name}.npy"


def _write(path: Path, array: np.ndarray) -> None:
    with atomic_file(path) as scratch, scratch.open("wb") as stream:
        np.save(stream, array, allow_pickle=False)


def read_part(people: Path, start: int, stop: int) -> dict[str, np.ndarray]:
    """People start .. stop - 1 of a set, whole or still being drawn, by the names of `PeopleSet`'s arrays."""
    names = ("image", "landmarks_px", "mask", "hair", "occluder", "coefficients")
    if (people / "whole").is_dir():
        whole = load_people(people)
        return {name: np.asarray(getattr(whole, name)[start:stop]) for name in names}
    path = part_path(people, start, stop)
    if not path.is_file():
        raise SamaeError(f"{people} lacks people {start} to {stop - 1}: go on with python -m training.reading.people")
    with np.load(path, allow_pickle=False) as part:
        return {name: part[name] for name in names}


def close_up(
    people: dict[str, np.ndarray], head: MorphableHead, seed: int, landmarks: str = EXACT
) -> tuple[np.ndarray, np.ndarray]:
    """Planes (n, CLOSE_PX, CLOSE_PX, PLANES) uint8 and landmarks (n, 68, 2) float32 of the people whose fit is ok.

    landmarks: EXACT, or READ: then only of those in whom our reader sees a face.
    """
    rng = np.random.Generator(np.random.Philox(key=[0xC0FE, seed]))
    planes = [np.zeros((0, CLOSE_PX, CLOSE_PX, PLANES), np.uint8)]
    points = [np.zeros((0, 68, 2), np.float32)]
    for start in range(0, len(people["image"]), BATCH):
        part = {name: array[start : start + BATCH] for name, array in people.items()}
        size_px = part["image"].shape[1]
        given, noise = part["landmarks_px"], NOISE_PERCENT
        if landmarks == READ:
            given, noise = read_landmarks(part["image"], given), READ_NOISE_PERCENT
            are_read = np.isfinite(given).all((1, 2))
            part, given = {name: array[are_read] for name, array in part.items()}, given[are_read]
        if not len(given):
            continue
        found = fit(part["image"], disturbed(given, rng, noise), head, size_px, settings_of(landmarks == EXACT)[0])
        if not found.ok.any():
            continue
        part = {name: array[found.ok] for name, array in part.items()}
        inputs, matrices = network_inputs(part["image"], found.coefficients[found.ok], head)
        truths = [true_planes(part, n, matrices[n]) for n in range(len(inputs))]
        beyond = off_the_head(part["coefficients"], head, matrices, size_px)
        made = np.concatenate([inputs, np.stack(truths), beyond[..., None]], -1)
        made[..., BEYOND][made[..., KNOWN] > 32] = 0
        planes.append(made)
        points.append(transform_points(matrices, part["landmarks_px"]).astype(np.float32))
    return np.concatenate(planes), np.concatenate(points)


def read_landmarks(images: np.ndarray, landmarks_px: np.ndarray) -> np.ndarray:
    """(N, S, S, 3) uint8, true (N, 68, 2) -> (N, 68, 2) as our reader reads them there; NaN where it sees no face."""
    network, out = load_detector().points, np.full(landmarks_px.shape, np.nan)

    def read(n: int) -> None:
        """One face."""
        face = read_face(network, images[n], Proposal(*square_of(landmarks_px[n]), 1.0), LEAST_SCORE)
        if face is not None:
            out[n] = face.landmarks_px

    each_face(read, len(images))
    return out


def disturbed(
    landmarks_px: np.ndarray, rng: np.random.Generator, noise_percent: tuple[float, ...] = NOISE_PERCENT
) -> np.ndarray:
    """(N, 68, 2) landmarks with errors of points and of groups of points; one of these deviations is drawn a face."""
    eyes = np.linalg.norm(landmarks_px[:, 36] - landmarks_px[:, 45], axis=-1)
    sigma = (eyes * rng.choice(noise_percent, len(eyes)) / 100)[:, None, None]
    moved = landmarks_px + 0.7 * sigma * rng.standard_normal(landmarks_px.shape)
    for a, b in GROUPS:
        moved[:, a:b] += 0.7 * sigma * rng.standard_normal((len(eyes), 1, 2))
    return moved


def true_planes(part: dict[str, np.ndarray], n: int, matrix: np.ndarray) -> np.ndarray:
    """(CLOSE_PX, CLOSE_PX, 2) uint8: covered, and known (covered or visible face)."""
    cover = np.maximum(part["hair"][n], 0).astype(np.uint16) + part["occluder"][n]
    both = np.stack([np.minimum(cover, 255), np.minimum(cover + part["mask"][n], 255)], -1)
    return closely(both.astype(np.uint8), matrix)


def off_the_head(coefficients: np.ndarray, head: MorphableHead, matrices: np.ndarray, size_px: int) -> np.ndarray:
    """(N, CLOSE_PX, CLOSE_PX) uint8, 255 where the true head is more than about 1.5 px away."""
    vertices_px, _ = posed_vertices(head, coefficients, Camera.centred(size_px))
    vertices_px = vertices_px.copy()
    vertices_px[..., :2] = transform_points(matrices, vertices_px[..., :2])
    shown = covered(vertices_px.astype(np.float32), head.triangles, CLOSE_PX, CLOSE_PX)
    grown = [cv2.dilate(one.astype(np.uint8), np.ones((3, 3), np.uint8)) for one in shown]
    return np.where(np.stack(grown) > 0, 0, 255).astype(np.uint8)
