"""Photographs of the pages for docs/images: a training under way in Dagster, three evaluations compared in MLflow.

    python -m tests.integration.shoot_pages HOME FOLDER

HOME is one in which `samae demo` has judged several recipes; the settings of the environment count, as they did there.
A training of `samae` is started in it, photographed at its fifth line of progress, and terminated. Wants Chromium.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

import cv2

from pipelines.tracking import MlflowTracking
from tests.browser import Page, until
from tests.integration.pages import Pages, serving_in

#: Lines of progress that the run's page shows before it is photographed.
LINES = 5
JPEG_QUALITY = 88
#: MLflow opens a chat beside the comparison.
CLOSE_ASSISTANT = """[...document.querySelectorAll('button')].filter(b => b.getBoundingClientRect().x > 950 &&
  b.getBoundingClientRect().y < 80).at(-1)?.click()"""
PLOT = "document.querySelectorAll('svg .y-axis, .js-plotly-plot svg').length"
ENDED = {"SUCCESS", "FAILURE", "CANCELED"}
LAUNCH = """mutation {{ launchRun(executionParams: {{
  selector: {{ repositoryLocationName: {location}, repositoryName: {repository}, jobName: "train_recipe" }},
  executionMetadata: {{ tags: [{{ key: "dagster/partition", value: "samae" }}] }}, runConfigData: "{{}}"
}}) {{ __typename ... on LaunchRunSuccess {{ run {{ runId }} }} ... on PythonError {{ message }} }} }}"""


def main(home: Path, folder: Path) -> None:
    """Both photographs, into the folder."""
    training = {"SAMAE_KIMG": "samae=1.5"}  # a run of its own, which does not end before
    with serving_in(os.environ | training | {"SAMAE_HOME": str(home)}) as pages:
        shoot_run(pages, folder / "dagster-run.jpg")
        shoot_comparison(pages, home, folder / "mlflow-compare.jpg")


def shoot_run(pages: Pages, picture: Path) -> None:
    """A training on its run's page, with live progress."""
    run = launch(pages)
    try:
        with tempfile.TemporaryDirectory() as profile, Page(Path(profile), 1600, 1000) as page:
            page.open(f"{pages.dagster}/runs/{run}")
            until(
                lambda: page.text().count("progress: ") >= LINES or status(pages, run) in ENDED,
                "lines of progress",
                900,
            )
            assert status(pages, run) == "STARTED", f"the training is {status(pages, run)}: {pages.dagster}/runs/{run}"
            save(page, picture)
    finally:
        pages.graphql(f'mutation {{ terminateRun(runId: "{run}") {{ __typename }} }}')
        until(lambda: status(pages, run) in ENDED, "the end of the training", 180)


def status(pages: Pages, run: str) -> str:
    """Dagster's word for how far a run is."""
    query = f'{{ runOrError(runId: "{run}") {{ ... on Run {{ status }} }} }}'
    return str(pages.graphql(query)["runOrError"]["status"])


def launch(pages: Pages) -> str:
    """Start a training of `samae` as the page does; its run's id."""
    query = "{ repositoriesOrError { ... on RepositoryConnection { nodes { name location { name } } } } }"
    (repository,) = pages.graphql(query)["repositoriesOrError"]["nodes"]
    names = {"location": repository["location"]["name"], "repository": repository["name"]}
    answer = pages.graphql(LAUNCH.format(**{name: json.dumps(value) for name, value in names.items()}))["launchRun"]
    assert answer["__typename"] == "LaunchRunSuccess", answer
    return str(answer["run"]["runId"])


def shoot_comparison(pages: Pages, home: Path, picture: Path) -> None:
    """MLflow's compare page with the newest evaluation of every recipe, as it opens."""
    tracking = MlflowTracking(uri=pages.mlflow, home=str(home / "mlflow"))
    experiment = tracking.experiment_id
    runs = tracking.client.search_runs([experiment], "tags.`samae.kind` = 'evaluation'", order_by=["start_time ASC"])
    newest = list({run.data.params["recipe"]: run.info.run_id for run in runs}.values())
    address = (
        f"{pages.mlflow}/#/compare-runs?runs={quote(json.dumps(newest))}&experiments={quote(json.dumps([experiment]))}"
    )
    with tempfile.TemporaryDirectory() as profile, Page(Path(profile), 1000, 1850) as page:
        page.open(address)
        until(lambda: "eval/identity_leak" in page.text(), "the figures of the comparison", 120)
        until(lambda: page.evaluate(PLOT), "the plot", 60)
        page.evaluate(CLOSE_ASSISTANT)
        until(lambda: "Ask a question" not in page.evaluate("document.body.innerHTML"), "the assistant to close", 30)
        page.evaluate("location.reload()")  # the plot takes the width that it now has
        time.sleep(2)
        until(lambda: "eval/identity_leak" in page.text(), "the figures of the comparison", 120)
        until(lambda: page.evaluate(PLOT), "the plot", 60)
        time.sleep(2)
        save(page, picture)


def save(page: Page, picture: Path) -> None:
    """The window as a JPEG file."""
    with tempfile.TemporaryDirectory() as scratch:
        page.screenshot(Path(scratch) / "page.png")
        shown = cv2.imread(str(Path(scratch) / "page.png"))
    assert shown is not None
    assert cv2.imwrite(str(picture), shown, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    print(f"{picture}: {picture.stat().st_size} bytes", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute(), Path(sys.argv[2]))
