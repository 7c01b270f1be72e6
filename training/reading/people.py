"""Generated people for networks that read photographs: pictures, landmarks, coverage, coefficients, kept on disk.

One person a picture. Things in front of faces are drawn far more often than faces/synthetic/scene.py draws them, and
so are fringes, hard shadows, dyed hair and strong expressions (`crowded`); the generator itself is unchanged. Pictures
are drawn in parts, each written whole, so a second call goes on after the last one; finished sets are read through
memory maps.

    python -m training.reading.people FOLDER --count 6000 --size-px 192 --seed 7000
"""

import argparse
import contextlib
import dataclasses
import multiprocessing
import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from faces.errors import SamaeError
from faces.files import atomic_file, atomic_folder, is_complete, read_json, read_manifest, write_json
from faces.morphable.registry import load_head
from faces.synthetic.dataset import GENERATOR
from faces.synthetic.person import person_from_seed
from faces.synthetic.portrait import render_person
from faces.synthetic.scene import GLASSES, Scene, scene_from_seed
from training.progress import duration

#: Pictures a part.
PART = 250
#: Changes whenever `crowded` draws something else.
EDITION = "crowded-2"
ARRAYS = (
    "image", "landmarks_px", "mask", "hair", "occluder", "coefficients", "lightness", "beard_mm", "front",
)  # fmt: skip


@dataclass(frozen=True)
class PeopleSet:
    """N generated people, memory-mapped, S px square.

    Attributes:
        image: (N, S, S, 3) uint8 sRGB.  landmarks_px: (N, 68, 2) float32, our pixels (first pixel's centre at 0.5).
        mask: (N, S, S) uint8 coverage of the visible face, without hair, glasses' frames, dark lenses and occluders.
        hair, occluder: (N, S, S) uint8 coverage of scalp hair, and of glasses, hands and locks before the face.
        coefficients: (N, D) float32, the built-in head's layout.
        lightness: (N,) float32 CIE L* of the skin.  beard_mm: (N,) float32, 0 without a beard.
        front: (N,) str: what is before the face besides hair: none, glasses, sunglasses, hand or strand.
    """

    image: np.ndarray
    landmarks_px: np.ndarray
    mask: np.ndarray
    hair: np.ndarray
    occluder: np.ndarray
    coefficients: np.ndarray
    lightness: np.ndarray
    beard_mm: np.ndarray
    front: np.ndarray

    def __len__(self) -> int:
        return len(self.image)


#: Movements of a face that `strong_expression` mixes: names of the built-in head without their side, and the chance
#: that the group moves at all. Of a group one name moves, a second one half as often.
MOVEMENTS = (
    (("mouthSmile", "mouthFrown", "mouthStretch", "mouthPucker", "mouthFunnel", "mouthPress", "mouthRollLower",
      "mouthRollUpper", "mouthLeft", "mouthRight"), 0.85),
    (("jawOpen", "mouthLowerDown", "mouthUpperUp", "mouthShrugLower"), 0.65),
    (("eyeBlink", "eyeSquint", "eyeWide"), 0.5),
    (("browDown", "browInnerUp", "browOuterUp"), 0.5),
    (("cheekSquint", "cheekPuff", "noseSneer", "jawLeft", "jawRight", "jawForward"), 0.35),
)  # fmt: skip


def strong_expression(rng: np.random.Generator) -> tuple[tuple[str, float], ...]:
    """Any mixture of movements up to their ends, both sides mostly alike: (name, 0..1) pairs of the built-in head."""
    names = load_head("builtin").expression_names
    values: dict[str, float] = {}
    for group, chance in MOVEMENTS:
        if rng.random() > chance:
            continue
        for movement in rng.choice(group, 1 + (rng.random() < 0.5), replace=False):
            strength = float(rng.uniform(0.1, 1.0))
            for name in (name for name in (movement, f"{movement}_L", f"{movement}_R") if name in names):
                values[name] = float(np.clip(strength * (1 + 0.15 * rng.standard_normal()), 0, 1))
    return tuple(sorted(values.items()))


def crowded(scene: Scene, rng: np.random.Generator) -> Scene:
    """The scene with more in front of the face: hands and locks 15 % each, glasses, fringes, dyed hair, hard light.

    Four in ten have a strong expression in place of their friendly one.
    """
    changes: dict[str, Any] = {"occluder": str(rng.choice(["none", "strand", "hand"], p=[0.7, 0.15, 0.15]))}
    if scene.glasses == "none":
        changes["glasses"] = str(rng.choice(GLASSES, p=[0.72, 0.06, 0.06, 0.06, 0.10]))
    if rng.random() < 0.3:
        changes["glasses_linear"] = tuple(float(c) for c in rng.uniform(0.005, 0.5, 3) ** 1.5)
    if scene.hair_style != "bald" and rng.random() < 0.2:
        changes["hair_style"] = str(rng.choice(["fringe", "curly", "long_wavy", "bob"], p=[0.55, 0.15, 0.15, 0.15]))
    if rng.random() < 0.08:
        changes["hair_linear"] = tuple(float(c) for c in rng.uniform(0.01, 0.6, 3))
    if rng.random() < 0.2:
        key = dataclasses.replace(scene.key, softness=float(rng.uniform(0.0, 0.3)), strength=1.3 * scene.key.strength)
        changes["key"] = key
    if rng.random() < 0.4:
        changes["expression"] = strong_expression(rng)
    return dataclasses.replace(scene, **changes)


