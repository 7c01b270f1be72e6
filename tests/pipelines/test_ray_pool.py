"""The pool: order, progress, errors. Real Ray is in tests/integration and one slow test; the rest is the serial way."""

import logging
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from faces.errors import SamaeError
from pipelines import ray_pool
from pipelines.group import runs
from pipelines.ray_driver import join_cluster
from pipelines.ray_pool import QUIET_ENVIRONMENT, Driver, RayLost, RayPool, ending
from pipelines.ray_worker import call
from tests.browser import until
from tests.processes import commanded, kill_commanded, kill_family

#: Two steps of Dagster: the cluster of the first loses processes after two answers, the second gets another cluster.
LOSES_ITS_CLUSTER = """
import sys, time
import dagster as dg
import numpy as np
import psutil
from pipelines.ray_pool import RayPool
from tests.processes import kill_commanded

def arrays(count: int) -> np.ndarray:  # large enough for the object store; 200 of them outlast Ray's patience
    time.sleep(0.2)
    return np.zeros(count)

def kill(done: float, *_: object) -> None:
    if done == 2:
        kill_commanded(psutil.Process().children(recursive=True), *sys.argv[1:])

@dg.asset
def step() -> None:
    RayPool(address='local', cores=1).map(arrays, [400_000] * 200, kill)

@dg.asset
def another() -> None:
    print(RayPool(address='local', cores=1).map(abs, [-1, -2]))

for asset in (step, another):
    done = dg.materialize([asset], raise_on_error=False)
    for failure in done.get_step_failure_events():
        print(failure.step_failure_data.error.cause.message)
print('the program goes on')
"""


def double(value: int) -> int:
    return 2 * value


def refuse(value: int) -> int:
    if value == 2:
        raise SamaeError(f"photograph {value} is missing: restore it")
    return value


def test_order_and_progress() -> None:
    heard: list[tuple[float, float]] = []
    answers = RayPool(address="serial").map(double, [3, 1, 2], lambda done, total, _: heard.append((done, total)))
    assert answers == [6, 2, 4]
    assert heard == [(1, 3), (2, 3), (3, 3)]


def test_nothing_to_do() -> None:
    assert RayPool(address="serial").map(double, []) == []


def test_the_sentence_of_a_worker_comes_out() -> None:
    with pytest.raises(SamaeError, match="photograph 2 is missing"):
        RayPool(address="serial").map(refuse, [1, 2, 3])
    assert call(refuse, 2) == (None, "photograph 2 is missing: restore it")
    assert call(refuse, 3) == (3, None)


@pytest.mark.slow
def test_ray_workers_run_at_the_priority_of_whoever_asked() -> None:
    """Ray's own default is nice 15: on a machine with other work, workers then stand still for minutes."""
    pool = RayPool(address="local", cores=2)
    try:
        found = pool.map(os.nice, [0, 0, 0])
    finally:
        pool.stop()
    assert found == [os.nice(0)] * 3


def test_a_cluster_that_does_not_answer_is_said_at_once() -> None:
    with socket.socket() as taken:  # bound and not listening: whoever connects is refused
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectionError, match="Connection refused"):
            join_cluster(f"127.0.0.1:{taken.getsockname()[1]}")


@pytest.mark.slow
@pytest.mark.parametrize("killed", ["raylet/raylet", "gcs_server", "raylet/raylet gcs_server", "pipelines.ray_driver"])
def test_a_lost_cluster_is_a_sentence_and_not_the_end_of_the_program(killed: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOSES_ITS_CLUSTER, *killed.split()], capture_output=True, text=True, timeout=300,
        check=False, env=os.environ | {"RAY_gcs_rpc_server_reconnect_timeout_s": "5"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert "RayLost: Ray has ended under this run (" in done.stdout, done.stderr[-3000:]
    assert "start again, what is finished stays" in done.stdout
    assert done.stdout.splitlines()[-2:] == ["[1, 2]", "the program goes on"]
    assert ("its driver was killed by SIGKILL" in done.stdout) == (killed == "pipelines.ray_driver")


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (None, "does not answer"),
        (-9, "killed by SIGKILL"),
        (15, "killed by SIGTERM"),
        (1, "node or head"),
        (0, "code 0"),
    ],
)
def test_the_end_of_a_driver_is_told_by_its_exit_code(code: int | None, told: str) -> None:
    assert told in ending(code)
    assert ("node or head" in ending(code)) == (code == 1)
    assert "head:6379" in str(RayLost(ending(code), "head:6379"))


@pytest.mark.slow
def test_a_cluster_that_was_lost_between_two_maps_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """No work was out, so none is lost."""
    monkeypatch.setenv("RAY_gcs_rpc_server_reconnect_timeout_s", "5")
    pool = RayPool(address="local", cores=1)
    try:
        assert pool.map(abs, [-1, -2]) == [1, 2]
        for killed in ("raylet/raylet", "pipelines.ray_driver", "gcs_server"):
            kill_commanded(psutil.Process().children(recursive=True), killed)
            assert pool.map(abs, [-1, -2]) == [1, 2], killed
    finally:
        pool.stop()


