"""The pages, in a real browser: an asset is materialised by a click, and MLflow shows the runs. `make test-slow`."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser import Page, chromium, until
from tests.integration.conftest import Whole
from tests.integration.pages import Pages, serving

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(chromium() is None, reason="no Chromium on this machine: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def pages(whole: Whole) -> Iterator[Pages]:
    with serving(whole.home, SAMAE_RECIPES="simswap", SAMAE_RANKS="2") as made:
        yield made


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
