"""Which code and which machine: the commit of this checkout and a few words on the hardware."""

import os
import platform
import subprocess
from functools import lru_cache
from pathlib import Path

ROOT = Path(__file__).parent.parent


@lru_cache(maxsize=1)
def commit() -> str:
    """The commit of the checkout, with "+dirty" when files differ from it; outside a checkout (an image) what
    SAMAE_COMMIT says, else "unknown"."""
    try:
        head = _git("rev-parse", "--short=12", "HEAD")
        dirty = _git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return os.environ.get("SAMAE_COMMIT") or "unknown"
    return head + ("+dirty" if dirty else "")


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def processor() -> str:
    """Name of the processor."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine() -> str:
    """The machine in a few words: cores, processor, memory."""
    import psutil

    memory_gib = psutil.virtual_memory().total / 2**30
    return f"{cores()} cores, {processor()}, {memory_gib:.0f} GiB, {platform.system()} {platform.machine()}"
