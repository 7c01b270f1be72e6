"""Two hosts in one Ray cluster, and the second cut off while it prepares photographs, then while it judges."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from faces.files import read_manifest
from pipelines.ray_pool import QUIET_ENVIRONMENT
from tests.integration.conftest import environment
from tests.integration.hosts import Hosts, two_hosts

pytestmark = pytest.mark.slow
SIZES = {
    "SAMAE_PHOTOGRAPHS": "128",
    "SAMAE_PHOTO_PX": "64",
    "SAMAE_ALIGNED_PX": "64",
    "SAMAE_PICTURE_PX": "64",
    "SAMAE_PAIRS": "96",
}
#: How fast the head gives up a node that is silent (Ray's own: half a minute to a minute).
IMPATIENT = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
}
RAY = str(Path(sys.executable).parent / "ray")
PREPARE = [sys.executable, "-m", "tests.integration.prepare_shards"]
JUDGE = [sys.executable, "-m", "tests.integration.judge_weights"]
ROOT = Path(__file__).parent.parent.parent
#: Long, for a machine that has other work; nothing waits so long where all is well.
PATIENCE_S = 300.0


def begin(home: Path, name: str, command: list[str], **settings: str) -> "subprocess.Popen[bytes]":
    """A program that has begun in `home`; what it prints is added to home/name.log."""
    with (home / f"{name}.log").open("ab") as log:
        return subprocess.Popen(command, env=environment(home, **SIZES, **settings), stdout=log, stderr=log, cwd=ROOT)


def ended_well(home: Path, name: str, running: "subprocess.Popen[bytes]") -> list[str]:
    """Its lines, once it has ended; it must end well."""
    code = running.wait(timeout=PATIENCE_S)
    log = (home / f"{name}.log").read_text()
    assert code == 0, log[-3000:]
    return log.splitlines()


def wait_for(what: Callable[[], bool], running: "subprocess.Popen[bytes]") -> None:
    """Until `what` is true; fails when the program ends before that."""
    end = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < end, "it never came to that"
        assert running.poll() is None, "it ended before it came to that"
        time.sleep(0.05)


def shards_of(home: Path) -> dict[str, object]:
    """What the set consists of: name, size and SHA-256 of every file."""
    return dict(read_manifest(next((home / "shards").iterdir())).files)


@pytest.fixture
def cluster() -> Iterator[Hosts]:
    """Two hosts, each a node with one core; the first is the head."""
    with two_hosts() as hosts:
        start_node(hosts, hosts.one, "--head", "--port=6379", "--include-dashboard=false")
        start_node(hosts, hosts.two, f"--address={hosts.one}:6379")
        yield hosts


def start_node(hosts: Hosts, host: str, *arguments: str) -> None:
    variables = os.environ | QUIET_ENVIRONMENT | IMPATIENT
    command = hosts.on(host, RAY, "start", f"--node-ip-address={host}", "--num-cpus=1", *arguments)
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False, timeout=120, cwd=ROOT)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


@pytest.fixture
def reference(cluster: Hosts, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same photographs prepared in one process, with nothing lost; after `cluster`, which may skip the test."""
    home = tmp_path_factory.mktemp("reference")
    ended_well(home, "prepare", begin(home, "prepare", PREPARE, SAMAE_RAY="serial"))
    return home


def test_preparing_and_judging_go_on_when_a_host_is_cut_off(cluster: Hosts, reference: Path, tmp_path: Path) -> None:
    """The host that stays does the rest: the same bytes, the same figures.

    Whether Ray or the pool notices first is luck; tests/pipelines/test_ray_pool.py has the pool's part.
    """
    raw = {"SAMAE_RAW": str(next((reference / "raw").iterdir())), "SAMAE_RAY": f"{cluster.one}:6379"}
    running = begin(tmp_path, "prepare", cluster.on(cluster.one, *PREPARE), **raw)
    parts = tmp_path / "parts" / "face_coefficients"
    wait_for(lambda: any(parts.rglob("part-*.npz")), running)
    assert cluster.processes(cluster.two)
    cluster.cut_off()
    ended_well(tmp_path, "prepare", running)
    assert shards_of(tmp_path) == shards_of(reference)

    cluster.end_all(cluster.two)
    cluster.join()
    start_node(cluster, cluster.two, f"--address={cluster.one}:6379")
    running = begin(tmp_path, "judge", cluster.on(cluster.one, *JUDGE), **raw)
    wait_for(lambda: "judged" in (tmp_path / "judge.log").read_text(), running)
    cluster.cut_off()
    found = json.loads(ended_well(tmp_path, "judge", running)[-1])
    shutil.rmtree(tmp_path / "cache" / "judged")
    # On one thread, as each worker: torch sums on two threads otherwise, by 6e-5 of some figures on some processors.
    serial = raw | {"SAMAE_RAY": "serial", "OMP_NUM_THREADS": "1"}
    alone = ended_well(tmp_path, "judge", begin(tmp_path, "judge", JUDGE, **serial))[-1]
    assert found == pytest.approx(json.loads(alone), abs=1e-6, nan_ok=True)
