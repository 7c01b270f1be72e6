"""`samae bench landmarks`: how many faces are found in plain pictures, and how well their 68 landmarks are read.

Held-out generated people are put, turned and at sizes from 48 to 400 px (FFHQ's square), into cluttered pictures of
512 px. With `--set folder=DIR` the pictures named by the XML files of dlib's form in DIR are read, too: those of
github.com/davisking/dlib, examples/faces, for one. Times are CPU time of this process.
SAMAE_LANDMARKS chooses who reads.
"""

import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from faces.detection import FaceDetector, landmark_reader, load_detector
from faces.errors import SamaeError
from faces.landmarks import EYE_LEFT, EYE_RIGHT, from_whole_pixels, transform_points

SUMMARY = "landmarks of plain pictures: faces found, error, false finds and time, on generated people and dlib's XML"
DEFAULTS: dict[str, Any] = {"people": 100, "seed": 15_485_863, "folder": ""}
CANVAS_PX, PICTURE_PX = 512, 192
#: Eyes this far apart make a face large enough for the figures of their own, px.
LARGE_PX = 25.0


@dataclass(frozen=True)
class Picture:
    """(H, W, 3) uint8 sRGB and the (68, 2) landmarks of the faces in it, our pixels."""

    image: np.ndarray
    faces: list[np.ndarray]


@dataclass
class Tally:
    """What came of a set of pictures: rows of (eye distance px, found, NME of 68 and of the inner 51, percent)."""

    rows: list[tuple[float, bool, float, float]]
    others: int = 0
    pictures: int = 0
    cpu_s: float = 0.0

    def figures(self, prefix: str, least_px: float = 0.0) -> dict[str, float | int]:
        """The figures of the faces whose eyes are at least so far apart."""
        rows = np.array([row for row in self.rows if row[0] >= least_px], np.float64).reshape(-1, 4)
        found = rows[rows[:, 1] > 0]
        nan = np.full((1, 4), np.nan)
        errors = found if len(found) else nan
        return {
            f"{prefix}_faces": len(rows),
            f"{prefix}_found_percent": round(100 * len(found) / max(1, len(rows)), 1),
            f"{prefix}_nme68_percent_mean": round(float(errors[:, 2].mean()), 2),
            f"{prefix}_nme68_percent_median": round(float(np.median(errors[:, 2])), 2),
            f"{prefix}_nme51_percent_mean": round(float(errors[:, 3].mean()), 2),
            f"{prefix}_nme51_percent_median": round(float(np.median(errors[:, 3])), 2),
        }

    def costs(self, prefix: str) -> dict[str, float | int]:
        """Finds that are no listed face, and time, a picture."""
        return {
            f"{prefix}_pictures": self.pictures,
            f"{prefix}_other_finds_per_picture": round(self.others / max(1, self.pictures), 3),
            f"{prefix}_cpu_ms_per_picture": round(1e3 * self.cpu_s / max(1, self.pictures), 1),
        }


def run(settings: dict[str, Any]) -> dict[str, float | int | str]:
    """Settings: people (0: none), seed, folder (with XML files in dlib's form and their pictures)."""
    chosen, detector = DEFAULTS | settings, load_detector()
    figures: dict[str, float | int | str] = {"reader": landmark_reader()}
    if int(chosen["people"]):
        tally = measure(detector, generated(int(chosen["people"]), int(chosen["seed"])))
        figures |= tally.figures("generated") | tally.costs("generated")
    if chosen["folder"]:
        tally = measure(detector, listed(Path(str(chosen["folder"]))))
        figures |= tally.figures("folder") | tally.figures(f"folder_from_{LARGE_PX:.0f}px", LARGE_PX)
        figures |= tally.costs("folder")
    return figures


def measure(detector: FaceDetector, pictures: Iterator[Picture]) -> Tally:
    """Read every picture and compare."""
    tally = Tally([])
    for picture in pictures:
        started_s = time.process_time()
        found = detector.faces(picture.image)
        tally.cpu_s += time.process_time() - started_s
        tally.pictures += 1
        rows, others = matched(picture.faces, found)
        tally.rows += rows
        tally.others += others
    return tally


