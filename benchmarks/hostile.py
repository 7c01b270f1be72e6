"""A set in FFHQ layout with planted bad photographs of every kind, prepared twice: once in peace, once killed again and
again (SIGKILL at random moments). Every bad one must be reported by its reason, every other one must come through, and
both runs must end with the same bytes. The first run is serial, the second on Ray.

The issue's size is `--set photographs=20000 --set bad=200 --set folder=/somewhere`: with a folder, a run that was
interrupted goes on where it was.
"""

import contextlib
import copy
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from assets.raw import REASONS
from assets.tables import OK, read_rows
from benchmarks._environment import clean_environment
from faces.camera import Camera, head_to_camera, project
from faces.errors import SamaeError
from faces.files import read_json, sha256_file, write_json
from faces.morphable.registry import load_head
from faces.records import decode_colour, encode_jpeg, encode_png
from faces.synthetic.dataset import write_dataset
from pipelines.ray_pool import WORKER_ENVIRONMENT

SUMMARY = "Planted bad photographs of every kind, and five SIGKILLs: every reason named, the same bytes in the end"
#: What `--set` may name.
SETTINGS: tuple[str, ...] = ("photographs", "bad", "kills", "seed", "size_px", "folder")
LISTING = "ffhq-dataset-v2.json"
DENIED = {"photo_url": ["denied:url"], "author": ["Denied Author"]}
Plant = Callable[[Path, dict[str, Any], dict[str, Any]], None]


