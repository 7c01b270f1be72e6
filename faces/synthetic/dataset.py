"""Folders of generated people in FFHQ's layout: PNG files, ffhq-dataset-v2.json, LICENSE.txt; resumable.

Layout as NVlabs/ffhq-dataset: images{S}x{S}/00000/00042.png, one folder a thousand. Landmarks are in pixels of the
stored picture with pixel centres at whole numbers, as FFHQ's are (there the stored picture is 1024 px). Each work
unit of UNIT pictures leaves a record when it is whole; a second call continues after the last record. Same seed, same
bytes.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from faces.errors import SamaeError
from faces.files import make_folder, read_json, write_bytes, write_json
from faces.photographs import LISTING_NAME
from faces.records import encode_png
from faces.synthetic.pictures import default_people, picture_of, render_picture
from faces.synthetic.portrait import check_size

GENERATOR = "people-5"
#: Pictures a work unit: few, since at the end of a set the workers wait for the slowest one's last unit.
UNIT = 4
_LICENCE = "Public Domain Dedication (CC0)"
_LICENCE_NAME = "LICENSE.txt"
_LICENCE_URL = "https://creativecommons.org/publicdomain/zero/1.0/"
_LICENCE_TEXT = (
    "The pictures in this folder show generated people: nobody in them exists.\n"
    f"They were rendered by Samae (generator {GENERATOR}) and are in the public domain under CC0 1.0:\n{_LICENCE_URL}\n"
)


@dataclass(frozen=True)
class SetSettings:
    """What the bytes of a set depend on."""

    size_px: int
    people: int
    seed: int


def image_path(index: int, size_px: int) -> str:
    """FFHQ's path of a picture below its set's folder, POSIX."""
    return f"images{size_px}x{size_px}/{index - index % 1000:05d}/{index:05d}.png"


def write_dataset(
    folder: Path | str,
    count: int,
    size_px: int = 256,
    people: int | None = None,
    seed: int = 0,
    first: int = 0,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write pictures first .. first + count - 1 of a set below `folder`, and return the folder.

    Args:
        folder: made when missing; a set that lies there already is continued when seed, people and size are the same.
        count, size_px: at least 1 picture, at least 32 px.
        people: persons in the set; default one for four pictures of first + count.
        workers: processes; default the cores this process may use; 1 renders in this process.
        progress: called with (pictures done, count) after every unit.
    """
    folder = Path(folder)
    check_size(size_px)
    if count < 1:
        raise SamaeError(f"a set needs at least 1 picture, not {count}: raise the number")
    settings = SetSettings(size_px, people if people is not None else default_people(first + count), seed)
    entries = _read_entries(folder, settings)
    records = folder / ".records"
    units = [
        range(start, min(start + UNIT, first + count))
        for start in range(first, first + count, UNIT)
        if any(f"{i}" not in entries for i in range(start, min(start + UNIT, first + count)))
    ]
    done = count - sum(len(unit) for unit in units)
    if progress:
        progress(done, count)
    for unit, made in _run(units, folder, settings, workers):
        entries.update(made)
        done += len(unit)
        if progress:
            progress(done, count)
    ordered = {key: json.loads(json.dumps(entries[key], sort_keys=True)) for key in sorted(entries, key=int)}
    write_bytes(folder / LISTING_NAME, (json.dumps(ordered, indent=1) + "\n").encode())
    shutil.rmtree(records, ignore_errors=True)
    return folder


def _read_entries(folder: Path, settings: SetSettings) -> dict[str, Any]:
    """Entries of a finished set in this folder; SamaeError when they are damaged or were made with other settings."""
    path = folder / LISTING_NAME
    if not path.exists():
        return {}
    try:
        return _kept_entries(read_json(path), folder, settings)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise SamaeError(
            f"{path} is not the listing of a generated set ({error!r}): restore it, or remove it to have the set made "
            "anew"
        ) from None


