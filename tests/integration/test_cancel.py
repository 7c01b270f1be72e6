"""Cancelling that cancels, through Dagster's own web server and daemon: Terminate, and a run's own time limit.

Both end every rank, leave a checkpoint that verifies, close the MLflow run and give the pool's place back; the next
run of the same training goes on where the last one was stopped.
"""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest

from pipelines.tracking import MlflowTracking
from tests.browser import until
from tests.integration.conftest import Whole
from tests.integration.pages import Pages, serving

pytestmark = [pytest.mark.slow, pytest.mark.integration]
#: Two ranks on a training that nobody lets end.
ENDLESS = {"SAMAE_RECIPES": "simswap", "SAMAE_RANKS": "2", "SAMAE_KIMG": "simswap=1000"}
LAUNCH = """
mutation { launchRun(executionParams: {
  selector: {repositoryLocationName: "samae", repositoryName: "__repository__", jobName: "train_recipe"},
  runConfigData: "{}", executionMetadata: {tags: [{key: "dagster/partition", value: "simswap"}]}
}) { __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }
"""


@dataclass
class Place:
    """A home with shards in it and nothing trained, and its Dagster page."""

    home: Path
    pages: Pages

    def launch(self) -> str:
        answer = self.pages.graphql(LAUNCH)["launchRun"]
        assert answer["__typename"] == "LaunchRunSuccess", answer
        return str(answer["run"]["runId"])

    def instance(self) -> dg.DagsterInstance:
        return dg.DagsterInstance.from_config(str(self.home / "dagster"))

    def status(self, run: str) -> str:
        query = f'{{ runOrError(runId: "{run}") {{ ... on Run {{ status }} }} }}'
        return str(self.pages.graphql(query)["runOrError"]["status"])

    def run_folder(self) -> Path:
        """Of the one training: whoever starts it again goes on in it."""
        (folder,) = (self.home / "runs").glob("*-simswap-*")
        return folder

    def events(self) -> list[dict[str, Any]]:
        """What the training told since it was last started."""
        path = next((self.home / "runs").glob("*-simswap-*/progress.jsonl"), None)
        lines = path.read_text().splitlines() if path else []
        return [json.loads(line) for line in lines if line.endswith("}")]

    def steps(self, after: float = 0.0) -> bool:
        return any(event["event"] == "progress" and event["kimg"] > after for event in self.events())

    def ranks(self) -> list[psutil.Process]:
        return [one for one in psutil.process_iter(["cmdline"]) if str(self.home) in " ".join(one.info["cmdline"] or [])
                and "pipelines.rank" in one.info["cmdline"]]  # fmt: skip

    def places_taken(self) -> int:
        with self.instance() as instance:
            return instance.event_log_storage.get_concurrency_info("training").active_slot_count

    def checkpoint(self) -> int:
        """Pictures seen at the newest checkpoint that verifies."""
        from training.checkpoints import CheckpointStore

        newest = CheckpointStore(self.run_folder() / "checkpoints").newest()
        assert newest is not None
        return newest

    def mlflow_statuses(self) -> list[str]:
        """Of the trainings, newest first."""
        tracking = MlflowTracking(uri=f"sqlite:///{self.home}/mlflow/mlflow.db", home=str(self.home / "mlflow"))
        runs = tracking.client.search_runs([tracking.experiment_id], "tags.`samae.kind` = 'training'")
        return [str(run.info.status) for run in runs]


@pytest.fixture(scope="module")
def place(whole: Whole, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    home = tmp_path_factory.mktemp("cancel")
    shutil.copytree(whole.home / "shards", home / "shards")
    with serving(home, page="dagster", **ENDLESS) as pages:
        yield Place(home, pages)


def test_terminate_ends_every_rank_and_the_next_run_goes_on_until_its_time_limit(place: Place) -> None:
    first = place.launch()
    until(place.steps, "a training step", 240)
    assert len(place.ranks()) >= 2
    assert place.places_taken() == 1
    answer = place.pages.graphql(f'mutation {{ terminateRun(runId: "{first}") {{ __typename }} }}')
    assert answer["terminateRun"]["__typename"] == "TerminateRunSuccess"
    all_is_over(place, first, "CANCELED")
    assert place.mlflow_statuses() == ["KILLED"]
    seen = place.checkpoint()
    assert seen > 0

    second = place.launch()
    until(lambda: place.steps(after=seen / 1000), "a training step after the checkpoint", 240)
    assert next(event for event in place.events() if event["event"] == "start")["resumed_from"] == seen
    with place.instance() as instance:  # a limit that has passed already: the daemon looks every ten seconds
        instance.add_run_tags(second, {"dagster/max_runtime": "1"})
    all_is_over(place, second, "FAILURE")
    assert place.checkpoint() > seen
    assert place.mlflow_statuses() == ["KILLED", "KILLED"]


def all_is_over(place: Place, run: str, status: str) -> None:
    until(lambda: place.status(run) == status, f"the run to be {status}", 180)
    until(lambda: not place.ranks(), "every rank to end", 180)
    until(lambda: place.places_taken() == 0, "the pool's place", 180)
    until(lambda: "RUNNING" not in place.mlflow_statuses(), "MLflow's run to be closed", 60)