def run(settings: dict) -> dict[str, Any]:
    """Settings: photographs (200), bad (22), size_px (64), kills (5), seed (0), folder (a temporary one)."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(str(settings.get("folder", scratch))).absolute()
        count, bad = int(settings.get("photographs", 200)), int(settings.get("bad", len(PLANTS)))
        kills, seed = int(settings.get("kills", 5)), int(settings.get("seed", 0))
        size_px = int(settings.get("size_px", 64))
        started = time.perf_counter()
        write_dataset(folder / "clean", count, size_px, seed=seed)
        drawn_s, expected = time.perf_counter() - started, plant(folder / "clean", folder / "raw", bad, seed)
        started = time.perf_counter()
        prepare(folder, "peace", "serial", 0, seed)
        peace_s = time.perf_counter() - started
        killed = prepare(folder, "war", "local", kills, seed)
        found = reasons_found(folder / "peace")
        wrong = {key: (reason, found.get(key, "not reported")) for key, reason in expected.items()
                 if found.get(key) != reason}  # fmt: skip
        lost = {key: reason for key, reason in found.items() if reason and key not in expected}
        one, two = shard_sums(folder / "peace"), shard_sums(folder / "war")
        return {
            "photographs": count,
            "planted": len(expected),
            "kinds": len(set(expected.values())),
            "reported_by_their_reason": len(expected) - len(wrong),
            "wrong": json.dumps(wrong),
            "others_refused": json.dumps(lost),
            "kills": killed,
            "files_of_shards": len(one),
            "same_bytes": one == two,
            "draw_s": round(drawn_s, 1),
            "prepare_s": round(peace_s, 1),
            "by_reason": json.dumps(dict(sorted(Counter(expected.values()).items()))),
        }


def prepare(folder: Path, name: str, ray: str, kills: int, seed: int) -> int:
    """Run the data stages in folder/name until they end well, killed `kills` times at random; how often it was."""
    rng, killed = random.Random(seed), 0
    most = max(3, len(read_json(folder / "raw" / LISTING)) // (60 * max(kills, 1)))
    home = folder / name
    environment = {
        # One thread each way, as Ray's workers have.
        **clean_environment(**WORKER_ENVIRONMENT), "SAMAE_HOME": str(home), "SAMAE_RAW": str(folder / "raw"),
        "SAMAE_RAY": ray, "SAMAE_ALIGNED_PX": "64", "SAMAE_PICTURE_PX": "64",
        "SAMAE_DENY_LIST": str(folder / "deny.json"),
        "SAMAE_LICENCES": "Public Domain Dedication (CC0)",
    }  # fmt: skip
    while True:
        home.mkdir(parents=True, exist_ok=True)
        with (home / "log.txt").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks._prepare_run"], env=environment, stdout=log, stderr=log,
                cwd=Path(__file__).parent.parent, start_new_session=True,
            )  # fmt: skip
            try:
                if killed < kills and kill_after_work(process, home, rng, most):
                    killed += 1
                    continue
                if process.wait() == 0:
                    return killed
            finally:
                if process.poll() is None:  # interrupted: nobody goes on writing there
                    os.killpg(process.pid, signal.SIGKILL)
            raise SamaeError(f"preparation failed; the end of {home / 'log.txt'} says why")


def kill_after_work(process: subprocess.Popen[bytes], home: Path, rng: random.Random, most: int) -> bool:
    """SIGKILL the process and its workers at a random moment, after it has finished 1 to `most` new things; False when
    it ended before. Work done, not the clock, is what is waited for: so every kill interrupts a run that was under
    way, and every run gets further, however slow the machine is."""
    before, seen, wanted = _finished(home), set[str](), rng.randint(1, most)
    while len(seen - before) < wanted:
        try:
            process.wait(timeout=0.1)
            return False
        except subprocess.TimeoutExpired:
            seen |= _finished(home)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=rng.uniform(0, 0.3))
        return False
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return True


def _finished(home: Path) -> set[str]:
    """Paths of the parts and folders that are whole."""
    found = [*home.glob("parts/*/*/*/*.npz"), *home.glob("assets/*/*/manifest.json")]
    return {str(path) for path in found if ".tmp" not in str(path)}


def reasons_found(home: Path) -> dict[str, str]:
    """Key -> reason in raw_faces ("" for a good one)."""
    tables = [read_rows(path.parent) for path in sorted(home.glob("assets/raw_faces/[0-9]*/manifest.json"))]
    rows = [row for table in tables for row in table.to_pylist()]
    return {row["key"]: row["reason"] if row["status"] != OK else "" for row in rows}


def shard_sums(home: Path) -> dict[str, str]:
    """Name -> SHA-256 of every file of the training set."""
    return {path.name: sha256_file(path) for path in sorted((home / "shards" / "raw").iterdir())}


def plant(clean: Path, raw: Path, bad: int, seed: int) -> dict[str, str]:
    """Copy a clean set (hard links) and spoil `bad` of its photographs, all kinds in turn; {key: expected reason}."""
    shutil.rmtree(raw, ignore_errors=True)
    shutil.copytree(clean, raw, copy_function=os.link)
    entries = read_json(clean / LISTING)
    order = random.Random(seed).sample(range(1, len(entries)), bad)
    write_json(raw.parent / "deny.json", DENIED)
    expected = {}
    for number, index in enumerate(order):
        reason = list(PLANTS)[number % len(PLANTS)]
        entry = copy.deepcopy(entries[str(index)])
        # A repetition is of the photograph before it in its folder that is not spoiled itself.
        earlier = next(i for i in range(index - 1, -2, -1) if i not in order) if index else 0
        PLANTS[reason](raw, entry, entries[str(max(earlier, 0))])
        entries[str(index)], expected[f"{index:05d}"] = entry, reason.partition(" /")[0]
    (raw / LISTING).unlink()
    write_json(raw / LISTING, entries)
    return expected


def _put(raw: Path, entry: dict[str, Any], data: bytes, honest: bool = True) -> None:
    """Other bytes in the photograph's place; `honest`: the listing agrees with them as bytes and pixels."""
    path = raw / entry["image"]["file_path"]
    path.unlink()
    path.write_bytes(data)
    if honest:
        entry["image"] |= {"file_size": len(data), "file_md5": hashlib.md5(data, usedforsecurity=False).hexdigest()}
        for name in ("pixel_md5", "pixel_size"):
            entry["image"].pop(name, None)


def _bytes(raw: Path, entry: dict[str, Any]) -> bytes:
    return (raw / entry["image"]["file_path"]).read_bytes()


def _changed(change: Callable[[np.ndarray], np.ndarray], encode: Callable[[np.ndarray], bytes] = encode_png) -> Plant:
    """Replace the photograph by a changed one."""
    return lambda raw, entry, _: _put(raw, entry, encode(change(decode_colour(_bytes(raw, entry)))))


