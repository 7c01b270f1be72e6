"""The whole graph at its smallest size, once a session: real Ray, real DeepSpeed, real MLflow on SQLite.

First SAMAE on one rank; then, in the same home, SimSwap on two ranks; then everything once more. Each is one
`samae demo` in a process of its own, as a user starts it.
"""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

SMALLEST = {
    "SAMAE_PHOTOGRAPHS": "32",
    "SAMAE_PHOTO_PX": "64",
    "SAMAE_ALIGNED_PX": "64",
    "SAMAE_PICTURE_PX": "64",
    "SAMAE_PAIRS": "8",
    "SAMAE_KIMG": "samae=0.048,simswap=0.048",
    "SAMAE_OVERRIDES": "train.batch_size=8,train.log_every_steps=1",
    "SAMAE_RAY": "local",
    "SAMAE_CORES": "2",
}


@dataclass
class Whole:
    """The home folder, and what each of the three demos printed."""

    home: Path
    first: str
    second: str
    third: str


def environment(home: Path, **changes: str) -> dict[str, str]:
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("SAMAE_", "DAGSTER_HOME"))}
    return bare | SMALLEST | {"SAMAE_HOME": str(home)} | changes


def samae(*arguments: str, home: Path, **changes: str) -> str:
    """Run `samae`; what it printed. It must end well."""
    command = [sys.executable, "-m", "pipelines.cli", *arguments]
    done = subprocess.run(command, env=environment(home, **changes), capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(arguments)}\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}"
    return done.stdout


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    home = tmp_path_factory.mktemp("samae")
    first = samae("demo", "--plain", home=home, SAMAE_RECIPES="samae", SAMAE_RANKS="1")
    second = samae("demo", "--plain", home=home, SAMAE_RECIPES="simswap", SAMAE_RANKS="2")
    third = samae("demo", "--plain", home=home, SAMAE_RECIPES="simswap", SAMAE_RANKS="2")
    return Whole(home, first, second, third)
