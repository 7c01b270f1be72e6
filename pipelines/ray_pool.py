"""Work over many cores or hosts by Ray. `serial` gives the same answers here.

`Pool.map` keeps the order of its items, reports progress as answers arrive, and turns an exception in a worker into the
same SamaeError (a sentence for the user) or into a RuntimeError that holds the worker's traceback.

The connection to Ray is a child process's (`pipelines.ray_driver`, which says why). When Ray ends it during a `map`,
that says so by RayLost; the next `map` starts another, and so does one that finds it gone before any work was out.
"""

import atexit
import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
from pydantic import PrivateAttr

from assets.ports import Progress
from faces.errors import SamaeError
from pipelines.group import descendants, end_group

LOGGER = logging.getLogger(__name__)
#: One thread a worker: the parallelism is over items, and threads on top of it only fight for the cores.
WORKER_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "17179869184",
}
#: Quiet and private: no token file in the home folder, no usage statistics, no dashboard. Workers at the priority of
#: whoever asked (Ray's own is nice 15, which starves them for minutes on a machine that has other work).
QUIET_ENVIRONMENT = {
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_worker_niceness": "0",
}
#: So often the driver looks whether a node was lost: what is still out is then given out once more, seconds.
LOOK_ROUND_S = 5.0
#: How long a driver may take to leave its cluster before it is ended, seconds.
LEAVE_S = 15.0


class RayLost(SamaeError):
    """The cluster, or what ties this process to it, ended during the work."""

    def __init__(self, why: str, address: str) -> None:
        """address: of the pool; one that others may have ended is named."""
        head = "" if address == "local" else f"see that Ray's head lives (SAMAE_RAY is {address}); "
        super().__init__(
            f"Ray has ended under this run ({why}): start again, what is finished stays; {head}where memory ran out "
            "set SAMAE_CORES lower, or SAMAE_RAY=serial"
        )


class Driver:
    """The child process that is connected to Ray, as its pool sees it."""

    def __init__(self, address: str, cores: int) -> None:
        """Start it. SamaeError when no cluster answers, RayLost when it ends before it is connected."""
        order = {
            "address": address,
            "cores": cores,
            "paths": own_paths(),
            "variables": WORKER_ENVIRONMENT | deciding_environment(),
            "look_round_s": LOOK_ROUND_S,
        }
        paths = filter(None, (os.environ.get("PYTHONPATH"), str(Path(__file__).parents[1])))
        variables = QUIET_ENVIRONMENT | os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
        self.address, self.is_idle = address, False
        self.family: list[psutil.Process] = []
        self.connection, theirs = Pipe()
        with theirs:
            self.process = subprocess.Popen(  # -P: no module of the folder that the user happens to be in
                [sys.executable, "-P", "-m", "pipelines.ray_driver", str(theirs.fileno()), json.dumps(order)],
                env=variables, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=sys.__stderr__,
                start_new_session=True,
            )  # fmt: skip
        try:
            import ray  # noqa: F401  # the pool's pickles need it; seconds, while the driver imports it too

            kind, *rest = self._hear()
            self.family = descendants(self.process.pid)
            if kind != "connected":
                raise SamaeError(rest[0]) if kind == "refused" else RayLost(rest[0], address)
        except BaseException:
            self.end()
            raise
        self.is_idle = True

    def answers(self) -> bool:
        """Whether it and its cluster still work: a map of nothing goes through."""
        try:
            return not list(self.map(b"", 0, (), lambda _: None))
        except RayLost:
            return False

    def map(
        self, function: bytes, count: int, items: Iterable[bytes], on_again: Callable[[int], None]
    ) -> Iterator[tuple[int, bytes]]:
        """Number and answer of each of `count` items, as they come; `on_again` hears how many were given out once more.

        Whoever leaves this before its end must `end` the driver, as `is_idle` says.

        Raises:
            RayLost: it is gone, with its cluster or alone.
            SamaeError, RuntimeError: what a task raised; the driver can be asked again.
        """
        self.is_idle = False
        with self._or_lost():
            self.connection.send(count)
        for one in chain((function,), items):
            with self._or_lost():
                self.connection.send_bytes(one)
        while True:
            kind, *rest = self._hear()
            if kind == "answer":
                yield rest[0], rest[1]
            elif kind == "again":
                on_again(rest[0])
            elif kind == "lost":
                raise RayLost(rest[0], self.address)
            else:
                self.is_idle = True
                if kind == "refused":
                    raise SamaeError(rest[0])
                if kind == "failed":
                    raise RuntimeError(rest[0])
                return

    def _hear(self) -> Any:
        with self._or_lost():
            return self.connection.recv()

    @contextlib.contextmanager
    def _or_lost(self) -> Iterator[None]:
        try:
            yield
        except (EOFError, OSError):
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(LEAVE_S)
            raise RayLost(f"its driver {ending(self.process.returncode)}", self.address) from None

    def end(self) -> None:
        """Let it leave its cluster, and end whatever is left of it and of a cluster of our own."""
        self.connection.close()
        self.family = self.family or descendants(self.process.pid)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(LEAVE_S)
        end_group(self.process, 1.0, self.family)


