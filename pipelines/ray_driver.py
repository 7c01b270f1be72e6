"""The process that holds a pool's connection to Ray (`python -m pipelines.ray_driver DESCRIPTOR ORDER`).

Ray ends its driver without a word: when a call meets a dead node process or object store, and when the head has been
silent for a minute (2.60: QuickExit in its core worker, `_Exit` in its client of the head; Python hears of neither).
So the driver is no Dagster run but a child of it, which `pipelines.ray_pool` starts and whose end it turns into a
sentence. It talks over one connection, and ends when its pool hangs up.

The pool sends how many items there are, the function and the items (pickled, and not looked at here); of no items, to
hear whether all is well. The answers:
("connected",), ("answer", number, pickled), ("again", how many), ("done",), ("refused", sentence of a SamaeError),
("failed", traceback of a worker), ("lost", why).
"""

import atexit
import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil

from faces.errors import SamaeError
from pipelines.group import end_group, runs
from pipelines.ray_worker import call_shared

JOIN = "join:"
#: How long a head may take to answer, and a node that joined its cluster to leave it, seconds.
NODE_GRACE_S = 10.0
#: What `pipelines.node` has on top of that to end it, seconds.
HAND_GRACE_S = 2.0
#: Tasks in flight a core: enough to keep workers busy, few enough to keep the object store small.
IN_FLIGHT_PER_CORE = 2
#: So often the driver looks whether its pool and its node are still there, seconds.
POLL_S = 1.0


class NodeLost(Exception):
    """The node process that ties this driver to its cluster has ended."""


class WorkerLost(SamaeError):
    """A task's workers were lost more often than Ray starts it again."""


def main(descriptor: int, order: dict[str, Any]) -> None:
    """Connect, and serve the pool at the other end of the descriptor until it hangs up."""
    os.set_inheritable(descriptor, False)  # whoever else held it would keep this process's end from its pool
    pool = PoolLine(Connection(descriptor))
    try:
        try:
            ray = connect(order["address"], order["cores"], order["variables"], order["paths"])
        except SamaeError as error:
            pool.tell("refused", str(error))
            return
        node = local_node(ray)
        pool.tell("connected")
        while True:
            _serve(ray, node, pool, order["look_round_s"])
    except HungUp:  # Ray ends with this process
        return
    except Exception as error:
        first = str(error).strip().split("\n")[0]
        why = first if isinstance(error, NodeLost) else f"{type(error).__name__}: {first}"
        if not isinstance(error, NodeLost):
            traceback.print_exc()
        with contextlib.suppress(HungUp):
            pool.tell("lost", why)
        os._exit(1)  # without Ray's destructors, which wait for or crash on what is gone


class HungUp(Exception):
    """The pool is gone."""


class PoolLine:
    """The connection to the pool. Every method raises HungUp where nobody is at its other end."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def tell(self, *message: Any) -> None:
        """One of the answers above."""
        with self._or_hung_up():
            self.connection.send(message)

    def order(self) -> tuple[bytes, list[bytes]]:
        """Function and items of the next map, waited for."""
        with self._or_hung_up():
            count = self.connection.recv()
            return self.connection.recv_bytes(), [self.connection.recv_bytes() for _ in range(count)]

    def require(self) -> None:
        """The pool says nothing while it waits for answers: what is to be read then is its end."""
        with self._or_hung_up():
            if self.connection.poll():
                raise EOFError

    @contextlib.contextmanager
    def _or_hung_up(self) -> Iterator[None]:
        try:
            yield
        except (EOFError, OSError):
            raise HungUp from None


def _serve(ray: Any, node: psutil.Process | None, pool: PoolLine, look_round_s: float) -> None:
    """One map, from its order to its last answer."""
    function, items = pool.order()
    require_node(node)
    work = Work(ray, node, function, items)
    looked = time.monotonic()
    try:
        while work.left:
            for number, answer in work.answers():
                pool.tell("answer", number, answer)
            pool.require()
            if time.monotonic() - looked >= look_round_s:
                looked = time.monotonic()
                if again := work.give_again():
                    pool.tell("again", again)
        pool.tell("done")
    except (SamaeError, TaskFailed) as error:
        work.cancel()
        pool.tell("refused" if isinstance(error, SamaeError) else "failed", str(error))


class TaskFailed(Exception):
    """A worker raised something unexpected; its traceback."""


class Work:
    """The tasks of one map: which are out, and which have answered."""

    def __init__(self, ray: Any, node: psutil.Process | None, function: bytes, items: list[bytes]) -> None:
        self.ray, self.node, self.items = ray, node, items
        self.task = ray.remote(num_cpus=1, max_retries=2)(call_shared)
        self.shared = [ray.put(function)]  # once, not once a task: it may carry a network
        self.limit = max(int(ray.cluster_resources().get("CPU", 1)), 1) * IN_FLIGHT_PER_CORE
        self.queue, self.left = iter(range(len(items))), len(items)
        self.waiting: dict[Any, int] = {}
        self.nodes = working_nodes(ray)

    def give_out(self, number: int) -> None:
        """Start the task of one item, by its number; it may be out already, and the first answer counts."""
        self.waiting[self.task.remote(self.shared, self.items[number])] = number

    def answers(self) -> Iterator[tuple[int, bytes]]:
        """Number and answer of whatever is ready within `POLL_S`.

        Raises:
            NodeLost: this host's node process is gone.
            SamaeError: the sentence of a task, or WorkerLost.
            TaskFailed: a task's traceback.
        """
        while len(self.waiting) < self.limit and (number := next(self.queue, None)) is not None:
            self.give_out(number)
        ready, _ = self.ray.wait(list(self.waiting), num_returns=1, timeout=POLL_S)
        require_node(self.node)
        for reference in ready:
            number = self.waiting.pop(reference)
            try:
                answer = self._answer(reference)
            except WorkerLost:
                if number in self.waiting.values():  # its twin may still answer
                    continue
                raise
            self.left -= 1
            for twin in [other for other, of in self.waiting.items() if of == number]:
                del self.waiting[twin]
                self.ray.cancel(twin, force=False)
            yield number, answer

    def _answer(self, reference: Any) -> bytes:
        errors = self.ray.exceptions
        try:
            answer, sentence = self.ray.get(reference)
        except errors.RayTaskError as error:
            raise TaskFailed(f"a Ray worker failed:\n{error}") from None
        except errors.RayError as error:
            time.sleep(POLL_S)  # where the node took the worker with it, its end is to be seen now
            require_node(self.node)
            raise WorkerLost(
                f"a Ray worker was lost three times ({type(error).__name__}): memory ran out (set SAMAE_CORES lower) "
                "or its host is gone; start again, what is finished stays"
            ) from None
        if sentence is not None:
            raise SamaeError(sentence)
        return bytes(answer)

    def give_again(self) -> int:
        """Give out once more whatever is out, when a node of the cluster was lost since the last look; how many.

        Ray itself starts the tasks of a node that ended again, but for one whose packets vanished it may wait minutes
        for an answer that cannot come (seen with 2.60). The first answer counts.
        """
        before, self.nodes = self.nodes, working_nodes(self.ray)
        if not before - self.nodes:
            return 0
        again = set(self.waiting.values())
        for number in again:
            self.give_out(number)
        return len(again)

    def cancel(self) -> None:
        """Take back whatever is out."""
        for reference in self.waiting:
            self.ray.cancel(reference, force=False)


def require_node(node: psutil.Process | None) -> None:
    """NodeLost when Ray's node process on this host is gone; nothing where it cannot be seen from here."""
    if node is not None and not runs(node):
        raise NodeLost("its node process on this host was killed, or memory ran out")


