"""A Ray cluster of one node for tests: a head in processes of its own, on ports of its own."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

from pipelines.ray_pool import QUIET_ENVIRONMENT
from tests.browser import until
from tests.integration.pages import free_ports

RAY = str(Path(sys.executable).parent / "ray")
HOST = "127.0.0.1"


#: A head gives itself 30 s to register, which a busy machine can miss: so often it is started.
TRIES = 3


def start_head(folder: Path, *more: str) -> tuple["subprocess.Popen[bytes]", str]:
    """A head with two cores that runs now, and its address.

    `folder`: an empty one with a short name, as sockets lie in it.  more: further options of `ray start`.
    """
    said = folder / "head.log"
    for _ in range(TRIES):
        port, client, agent = free_ports(3)
        command = [
            RAY, "start", "--head", "--block", f"--port={port}", "--num-cpus=2", f"--node-ip-address={HOST}",
            f"--ray-client-server-port={client}", f"--dashboard-agent-listen-port={agent}", "--min-worker-port=0",
            "--max-worker-port=0", f"--temp-dir={folder}", "--object-store-memory=100000000", *more,
        ]  # fmt: skip
        if (head := _started(command, said)) is not None:
            return head, f"{HOST}:{port}"
    raise AssertionError(said.read_text())


def _started(command: list[str], said: Path) -> "subprocess.Popen[bytes] | None":
    """The process once it says that it runs; None, with nothing left of it, where it ended."""
    with said.open("wb") as log:
        head = subprocess.Popen(
            command, env=os.environ | QUIET_ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
    until(lambda: head.poll() is not None or b"Ray runtime started" in said.read_bytes(), "Ray's head", 180)
    if head.poll() is None:
        return head
    with contextlib.suppress(ProcessLookupError):
        os.killpg(head.pid, signal.SIGKILL)
    return None
