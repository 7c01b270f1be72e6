"""The launcher's hand on one host: runs one command, and ends it when the launcher says so, dies, or is cut off.

    python -m pipelines.node               the order is the first line of standard input; its end means: stop
    python -m pipelines.node ORDER.json    the order is a file (a Ray job has no standard input)

An order is {"command": [...], "environment": {...}, "grace_seconds": 60, "slots": ranks of this host, "meet": "" or the
address of rank 0's host}. It comes by standard input so that nothing
has to be quoted for ssh, and no address or token shows in a process list. The launcher keeps the pipe open for as long
as it lives: whatever ends it (SIGKILL and a lost ssh connection included), no rank trains on unsupervised.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import psutil

from assets.machine import cores
from pipelines.group import descendants, end_group
from pipelines.hosts import interface_towards

POLL_SECONDS = 0.25
#: How many polls lie between two looks at who the descendants are.
POLLS_PER_CENSUS = 8


def main(arguments: list[str]) -> int:
    """The command's exit code, 128 + n when signal n ended it."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())
    if arguments:
        order = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    else:
        with open(0, "rb", buffering=0, closefd=False) as stream:  # unbuffered: the rest is the watcher's
            line = stream.readline()
        if not line:
            return 143
        order = json.loads(line)
        threading.Thread(target=_wait_for_the_end, args=(stop,), daemon=True).start()
    return supervise(order, stop)


def _wait_for_the_end(stop: threading.Event) -> None:
    while os.read(0, 4096):  # not through sys.stdin, whose lock would abort the interpreter's exit
        pass
    stop.set()


def network_environment(meet: str) -> dict[str, str]:
    """The interface that gloo shall use, where ranks of several hosts meet; what the user sets goes before it."""
    interface = interface_towards(meet) if meet else None
    return {"GLOO_SOCKET_IFNAME": interface} if interface else {}


def thread_environment(slots: int) -> dict[str, str]:
    """Threads of each of so many ranks on this machine: its cores, shared out."""
    threads = str(max(cores() // slots, 1))
    return {"OMP_NUM_THREADS": threads, "NUMBA_NUM_THREADS": threads}


def supervise(order: dict[str, Any], stop: threading.Event) -> int:
    """Run the order's command until it ends or `stop` is set; its exit code."""
    here = network_environment(order.get("meet", "")) | os.environ | thread_environment(order["slots"])
    environment = here | order["environment"]
    process = subprocess.Popen(order["command"], env=environment, stdin=subprocess.DEVNULL, start_new_session=True)
    family: list[psutil.Process] = []
    polls = 0
    while process.poll() is None and not stop.wait(POLL_SECONDS):
        if polls % POLLS_PER_CENSUS == 0:
            family = descendants(process.pid)
        polls += 1
    end_group(process, float(order["grace_seconds"]), family)
    return process.returncode if process.returncode >= 0 else 128 - process.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