def connect(address: str, cores: int, variables: dict[str, str], paths: list[str]) -> Any:
    """Connect to (or start) the cluster; the ray module. SamaeError when none answers.

    variables: of the environment, for the workers.  paths: where they look for modules first.
    """
    try:
        import ray
        from ray.job_config import JobConfig

        job = JobConfig(_py_driver_sys_path=paths[::-1])  # a worker puts each before the last
        quiet = {"log_to_driver": False, "logging_level": "ERROR", "runtime_env": {"env_vars": variables}}
        if address == "local":
            ray.init(address="local", num_cpus=cores or None, include_dashboard=False, job_config=job, **quiet)
        elif address.startswith(JOIN):
            ray.init(address=join_cluster(address.removeprefix(JOIN)), job_config=job, **quiet)
        else:
            ray.init(address=address, job_config=job, **quiet)
    except Exception as error:  # a node that is too slow to start is a plain one
        if not isinstance(error, ConnectionError):
            traceback.print_exc()
        raise SamaeError(no_cluster(address, error)) from None
    return ray


def no_cluster(address: str, error: Exception) -> str:
    """The sentence of a cluster that could not be started or reached."""
    first = str(error).strip().split("\n")[0] or type(error).__name__
    if address == "local":
        return f"Ray could not start here ({first}): make room in memory and on the disk, or set SAMAE_RAY=serial"
    return f"no Ray cluster answers at {address!r} ({first}); start it, or set SAMAE_RAY=local or serial"


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
        [sys.executable, "-P", "-m", "pipelines.node"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    atexit.register(leave, node)
    assert node.stdin is not None
    assert node.stdout is not None
    order = {"command": command, "environment": {}, "grace_seconds": NODE_GRACE_S, "slots": 1}
    node.stdin.write(json.dumps(order).encode() + b"\n")
    node.stdin.flush()  # and it stays open: its end, whatever ends this process, is the node's
    last = b""
    for line in node.stdout:
        if b"Ray runtime started" in line:
            # What the node says later is read and dropped: a full pipe would stop it.
            threading.Thread(target=deque, args=(node.stdout, 0), daemon=True).start()
            return head
        last = line if line.strip() else last
    raise ConnectionError(last.decode(errors="replace").strip() or "the node ended at once")


def leave(node: "subprocess.Popen[bytes]") -> None:
    """Leave the cluster that was joined: first this driver, then its node, which has to live for that."""
    import ray

    ray.shutdown()
    end_group(node, NODE_GRACE_S + HAND_GRACE_S)


def working_nodes(ray: Any) -> set[str]:
    """Nodes of the cluster that live and do work, as far as its head knows."""
    return {node["NodeID"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) > 0}


def local_node(ray: Any) -> psutil.Process | None:
    """The node process (raylet) of this host that this driver hangs on; None when it cannot be seen from here."""
    mine = ray.get_runtime_context().get_node_id()
    place = next((node["RayletSocketName"] for node in ray.nodes() if node["NodeID"] == mine), "")
    found = (one for one in psutil.process_iter(["name", "cmdline"]) if one.info["name"] == "raylet")
    ours = (one for one in found if f"--raylet_socket_name={place}" in (one.info["cmdline"] or ()))
    return next(ours, None) if place else None


if __name__ == "__main__":
    main(int(sys.argv[1]), json.loads(sys.argv[2]))
