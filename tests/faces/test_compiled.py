"""Kernels' copies on disk."""

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = """
from faces.compiled import kernel
from constants import FACTOR, twice
@kernel
def scaled(x):
    return twice(x) * FACTOR
print(scaled(2.0), sum(scaled.stats.cache_hits.values()))
"""
CONSTANTS = """
from faces.compiled import kernel
FACTOR = {factor}
@kernel
def twice(x):
    return {two} * x
"""


def told(folder: Path, **constants: float) -> str:
    """What SCRIPT prints in a process of its own, with these constants beside it."""
    if constants:
        (folder / "constants.py").write_text(CONSTANTS.format(**constants))
    paths = os.pathsep.join([str(Path(__file__).parents[2]), str(folder)])
    command = [sys.executable, str(folder / "script.py")]
    return subprocess.run(
        command, env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True, check=True
    ).stdout.strip()


def test_a_copy_on_disk_does_not_outlive_a_neighbours_change(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    assert told(tmp_path, factor=3.0, two=2.0) == "12.0 0"
    assert told(tmp_path) == "12.0 1"
    assert told(tmp_path, factor=5.25, two=2.0) == "21.0 0"
    assert told(tmp_path, factor=5.25, two=2.125) == "22.3125 0"