def _kept_entries(entries: Any, folder: Path, settings: SetSettings) -> dict[str, Any]:
    kept = {}
    for key, entry in entries.items():
        origin = entry.get("synthetic", {})
        if origin.get("generator", GENERATOR) != GENERATOR:
            raise SamaeError(
                f"{folder} holds pictures of the generator {origin['generator']}, and this version draws {GENERATOR}: "
                "keep it as it is, or choose another folder, or remove that one"
            )
        there = {"seed": origin.get("seed"), "people": origin.get("people"), "px": entry["image"]["pixel_size"][0]}
        wanted = {"seed": settings.seed, "people": settings.people, "px": settings.size_px}
        if there != wanted or "generator" not in origin:
            differs = [f"{name} {there[name]} and not {wanted[name]}" for name in wanted if there[name] != wanted[name]]
            raise SamaeError(
                f"{folder} holds another set of pictures ({', '.join(differs) or 'no generated ones'}); choose another "
                "folder or remove that one"
            )
        file = folder / entry["image"]["file_path"]
        if file.is_file() and file.stat().st_size == entry["image"]["file_size"]:
            kept[f"{int(key)}"] = entry
    return kept


def _run(
    units: list[range], folder: Path, settings: SetSettings, workers: int | None
) -> Iterator[tuple[range, dict[str, Any]]]:
    """Render the units, here or in spawned processes with one thread each; yields (unit, entries) as they finish."""
    workers = min(workers or len(os.sched_getaffinity(0)), len(units))
    if workers <= 1:
        for unit in units:
            yield unit, _write_unit(folder, unit, settings)
        return
    with ProcessPoolExecutor(workers, get_context("spawn"), initializer=_one_thread) as pool:
        waiting = {pool.submit(_write_unit, folder, unit, settings): unit for unit in units}
        try:
            for future in as_completed(waiting):
                yield waiting[future], future.result()
        finally:
            # An interruption does not wait for what is still queued; it waits here, as the pool's own end, which comes
            # after it, takes the cancelling back (Python 3.11).
            pool.shutdown(wait=True, cancel_futures=True)


def _one_thread() -> None:
    """Workers share the cores, so each keeps to one thread."""
    import cv2

    for name in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    cv2.setNumThreads(1)


def _write_unit(folder: Path, unit: range, settings: SetSettings) -> dict[str, Any]:
    """Render a unit unless its record is there; the record is written after the pictures."""
    record = folder / ".records" / f"{unit.start:07d}-{unit.stop:07d}.json"
    tag = [GENERATOR, settings.seed, settings.people, settings.size_px]
    if record.is_file():
        found = read_json(record)
        whole = isinstance(found, dict) and set(found.get("entries") or ()) == {f"{index}" for index in unit}
        if whole and found.get("tag") == tag:
            return found["entries"]
    for name in {Path(image_path(index, settings.size_px)).parent for index in unit}:
        make_folder(folder / name)
        if not (folder / name / _LICENCE_NAME).exists():
            write_bytes(folder / name / _LICENCE_NAME, _LICENCE_TEXT.encode())
    entries = {f"{index}": _write_picture(folder, index, settings) for index in unit}
    write_json(record, {"tag": tag, "entries": entries})
    return entries


def _write_picture(folder: Path, index: int, settings: SetSettings) -> dict[str, Any]:
    """Render one picture, store it, and give its entry of ffhq-dataset-v2.json."""
    person_id, picture_id = picture_of(settings.seed, index, settings.people)
    portrait = render_picture(settings.seed, index, settings.people, settings.size_px)
    name = image_path(index, settings.size_px)
    path = folder / name
    data = encode_png(portrait.image, fast=True)
    scratch = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    scratch.write_bytes(data)
    scratch.replace(path)
    return {
        "category": "training" if index < 60_000 else "validation",
        "metadata": {
            "photo_url": f"synthetic:{GENERATOR}/{settings.seed}/{index}",
            "photo_title": f"Generated person {person_id}, picture {picture_id}",
            "author": f"Samae {GENERATOR}",
            "country": "",
            "license": _LICENCE,
            "license_url": _LICENCE_URL,
            "date_uploaded": "",
            "date_crawled": "",
        },
        "image": {
            "file_url": "",
            "file_path": name,
            "file_size": len(data),
            "file_md5": hashlib.md5(data).hexdigest(),
            "pixel_size": [settings.size_px, settings.size_px],
            "pixel_md5": hashlib.md5(portrait.image.tobytes()).hexdigest(),
            "face_landmarks": [[round(float(u) - 0.5, 3), round(float(v) - 0.5, 3)] for u, v in portrait.landmarks_px],
        },
        "synthetic": {
            "generator": GENERATOR,
            "seed": settings.seed,
            "people": settings.people,
            "person": person_id,
            "picture": picture_id,
        },
    }
