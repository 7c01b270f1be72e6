"""Training in processes of its own: here, on the hosts of a hostfile, or as a Ray job; and an end that is an end.

The ranks run `pipelines.rank` below `pipelines.node`, one a host. Rank 0 reports to the Dagster run through Pipes; this
module tails the progress file (SAMAE_PROGRESS, JSON lines) for the rate and the time left. Cancelling the run (from
the page, by a timeout, by Ctrl-C) sends SIGTERM, waits, and sends SIGKILL to all descendants: no rank outlives the run,
and none outlives this process, because every node watches the pipe that this process holds open.
"""

import contextlib
import itertools
import json
import math
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import psutil

from assets.ports import Progress
from faces.errors import SamaeError
from faces.lock import LAUNCHER_NAME, PATIENCE_S, WRITER_NAME, FolderTaken, Say, sole_writer, to_standard_error
from pipelines.group import descendants, end_groups
from pipelines.hosts import carried_environment, read_hostfile, require_ranks, torchrun
from pipelines.node import POLL_SECONDS, POLLS_PER_CENSUS
from pipelines.rank import EXIT_NAME, folder_exit_code
from training.process import ALLOCATOR, EXIT_DIVERGED, EXIT_LOST, EXIT_MENDABLE, EXIT_STOPPED

PROGRESS_VARIABLE = "SAMAE_PROGRESS"
#: The same for every rank on every host: the allocator, no module of the folder that the user happens to be in
#: (torchrun does not hand -P on), and no telemetry. Threads are each node's own affair.
TRAINING_ENVIRONMENT = {
    **ALLOCATOR,
    "PYTHONSAFEPATH": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "1",
    "PYTHONUNBUFFERED": "1",
}
#: The grace that PATIENCE_S has room for, seconds.
USUAL_GRACE_S = 60.0
#: What a node has on top of the grace that it gives its ranks, seconds.
NODE_GRACE_S = 5.0
#: -P: no module of the folder that the user happens to be in.
NODE = [sys.executable, "-P", "-m", "pipelines.node"]
HOSTS, RAY = "hosts:", "ray:"
#: What ssh ends with when it does not reach its host, or loses it.
SSH_LOST = 255


class Launcher(dg.ConfigurableResource):
    """`grace_seconds`: between SIGTERM and SIGKILL; longer than a checkpoint takes.

    `launch`: "local"; "hosts:FILE", a hostfile whose hosts share $SAMAE_HOME and this installation's path; or
    "ray:http://head:8265", a Ray cluster's job server. `remote_shell` starts a command on a host (`hosts` alone);
    `gpus_per_rank` is what a Ray job asks for.
    """

    grace_seconds: float = USUAL_GRACE_S
    launch: str = "local"
    remote_shell: str = "ssh -o BatchMode=yes -o ServerAliveInterval=15 -o ServerAliveCountMax=3"
    master_port: int = 29400
    gpus_per_rank: int = 0

    def alone(self, context: dg.AssetExecutionContext, run_dir: Path) -> contextlib.AbstractContextManager[None]:
        """Launch into the run's folder with nobody else there (`sole_launcher`)."""

        def say(sentence: str) -> None:
            """To the run's page, and to whoever started this at a terminal."""
            context.log.warning(sentence)
            to_standard_error(sentence)

        return sole_launcher(run_dir, self.grace_seconds, say)

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
        """Train to the end in a folder held by `alone`. SamaeError with the trainer's own sentence when the user can
        mend it; dg.Failure else."""
        arguments = trainer_arguments(recipe, overrides, shards, run_dir)
        messages = run_dir / "pipes.jsonl"
        messages.unlink(missing_ok=True)
        reader = dg.PipesFileMessageReader(str(messages))
        extras = {"recipe": recipe}
        with dg.open_pipes_session(context, dg.PipesEnvContextInjector(), reader, extras=extras) as pipes:
            variables = TRAINING_ENVIRONMENT | pipes.get_bootstrap_env_vars() | environment
            context.log.info(f"training {recipe} with {ranks} rank(s), {self.launch}; log: {run_dir / 'log.txt'}")
            code = self.start(arguments, ranks, variables, run_dir, progress)
        _raise_for(code, recipe, run_dir)

    def start(
        self, arguments: list[str], ranks: int, variables: dict[str, str], run_dir: Path, progress: Progress
    ) -> int:
        """Run the trainer with these arguments wherever `launch` says, to the end; its exit code."""
        grace = self.grace_seconds
        if self.launch.startswith(RAY):
            from pipelines.ray_job import run_job
            from pipelines.ray_pool import deciding_environment

            variables = deciding_environment() | variables
            order = make_order(local_command(arguments, ranks), variables, run_dir, grace, ranks)
            return run_job(self.launch.removeprefix(RAY), order, run_dir, ranks, grace, progress, self.gpus_per_rank)
        if not self.launch.startswith(HOSTS):
            return run_group(local_command(arguments, ranks), variables, run_dir, grace, progress, ranks)
        hosts = read_hostfile(Path(self.launch.removeprefix(HOSTS)))
        require_ranks(hosts, ranks)
        variables = carried_environment() | variables
        nodes = []
        for index, host in enumerate(hosts):
            command = [*torchrun(hosts, index, self.master_port), "pipelines.rank", *arguments]
            shell = [*self.remote_shell.split(), host.name, *NODE]
            meet = hosts[0].name if len(hosts) > 1 else ""
            nodes.append((shell, make_order(command, variables, run_dir, grace, host.slots) | {"meet": meet}))
        return run_nodes(nodes, run_dir, grace, progress, [host.name for host in hosts])


