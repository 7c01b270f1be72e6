"""Work over many cores or hosts by Ray; the only module that imports ray. `serial` gives the same answers here.

`Pool.map` keeps the order of its items, reports progress as answers arrive, and turns an exception in a worker into the
same SamaeError (a sentence for the user) or into a RuntimeError that holds the worker's traceback.
"""

import atexit
import contextlib
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
from pydantic import PrivateAttr

from assets.ports import Progress
from faces.errors import SamaeError
from pipelines.group import end_group, runs

LOGGER = logging.getLogger(__name__)
JOIN = "join:"
#: How long a head may take to answer, and a node that joined its cluster to leave it, seconds.
NODE_GRACE_S = 10.0
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
#: Tasks in flight a core: enough to keep workers busy, few enough to keep the object store small.
IN_FLIGHT_PER_CORE = 2


#: So often the pool looks whether a node was lost. Ray itself starts the tasks of a node that ended
#: again, but for one whose packets vanished it may wait minutes for an answer that cannot come (seen with 2.60): so
#: what is still out is given out once more, and the first answer counts.
LOOK_ROUND_S = 5.0


#: What lies in the object store of a node that is gone: to free it would end this process too.
_KEPT: list[Any] = []


class WorkerLost(SamaeError):
    """A task's workers were lost more often than Ray starts it again."""


class NodeLost(SamaeError):
    """The node process that ties this driver to its cluster has ended."""


def _leave_at_the_end() -> None:
    """Let this process end by `_leave`, which runs the exit handlers: as the newest of them, so before any other ran.

    Python asks its threads to end first, when nobody registers handlers any more.
    """
    with contextlib.suppress(RuntimeError):  # another thread of a process that ends already
        threading._register_atexit(_register_leave)  # type: ignore[attr-defined]
    _register_leave()


def _register_leave() -> None:
    atexit.unregister(_leave)
    atexit.register(_leave)


def _leave() -> None:
    """The end of a process whose node is gone: its own handlers, and none of Ray's destructors, which may crash."""
    atexit.unregister(_leave)
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(2)


def _call(function: Callable[[Any], Any], item: Any) -> tuple[Any, str | None]:
    """Runs in a worker: the answer, or the sentence of a SamaeError (which the caller raises again)."""
    try:
        return function(item), None
    except SamaeError as error:
        return None, str(error)


#: Functions that this worker has unpickled, by the object that holds them, newest last.
_UNPICKLED: dict[str, Callable[[Any], Any]] = {}
#: Two: a judgement looks at its faces with one function and at its pairs with another.
KEPT_FUNCTIONS = 2


def _call_shared(holder: list[Any], item: Any) -> tuple[Any, str | None]:
    """`_call` with a function that lies in the object store: a worker unpickles it once, not once a task.

    A judge's function weighs 50 MB. `holder` is a list of one reference: Ray hands a bare one over unpickled.
    """
    import ray

    name = holder[0].hex()
    if name not in _UNPICKLED:
        _UNPICKLED[name] = ray.get(holder[0])
        for old in list(_UNPICKLED)[:-KEPT_FUNCTIONS]:
            del _UNPICKLED[old]
    return _call(_UNPICKLED[name], item)


