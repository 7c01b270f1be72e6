"""Two hosts, and one of them cut off in the middle of a training by hostfile."""

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest

from pipelines import launcher
from tests.integration.conftest import environment
from tests.integration.hosts import REMOTE_SHELL, Hosts, two_hosts
from training.checkpoints import CheckpointStore

pytestmark = pytest.mark.slow
SIZES = {
    "SAMAE_PHOTOGRAPHS": "48",
    "SAMAE_PHOTO_PX": "64",
    "SAMAE_ALIGNED_PX": "64",
    "SAMAE_PICTURE_PX": "64",
}
#: A checkpoint every two steps.
RECIPE = ["size_px=64", "train.batch_size=8", "train.checkpoint_kimg=0.016", "train.log_every_steps=1"]
PREPARE = [sys.executable, "-m", "tests.integration.prepare_shards"]
ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def hosts() -> Iterator[Hosts]:
    with two_hosts() as both:
        yield both


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small set of generated people, prepared in one process."""
    home = tmp_path_factory.mktemp("samae")
    variables = environment(home, **SIZES, SAMAE_RAY="serial")
    done = subprocess.run(PREPARE, env=variables, capture_output=True, text=True, cwd=ROOT, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return next((home / "shards").iterdir())


def wait_for(what: Callable[[], bool], seconds: float) -> None:
    """Until `what` is true; fails after so long."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.05)


def train_on(hosts: Hosts, shards: Path, run_dir: Path, kimg: float) -> int:
    """One start of a training over both hosts by hostfile; the exit code."""
    (run_dir.parent / "hostfile").write_text(f"{hosts.one} slots=1\n{hosts.two} slots=1\n")
    made = launcher.Launcher(launch=f"hosts:{run_dir.parent / 'hostfile'}", remote_shell=REMOTE_SHELL, grace_seconds=20)
    overrides = [*RECIPE, "train.patience_s=15", f"train.total_kimg={kimg}"]
    arguments = launcher.trainer_arguments("simswap", overrides, shards, run_dir)
    return made.start(arguments, 2, launcher.TRAINING_ENVIRONMENT, run_dir, lambda *_: None)


def test_training_fails_clearly_when_a_host_is_cut_off_and_goes_on(hosts: Hosts, shards: Path, tmp_path: Path) -> None:
    """Packets vanish: both hosts end within the patience, with a sentence and a checkpoint; the next start goes on."""
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    store = CheckpointStore(run_dir / "checkpoints")
    code: list[int] = []
    running = threading.Thread(target=lambda: code.append(train_on(hosts, shards, run_dir, 100)), daemon=True)
    running.start()
    wait_for(lambda: store.newest() is not None or not running.is_alive(), 200)
    assert running.is_alive(), (run_dir / "log.txt").read_text()[-3000:]
    hosts.cut_off()
    running.join(timeout=120)
    hosts.join()
    assert code
    with pytest.raises(dg.Failure) as caught:
        launcher._raise_for(code[0], "simswap", run_dir)
    assert re.search("lost a host; the next start goes on.*(lost touch with another rank|host .* ended)", said(caught))
    assert not hosts.processes(hosts.one)
    assert not hosts.processes(hosts.two)
    kept = store.newest()
    assert kept is not None
    assert train_on(hosts, shards, run_dir, kept / 1000 + 0.016) == 0
    lines = [json.loads(line) for line in (run_dir / "stats.jsonl").read_text().splitlines()]
    assert [line["samples_seen"] for line in lines] == list(range(8, kept + 16 + 1, 8))
    assert (run_dir / "export" / "manifest.json").is_file()


def said(caught: "pytest.ExceptionInfo[dg.Failure]") -> str:
    """The sentence of a Failure."""
    return str(caught.value.description)