@contextlib.contextmanager
def sole_launcher(run_dir: Path, grace_seconds: float, say: Say) -> Iterator[None]:
    """Launch into a run's folder with nobody else launching or training there; asked before anything in it is touched.

    Who holds it gets the time that a stopped training has to end: its launcher may have been killed just now. A Ray job
    that a killed launcher left there is stopped.

    Raises:
        dg.Failure: another training lives there. One that may be tried again: the holder may have ended by then.
    """
    from pipelines.ray_job import end_left_job

    patience_s = PATIENCE_S + max(grace_seconds - USUAL_GRACE_S, 0.0)
    with contextlib.ExitStack() as stack:
        left = ""
        try:
            stack.enter_context(sole_writer(run_dir, LAUNCHER_NAME, patience_s, say))
            left = end_left_job(run_dir, grace_seconds, say)
            with sole_writer(run_dir, WRITER_NAME, patience_s, say):
                pass  # rank 0 takes it, on whichever host it is
        except FolderTaken as error:
            raise dg.Failure("; ".join(filter(None, (str(error), left)))) from None
        yield


def trainer_arguments(recipe: str, overrides: list[str], shards: Path, run_dir: Path) -> list[str]:
    """The arguments of pipelines.rank."""
    settings = [part for override in overrides for part in ("--set", override)]
    return ["--recipe", recipe, "--shards", str(shards), "--run-dir", str(run_dir), *settings]


def local_command(arguments: list[str], ranks: int) -> list[str]:
    """This interpreter for one rank, torchrun (which finds a free port) for more."""
    start = [sys.executable, "-P", "-m"]
    if ranks > 1:
        start += ["pipelines.torchrun", "--standalone", f"--nproc-per-node={ranks}", "--max-restarts=0", "-m"]
    return [*start, "pipelines.rank", *arguments]


def make_order(
    command: list[str], variables: dict[str, str], run_dir: Path, grace_seconds: float, slots: int = 1
) -> dict[str, Any]:
    """What a node is told (pipelines/node.py); `slots` of the ranks are its."""
    environment = variables | {
        PROGRESS_VARIABLE: str(progress_path(run_dir)),
        "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": str(math.ceil(grace_seconds)),  # torchrun's own would be 30 s
    }
    return {"command": command, "environment": environment, "grace_seconds": grace_seconds, "slots": slots}


def progress_path(run_dir: Path) -> Path:
    """Where rank 0 writes how far it is."""
    return run_dir / "progress.jsonl"