class RayPool(dg.ConfigurableResource):
    """`address`: "serial", "local" (a cluster of our own with `cores` cores, 0 for all), "auto", host:port of a cluster
    that this host belongs to, or "join:host:port" of one that it joins for as long as this process lives."""

    address: str = "local"
    cores: int = 0
    _node: psutil.Process | None = PrivateAttr(default=None)
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
        ray = self.start()
        self._require_node()
        task = ray.remote(num_cpus=1, max_retries=2)(_call_shared)
        limit = max(int(ray.cluster_resources().get("CPU", 1)), 1) * IN_FLIGHT_PER_CORE
        answers: list[Any] = [None] * len(items)
        shared = [ray.put(function)]  # once, not once a task: it may carry a network
        waiting: dict[Any, int] = {}
        queue = iter(enumerate(items))
        done, nodes, looked = 0, _nodes(ray), time.monotonic()
        try:
            while done < len(items):
                while len(waiting) < limit and (entry := next(queue, None)) is not None:
                    self._require_node()
                    waiting[task.remote(shared, entry[1])] = entry[0]
                ready, _ = ray.wait(list(waiting), num_returns=1, timeout=LOOK_ROUND_S)
                self._require_node()
                for reference in ready:
                    number = waiting.pop(reference)
                    try:
                        answers[number] = _answer(ray, reference)
                    except WorkerLost:
                        if number in waiting.values():  # its twin may still answer
                            continue
                        raise
                    done += 1
                    for twin in [other for other, of in waiting.items() if of == number]:
                        del waiting[twin]
                        ray.cancel(twin, force=False)
                if time.monotonic() - looked >= LOOK_ROUND_S:
                    looked, before, nodes = time.monotonic(), nodes, _nodes(ray)
                    if before - nodes and waiting:
                        again = set(waiting.values())
                        LOGGER.warning("a node of the Ray cluster is lost: %d tasks are given out again", len(again))
                        waiting |= {task.remote(shared, items[number]): number for number in again}
                        self._given_again += len(again)
                if progress and ready:
                    progress(done, len(items), "")
        except NodeLost:
            _KEPT.append((shared, dict(waiting), answers))
            raise
        finally:
            for reference in waiting:
                ray.cancel(reference, force=False)
        return answers

    def _require_node(self) -> None:
        """NodeLost when Ray's node process on this host is gone.

        Asked before whatever needs its object store: there Ray would end this process without a word (2.60, exit 1).
        """
        if self._node is not None and not runs(self._node):
            import ray

            atexit.unregister(ray.shutdown)  # it would end this process before its other handlers ran
            _leave_at_the_end()
            raise NodeLost(
                "Ray's node process on this host has ended (memory ran out, or it was killed): start again, what is "
                "finished stays; with little memory set SAMAE_CORES lower, or SAMAE_RAY=serial"
            )

    def start(self) -> Any:
        """Connect to (or start) the cluster once a process; returns the ray module."""
        os.environ.update({name: os.environ.get(name, value) for name, value in QUIET_ENVIRONMENT.items()})
        import ray

        if ray.is_initialized():
            self._node = local_node(ray)
            return ray
        try:
            self._connect(ray)
            self._node = local_node(ray)
        except (ConnectionError, ValueError, RuntimeError, TimeoutError) as error:
            first = str(error).strip().split("\n")[0]
            raise SamaeError(
                f"no Ray cluster answers at {self.address!r} ({first}); start it, or set SAMAE_RAY=local or serial"
            ) from None
        return ray

    def _connect(self, ray: Any) -> None:
        variables = WORKER_ENVIRONMENT | deciding_environment()
        quiet = {"log_to_driver": False, "logging_level": "ERROR", "runtime_env": {"env_vars": variables}}
        if self.address == "local":
            ray.init(address="local", num_cpus=self.cores or None, include_dashboard=False, **quiet)
            atexit.register(ray.shutdown)
        elif self.address.startswith(JOIN):
            ray.init(address=join_cluster(self.address.removeprefix(JOIN)), **quiet)
        else:
            ray.init(address=self.address, **quiet)

    def stop(self) -> None:
        """Leave the cluster; one of our own ends with it."""
        import ray

        node = local_node(ray) if ray.is_initialized() else None
        if ray.is_initialized() and (node is None or runs(node)):
            ray.shutdown()


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


def join_cluster(head: str) -> str:
    """Make this host a node without cores of the cluster at `head` until this process ends; the address to connect to.

    A driver needs a node of the cluster on its own host. Ray's client server (ray://) would spare it, but did not start
    its sessions here in three tries (Ray 2.60). ConnectionError when the cluster does not take the node.
    """
    host, _, port = head.rpartition(":")
    try:  # Ray's own program waits for minutes where nobody answers
        socket.create_connection((host, int(port)), timeout=NODE_GRACE_S).close()
    except OSError as error:
        raise ConnectionError(error.strerror or str(error)) from None
    program = str(Path(sys.executable).parent / "ray")
    command = [program, "start", "--block", f"--address={head}", "--num-cpus=0", "--disable-usage-stats"]
    node = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )
    atexit.register(end_group, node, NODE_GRACE_S)
    assert node.stdout is not None
    last = b""
    for line in node.stdout:
        if b"Ray runtime started" in line:
            # What the node says later is read and dropped: a full pipe would stop it.
            threading.Thread(target=deque, args=(node.stdout, 0), daemon=True).start()
            return head
        last = line if line.strip() else last
    raise ConnectionError(last.decode(errors="replace").strip() or "the node ended at once")


def _nodes(ray: Any) -> set[str]:
    """Nodes of the cluster that live and do work, as far as its head knows."""
    return {node["NodeID"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) > 0}


#: Node of a cluster -> its process on this host, as it was when this driver came to it.
_NODE_PROCESSES: dict[str, psutil.Process | None] = {}


def local_node(ray: Any) -> psutil.Process | None:
    """The node process (raylet) of this host that this driver hangs on; None when it cannot be seen from here."""
    mine = ray.get_runtime_context().get_node_id()
    if mine not in _NODE_PROCESSES:
        place = next((node["RayletSocketName"] for node in ray.nodes() if node["NodeID"] == mine), "")
        found = (one for one in psutil.process_iter(["name", "cmdline"]) if one.info["name"] == "raylet")
        ours = (one for one in found if f"--raylet_socket_name={place}" in (one.info["cmdline"] or ()))
        _NODE_PROCESSES[mine] = next(ours, None) if place else None
    return _NODE_PROCESSES[mine]


def _answer(ray: Any, reference: Any) -> Any:
    try:
        answer, sentence = ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise RuntimeError(f"a Ray worker failed:\n{error}") from None
    except ray.exceptions.RayError as error:
        raise WorkerLost(
            f"a Ray worker was lost three times ({type(error).__name__}): memory ran out (set SAMAE_CORES lower) or "
            "its host is gone; start again, what is finished stays"
        ) from None
    if sentence is not None:
        raise SamaeError(sentence)
    return answer
