"""Training in a process group of its own: torchrun for several ranks, progress as it comes, and an end that is an end.

The ranks run `pipelines.rank`, whose rank 0 reports to the Dagster run through Pipes; this module tails the progress
file (SAMAE_PROGRESS, JSON lines) for the rate and the time left. Cancelling the run (from the page, by a timeout, by
Ctrl-C) sends SIGTERM to the whole group, waits, and sends SIGKILL to all descendants: no rank outlives the run.
"""

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import psutil

from assets.ports import Progress
from faces.errors import SamaeError
from pipelines.rank import EXIT_NAME, folder_exit_code

PROGRESS_VARIABLE = "SAMAE_PROGRESS"
#: Exit codes of pipelines.rank: the user can mend it; the numbers blew up (never retried); stopped, with a checkpoint.
EXIT_USER, EXIT_DIVERGED, EXIT_STOPPED = 2, 3, 143
POLL_SECONDS = 0.25
#: How many polls lie between two looks at who the descendants are.
POLLS_PER_CENSUS = 8
#: The allocator setting alone gives 1.2-2.1 times the speed of CPU training (fewer page faults).
ALLOCATOR = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "17179869184"}


class Launcher(dg.ConfigurableResource):
    """`grace_seconds`: between SIGTERM and SIGKILL; longer than a checkpoint takes."""

    grace_seconds: float = 60.0

    def train(
        self,
        context: dg.AssetExecutionContext,
        recipe: str,
        overrides: list[str],
        shards: Path,
        run_dir: Path,
        ranks: int,
        environment: dict[str, str],
        progress: Progress,
    ) -> None:
        """Train to the end. SamaeError with the trainer's own sentence when the user can mend it; dg.Failure else."""
        command = training_command(recipe, overrides, shards, run_dir, ranks)
        run_dir.mkdir(parents=True, exist_ok=True)
        session = dg.open_pipes_session(
            context, dg.PipesEnvContextInjector(), dg.PipesTempFileMessageReader(), extras={"recipe": recipe}
        )
        with session as pipes:
            variables = training_environment(ranks) | pipes.get_bootstrap_env_vars() | environment
            context.log.info(f"training {recipe} with {ranks} rank(s); its log is {run_dir / 'log.txt'}")
            code = run_group(command, variables, run_dir, self.grace_seconds, progress)
        _raise_for(code, recipe, run_dir)


def training_command(recipe: str, overrides: list[str], shards: Path, run_dir: Path, ranks: int) -> list[str]:
    """The command line of a training: this interpreter for one rank, torchrun (which finds a free port) for more."""
    start = [sys.executable, "-m"]
    if ranks > 1:
        start += ["torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}", "--max-restarts=0", "-m"]
    settings = [part for override in overrides for part in ("--set", override)]
    return [*start, "pipelines.rank", "--recipe", recipe, "--shards", str(shards), "--run-dir", str(run_dir), *settings]