#: The drivers of this process, by address and cores: every pool of the same ones works through the same.
_DRIVERS: dict[tuple[str, int], Driver] = {}
#: Held for a whole map: one connection carries one map at a time, so threads take turns.
_TURN = threading.RLock()


def _leave_to_the_parent() -> None:
    global _TURN
    _DRIVERS.clear()
    _TURN = threading.RLock()


os.register_at_fork(after_in_child=_leave_to_the_parent)


@atexit.register
def _end_all() -> None:
    while _DRIVERS:
        _DRIVERS.popitem()[1].end()


class RayPool(dg.ConfigurableResource):
    """`address`: "serial", "local" (a cluster of our own with `cores` cores, 0 for all), "auto", host:port of a cluster
    that this host belongs to, or "join:host:port" of one that it joins for as long as the pool's driver lives."""

    address: str = "local"
    cores: int = 0
    _given_again: int = PrivateAttr(default=0)

    @property
    def given_again(self) -> int:
        """How many tasks of this pool were given out once more because a node of the cluster was lost."""
        return self._given_again

    def map(self, function: Callable[[Any], Any], items: Sequence[Any], progress: Progress | None = None) -> list[Any]:
        """`[function(item) for item in items]`, spread over the cluster; `function` is a module's, not a closure.

        Workers look for modules where this process does (`own_paths`). Threads take turns.
        """
        if self.address == "serial" or len(items) <= 1:
            return self._map_serial(function, items, progress)
        with _TURN:
            return self._map_ray(function, items, progress)

    def _map_serial(self, function: Callable[[Any], Any], items: Sequence[Any], progress: Progress | None) -> list[Any]:
        answers = []
        for item in items:
            answers.append(function(item))
            if progress:
                progress(len(answers), len(items), "")
        return answers

    def _map_ray(self, function: Callable[[Any], Any], items: Sequence[Any], progress: Progress | None) -> list[Any]:
        driver = self._driver()
        from ray import cloudpickle  # after the driver, which imports it at the same time

        answers: list[Any] = [None] * len(items)
        done = 0
        try:
            packed = (cloudpickle.dumps(item) for item in items)
            for number, answer in driver.map(cloudpickle.dumps(function), len(items), packed, self._on_again):
                answers[number] = cloudpickle.loads(answer)
                done += 1
                if progress:
                    progress(done, len(items), "")
        finally:
            if not driver.is_idle:
                self.stop()
        return answers

    def _on_again(self, count: int) -> None:
        LOGGER.warning("a node of the Ray cluster is lost: %d tasks are given out again", count)
        self._given_again += count

    def _driver(self) -> Driver:
        """The one that runs, or another where it was lost while it had nothing to do."""
        key = (self.address, self.cores)
        if (driver := _DRIVERS.get(key)) and not (driver.is_idle and driver.answers()):
            self.stop()
        if key not in _DRIVERS:
            _DRIVERS[key] = Driver(*key)
        return _DRIVERS[key]

    def stop(self) -> None:
        """Leave the cluster; one of our own ends with it."""
        with _TURN:
            if driver := _DRIVERS.pop((self.address, self.cores), None):
                driver.end()


def ending(code: int | None) -> str:
    """What a driver's exit code tells; None where it has not ended."""
    if code is None:
        return "does not answer"
    if code == signal.SIGTERM:  # Ray's handler of that signal exits with its number
        code = -code
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with code {code}" + (", as Ray does when its node or head is gone" if code else "")


def own_paths() -> list[str]:
    """Where this process looks for modules, but for Python's own folders and its packages', which hosts have."""
    pythons = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    paths = dict.fromkeys(Path(path).absolute() for path in sys.path)
    return [str(path) for path in paths if path.is_dir() and not any(map(path.is_relative_to, pythons))]


def deciding_environment() -> dict[str, str]:
    """The variables that decide what a Ray cluster makes, as this process has them: its hosts may have others.

    Who reads landmarks is settled here, since "auto" may be somebody else there. SAMAE_WEIGHTS is one path for every
    host; where it is not set here, each host keeps its own. SamaeError as landmark_reader.
    """
    from faces.detection import VARIABLE, landmark_reader
    from faces.identity.registry import WEIGHTS_VARIABLE

    weights = os.environ.get(WEIGHTS_VARIABLE)
    named = {WEIGHTS_VARIABLE: str(Path(weights).expanduser().absolute())} if weights else {}
    return {VARIABLE: landmark_reader(), **named}