def matched(faces: list[np.ndarray], found: list[np.ndarray]) -> tuple[list[tuple[float, bool, float, float]], int]:
    """Rows of a Tally, and how many finds belong to no face.

    A face is found when the nearest free find's 68 points are off by less than half its eye distance in the mean.
    """
    rows, free = [], list(range(len(found)))
    for face in faces:
        eyes_px, best = eye_distance_px(face), nearest(face, [found[n] for n in free])
        if best is None:
            rows.append((eyes_px, False, np.nan, np.nan))
            continue
        away = 100 * np.linalg.norm(found[free.pop(best)] - face, axis=1) / eyes_px
        rows.append((eyes_px, True, float(away.mean()), float(away[17:].mean())))
    return rows, len(free)


def nearest(face: np.ndarray, found: list[np.ndarray]) -> int | None:
    """Which of the finds is this face (68, 2): the nearest that is off by less than half its eye distance, if any."""
    away = [float(np.linalg.norm(one - face, axis=1).mean()) for one in found]
    best = int(np.argmin(away)) if away else None
    return None if best is None or away[best] > 0.5 * eye_distance_px(face) else best


def eye_distance_px(landmarks_px: np.ndarray) -> float:
    """Between the means of each eye's six points, px."""
    return float(np.linalg.norm(landmarks_px[EYE_RIGHT].mean(0) - landmarks_px[EYE_LEFT].mean(0)))


def generated(count: int, seed: int) -> Iterator[Picture]:
    """One person whom nobody trained on in every picture, with the whole backdrop or faded into the clutter."""
    from faces.synthetic.pictures import render_picture
    from training.reading.clutter import Clutter
    from training.reading.finding import Painter, Square, similarity

    clutter = Clutter(60, seed, photographs=False)
    for index in range(count):
        portrait = render_picture(seed, index, count, PICTURE_PX)
        rng = np.random.default_rng([seed, index])
        canvas = clutter.patch(CANVAS_PX, rng)
        side = float(np.exp(rng.uniform(np.log(48), np.log(400))))
        centre = np.clip(rng.uniform(0, CANVAS_PX, 2), side / 2, CANVAS_PX - side / 2)
        matrix = similarity(Square.of(portrait.landmarks_px), centre, side, float(rng.normal(0, 0.2)))
        border = np.full((PICTURE_PX, PICTURE_PX), 255, np.uint8)
        if index % 2:
            border[:] = 0
            border[10:-10, 10:-10] = 255
        Painter.paint(canvas, np.dstack([portrait.image, border]), matrix)
        yield Picture(canvas, [transform_points(matrix, portrait.landmarks_px)])


def listed(folder: Path) -> Iterator[Picture]:
    """The pictures of a folder whose faces have 68 parts in an XML file of dlib's form there.

    Raises:
        SamaeError: there is no such file or picture.
    """
    from training.pictures import read_picture

    table: dict[str, list[np.ndarray]] = {}
    for path in sorted(folder.glob("*.xml")):
        try:
            root = ElementTree.parse(path).getroot()
        except ElementTree.ParseError as error:
            raise SamaeError(f"{path} is no XML ({error}): get it anew") from None
        for image in root.iter("image"):
            faces = [_parts(box) for box in image.iter("box")]
            table.setdefault(str(image.get("file")), []).extend(face for face in faces if face is not None)
    if not any(table.values()):
        raise SamaeError(f"{folder} has no XML file in dlib's form with 68 parts a face: name another folder")
    for name in sorted(name for name, faces in table.items() if faces):
        yield Picture(read_picture(folder / name), table[name])


def _parts(box: ElementTree.Element) -> np.ndarray | None:
    points = [(float(part.get("x", "nan")), float(part.get("y", "nan"))) for part in box.iter("part")]
    return from_whole_pixels(np.array(points)) if len(points) == 68 else None
