"""A plain folder of photographs becomes a set in FFHQ layout: find the face, cut FFHQ's crop, write picture and entry.

Where `landmarks.json` lies beside the photographs (faces/landmark_list.py), the faces are where it says.

From there on there is one entrance: `raw_faces` verifies the set as it verifies FFHQ. One face a photograph, the
largest. What cannot be used is an entry in rejected.json: its reason, and who read the landmarks that it was refused
for, if it came to that. A second call goes on where the first stopped, and looks at what another reader refused anew,
and at what was too small for another size.
"""

import hashlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from faces.errors import SamaeError
from faces.files import read_json, sha256_file, write_bytes, write_json
from faces.landmark_list import LANDMARKS_NAME, LandmarkList
from faces.landmarks import ffhq_crop, ffhq_quad, ffhq_transform, to_whole_pixels, transform_points
from faces.photographs import LISTING_NAME, named, pictures_below, read_photograph
from faces.records import encode_png

REJECTED_NAME = "rejected.json"
#: The one reason that another size may lift.
TOO_SMALL = "face too small"
#: The listing is written after so many photographs, so that little is done twice after an interruption.
SAVE_EVERY = 100
#: A crop is refused when less than this share of its width is there in the photograph (ours).
LEAST_SHARE = 0.4


#: (picture, its name) -> its (68, 2) landmarks, our pixels, or the reason why there are none.
Finder = Callable[[np.ndarray, str], np.ndarray | str]


class FindsFaces(Protocol):
    """What ingestion needs of a detector."""

    def faces(self, image: np.ndarray) -> list[np.ndarray]:
        """(H, W, 3) uint8 sRGB -> the (68, 2) landmarks of every face, our pixels, the largest first."""
        ...


def ingest(
    photographs: Path,
    out: Path,
    detector: FindsFaces | None = None,
    size_px: int = 256,
    licence: str = "unknown",
    progress: Callable[[int, int], None] | None = None,
    reader: str = "unnamed",
) -> Counter[str]:
    """Write the set `out` from every picture below `photographs`; how many were "ok" and how many fell to each reason.

    Args:
        detector: finds the faces; with none, `photographs`/landmarks.json says where they are.
        reader: names the detector (faces.detection.reader_digest).

    Raises:
        SamaeError: the folder does not exist or holds no picture, or landmarks.json is absent or not about it, or
            `out` is the folder of photographs itself, or holds faces of another size.
    """
    files, entries = _files_of(photographs, out), _entries_of(out, size_px)
    rejected: dict[str, Any] = read_json(out / REJECTED_NAME) if (out / REJECTED_NAME).is_file() else {}
    find = _finder(photographs, detector, files)
    reader = reader if detector is not None else f"{LANDMARKS_NAME}-{sha256_file(photographs / LANDMARKS_NAME)[:16]}"
    known = {entry["metadata"]["photo_url"] for entry in entries.values()}
    known |= {name for name, refusal in rejected.items() if _stands(refusal, reader, size_px)}

    def save() -> None:
        """What is known so far, for who goes on from here."""
        write_json(out / LISTING_NAME, entries)
        write_json(out / REJECTED_NAME, rejected)

    try:
        for done, path in enumerate(files):
            name = path.relative_to(photographs).as_posix()
            if name not in known:
                image = read_photograph(path)
                made = image if isinstance(image, str) else _one(image, name, out, len(entries), find, size_px, licence)
                rejected.pop(name, None)
                if isinstance(made, str):
                    by = "" if isinstance(image, str) else _reader_of(made, reader, size_px)
                    rejected[name] = {"reason": made, "reader": by}
                else:
                    entries[str(len(entries))] = made
            if done % SAVE_EVERY == SAVE_EVERY - 1:
                save()
            if progress:
                progress(done + 1, len(files))
    except (KeyboardInterrupt, SystemExit):
        save()
        raise
    save()
    return Counter({"ok": len(entries)}) + Counter(_reason(refusal) for refusal in rejected.values())


