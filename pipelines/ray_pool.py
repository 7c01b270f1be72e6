"""Work over many cores or hosts by Ray. `serial` gives the same answers here.

`Pool.map` keeps the order of its items, reports progress as answers arrive, and turns an exception in a worker into the
same SamaeError (a sentence for the user) or into a RuntimeError that holds the worker's traceback.

The connection to Ray is a child process's (`pipelines.ray_driver`, which says why). When Ray ends it, `map` says so by
RayLost, and the next `map` starts another.
"""

import atexit
import contextlib
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import dagster as dg
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

    def __init__(self, why: str) -> None:
        super().__init__(
            f"Ray has ended under this run ({why}): start again, what is finished stays; where memory ran out set "
            "SAMAE_CORES lower, or SAMAE_RAY=serial"
        )


class Driver:
    """The child process that is connected to Ray, as its pool sees it."""

    def __init__(self, address: str, cores: int) -> None:
        """Start it; SamaeError when no cluster answers."""
        ours, theirs = Pipe()
        order = {
            "address": address,
            "cores": cores,
            "variables": WORKER_ENVIRONMENT | deciding_environment(),
            "look_round_s": LOOK_ROUND_S,
        }
        paths = filter(None, (os.environ.get("PYTHONPATH"), str(Path(__file__).parents[1])))
        variables = QUIET_ENVIRONMENT | os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pipelines.ray_driver", str(theirs.fileno()), json.dumps(order)],
                env=variables, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=sys.__stderr__,
                start_new_session=True,
            )  # fmt: skip
        import ray  # noqa: F401  # the pool's pickles need it; seconds, while the driver imports it too

        self.connection = ours
        self.is_idle = False
        kind, *rest = self._hear()
        self.family = descendants(self.process.pid)
        if kind == "refused":
            self.end()
            raise SamaeError(rest[0])
        self.is_idle = True

    def map(
        self, function: bytes, items: Sequence[bytes], on_again: Callable[[int], None]
    ) -> Iterator[tuple[int, bytes]]:
        """Number and answer of every item, as they come; `on_again` hears how many were given out once more.

        Whoever leaves this before its end must `end` the driver, as `is_idle` says.

        Raises:
            RayLost: it is gone, with its cluster or alone.
            SamaeError, RuntimeError: what a task raised; the driver can be asked again.
        """
        self.is_idle = False
        with self._or_lost():
            self.connection.send(len(items))
            for one in (function, *items):
                self.connection.send_bytes(one)
        while True:
            kind, *rest = self._hear()
            if kind == "answer":
                yield rest[0], rest[1]
            elif kind == "again":
                on_again(rest[0])
            elif kind == "lost":
                raise RayLost(rest[0])
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
            code = self.process.returncode
            raise RayLost(f"its driver ended with code {code}, as Ray does when its node or head is gone") from None

    def end(self) -> None:
        """Let it leave its cluster, and end whatever is left of it and of a cluster of our own."""
        self.connection.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(LEAVE_S)
        end_group(self.process, 1.0, self.family)


#: The drivers of this process, by address and cores: every pool of the same ones works through the same.
_DRIVERS: dict[tuple[str, int], Driver] = {}


@atexit.register
def _end_all() -> None:
    while _DRIVERS:
        _DRIVERS.popitem()[1].end()


class RayPool(dg.ConfigurableResource):
    """`address`: "serial", "local" (a cluster of our own with `cores` cores, 0 for all), "auto", host:port of a cluster
    that this host belongs to, or "join:host:port" of one that it joins for as long as this process lives."""

    address: str = "local"
    cores: int = 0
    _given_again: int = PrivateAttr(default=0)

    @property
    def given_again(self) -> int:
        """How many tasks of this pool were given out once more because a node of the cluster was lost."""
        return self._given_again

    def map(self, function: Callable[[Any], Any], items: Sequence[Any], progress: Progress | None = None) -> list[Any]:
        """`[function(item) for item in items]`, spread over the cluster; `function` is a module's, not a closure."""
        if self.address == "serial" or len(items) <= 1:
            return self._map_serial(function, items, progress)
        return self._map_ray(function, items, progress)

    def _map_serial(self, function: Callable[[Any], Any], items: Sequence[Any], progress: Progress | None) -> list[Any]:
        answers = []
        for item in items:
            answers.append(function(item))
            if progress:
                progress(len(answers), len(items), "")
        return answers

    def _map_ray(self, function: Callable[[Any], Any], items: Sequence[Any], progress: Progress | None) -> list[Any]:
        from ray import cloudpickle

        driver = self._driver()
        answers: list[Any] = [None] * len(items)
        done = 0
        try:
            packed = [cloudpickle.dumps(item) for item in items]
            for number, answer in driver.map(cloudpickle.dumps(function), packed, self._on_again):
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
        key = (self.address, self.cores)
        if key not in _DRIVERS:
            _DRIVERS[key] = Driver(*key)
        return _DRIVERS[key]

    def stop(self) -> None:
        """Leave the cluster; one of our own ends with it."""
        if driver := _DRIVERS.pop((self.address, self.cores), None):
            driver.end()


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
