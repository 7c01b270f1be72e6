"""Processes that a test started: an end that waits for nobody."""

import contextlib
import subprocess
from typing import Any

import psutil


def kill_family(process: "subprocess.Popen[Any]") -> None:
    """SIGKILL to a process that runs and to all below it."""
    if process.poll() is not None:
        return
    parent = psutil.Process(process.pid)
    for member in (parent, *parent.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    process.wait()
