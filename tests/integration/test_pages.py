"""The pages, in a real browser: an asset is materialised by a click, and MLflow shows the runs. `make test-slow`."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from tests.browser import Page, chromium, until
from tests.integration.conftest import Whole, environment

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(chromium() is None, reason="no Chromium on this machine: apt-get install chromium"),
]


def free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


@dataclass
class Pages:
    dagster: str
    mlflow: str

    def graphql(self, query: str) -> Any:
        body = json.dumps({"query": query}).encode()
        request = Request(f"{self.dagster}/graphql", body, {"Content-Type": "application/json"})
        with urlopen(request, timeout=30) as answer:
            return json.load(answer)["data"]


def answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


@pytest.fixture(scope="module")
def pages(whole: Whole) -> Iterator[Pages]:
    dagster_port, mlflow_port = free_ports(2)
    changes = {"SAMAE_DAGSTER_PORT": str(dagster_port), "SAMAE_MLFLOW_PORT": str(mlflow_port)}
    command = [sys.executable, "-m", "pipelines.cli", "dev"]
    surroundings = environment(whole.home, SAMAE_RECIPES="simswap", SAMAE_RANKS="2", **changes)
    surroundings["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{surroundings['PATH']}"
    process = subprocess.Popen(command, env=surroundings, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    made = Pages(f"http://127.0.0.1:{dagster_port}", f"http://127.0.0.1:{mlflow_port}")
    try:
        until(lambda: answers(f"{made.dagster}/server_info"), "the Dagster page", 180)
        until(lambda: answers(f"{made.mlflow}/health"), "the MLflow page", 180)
        yield made
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def runs_of(pages: Pages) -> dict[str, str]:
    found = pages.graphql("{ runsOrError { ... on Runs { results { runId status } } } }")
    return {run["runId"]: run["status"] for run in found["runsOrError"]["results"]}


def test_an_asset_is_materialised_by_a_click(pages: Pages, tmp_path: Path) -> None:
    before = runs_of(pages)
    with Page(tmp_path / "profile") as page:
        page.open(f"{pages.dagster}/assets/photographs")
        page.click("Materialize", 120)
        (run,) = until(lambda: set(runs_of(pages)) - set(before), "a new run", 60)
        status = until(
            lambda: runs_of(pages)[run] in {"SUCCESS", "FAILURE", "CANCELED"} and runs_of(pages)[run],
            "the run to end",
            180,
        )
        page.open(f"{pages.dagster}/runs/{run}")
        until(lambda: "photographs" in page.text(), "the run's page", 60)
        page.screenshot(tmp_path / "run.png")
    assert status == "SUCCESS"
    assert (tmp_path / "run.png").stat().st_size > 10_000


def test_the_graph_shows_every_group(pages: Pages, tmp_path: Path) -> None:
    from assets.graph import STAGES

    with Page(tmp_path / "profile") as page:
        page.open(f"{pages.dagster}/asset-groups")
        for name in sorted({stage.group for stage in STAGES.values()}):
            assert until(lambda name=name: name in page.text().split(), f"{name} on the graph", 120)
        page.screenshot(tmp_path / "graph.png")


def test_mlflow_shows_the_runs(pages: Pages, tmp_path: Path) -> None:
    with Page(tmp_path / "profile") as page:
        page.open(f"{pages.mlflow}/#/models")
        assert until(lambda: "samae-face-swap" in page.text(), "the registered model", 120)
        page.screenshot(tmp_path / "models.png")
