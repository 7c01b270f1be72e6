"""A Ray cluster of one node for tests: a head in processes of its own, on ports of its own."""

import os
import subprocess
import sys
from pathlib import Path

from pipelines.ray_pool import QUIET_ENVIRONMENT
from tests.browser import until
from tests.integration.pages import free_ports

RAY = str(Path(sys.executable).parent / "ray")
HOST = "127.0.0.1"


def start_head(folder: Path, *more: str) -> tuple["subprocess.Popen[bytes]", str]:
    """A head with two cores that runs now, and its address.

    `folder`: an empty one with a short name, as sockets lie in it.  more: further options of `ray start`.
    """
    port, client, agent = free_ports(3)
    command = [
        RAY, "start", "--head", "--block", f"--port={port}", "--num-cpus=2", f"--node-ip-address={HOST}",
        f"--ray-client-server-port={client}", f"--dashboard-agent-listen-port={agent}", "--min-worker-port=0",
        "--max-worker-port=0", f"--temp-dir={folder}", "--object-store-memory=100000000", *more,
    ]  # fmt: skip
    said = folder / "head.log"
    with said.open("wb") as log:
        head = subprocess.Popen(
            command, env=os.environ | QUIET_ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
    until(lambda: head.poll() is not None or b"Ray runtime started" in said.read_bytes(), "Ray's head", 180)
    assert head.poll() is None, said.read_text()
    return head, f"{HOST}:{port}"