def crowded_picture(seed: int, index: int, size_px: int) -> dict[str, np.ndarray]:
    """Picture `index` of a seed with its truth, by name of `PeopleSet`'s arrays, without their first axis."""
    person = person_from_seed(seed, index)
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([0x8EAD, seed, index])))
    scene = crowded(scene_from_seed(seed, index, person), rng)
    made = render_person(person, scene, size_px)
    front = scene.occluder
    if scene.glasses != "none":
        front = "sunglasses" if scene.glasses == "sunglasses" else "glasses"
    return {name: getattr(made, name) for name in ARRAYS[:6]} | {
        "lightness": np.float32(person.lightness),
        "beard_mm": np.float32(person.beard_mm),
        "front": np.array(front, dtype="<U10"),
    }


def draw_people(
    folder: Path | str, count: int, size_px: int, seed: int, workers: int = 1, report: Callable[[str], None] = print
) -> Path:
    """Draw `count` people into a folder, or go on where an earlier call stopped; the folder.

    Args:
        workers: processes; 1 draws in this one.  report: gets a line of progress with the time left, a part.

    Raises:
        SamaeError: count or size too small, or the folder holds people of another seed, size or generator.
    """
    folder = Path(folder)
    if count < 1 or size_px < 32:
        raise SamaeError(f"a set needs 1 person and 32 px at least, not {count} of {size_px}: raise the number")
    settings = _settings(count, size_px, seed)
    whole = folder / "whole"
    if is_complete(whole) and read_manifest(whole).metadata == settings:
        return folder
    _claim(folder, settings)
    tasks = [(folder, seed, size_px, start, min(start + PART, count)) for start in range(0, count, PART)]
    tasks = [task for task in tasks if not part_path(folder, *task[3:]).is_file()]
    started_s, left = time.monotonic(), len(tasks)
    drawn = count - sum(stop - start for *_, start, stop in tasks)
    with contextlib.ExitStack() as stack:
        pool = None
        if workers > 1:
            pool = stack.enter_context(multiprocessing.get_context("spawn").Pool(workers, _one_thread))
        for done, made in enumerate(pool.imap_unordered(_draw_part, tasks) if pool else map(_draw_part, tasks), 1):
            drawn += made
            left_s = (time.monotonic() - started_s) / done * (left - done)
            report(f"people {drawn}/{count}, {duration(left_s)} left")
    _gather(folder, count, settings)
    shutil.rmtree(folder / "parts", ignore_errors=True)
    return folder


def load_people(folder: Path | str) -> PeopleSet:
    """The finished set of a folder, memory-mapped; SamaeError when it is not whole."""
    whole = Path(folder) / "whole"
    read_manifest(whole).verify(whole)
    return PeopleSet(**{name: np.load(whole / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in ARRAYS})


def _settings(count: int, size_px: int, seed: int) -> dict[str, Any]:
    head = load_head("builtin").digest
    made_by = {"generator": GENERATOR, "edition": EDITION, "head": head}
    return {"count": count, "size_px": size_px, "seed": seed, **made_by}


def _claim(folder: Path, settings: dict[str, Any]) -> None:
    """Note what the folder is for; SamaeError when it is for something else (more people of the same are welcome)."""
    note = folder / "people.json"
    if note.is_file():
        found = read_json(note)
        if any(found.get(key) != value for key, value in settings.items() if key != "count"):
            raise SamaeError(f"{folder} holds other people ({found}); choose another folder or remove that one")
    if (folder / "whole").is_dir():
        raise SamaeError(f"{folder} holds a finished set of other people; choose another folder or remove that one")
    write_json(note, settings)


def part_path(folder: Path, start: int, stop: int) -> Path:
    """Where people start .. stop - 1 of a set lie until all of them are drawn; np.load reads it."""
    return folder / "parts" / f"{start:07d}-{stop:07d}.npz"


def _one_thread() -> None:
    """Workers share the cores, so each keeps to one thread."""
    import cv2

    os.environ["NUMBA_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"
    cv2.setNumThreads(1)


def _draw_part(task: tuple[Path, int, int, int, int]) -> int:
    """Draw people start .. stop - 1 and write their part; how many. Runs in a worker process."""
    folder, seed, size_px, start, stop = task
    rows = [crowded_picture(seed, index, size_px) for index in range(start, stop)]
    stacked: dict[str, Any] = {name: np.stack([row[name] for row in rows]) for name in ARRAYS}
    with atomic_file(part_path(folder, start, stop)) as scratch, scratch.open("wb") as stream:
        np.savez(stream, **stacked)
    return stop - start


def _gather(folder: Path, count: int, settings: dict[str, Any]) -> None:
    """All parts as one memory-mappable file an array."""
    with atomic_folder(folder / "whole", settings) as scratch:
        for name in ARRAYS:
            out: np.ndarray | None = None
            for start in range(0, count, PART):
                with np.load(part_path(folder, start, min(start + PART, count)), allow_pickle=False) as part:
                    rows = part[name]
                if out is None:
                    shape = (count, *rows.shape[1:])
                    out = np.lib.format.open_memmap(scratch / f"{name}.npy", "w+", rows.dtype, shape)
                out[start : start + len(rows)] = rows
            del out


def main(arguments: list[str] | None = None) -> int:
    """Command line; the exit code, 2 where the user can mend it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    for name, value in {"count": 6000, "size_px": 192, "seed": 7000, "workers": 2}.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=value, help=f"default {value}")
    try:
        draw_people(**vars(parser.parse_args(arguments)), report=lambda line: print(line, flush=True))
    except SamaeError as error:
        print(f"samae: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
