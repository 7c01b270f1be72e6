"""FaceForensics++ (Roessler et al. 2019) in its own folder layout: 10 frames of every video, paired as published.

    original_sequences/youtube/{c23,raw,c40}/videos/071.mp4        or .../images/071/*.png where frames were extracted
    splits/{train,val,test}.json     pairs [["071", "054"], ...], each used both ways
    manipulated_sequences/*/*/videos/071_054.mp4     target_source: where there are no splits, their names pair
    conversion_dict.json             "071": "YOUTUBEID00 2": videos of one id show one person

Frame n of the source goes onto frame n of the target, n = 0..9, at the middles of ten equal parts of the video (ours;
the protocol says evenly spaced). Videos with one YouTube id, and those that MegaFS found (its issue 24: 043 with 343,
179 with 183 and 826), are one person; MegaFS merged to 885 identities by eye and published no list, so some repeats
stay, and retrieval counts them as strangers. Landmarks: landmarks.json ("071/3": 68 points) or the detector.
A frame that cannot be decoded or shows no face fails its pairs; nothing falls back to another frame.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np

from evaluation.pairs import PairList
from evaluation.sets.base import Shot, first_pairs, listed_digest, listed_landmarks
from faces.errors import SamaeError
from faces.files import digest_of

FRAMES = 10
COMPRESSIONS = ("c23", "raw", "c40")
SAME_PERSON = (("043", "343"), ("179", "183", "826"))
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class FaceForensics:
    """The set below a folder. Make it by `open_faceforensics`.

    Attributes:
        root: the folder.  compression: c23, raw or c40.
        videos: name -> file of the video, or folder of its frames.  clips: (target, source) names, in order.
        persons: name -> identity label.  digest: of names, sizes, pairs and persons.
    """

    root: Path
    compression: str
    videos: dict[str, Path] = field(hash=False)
    clips: tuple[tuple[str, str], ...]
    persons: dict[str, int] = field(hash=False)
    digest: str
    protocol: ClassVar[str] = "faceforensics"
    has_truth: ClassVar[bool] = False
    pairs_a_chunk: ClassVar[int] = FRAMES

    def pairs(self, count: int | None = None) -> PairList:
        """Ten pairs a clip; a list of whole clips for `count`, one at least."""
        sources = tuple(f"{source}/{n}" for _, source in self.clips for n in range(FRAMES))
        targets = tuple(f"{target}/{n}" for target, _ in self.clips for n in range(FRAMES))
        listed = PairList(f"faceforensics-{self.compression}", self.protocol, 0, self.digest, sources, targets)
        return listed if count is None else first_pairs(listed, max(count // FRAMES, 1) * FRAMES)

    def groups(self, keys: Sequence[str]) -> list[tuple[str, ...]]:
        """Video by video."""
        found: dict[str, list[str]] = {}
        for key in keys:
            found.setdefault(key.split("/")[0], []).append(key)
        return [tuple(group) for group in found.values()]

    def shots(self, keys: tuple[str, ...]) -> list[Shot | str]:
        """Frames of one video."""
        name = keys[0].split("/")[0]
        frames = _frames(self.videos[name], {int(key.split("/")[1]) for key in keys})
        found: list[Shot | str] = []
        for key in keys:
            frame = frames[int(key.split("/")[1])]
            found.append(frame if isinstance(frame, str) else Shot(frame, self._landmarks.get(key)))
        return found

    def person(self, key: str) -> int:
        """Label of the video's person."""
        return self.persons[key.split("/")[0]]

    @cached_property
    def landmarks_digest(self) -> str:
        """Of landmarks.json, read once as it is."""
        return listed_digest(self.root)

    @cached_property
    def _landmarks(self) -> dict[str, np.ndarray]:
        return listed_landmarks(self.root)


def open_faceforensics(root: Path) -> FaceForensics:
    """Read the layout below a folder; SamaeError naming what is missing or damaged."""
    compression, videos = _videos(root)
    pairs = _pairs(root)
    persons = merged_persons(sorted(videos), _youtube_ids(root))
    there = [(t, s) for t, s in pairs if t in videos and s in videos and persons[t] != persons[s]]
    if not there:
        raise SamaeError(f"{root}: none of the {len(pairs)} published pairs has both its videos; fetch more of the set")
    sizes = {name: path.stat().st_size if path.is_file() else len(_pictures(path)) for name, path in videos.items()}
    used = {name for pair in there for name in pair}
    digest = digest_of([compression, there, {n: [sizes[n], persons[n]] for n in sorted(used)}])
    return FaceForensics(root, compression, videos, tuple(there), persons, digest)


