"""Time, CPU, memory and disk of every stage of the main job, per 1,000 faces, and what FFHQ's 70,000 would take.

samae bench stages                                     200 generated people, prepared, trained on and judged
samae bench stages --set photographs=1000 --set photo_px=256 --set aligned_px=256 --set kimg=samae=2
samae bench stages --set raw=/data/ffhq --set home=/data/bench       your own photographs, kept where you say

A set of 128 is prepared first in the same process, so that compiling and starting workers is not counted. Training is
given per kimg, judging per 1,000 pairs, report and promotion per run: none of them grows with the number of faces.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks._environment import clean_environment
from faces.errors import SamaeError
from pipelines.settings import Settings

SUMMARY = "Time, CPU, memory and disk of every stage per 1,000 faces, and FFHQ's projection"
#: What `--set` may name.
SETTINGS: tuple[str, ...] = tuple(Settings.model_fields)
SMALL = {"photographs": 200, "recipes": "samae", "kimg": "samae=0.5", "pairs": 16, "ranks": 1}
FFHQ_FACES = 70_000


def run(settings: dict[str, Any]) -> dict[str, float | int | str]:
    """Figures by stage: _s and _cpu_s (per 1,000 faces, kimg or 1,000 pairs), _peak_mib of all processes, _disk_mb."""
    with tempfile.TemporaryDirectory(prefix="samae-stages-") as scratch:
        asked = SMALL | {"home": scratch} | settings
        variables = {f"SAMAE_{name.upper()}": str(value) for name, value in asked.items()}
        command = [sys.executable, "-m", "benchmarks._stages_run"]
        done = subprocess.run(command, env=clean_environment(**variables), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SamaeError(f"the stages did not end: {(done.stderr or done.stdout).strip().splitlines()[-1]}")
    return figures([json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")])


def figures(rows: list[dict[str, Any]]) -> dict[str, float | int | str]:
    """Partitions added up, divided by what the stage's cost grows with; the last figures are FFHQ's on this machine."""
    stages: dict[str, dict[str, float]] = {}
    for row in rows:
        name = row["stage"]
        total = stages.setdefault(name, {"seconds": 0, "cpu_s": 0, "bytes": 0, "peak_bytes": 0, "units": 0})
        for key in ("seconds", "cpu_s", "bytes", "units"):
            total[key] += row[key]
        total["peak_bytes"] = max(total["peak_bytes"], row["peak_bytes"])
    answer: dict[str, float | int | str] = {}
    for name, total in stages.items():
        answer |= {
            f"{name}_s": round(total["seconds"] / total["units"], 2),
            f"{name}_cpu_s": round(total["cpu_s"] / total["units"], 2),
            f"{name}_peak_mib": round(total["peak_bytes"] / 2**20),
            f"{name}_disk_mb": round(total["bytes"] / total["units"] / 1e6, 2),
        }
    prepared = [name for name in stages if name in PREPARING]
    thousands = FFHQ_FACES / 1000
    answer["ffhq_prepare_hours"] = round(thousands * sum(float(answer[f"{name}_s"]) for name in prepared) / 3600, 2)
    core_hours = thousands * sum(float(answer[f"{name}_cpu_s"]) for name in prepared) / 3600
    answer["ffhq_prepare_core_hours"] = round(core_hours, 2)
    answer["ffhq_disk_gb"] = round(thousands * sum(float(answer[f"{name}_disk_mb"]) for name in prepared) / 1000, 2)
    return answer


#: Stages whose cost grows with the faces and that photographs of one's own need (generating people is not among them).
PREPARING = (
    "raw_faces", "aligned_faces", "face_coefficients", "neutral_albedo", "face_masks", "identity_embeddings",
    "training_shards",
)  # fmt: skip


def folder_bytes(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