def _listed(**image: Any) -> Plant:
    """Change the image part of the entry."""
    return lambda raw, entry, _: entry["image"].update(image)


def _repeat(raw: Path, entry: dict[str, Any], earlier: dict[str, Any]) -> None:
    """An earlier photograph again: darker, and as JPEG bytes."""
    darker = (decode_colour(_bytes(raw, earlier)) * 0.93 + 6).astype(np.uint8)
    _put(raw, entry, encode_jpeg(darker))
    entry["image"]["face_landmarks"] = earlier["image"]["face_landmarks"]


def _profile(raw: Path, entry: dict[str, Any], _: dict[str, Any]) -> None:
    """Landmarks of a head that is turned by 85 degrees."""
    head, size_px = load_head("builtin"), entry["image"]["pixel_size"][0]
    angles, place = np.radians([[0.0, 85.0, 0.0]]), np.array([[0.0, 20.0, 1100.0]])
    seen = head_to_camera(head.mean_mm[head.landmarks][None], angles, place)
    entry["image"]["face_landmarks"] = (project(seen, Camera.centred(size_px))[0, :, :2] - 0.5).tolist()


def _gif(_: np.ndarray) -> bytes:
    return b"GIF89a" + bytes(200)


def _header_of(width: int, height: int) -> Callable[[np.ndarray], bytes]:
    """A PNG whose header claims another size (the checksum is right): nothing may be decoded."""

    def encode(image: np.ndarray) -> bytes:
        import struct
        import zlib

        data = encode_png(image)
        header = b"IHDR" + struct.pack(">II", width, height) + data[24:29]
        return data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]

    return encode


#: Expected reason (what follows " /" tells variants apart) -> how to spoil a photograph.
PLANTS: dict[str, Plant] = {
    "licence not kept": lambda raw, entry, _: entry["metadata"].update(license="Attribution-NonCommercial License"),
    "on the deny-list / url": lambda raw, entry, _: entry["metadata"].update(photo_url="denied:url"),
    "on the deny-list / author": lambda raw, entry, _: entry["metadata"].update(author="Denied Author"),
    "landmarks missing": _listed(face_landmarks=[[1, 2]] * 5),
    "landmarks missing / nan": _listed(face_landmarks=[[float("nan"), 1.0]] * 68),
    "listing damaged": _listed(file_size="many"),
    "path outside the set": lambda raw, entry, _: entry["image"].update(
        file_path="../" + "/".join(["x", *entry["image"]["file_path"].split("/")[1:]])
    ),
    "file missing": lambda raw, entry, _: (raw / entry["image"]["file_path"]).unlink(),
    "truncated": lambda raw, entry, _: _put(raw, entry, _bytes(raw, entry)[:-300], honest=False),
    "file size differs": lambda raw, entry, _: _put(raw, entry, _bytes(raw, entry) + b"tail", honest=False),
    "file md5 differs": lambda raw, entry, _: _put(
        raw, entry, (data := _bytes(raw, entry))[:90] + bytes([data[90] ^ 1]) + data[91:], honest=False
    ),
    "picture damaged": lambda raw, entry, _: _put(raw, entry, _bytes(raw, entry)[:1500]),
    "pixel size differs": _listed(pixel_size=[65, 65]),
    "pixel md5 differs": _listed(pixel_md5="0" * 32),
    "not a PNG, JPEG or WebP picture": _changed(lambda image: image, _gif),
    "too many pixels": _changed(lambda image: image, _header_of(30000, 30000)),
    "too small": _changed(lambda image: cv2.resize(image, (32, 32))),
    "not square": _changed(lambda image: cv2.resize(image, (80, 64))),
    "not RGB": _changed(lambda image: image[..., 0].copy()),
    "blurred": _changed(lambda image: cv2.GaussianBlur(image, (0, 0), 0.07 * image.shape[0])),
    "extreme pose": _profile,
    "duplicate": _repeat,
}
assert {name.partition(" /")[0] for name in PLANTS} | {"file unreadable", "too many bytes"} == set(REASONS)
