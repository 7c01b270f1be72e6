"""Dagster's own launcher, which can also say whether a run's process still lives.

Without that, a run whose code server died with it (out of memory, a host that went down) stays STARTED for ever and
keeps its place in a pool: the code server alone would have told. Named by dagster.yaml; Dagster's run monitoring asks
every `poll_interval_seconds` and fails a run whose process is gone.
"""

import contextlib
import json

import psutil
from dagster import DagsterEventType, DagsterRun
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.launcher.base import CheckRunHealthResult, WorkerStatus
from dagster._core.launcher.default_run_launcher import DefaultRunLauncher
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._grpc.types import CanCancelExecutionRequest, CanCancelExecutionResult
from dagster._serdes import deserialize_value

#: How long a code server may take to say whether it runs something, seconds.
ANSWER_S = 20
#: A process that started so much later than its run's first word is another one with its number, seconds.
CLOCK_S = 5.0


class WatchedRunLauncher(DefaultRunLauncher):
    """Launches runs in the code server, and says of every one whether its process lives."""

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Yes: that is what this class is for."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """RUNNING while the process lives or nobody can say; else NOT_FOUND.

        A code server that knows the run is believed. One that does not know it may have been reloaded: then the server
        before the reload has the run. On this host the process itself is looked for; a server elsewhere is believed,
        so it must be one that is never reloaded (`dagster api grpc`).
        """
        client = self._get_grpc_client_for_termination(run.run_id)
        if client is None:
            return CheckRunHealthResult(WorkerStatus.RUNNING, "it was not started by a code server")
        is_here = "socket" in json.loads(run.tags[GRPC_INFO_TAG])
        try:
            answer = client.can_cancel_execution(CanCancelExecutionRequest(run_id=run.run_id), timeout=ANSWER_S)
        except DagsterUserCodeUnreachableError:
            if is_here and not self._process_lives(run.run_id):
                return CheckRunHealthResult(WorkerStatus.NOT_FOUND, "its process and its code server are gone")
            return CheckRunHealthResult(WorkerStatus.RUNNING, "its code server does not answer now")
        if deserialize_value(answer, CanCancelExecutionResult).can_cancel:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        if is_here and self._process_lives(run.run_id):
            return CheckRunHealthResult(WorkerStatus.RUNNING, "its code server was reloaded, and its process lives")
        return CheckRunHealthResult(WorkerStatus.NOT_FOUND, "its code server was started anew, without its process")

    def _process_lives(self, run_id: str) -> bool:
        """Whether a process of this host that the run's events name is there; True when they name none."""
        named = []
        for entry in self._instance.all_logs(run_id, of_type=DagsterEventType.ENGINE_EVENT):
            about = entry.dagster_event.engine_event_data.metadata if entry.dagster_event else {}
            if "pid" in about:
                named.append((int(str(about["pid"].value)), entry.timestamp))
        return not named or any(_lives(pid, said_at) for pid, said_at in named)


def _lives(pid: int, said_at: float) -> bool:
    """Whether the process that spoke at `said_at` (seconds since 1970) under this number is still there."""
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and process.create_time() <= said_at + CLOCK_S
    return False
