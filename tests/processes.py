"""Processes that a test started: an end that waits for nobody."""

import contextlib
import subprocess
from typing import Any

import psutil

from pipelines.group import runs
from tests.browser import until


def kill_family(process: "subprocess.Popen[Any]") -> None:
    """SIGKILL to a process that runs and to all below it."""
    if process.poll() is not None:
        return
    parent = psutil.Process(process.pid)
    for member in (parent, *parent.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    process.wait()


def commanded(family: list[psutil.Process], *words: str) -> list[psutil.Process]:
    """Those of a family that run and have one of the words in the first four of program, options and module."""
    found = []
    for one in family:
        with contextlib.suppress(psutil.NoSuchProcess):  # a zombie's error is one of these
            if any(word in " ".join(one.cmdline()[:4]) for word in words):
                found.append(one)
    return found


def kill_commanded(family: list[psutil.Process], *words: str) -> None:
    """SIGKILL to those, and wait until they are gone."""
    found = commanded(family, *words)
    assert found, f"nobody runs {words}"
    for one in found:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()
    until(lambda: not any(map(runs, found)), f"the end of {words}", 60)  # a zombie that nobody reaps counts as gone
