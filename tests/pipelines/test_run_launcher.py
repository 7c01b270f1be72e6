"""A run whose process is gone does not stay STARTED, and one whose process lives is left alone, reloaded or not."""

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.test_utils import create_test_daemon_workspace_context
from dagster._core.workspace.load_target import GrpcServerTarget, PythonFileTarget
from dagster._daemon.monitoring.run_monitoring import execute_run_monitoring_iteration
from dagster._grpc.client import DagsterGrpcClient
from dagster._serdes import serialize_value

from tests.browser import until

pytestmark = pytest.mark.slow
ENDLESS = """
import time
import dagster as dg

@dg.op(pool="training")
def train():
    while True:
        time.sleep(0.1)

@dg.job(executor_def=dg.in_process_executor)
def endless():
    train()

defs = dg.Definitions(jobs=[endless])
"""


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    """An instance with our dagster.yaml."""
    home = tmp_path / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text(resources.files("infra").joinpath("dagster.yaml").read_text())
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    with dg.DagsterInstance.from_config(str(home)) as made:
        yield made


def test_a_run_that_died_with_its_code_server_is_failed_and_one_that_lives_is_not(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    path = tmp_path / "endless.py"
    path.write_text(ENDLESS)
    target = PythonFileTarget(str(path), None, None, "endless")
    with create_test_daemon_workspace_context(target, instance) as context:
        workspace = context.create_request_context()
        run = launched(instance, workspace)
        until(lambda: len(workers(instance, run)) > 0 and status(instance, run) == "STARTED", "a started run", 120)
        (worker,) = workers(instance, run)
        server = worker.parent()
        assert server is not None
        os.kill(server.pid, signal.SIGKILL)
        server.wait()
        monitor(context)
        assert worker.is_running()
        assert status(instance, run) == "STARTED"  # it goes on without its server
        os.kill(worker.pid, signal.SIGKILL)
        until(lambda: not workers(instance, run), "the end of the process", 60)
        monitor(context)
        assert status(instance, run) == "FAILURE"
        (failure,) = instance.all_logs(run, of_type=dg.DagsterEventType.RUN_FAILURE)
        assert "its process and its code server are gone" in failure.message


def test_reloading_the_code_does_not_fail_a_run_that_goes_on(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    path = tmp_path / "endless.py"
    path.write_text(ENDLESS)
    socket = str(tmp_path / "code.sock")
    with (
        code_server(instance, path, socket) as client,
        create_test_daemon_workspace_context(
            GrpcServerTarget("localhost", None, socket, "endless"), instance
        ) as context,
    ):
        run = launched(instance, context.create_request_context())
        until(lambda: len(workers(instance, run)) > 0 and status(instance, run) == "STARTED", "a started run", 120)
        (worker,) = workers(instance, run)
        server = worker.parent()
        assert server is not None
        client.reload_code(timeout=120)
        monitor(context)
        assert worker.is_running()
        assert status(instance, run) == "STARTED"
        for process in (server, worker):
            process.kill()
        until(lambda: not workers(instance, run), "the end of the process", 60)
        monitor(context)
        assert status(instance, run) == "FAILURE"


@contextmanager
def code_server(instance: dg.DagsterInstance, path: Path, socket: str) -> Iterator[DagsterGrpcClient]:
    """What `dagster dev` puts before the code: a server that starts another one at each reload."""
    program = Path(sys.executable).with_name("dagster")
    about = ["--location-name", "endless", "--instance-ref", serialize_value(instance.get_ref())]
    server = subprocess.Popen(
        [program, "code-server", "start", "--python-file", path, "--socket", socket, *about], start_new_session=True
    )
    client = DagsterGrpcClient(socket=socket)
    try:
        until(lambda: answers(client), "a code server", 120)
        yield client
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def answers(client: DagsterGrpcClient) -> bool:
    """Whether the code server is up."""
    try:
        client.ping("")
    except DagsterUserCodeUnreachableError:
        return False
    return True


def launched(instance: dg.DagsterInstance, workspace: Any) -> str:
    """Start the endless job in the code server; the run's id."""
    location = workspace.get_code_location("endless")
    (repository,) = location.get_repositories().values()
    job = repository.get_full_job("endless")
    plan = location.get_execution_plan(job, {}, None, None, instance)
    run = instance.create_run(
        job_name="endless", run_id=None, run_config={}, status=dg.DagsterRunStatus.NOT_STARTED, tags={},
        root_run_id=None, parent_run_id=None, step_keys_to_execute=None, asset_selection=None,
        execution_plan_snapshot=plan.execution_plan_snapshot, job_snapshot=job.job_snapshot,
        parent_job_snapshot=job.parent_job_snapshot, asset_check_selection=None, resolved_op_selection=None,
        op_selection=None, remote_job_origin=job.get_remote_origin(), job_code_origin=job.get_python_origin(),
        asset_graph=repository.asset_graph,
    )  # fmt: skip
    instance.launch_run(run.run_id, workspace)
    return run.run_id


def workers(instance: dg.DagsterInstance, run: str) -> list[psutil.Process]:
    """The process that the run's events name, while it is there."""
    for entry in instance.all_logs(run, of_type=dg.DagsterEventType.ENGINE_EVENT):
        about = entry.dagster_event.engine_event_data.metadata if entry.dagster_event else {}
        if "pid" in about and psutil.pid_exists(int(str(about["pid"].value))):
            return [psutil.Process(int(str(about["pid"].value)))]
    return []


def status(instance: dg.DagsterInstance, run: str) -> str:
    found = instance.get_run_by_id(run)
    assert found is not None
    return found.status.value


def monitor(context: Any) -> None:
    """One round of the daemon's run monitoring."""
    assert not [error for error in execute_run_monitoring_iteration(context, logging.getLogger("monitor")) if error]