def _files_of(photographs: Path, out: Path) -> list[Path]:
    """The pictures to look at; SamaeError where there are none, or no folder of them."""
    if photographs.resolve() == out.resolve():
        raise SamaeError(f"{out} is the folder of photographs itself: name another folder for the set")
    if not photographs.is_dir():
        what = "is a file, and a folder is asked for" if photographs.exists() else "does not exist"
        raise SamaeError(f"{photographs} {what}: name a folder of photographs")
    files, others = pictures_below(photographs, out)
    if not files:
        raise SamaeError(
            f"{photographs} holds no PNG, JPEG or WebP picture{named(others)}: name a folder of photographs"
        )
    return files


def _entries_of(out: Path, size_px: int) -> dict[str, Any]:
    """What earlier calls wrote into the set; SamaeError where it holds faces of another size."""
    entries: dict[str, Any] = read_json(out / LISTING_NAME) if (out / LISTING_NAME).is_file() else {}
    widths = {int(entry["image"]["pixel_size"][0]) for entry in entries.values()}
    if widths - {size_px}:
        raise SamaeError(
            f"{out} holds faces of {min(widths - {size_px})} px: go on with --size-px {min(widths)}, "
            f"or write those of {size_px} px to another folder"
        )
    return entries


def _reader_of(reason: str, reader: str, size_px: int) -> str:
    """Whose a refusal is: the reader's, and for a face that is too small this set's size's as well."""
    return f"{reader} at {size_px} px" if reason == TOO_SMALL else reader


def _stands(refusal: Any, reader: str, size_px: int) -> bool:
    """Whether an entry of rejected.json holds for this reader (and size), too: nobody had read, or the same one.

    Until readers were kept, an entry was its reason alone, and who read is not known.
    """
    return isinstance(refusal, dict) and refusal["reader"] in ("", _reader_of(refusal["reason"], reader, size_px))


def _reason(refusal: Any) -> str:
    return str(refusal["reason"] if isinstance(refusal, dict) else refusal)


def _finder(photographs: Path, detector: FindsFaces | None, files: list[Path]) -> Finder:
    """What says where the face of a picture is: the detector, else the landmarks beside the photographs."""
    if detector is not None:
        finds = detector
        return lambda image, _: next(iter(finds.faces(image)), "no face found")
    listed = LandmarkList(photographs / LANDMARKS_NAME)
    listed.check_names(path.relative_to(photographs).as_posix() for path in files)
    return lambda _, name: listed.landmarks(name)


def _one(
    image: np.ndarray, name: str, out: Path, index: int, find: Finder, size_px: int, licence: str
) -> dict[str, Any] | str:
    """The entry of one photograph (H, W, 3) uint8, or the reason why its face cannot be used."""
    found = find(image, name)
    if isinstance(found, str):
        return found
    quad = ffhq_quad(found)
    side_px = float(np.linalg.norm(quad[3] - quad[0]))
    if side_px < size_px / 2:
        return TOO_SMALL
    inside = np.clip(quad, 0, [image.shape[1], image.shape[0]])
    if np.ptp(inside, axis=0).min() < LEAST_SHARE * np.ptp(quad, axis=0).max():
        return "face cut off"
    crop = ffhq_crop(image, found, size_px)
    landmarks = transform_points(ffhq_transform(found, size_px), found)
    return _write(crop, landmarks, name, out, index, licence)


def _write(crop: np.ndarray, landmarks: np.ndarray, name: str, out: Path, index: int, licence: str) -> dict[str, Any]:
    size_px = crop.shape[0]
    file_path = f"images{size_px}x{size_px}/{index - index % 1000:05d}/{index:05d}.png"
    data = encode_png(crop)
    write_bytes(out / file_path, data)
    return {
        "category": "training",
        "metadata": {"photo_url": name, "photo_title": "", "author": "", "license": licence},
        "image": {
            "file_path": file_path,
            "file_size": len(data),
            "file_md5": hashlib.md5(data, usedforsecurity=False).hexdigest(),
            "pixel_size": [size_px, size_px],
            "pixel_md5": hashlib.md5(crop.tobytes(), usedforsecurity=False).hexdigest(),
            "face_landmarks": np.round(to_whole_pixels(landmarks), 3).tolist(),
        },
    }
