"""Training as a Ray job: the cluster's job server runs the node, this process follows and cancels it.

The entry point is `pipelines.node` with the order in a file of the run's folder, which the cluster shares. A job asks
for one core a rank; GPUs are asked for with `SAMAE_LAUNCH_GPUS` a rank, so that it lands on a node with room for all.
"""

import contextlib
import shlex
import sys
import time
from pathlib import Path
from typing import Any

from assets.ports import Progress
from faces.errors import SamaeError
from faces.files import write_json

ORDER_NAME = "order.json"
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
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)  # the order may hold the address and token of a tracking server
    write_json(path, order)
    path.chmod(0o600)
    client = job_client(address)
    job = client.submit_job(
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
        _end(client, job, grace_seconds)
        with contextlib.suppress(RuntimeError), (run_dir / "log.txt").open("a", encoding="utf-8") as log:
            log.write(client.get_job_logs(job))
    code = getattr(client.get_job_info(job), "driver_exit_code", None)
    return 1 if code is None else int(code)


def _end(client: Any, job: str, grace_seconds: float) -> None:
    """Stop the job if it still runs, and wait until it has ended."""
    if client.get_job_status(job).is_terminal():
        return
    client.stop_job(job)
    deadline = time.monotonic() + grace_seconds + 2 * RAY_GRACE_S
    while time.monotonic() < deadline and not client.get_job_status(job).is_terminal():
        time.sleep(POLL_SECONDS)
