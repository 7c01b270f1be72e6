"""Seconds of every stage of the main job: what the last `samae demo` below SAMAE_HOME took, or a small one run here.

samae bench demo                        the last demo's stages
samae bench demo --set run=true         a demo of its own in a temporary folder, small unless settings say else
samae bench demo --set run=true --set photographs=1200 --set kimg=samae=20,simswap=4
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from faces.errors import SamaeError
from faces.files import read_json
from pipelines.commands.demo import TIMES_NAME
from pipelines.settings import Settings, load_settings

SUMMARY = "Seconds of every stage of the main job (samae demo)"
#: What `--set` may name.
SETTINGS: tuple[str, ...] = ("run", *Settings.model_fields)
#: A demo small enough for a benchmark by the way.
SMALL = {"photographs": 64, "photo_px": 96, "aligned_px": 96, "pairs": 16, "kimg": "samae=0.5,simswap=0.5"}


def run(settings: dict[str, Any]) -> dict[str, float | int | str]:
    """Figures: total_s, stage_<name>_s, and how many stages were made."""
    if not settings.pop("run", False):
        return figures(read_times(load_settings().home / TIMES_NAME))
    with tempfile.TemporaryDirectory(prefix="samae-bench-") as home:
        return figures(_run_demo(Path(home), SMALL | settings))


def _run_demo(home: Path, settings: dict[str, Any]) -> list[dict[str, Any]]:
    pairs = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
    command = [sys.executable, "-m", "pipelines.cli", "demo", "--plain", *pairs]
    done = subprocess.run(command, env=os.environ | {"SAMAE_HOME": str(home)}, capture_output=True, text=True)
    if done.returncode:
        raise SamaeError(f"the demo failed: {(done.stderr or done.stdout).strip().splitlines()[-1]}")
    return read_times(home / TIMES_NAME)


def read_times(path: Path) -> list[dict[str, Any]]:
    """The stages of a demo; a sentence when none was run."""
    if not path.is_file():
        raise SamaeError(f"{path} does not exist: run `samae demo` first, or `samae bench demo --set run=true`")
    return list(read_json(path)["stages"])


def figures(stages: list[dict[str, Any]]) -> dict[str, float | int | str]:
    """Seconds by stage, partitions added up; what was up to date counts nothing."""
    seconds: dict[str, float] = {}
    for stage in stages:
        name = stage["stage"] if stage["stage"] != "swap_model" else f"swap_model_{stage['partition']}"
        seconds[name] = seconds.get(name, 0.0) + float(stage["seconds"])
    made = sum(not stage["fresh"] for stage in stages)
    total: dict[str, float | int | str] = {"total_s": round(sum(seconds.values()), 1), "stages_made": made}
    return total | {f"{name.replace('-', '_')}_s": round(value, 1) for name, value in seconds.items()}