@pytest.mark.slow
def test_a_driver_that_does_not_come_to_connect_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while Ray starts: what was started then belongs to nobody else."""

    def interrupted(_: Driver) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Driver, "_hear", interrupted)
    before = set(psutil.Process().children(recursive=True))
    with pytest.raises(KeyboardInterrupt):
        RayPool(address="local", cores=1).map(abs, [-1, -2])
    assert set(psutil.Process().children(recursive=True)) <= before


#: Threads use one pool; then a forked child ends in order, and the driver must live on.
SHARES_A_POOL = """
import os, sys, threading
from pipelines import ray_pool
pool = ray_pool.RayPool(address='local', cores=2)
pool.map(abs, [-1, -2])
(driver,) = ray_pool._DRIVERS.values()
answers = {}

def work(first: int) -> None:
    answers[first] = pool.map(abs, range(-first, -first - 40, -1))

threads = [threading.Thread(target=work, args=(first,)) for first in (100, 200, 300, 400)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert answers == {first: list(range(first, first + 40)) for first in (100, 200, 300, 400)}, answers
if not (child := os.fork()):
    sys.exit()
assert os.waitpid(child, 0)[1] == 0
assert driver.process.poll() is None
assert pool.map(abs, [-3, -4]) == [3, 4]
assert list(ray_pool._DRIVERS.values()) == [driver]
"""


@pytest.mark.slow
def test_threads_take_turns_and_a_forked_child_leaves_the_driver_to_its_parent() -> None:
    done = subprocess.run([sys.executable, "-c", SHARES_A_POOL], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


#: Joins a cluster, and waits to be killed.
JOINS = """
import sys, time
from pipelines.ray_pool import RayPool
print(RayPool(address=sys.argv[1]).map(abs, [-1, -2]), flush=True)
time.sleep(600)
"""


@pytest.mark.slow
def test_a_node_that_joined_ends_with_its_driver_however_that_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed with its pool, or asked to leave."""
    for name, value in QUIET_ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    join = f"join:{cluster.address}"
    joined = subprocess.Popen([sys.executable, "-c", JOINS, join], stdout=subprocess.PIPE, text=True)
    pool = RayPool(address=join)
    try:
        assert joined.stdout is not None
        assert joined.stdout.readline() == "[1, 2]\n"
        family = psutil.Process(joined.pid).children(recursive=True)
        assert commanded(family, "raylet/raylet")
        for one in (psutil.Process(joined.pid), *commanded(family, "pipelines.ray_driver")):
            one.kill()
        until(lambda: not any(map(runs, family)), "the end of the node that joined", 60)
        assert pool.map(abs, [-1, -2]) == [1, 2]
        driver = pool._driver()
        pool.stop()
        assert driver.process.returncode == 0
        assert not any(map(runs, driver.family))
    finally:
        pool.stop()
        kill_family(joined)
        cluster.shutdown()


def who_reads_by_what(_: int) -> tuple[str, str]:
    from faces.detection import landmark_reader
    from faces.identity.registry import search_folders

    return landmark_reader(), str(search_folders()[0])


@pytest.mark.slow
def test_workers_of_a_running_cluster_read_as_their_driver_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cluster was started with other settings; "auto" is settled by the driver, and a path is whole.

    It has no PYTHONPATH either: the workers find the function of this module where this process does.
    """
    for name, value in QUIET_ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))  # no weights of InsightFace's
    from ray.cluster_utils import Cluster

    with monkeypatch.context() as theirs:
        theirs.setenv("SAMAE_LANDMARKS", "insightface")
        theirs.setenv("SAMAE_WEIGHTS", "/theirs")
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SAMAE_WEIGHTS", "ours")
    pool = RayPool(address=cluster.address)
    try:
        assert pool.map(who_reads_by_what, [0, 1]) == [("own", str(tmp_path / "ours"))] * 2
    finally:
        pool.stop()
        cluster.shutdown()


def once_all_may(task: tuple[str, int]) -> int:
    """Waits for the file `go` of a folder; says that it has begun."""
    folder, number = Path(task[0]), task[1]
    (folder / f"begun-{number}").touch()
    while not (folder / "go").exists():
        time.sleep(0.05)
    return number


@pytest.mark.slow
def test_tasks_of_a_lost_node_are_given_out_again_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Two nodes of one core on this host; one is killed while both work."""
    for name, value in QUIET_ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(ray_pool, "LOOK_ROUND_S", 0.5)
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    pool = RayPool(address=cluster.address)
    try:
        second = cluster.add_node(num_cpus=1)

        def lose_it() -> None:
            while len(list(tmp_path.glob("begun-*"))) < 2:
                time.sleep(0.05)
            cluster.remove_node(second, allow_graceful=False)
            while not pool.given_again:
                time.sleep(0.05)
            (tmp_path / "go").touch()

        threading.Thread(target=lose_it, daemon=True).start()
        with caplog.at_level(logging.WARNING, "pipelines.ray_pool"):
            assert pool.map(once_all_may, [(str(tmp_path), number) for number in range(3)]) == [0, 1, 2]
    finally:
        pool.stop()
        cluster.shutdown()
    assert pool.given_again == 3
    assert "a node of the Ray cluster is lost: 3 tasks are given out again" in caplog.text
