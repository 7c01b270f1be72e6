"""Processes as families: who is below one, and an end that is an end (SIGTERM, a grace, SIGKILL)."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Sequence

import psutil


def end_group(process: "subprocess.Popen[bytes]", grace_seconds: float, known: Sequence[psutil.Process] = ()) -> None:
    """SIGTERM to the group, wait up to the grace for everybody to go, SIGKILL to what is left.

    Everybody is the group and all descendants, those `known` from before included: torchrun gives every rank a session
    (and so a group) of its own and passes SIGTERM on, but it cannot pass on the SIGKILL that ends it.
    """
    end_groups([process], grace_seconds, known)


def end_groups(
    processes: "Sequence[subprocess.Popen[bytes]]", grace_seconds: float, known: Sequence[psutil.Process] = ()
) -> None:
    """The same for several groups at once, with one grace for all of them."""
    family = set(known).union(*(descendants(process.pid) for process in processes))
    deadline = time.monotonic() + grace_seconds
    for process in processes:
        _signal_group(process.pid, signal.SIGTERM)
    while time.monotonic() < deadline and (any(map(group_is_alive, processes)) or _alive(family)):
        time.sleep(0.05)
    for process in processes:
        _signal_group(process.pid, signal.SIGKILL)
    for left in _alive(family):
        with contextlib.suppress(psutil.NoSuchProcess):
            left.kill()
    for process in processes:
        process.wait()


def descendants(pid: int) -> list[psutil.Process]:
    """All processes below one, as far as they are still below it."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).children(recursive=True)
    return []


def _alive(family: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Those that run."""
    return [member for member in family if runs(member)]


def runs(process: psutil.Process) -> bool:
    """True while it runs; a zombie does not, and a number that another process got since is not this one."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


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
