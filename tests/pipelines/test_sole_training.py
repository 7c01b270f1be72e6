"""Two trainings in one run folder: the second is refused and changes nothing, and nobody waits for a killed one.

Run as a script it is a launcher of its own: `python -m tests.pipelines.test_sole_training SHARDS RUN KIMG`.
"""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import psutil
import pytest

from faces import lock
from pipelines import launcher, rank
from tests.processes import kill_family
from tests.training.shard_factory import make_real_shards
from training import train
from training.checkpoints import CheckpointStore

pytestmark = pytest.mark.slow
PROGRAM = ["-m", "tests.pipelines.test_sole_training"]
ROOT = Path(__file__).parent.parent.parent
SMALL = [
    "size_px=32", "generator.width=8", "generator.condition_width=16", "train.batch_size=4", "train.engine=ddp",
    "train.checkpoint_kimg=0.008", "train.snapshot_kimg=1", "train.log_every_steps=1",
]  # fmt: skip


def launch(shards: Path, run_dir: Path, kimg: float) -> str:
    """One step of Dagster that trains; "" when it went well, else why not."""

    @dg.asset
    def training(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        settings = [*SMALL, f"train.total_kimg={kimg}"]
        here = launcher.Launcher(grace_seconds=20)
        with here.alone(context, run_dir):
            here.train(context, "simswap", settings, shards, run_dir, 1, {}, lambda *_: None)
        return dg.MaterializeResult()

    done = dg.materialize([training], raise_on_error=False)
    failures = [event.step_failure_data for event in done.get_step_failure_events()]
    return "\n".join(str(data.user_failure_data.description if data.user_failure_data else data) for data in failures)


def begin(shards: Path, run_dir: Path, kimg: float) -> "subprocess.Popen[bytes]":
    with (run_dir.parent / "launcher.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, *PROGRAM, str(shards), str(run_dir), str(kimg)], stdout=log, stderr=log, cwd=ROOT
        )


def wait_for(what: Callable[[], bool], process: "subprocess.Popen[bytes]", run_dir: Path) -> None:
    end = time.monotonic() + 300
    while not what():
        assert process.poll() is None, (run_dir.parent / "launcher.log").read_text()[-3000:]
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.05)


def events(run_dir: Path) -> list[dict[str, object]]:
    try:
        lines = (run_dir / "progress.jsonl").read_text().splitlines()
    except FileNotFoundError:  # not begun, or just begun anew
        lines = []
    return [json.loads(line) for line in lines if line.endswith("}")]


def is_training(run_dir: Path) -> bool:
    """The newest start has made a step and was not stopped."""
    told = [event["event"] for event in events(run_dir)]
    return told[:1] == ["start"] and told[-1] == "progress"


def content(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Name -> bytes and time of change; the holder itself touches its lock all the time."""
    files = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    times = {name: 0 if path.suffix == ".lock" else path.stat().st_mtime_ns for name, path in files.items()}
    return {name: (path.read_bytes(), times[name]) for name, path in files.items()}


def trainer(process: "subprocess.Popen[bytes]") -> psutil.Process:
    """Rank 0 below a launcher."""
    family = psutil.Process(process.pid).children(recursive=True)
    return next(one for one in family if "pipelines.rank" in one.cmdline())


def test_a_second_training_is_refused_and_the_next_one_goes_on_after_kills(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> None:
    shards, run_dir = tmp_path / "shards", tmp_path / "run"
    shards.mkdir()
    make_real_shards(shards)
    store = CheckpointStore(run_dir / "checkpoints")
    first = begin(shards, run_dir, 1000)
    request.addfinalizer(lambda: kill_family(first))
    wait_for(lambda: store.newest() is not None, first, run_dir)
    running = trainer(first)
    running.send_signal(signal.SIGSTOP)  # it lives, and its files stand still
    wait_for(lambda: running.status() == psutil.STATUS_STOPPED, first, run_dir)
    before = content(run_dir)
    assert {"progress.jsonl", "log.txt", "pipes.jsonl", "stats.jsonl"} <= set(before)

    with monkeypatch.context() as patch:
        for module in (lock, launcher):
            patch.setattr(module, "PATIENCE_S", 0.5)
        taken = f"a training writes into {run_dir} already \\(process %d on host .*run folder of its own$"
        told = launch(shards, run_dir, 2)
        arguments = launcher.trainer_arguments("simswap", SMALL, shards, run_dir)
        for main in (train.main, rank.main):
            capfd.readouterr()
            assert main(arguments) == train.EXIT_MENDABLE
            said = capfd.readouterr().err.splitlines()[-1]
            assert re.search(f"^samae: {taken % running.pid}", said)
    assert re.search(f"^{taken % first.pid}", told)
    assert content(run_dir) == before

    # The launcher is killed: its node ends the training, which saves; who starts at once waits for that.
    first.kill()
    first.wait()
    running.send_signal(signal.SIGCONT)
    second = begin(shards, run_dir, 1000)
    request.addfinalizer(lambda: kill_family(second))
    wait_for(lambda: not running.is_running() and is_training(run_dir), second, run_dir)
    resumed = events(run_dir)[0]["resumed_from"]
    assert isinstance(resumed, int)
    assert resumed > 0

    # All of it is killed: nobody holds the folder, and the third start ends the training.
    kill_family(second)
    seen = store.newest()
    assert seen is not None
    assert seen >= resumed
    assert launch(shards, run_dir, (seen + 8) / 1000) == ""
    assert events(run_dir)[0]["resumed_from"] == seen
    history = [json.loads(line)["samples_seen"] for line in (run_dir / "stats.jsonl").read_text().splitlines()]
    assert history == list(range(4, seen + 8 + 1, 4))


if __name__ == "__main__":
    sys.exit(launch(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])) or 0)
