"""Training as a Ray job: the cluster's job server runs the node, this process follows and cancels it.

The entry point is `pipelines.node` with the order in a file of the run's folder, which the cluster shares. A job asks
for one core a rank; GPUs are asked for with `SAMAE_LAUNCH_GPUS` a rank, so that it lands on a node with room for all.

A job outlives the process that follows it. So its name lies in the run's folder until it has ended, and the next start
there ends what a killed launcher left (`end_left_job`).
"""

import contextlib
import json
import shlex
import sys
import time
import uuid
from pathlib import Path
from typing import Any

from assets.ports import Progress
from faces.errors import SamaeError
from faces.files import atomic_file, read_json
from faces.lock import Say
from pipelines.servers import require_page
from pipelines.settings import without_user

#: Files of a run's folder: what the node is told, and which job of which server runs it, until it has ended.
ORDER_NAME, JOB_NAME = "order.json", "ray_job.json"
POLL_SECONDS = 0.5
#: How much longer than a rank's grace Ray waits before it kills the node, seconds.
RAY_GRACE_S = 10


def job_client(address: str) -> Any:
    """A client of the job server; SamaeError when none answers or Ray's job client is not installed."""
    try:
        from ray.job_submission import JobSubmissionClient

        return JobSubmissionClient(address)
    except (ImportError, ModuleNotFoundError) as error:
        raise SamaeError(f"Ray's job client is not installed ({error}): pip install 'samae[cluster]'") from None
    except (ConnectionError, RuntimeError) as error:
        first = str(error).strip().split("\n")[0]
        raise SamaeError(f"no Ray job server answers at {address} ({first}): mend SAMAE_LAUNCH") from None


def run_job(
    address: str,
    order: dict[str, Any],
    run_dir: Path,
    ranks: int,
    grace_seconds: float,
    progress: Progress,
    gpus_per_rank: int = 0,
) -> int:
    """Submit the order, follow it to the end, keep its log in run_dir/log.txt; the exit code.

    Whatever interrupts this function stops the job and waits for it before it goes on.
    """
    from pipelines.launcher import follow, forget_the_last_start, forward, progress_path

    forget_the_last_start(run_dir)
    path = run_dir / ORDER_NAME
    _write_secret(path, order)  # it may hold the address and token of a tracking server
    client, job = job_client(address), f"samae_{uuid.uuid4().hex[:16]}"
    _write_secret(run_dir / JOB_NAME, {"address": address, "job": job})
    client.submit_job(
        submission_id=job,
        entrypoint=shlex.join([sys.executable, "-m", "pipelines.node", str(path)]),
        entrypoint_num_cpus=ranks,
        entrypoint_num_gpus=ranks * gpus_per_rank or None,
        runtime_env={"env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(int(grace_seconds) + RAY_GRACE_S)}},
    )
    tail = follow(progress_path(run_dir))
    try:
        while not client.get_job_status(job).is_terminal():
            time.sleep(POLL_SECONDS)
            forward(tail, progress)
        forward(tail, progress)
    finally:
        if _end(client, job, grace_seconds):
            (run_dir / JOB_NAME).unlink(missing_ok=True)
        with contextlib.suppress(RuntimeError), (run_dir / "log.txt").open("a", encoding="utf-8") as log:
            log.write(client.get_job_logs(job))
    code = getattr(client.get_job_info(job), "driver_exit_code", None)
    return 1 if code is None else int(code)


def end_left_job(run_dir: Path, grace_seconds: float, say: Say) -> str:
    """End the Ray job that a killed launcher left in a run's folder, as a cancelled one ends: with a checkpoint.

    Whoever asks for it holds the folder as its launcher, so nobody else follows that job any more. Returns "" when no
    job is left, else one sentence with the command that ends it by hand.
    """
    if not (run_dir / JOB_NAME).is_file():
        return ""
    left = read_json(run_dir / JOB_NAME)
    address, job = str(left["address"]), str(left["job"])
    try:
        require_page(f"{without_user(address).rstrip('/')}/api/version")
        client = job_client(address)
        known = {one.submission_id: one.status for one in client.list_jobs()}
        has_ended = job not in known or known[job].is_terminal()
        if not has_ended:
            say(f"the Ray job {job} of a launcher that is gone trains in {run_dir}: it is stopped with a checkpoint")
            has_ended = _end(client, job, grace_seconds)
        why = f"it has not ended within {grace_seconds + 2 * RAY_GRACE_S:g} s"
    except (SamaeError, RuntimeError, OSError) as error:
        has_ended, why = False, without_user(str(error).strip().split("\n")[0])
    if has_ended:
        (run_dir / JOB_NAME).unlink(missing_ok=True)
        return ""
    by_hand = f"ray job stop --address {without_user(address)} {job}"
    return f"the Ray job of a launcher that is gone may still train there ({why}); this ends it: {by_hand}"


def _write_secret(path: Path, value: dict[str, Any]) -> None:
    """A JSON file that nobody but its owner can read at any time."""
    with atomic_file(path) as scratch:
        scratch.touch(mode=0o600)
        scratch.write_text(json.dumps(value), encoding="utf-8")


def _end(client: Any, job: str, grace_seconds: float) -> bool:
    """Stop the job if it still runs, and wait until it has ended; whether it has."""
    if client.get_job_status(job).is_terminal():
        return True
    client.stop_job(job)
    deadline = time.monotonic() + grace_seconds + 2 * RAY_GRACE_S
    while time.monotonic() < deadline:
        if client.get_job_status(job).is_terminal():
            return True
        time.sleep(POLL_SECONDS)
    return False
