"""Kills in the middle of an evaluation on Ray: nothing is judged twice, nothing is counted twice, same rows."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.evaluation.fakes import pairs
from tests.pipelines.judged_by_ray import CHUNK, main
from tests.processes import kill_commanded

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
SYSTEMS = ("fake", "copy-target", "paste-source", "true-swap")


@pytest.fixture(scope="module")
def serial(tmp_path_factory: pytest.TempPathFactory) -> pa.Table:
    folder = tmp_path_factory.mktemp("serial")
    main(folder, "serial")
    return pq.read_table(folder / "result.parquet")


def start(folder: Path, **variables: str) -> subprocess.Popen[bytes]:
    """A judgement that runs now; what it says is added to folder/said."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "RAY_TMPDIR": "/tmp"} | variables
    command = [sys.executable, "-m", "tests.pipelines.judged_by_ray", str(folder)]
    with (folder / "said").open("ab") as said:
        return subprocess.Popen(command, env=environment, cwd=ROOT, stderr=said)


def swapped(folder: Path) -> list[str]:
    """Pairs in the order they were swapped, by workers and by the driver (its examples come last)."""
    return [line.split()[1] for line in (folder / "log").read_text().splitlines()]


def finished(folder: Path) -> set[str]:
    """Pairs whose rows of the swapper are kept."""
    tables = [pq.read_table(path) for path in (folder / "rows").glob("*.parquet")]
    rows = [row for table in tables for row in table.select(["system", "pair_id"]).to_pylist()]
    return {row["pair_id"] for row in rows if row["system"] == "fake"}


def check_rows(folder: Path, serial: pa.Table) -> None:
    rows = pq.read_table(folder / "result.parquet")
    assert rows.num_rows == len(pairs()) * len(SYSTEMS)
    assert rows.equals(serial)
    chunks = -(-len(pairs()) // CHUNK)
    assert len(list((folder / "rows").glob("*.parquet"))) == chunks * len(SYSTEMS)


def test_a_worker_killed_in_the_middle_costs_its_chunk_alone(tmp_path: Path, serial: pa.Table) -> None:
    (tmp_path / "kill").touch()
    assert start(tmp_path).wait(300) == 0
    assert not (tmp_path / "kill").exists()
    check_rows(tmp_path, serial)
    log = (tmp_path / "log").read_text().splitlines()
    driver = log[-1].split()[0]  # it swaps the examples again, after all chunks
    by_workers = [line.split()[1] for line in log if line.split()[0] != driver]
    twice = {pair for pair in by_workers if by_workers.count(pair) > 1}
    assert len(twice) == CHUNK
    assert len(by_workers) == len(pairs()) + CHUNK


def wait_for_rows(folder: Path, judging: subprocess.Popen[bytes]) -> None:
    """Until some chunks are finished and others are not."""
    deadline = time.monotonic() + 300
    while len(list((folder / "rows").glob("*.parquet"))) < 3 * len(SYSTEMS):
        assert judging.poll() is None, "it ended before anything could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.05)


def goes_on(folder: Path, serial: pa.Table) -> None:
    """The next start judges what is not finished, and nothing else."""
    done, before = finished(folder), len(swapped(folder))
    assert 0 < len(done) < len(pairs())
    assert start(folder).wait(300) == 0
    check_rows(folder, serial)
    log = (folder / "log").read_text().splitlines()
    again = [line.split()[1] for line in log[before:] if line.split()[0] != log[-1].split()[0]]
    assert sorted(again) == sorted(set(pairs().ids) - done)


def test_a_driver_killed_in_the_middle_goes_on_where_it_was(tmp_path: Path, serial: pa.Table) -> None:
    judging = start(tmp_path)
    wait_for_rows(tmp_path, judging)
    family = psutil.Process(judging.pid).children(recursive=True)
    judging.send_signal(signal.SIGKILL)
    judging.wait()
    assert psutil.wait_procs(family, timeout=60)[1] == []  # its cluster notices and ends
    goes_on(tmp_path, serial)


@pytest.mark.parametrize(
    "killed", [("raylet/raylet",), ("gcs_server",), ("raylet/raylet", "gcs_server")], ids=["node", "head", "both"]
)
def test_ray_killed_in_the_middle_is_a_sentence_and_the_next_start_goes_on(
    killed: tuple[str, ...], tmp_path: Path, serial: pa.Table
) -> None:
    """Work that is out keeps Ray from ending before it notices: FOLDER/wait holds the workers."""
    judging = start(tmp_path, RAY_gcs_rpc_server_reconnect_timeout_s="5")
    wait_for_rows(tmp_path, judging)
    (tmp_path / "wait").touch()
    family = psutil.Process(judging.pid).children(recursive=True)
    kill_commanded(family, *killed)
    assert judging.wait(300) == 1
    (tmp_path / "wait").unlink()
    assert "RayLost: Ray has ended under this run (" in (tmp_path / "said").read_text()
    assert psutil.wait_procs(family, timeout=60)[1] == []
    goes_on(tmp_path, serial)
