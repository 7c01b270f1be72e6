"""Where ranks run: this machine, or the hosts of a hostfile (DeepSpeed's format: `name slots=8`, one a line)."""

import os
import re
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

from faces.errors import SamaeError

#: Environment variables of the launcher that the ranks of other hosts get as well.
CARRIED = ("SAMAE_", "NCCL_", "GLOO_", "MLFLOW_", "TORCH_", "CUDA_VISIBLE", "PYTHONPATH")


@dataclass(frozen=True)
class Host:
    """One line of a hostfile: a name or address that the others reach it by, and how many ranks it takes."""

    name: str
    slots: int


def read_hostfile(path: Path) -> list[Host]:
    """The hosts of a file, in order; the first one holds rank 0. Comments (#) and empty lines are skipped."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise SamaeError(f"the hostfile {path} cannot be read ({error.strerror}): mend SAMAE_LAUNCH") from None
    hosts = []
    for line in lines:
        words = line.partition("#")[0].strip()
        if not words:
            continue
        match = re.fullmatch(r"([A-Za-z0-9._:-]+)(?:\s+slots=(\d+))?", words)
        if match is None or match[2] == "0" or match[1].startswith("-"):
            raise SamaeError(f"{path}: {words!r} is not `name slots=N`")
        hosts.append(Host(match[1], int(match[2] or 1)))
    if not hosts or len({host.name for host in hosts}) < len(hosts):
        raise SamaeError(f"{path} must name at least one host, and every host once")
    return hosts


def require_ranks(hosts: list[Host], ranks: int) -> None:
    """SamaeError when the hostfile offers another number of ranks than SAMAE_RANKS asks for."""
    slots = sum(host.slots for host in hosts)
    if slots != ranks:
        raise SamaeError(f"the hostfile has {slots} slots and SAMAE_RANKS is {ranks}: make them equal")


def torchrun(hosts: list[Host], index: int, port: int) -> list[str]:
    """The command that starts the ranks of one host; what follows is the module and its arguments."""
    return [
        sys.executable, "-P", "-m", "pipelines.torchrun", f"--nnodes={len(hosts)}", f"--node-rank={index}",
        f"--nproc-per-node={hosts[index].slots}", f"--master-addr={hosts[0].name}", f"--master-port={port}",
        "--max-restarts=0", "-m",
    ]  # fmt: skip


def interface_towards(address: str) -> str | None:
    """The network interface of this host that reaches `address`; None when nothing does.

    Left alone, gloo takes the one that the host's own name resolves to, which is the loopback on many systems.
    """
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(address, 9, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.connect(place)  # a datagram socket: nothing is sent
            mine = probe.getsockname()[0]
    except OSError:
        return None
    entries = psutil.net_if_addrs().items()
    return next((name for name, found in entries if any(entry.address == mine for entry in found)), None)


def carried_environment() -> dict[str, str]:
    """The variables of this process that matter to ranks elsewhere."""
    return {name: value for name, value in os.environ.items() if name.startswith(CARRIED)}
