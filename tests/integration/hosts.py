"""Two hosts out of Linux network namespaces and a cable (veth) between them; disk and clock are shared, as on NFS.

A namespace is named by its address, so that `ip netns exec` takes the place of `ssh`: both want a host and a command.
"""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

INTERFACE = "cable0"
REMOTE_SHELL = "ip netns exec"


def ip(*arguments: str) -> None:
    """Run `ip`; CalledProcessError when it refuses."""
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=30)


@dataclass
class Hosts:
    """The addresses of the two hosts; each is also its namespace's name."""

    one: str
    two: str

    def cut_off(self) -> None:
        """Pull the cable: packets vanish, no connection is closed."""
        ip("-n", self.two, "link", "set", INTERFACE, "down")

    def join(self) -> None:
        """Plug the cable in again."""
        ip("-n", self.two, "link", "set", INTERFACE, "up")
        ip("-n", self.two, "route", "replace", "default", "dev", INTERFACE)

    def on(self, host: str, *command: str) -> list[str]:
        """The command line that runs a command on a host."""
        return [*REMOTE_SHELL.split(), host, *command]

    def processes(self, host: str) -> list[int]:
        """Whoever runs on a host."""
        done = subprocess.run(["ip", "netns", "pids", host], capture_output=True, text=True, check=True, timeout=30)
        return [int(word) for word in done.stdout.split()]

    def end_all(self, host: str) -> None:
        """SIGKILL to everybody on a host."""
        for process in self.processes(host):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)


@contextlib.contextmanager
def two_hosts() -> Iterator[Hosts]:
    """Both hosts for as long as the block lasts; skips where namespaces are not allowed."""
    number = os.getpid()
    one, two = (f"10.{number >> 8 & 255}.{number & 255}.{last}" for last in (1, 2))
    ends = (f"s{number}a", f"s{number}b")
    hosts = Hosts(one, two)
    try:
        ip("netns", "add", one)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("network namespaces are not allowed here (they need root and `ip netns`)")
    try:
        ip("netns", "add", two)
        ip("link", "add", ends[0], "type", "veth", "peer", "name", ends[1])
        for host, end in zip((one, two), ends, strict=True):
            ip("link", "set", end, "netns", host, "name", INTERFACE)
            ip("-n", host, "address", "add", f"{host}/24", "dev", INTERFACE)
            ip("-n", host, "link", "set", INTERFACE, "up")
            ip("-n", host, "link", "set", "lo", "up")
            # Ray finds a host's own address by the way to somewhere far; nothing is ever sent there.
            ip("-n", host, "route", "add", "default", "dev", INTERFACE)
        yield hosts
    finally:
        for host in (one, two):
            with contextlib.suppress(subprocess.CalledProcessError):
                hosts.end_all(host)
                ip("netns", "delete", host)
