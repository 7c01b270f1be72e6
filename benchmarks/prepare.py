"""Photographs to shards on Ray: faces a second for each stage, and what a second worker adds.

Each number of workers runs in a process of its own on a Ray cluster of so many one-thread workers, after a smaller set
has warmed them (imports, compiled kernels, weights). The seconds are those of whole Dagster runs, as a user waits.
"""

import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from benchmarks._environment import clean_environment
from faces.errors import SamaeError
from faces.synthetic.dataset import write_dataset

SUMMARY = "Preparation: faces a second for each stage on 1 and 2 Ray workers, and hours for FFHQ-70k"
#: What `--set` may name.
SETTINGS: tuple[str, ...] = ("photographs", "size_px", "folder", "warm")
FFHQ = 70_000


def run(settings: dict) -> dict[str, Any]:
    """Settings: photographs (256), size_px (128), warm (64), folder (a temporary one; it keeps the photographs)."""
    count, size_px = int(settings.get("photographs", 256)), int(settings.get("size_px", 128))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(str(settings.get("folder", scratch))).absolute()
        write_dataset(folder / "set", count, size_px)
        write_dataset(folder / "warm", int(settings.get("warm", 64)), size_px, seed=1)
        seconds = {workers: measure(folder, workers, size_px, Path(scratch)) for workers in (1, 2)}
    return figures(seconds, count) | {"photographs": count, "size_px": size_px}


def measure(folder: Path, workers: int, size_px: int, scratch: Path) -> dict[str, float]:
    """Stage -> seconds of the warm run with so many workers."""
    environment = {
        **clean_environment(), "SAMAE_HOME": str(scratch / f"home-{workers}"), "SAMAE_RAW": str(folder / "set"),
        "SAMAE_WARM": str(folder / "warm"), "SAMAE_RAY": "local", "SAMAE_CORES": f"{workers}",
        "SAMAE_ALIGNED_PX": f"{size_px}", "SAMAE_PICTURE_PX": f"{size_px}",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks._prepare_run"], env=environment, capture_output=True, text=True,
        cwd=Path(__file__).parent.parent,
    )  # fmt: skip
    if done.returncode:
        raise SamaeError(f"preparation failed: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
    return stage_seconds(done.stdout)


def stage_seconds(output: str) -> dict[str, float]:
    """What the process printed -> seconds of every stage after the warm-up; photographs, which only lists, left out."""
    seconds: dict[str, float] = defaultdict(float)
    lines = [json.loads(line) for line in output.splitlines() if line.startswith('{"stage"')]
    start = next(i for i, line in enumerate(lines) if line["stage"] == "measured") + 1
    for line in lines[start:]:
        if line["stage"] != "photographs":
            seconds[line["stage"]] += line["seconds"]
    return dict(seconds)


def figures(seconds: dict[int, dict[str, float]], count: int) -> dict[str, Any]:
    """Rates, efficiency and the projection: hours for FFHQ at the rate of one core, times the efficiency measured."""
    one, two = sum(seconds[1].values()), sum(seconds[2].values())
    efficiency = one / two / 2
    found: dict[str, Any] = {"faces_per_s": round(count / two, 3), "efficiency_2_workers": round(efficiency, 3)}
    found["faces_per_s_1_worker"] = round(count / one, 3)
    for stage, value in seconds[2].items():
        found[f"{stage}_faces_per_s"] = round(count / value, 2)
        found[f"{stage}_efficiency"] = round(seconds[1][stage] / value / 2, 3)
    for cores in (16, 128):
        # ours: every core beyond the first keeps the share that the second one kept
        found[f"ffhq_70k_hours_{cores}_cores"] = round(FFHQ * one / count / (cores * min(efficiency, 1.0)) / 3600, 3)
    return found
