"""How fast generated people are drawn, on one core and on all of them.

cpu_ms_per_picture is the processor time of everything that a picture of a set costs, its PNG file and digests
included; other programs disturb it less than the clock. The first 16 pictures are warm-up, for the set the first 16 of
each worker.
"""

import os
import tempfile
import time
from pathlib import Path

from faces.synthetic.dataset import write_dataset
from faces.synthetic.pictures import render_picture

SUMMARY = "Generated people: pictures a second at 256 px, written as an FFHQ folder"
#: What `--set` may name.
SETTINGS: tuple[str, ...] = ("size_px", "pictures", "workers", "people", "seed")


def run(settings: dict) -> dict[str, float | int | str]:
    """Settings: size_px (256), pictures (128), workers (all cores), people (64), seed (0)."""
    size_px, pictures = int(settings.get("size_px", 256)), int(settings.get("pictures", 128))
    workers = int(settings.get("workers", len(os.sched_getaffinity(0))))
    people, seed = int(settings.get("people", 64)), int(settings.get("seed", 0))
    started = time.perf_counter()
    render_picture(seed, 0, people, size_px)
    first_s = time.perf_counter() - started
    count = max(1, min(40, pictures))
    with tempfile.TemporaryDirectory() as folder:
        write_dataset(Path(folder) / "first", min(count, 16), size_px, people=people, seed=seed, workers=1)
        started, spent = time.perf_counter(), time.process_time()
        write_dataset(Path(folder) / "one", count, size_px, people=people, seed=seed, workers=1)
        one_core_s = (time.perf_counter() - started) / count
        cpu_s = (time.process_time() - spent) / count
        warm = Path(folder) / "set"
        marks: list[tuple[int, float]] = []
        write_dataset(
            warm, pictures, size_px, people=people, seed=seed, workers=workers,
            progress=lambda done, _: marks.append((done, time.perf_counter())),
        )  # fmt: skip
    first_done, started = next(mark for mark in marks if mark[0] >= min(16 * workers, pictures // 2))
    last_done, ended = marks[-1]
    return {
        "pictures_per_s": round((last_done - first_done) / max(ended - started, 1e-9), 2),
        "cpu_ms_per_picture": round(cpu_s * 1000, 2),
        "ms_per_picture_one_core": round(one_core_s * 1000, 2),
        "first_picture_s": round(first_s, 2),
        "pictures": pictures,
        "size_px": size_px,
        "workers": workers,
    }