def training_environment(ranks: int) -> dict[str, str]:
    """Threads shared out among the ranks, the allocator, and no telemetry."""
    threads = str(max((os.cpu_count() or 1) // ranks, 1))
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "1", "PYTHONUNBUFFERED": "1"}
    return {"OMP_NUM_THREADS": threads, "NUMBA_NUM_THREADS": threads, **ALLOCATOR, **quiet}


def run_group(
    command: list[str], variables: dict[str, str], run_dir: Path, grace_seconds: float, progress: Progress
) -> int:
    """Run a command in a new session until it ends; its output goes to run_dir/log.txt; the exit code.

    Whatever interrupts this function (Ctrl-C, a cancelled run, an error) ends the whole group before it goes on.
    """
    progress_path = run_dir / "progress.jsonl"
    progress_path.unlink(missing_ok=True)
    (run_dir / EXIT_NAME).unlink(missing_ok=True)
    environment = os.environ | variables | {PROGRESS_VARIABLE: str(progress_path)}
    with (run_dir / "log.txt").open("ab") as log:
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
        family: list[psutil.Process] = []
        try:
            tail = follow(progress_path)
            for poll in itertools.count():
                if process.poll() is not None:
                    break
                if poll % POLLS_PER_CENSUS == 0:
                    family = descendants(process.pid)
                time.sleep(POLL_SECONDS)
                forward(tail, progress)
            forward(tail, progress)
            return process.returncode
        finally:
            end_group(process, grace_seconds, family)


def end_group(process: "subprocess.Popen[bytes]", grace_seconds: float, known: Sequence[psutil.Process] = ()) -> None:
    """SIGTERM to the group, wait up to the grace for everybody to go, SIGKILL to what is left.

    Everybody is the group and all descendants, those `known` from before included: torchrun gives every rank a session
    (and so a group) of its own and passes SIGTERM on, but it cannot pass on the SIGKILL that ends it.
    """
    family = {*known, *descendants(process.pid)}
    deadline = time.monotonic() + grace_seconds
    _signal_group(process.pid, signal.SIGTERM)
    while time.monotonic() < deadline and (group_is_alive(process) or _alive(family)):
        time.sleep(0.05)
    _signal_group(process.pid, signal.SIGKILL)
    for left in _alive(family):
        with contextlib.suppress(psutil.NoSuchProcess):
            left.kill()
    process.wait()


def descendants(pid: int) -> list[psutil.Process]:
    """All processes below one, as far as they are still below it."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).children(recursive=True)
    return []


def _alive(family: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Those that run; a zombie does not, and a number that another process got since is not one of ours."""
    alive = []
    for member in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            if member.is_running() and member.status() != psutil.STATUS_ZOMBIE:
                alive.append(member)
    return alive


def group_is_alive(process: "subprocess.Popen[bytes]") -> bool:
    """True while a process of the group runs (its leader is reaped here, so that a zombie does not count)."""
    process.poll()
    return _signal_group(process.pid, 0)


def _signal_group(group: int, number: int) -> bool:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def follow(path: Path) -> Iterator[list[dict[str, Any]]]:
    """Each `next` gives the JSON lines that were added since the last one; an unfinished line waits."""
    position = 0
    while True:
        lines: list[dict[str, Any]] = []
        if path.exists():
            with path.open("rb") as stream:
                stream.seek(position)
                data = stream.read()
            whole = data.rfind(b"\n") + 1
            position += whole
            for line in data[:whole].splitlines():
                with contextlib.suppress(json.JSONDecodeError):
                    lines.append(json.loads(line))
        yield lines


def forward(tail: Iterator[list[dict[str, Any]]], progress: Progress) -> None:
    """Hand the newest of the new lines to the reporter."""
    lines = [line for line in next(tail) if "kimg" in line and "total_kimg" in line]
    if lines:
        last = lines[-1]
        progress(float(last["kimg"]), float(last["total_kimg"]), describe(last))


def describe(line: dict[str, Any]) -> str:
    """One progress line in words: losses and speed."""
    words = []
    if "images_per_s" in line:
        words.append(f"{float(line['images_per_s']):.0f} images/s")
    for name, value in (line.get("losses") or {}).items():
        words.append(f"{name} {float(value):.3f}")
    return ", ".join(words[:4])


def _raise_for(code: int, recipe: str, run_dir: Path) -> None:
    if code == 0:
        return
    code = folder_exit_code(run_dir) or code
    path = run_dir / "log.txt"
    log = path.read_text(errors="replace").strip().splitlines()
    if code == EXIT_USER:
        sentences = [line for line in log if line.startswith("samae: ")]
        raise SamaeError(
            sentences[-1].removeprefix("samae: ") if sentences else f"training {recipe} refused; see {path}"
        )
    if code == EXIT_STOPPED:
        raise dg.Failure(f"training {recipe} was stopped and saved a checkpoint; the next start goes on from there")
    end = "\n".join(log[-30:])
    raise dg.Failure(
        f"training {recipe} ended with exit code {code}; the end of {path}:\n{end}", allow_retries=code != EXIT_DIVERGED
    )