def forget_the_last_start(run_dir: Path) -> None:
    """Remove what an earlier start of the same run left for its launcher."""
    progress_path(run_dir).unlink(missing_ok=True)
    (run_dir / EXIT_NAME).unlink(missing_ok=True)


def run_group(
    command: list[str],
    variables: dict[str, str],
    run_dir: Path,
    grace_seconds: float,
    progress: Progress,
    slots: int = 1,
) -> int:
    """Run a command of so many ranks below a node on this machine until it ends; its output goes to run_dir/log.txt;
    the exit code."""
    order = make_order(command, variables, run_dir, grace_seconds, slots)
    return run_nodes([(NODE, order)], run_dir, grace_seconds, progress)


def run_nodes(
    nodes: list[tuple[list[str], dict[str, Any]]],
    run_dir: Path,
    grace_seconds: float,
    progress: Progress,
    names: Sequence[str] = (),
) -> int:
    """Start (command, order) nodes, follow them until one fails or all end, and end the others; the exit code.

    With the hosts' `names`, the log says which of them failed first.

    Whatever interrupts this function (Ctrl-C, a cancelled run, an error) ends every group before it goes on.
    """
    forget_the_last_start(run_dir)
    processes: list[subprocess.Popen[bytes]] = []
    family: list[psutil.Process] = []
    with (run_dir / "log.txt").open("ab") as log:
        try:
            for command, order in nodes:
                processes.append(_start_node(command, order, log))
            tail = follow(progress_path(run_dir))
            for poll in itertools.count():
                codes = [process.poll() for process in processes]
                if any(codes) or None not in codes:
                    break
                if poll % POLLS_PER_CENSUS == 0:
                    family = [one for process in processes for one in descendants(process.pid)]
                time.sleep(POLL_SECONDS)
                forward(tail, progress)
            forward(tail, progress)
            for name, failed in zip(names, codes, strict=False):
                if failed:
                    log.write(f"samae: host {name} ended with code {failed}{_shell_words(failed)}\n".encode())
            return SSH_LOST if SSH_LOST in codes else next((code for code in codes if code), 0)
        finally:
            end_groups(processes, grace_seconds + NODE_GRACE_S, family)


def _shell_words(code: int) -> str:
    return ", that of a remote shell that lost its host" if code == SSH_LOST else ""


def _start_node(command: list[str], order: dict[str, Any], log: Any) -> "subprocess.Popen[bytes]":
    """A node with its order; its standard input stays open for as long as the process object lives."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True)
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(json.dumps(order).encode() + b"\n")
        process.stdin.flush()
    return process


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
        words.append(f"{float(line['images_per_s']):.1f} images/s")
    for name, value in (line.get("losses") or {}).items():
        words.append(f"{name} {float(value):.3f}")
    return ", ".join(words[:4])


def _raise_for(code: int, recipe: str, run_dir: Path) -> None:
    if code == 0:
        return
    has_lost_host = code in (EXIT_LOST, SSH_LOST)
    code = folder_exit_code(run_dir) or code
    path = run_dir / "log.txt"
    log = path.read_text(errors="replace").strip().splitlines()
    sentences = [line.removeprefix("samae: ") for line in log if line.startswith("samae: ")]
    if code == EXIT_MENDABLE:
        raise SamaeError(sentences[-1] if sentences else f"training {recipe} refused; see {path}")
    if code in (EXIT_LOST, SSH_LOST):
        why = sentences[-1] if sentences else f"see {path}"
        raise dg.Failure(f"training {recipe} lost a host; the next start goes on from the last checkpoint: {why}")
    if code == EXIT_STOPPED:  # by train.max_hours or a signal: who wanted it to end does not want it begun again
        sentence = f"training {recipe} was stopped and saved a checkpoint; the next start goes on from there"
        raise dg.Failure(sentence, allow_retries=has_lost_host)
    end = "\n".join(log[-30:])
    raise dg.Failure(
        f"training {recipe} ended with exit code {code}; the end of {path}:\n{end}", allow_retries=code != EXIT_DIVERGED
    )