def _videos(root: Path) -> tuple[str, dict[str, Path]]:
    """The first compression that is there, and its videos or frame folders by name."""
    for compression in COMPRESSIONS:
        folder = root / "original_sequences" / "youtube" / compression
        found = {path.stem: path for path in sorted((folder / "videos").glob("*.mp4"))}
        frames = {path.name: path for path in sorted((folder / "images").glob("*")) if path.is_dir()}
        if found or frames:
            return compression, frames | found
    raise SamaeError(
        f"{root} holds no original_sequences/youtube/c23/videos/*.mp4 (nor raw, c40, nor images/): "
        "name the folder that FaceForensics++'s download script wrote"
    )


def _pairs(root: Path) -> list[tuple[str, str]]:
    """(target, source) names: of the splits, both ways; else of the manipulated videos' names."""
    found: list[tuple[str, str]] = []
    for split in SPLITS:
        path = next((p for p in (root / "splits" / f"{split}.json", root / f"{split}.json") if p.is_file()), None)
        for entry in _read(path, list) if path else ():
            if not (isinstance(entry, list) and len(entry) == 2 and all(isinstance(name, str) for name in entry)):
                raise SamaeError(f"{path} holds {entry!r}, not a pair of names such as ['071', '054']: fetch it anew")
            found += [(entry[0], entry[1]), (entry[1], entry[0])]
    if not found:
        names = sorted({path.stem for path in (root / "manipulated_sequences").glob("*/*/videos/*_*.mp4")})
        found = [(target, source) for target, _, source in (name.partition("_") for name in names)]
    if not found:
        raise SamaeError(f"{root} holds neither splits/test.json nor manipulated videos, which say who goes onto whom")
    return list(dict.fromkeys(found))


def _youtube_ids(root: Path) -> dict[str, str]:
    path = root / "conversion_dict.json"
    entries = _read(path, dict) if path.is_file() else {}
    wrong = [name for name, value in entries.items() if not isinstance(value, str) or len(value) < 11]
    if wrong:
        raise SamaeError(f"{path}: {wrong[0]!r} has no YouTube id of 11 characters: fetch the file anew")
    return {name: value[:11] for name, value in entries.items()}


def merged_persons(names: Sequence[str], youtube: dict[str, str]) -> dict[str, int]:
    """name -> label: the position of the first name of the same person (one YouTube id, or known to be one)."""
    first: dict[str, str] = {}
    label: dict[str, int] = {}
    alias = {name: group[0] for group in SAME_PERSON for name in group}
    for position, name in enumerate(names):
        marks = [f"id {youtube[name]}"] if name in youtube else []
        marks += [f"known {alias[name]}"] if name in alias else []
        known = next((first[mark] for mark in marks if mark in first), None)
        label[name] = label[known] if known is not None else position
        for mark in marks:
            first.setdefault(mark, name)
    return label


def _read(path: Path, kind: type) -> Any:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise SamaeError(f"{path} is not readable JSON ({error}): fetch it anew") from None
    if not isinstance(value, kind):
        raise SamaeError(f"{path} holds no {kind.__name__}: fetch it anew")
    return value


def _pictures(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in (".png", ".jpg", ".jpeg"))


def positions(count: int) -> list[int]:
    """Frame numbers of the middles of FRAMES equal parts of `count` frames."""
    return [(2 * n + 1) * count // (2 * FRAMES) for n in range(FRAMES)]


def _frames(path: Path, wanted: set[int]) -> dict[int, np.ndarray | str]:
    """Ordinals 0..9 -> (H, W, 3) uint8, or why not. A video is decoded from its start: seeking is not exact."""
    if path.is_dir():
        from training.pictures import read_picture

        listed = _pictures(path)
        if len(listed) < FRAMES:
            return dict.fromkeys(wanted, f"{path} holds {len(listed)} frames, {FRAMES} are needed")
        return {n: _or_reason(read_picture, listed[positions(len(listed))[n]]) for n in wanted}
    video = cv2.VideoCapture(str(path))
    try:
        count = int(video.get(cv2.CAP_PROP_FRAME_COUNT))
        if not video.isOpened() or count < FRAMES:
            return dict.fromkeys(wanted, f"{path} is no video of {FRAMES} frames or more: fetch it anew")
        return _decoded(video, {positions(count)[n]: n for n in wanted}, path)
    finally:
        video.release()


def _decoded(video: Any, places: dict[int, int], path: Path) -> dict[int, np.ndarray | str]:
    found: dict[int, np.ndarray | str] = {n: f"{path}: frame {place} cannot be decoded" for place, n in places.items()}
    for place in range(max(places) + 1):
        if not video.grab():
            break
        if place in places:
            ok, bgr = video.retrieve()
            if ok:
                found[places[place]] = np.ascontiguousarray(bgr[..., ::-1])
    return found


def _or_reason(read: Any, path: Path) -> np.ndarray | str:
    try:
        return read(path)
    except SamaeError as error:
        return str(error)
