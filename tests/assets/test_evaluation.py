"""swap_evaluation from the judge's answer on: its folder with a page, and its MLflow run, which is never left open."""

import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets import evaluation as stage
from assets.graph import provenance
from assets.store import Store
from evaluation.evaluation import Evaluation
from evaluation.judge import judge
from pipelines.tracking import MlflowTracking
from tests.assets.conftest import House, Serial, tiny_plan
from tests.evaluation.fakes import ColourEncoder, FakeSwapper, load_faces, pairs, truth


class Samae(FakeSwapper):
    """Fails the pairs of one target."""

    name = "samae"


@pytest.fixture(scope="module")
def judged() -> Evaluation:
    return judge(Samae(0.7, fails_on=pairs().target_keys[:1]), pairs(), load_faces, [ColourEncoder()], truth)


@pytest.fixture
def house(tmp_path: Path) -> House:
    """A store in which shards and a model of `samae` are made, whose training left its losses."""
    store = Store(tmp_path / "home", "none")
    for name, partition in (("photographs", None), ("training_shards", None), ("swap_model", "samae")):
        with store.write(name, partition, {}) as (folder, metadata):
            (folder / "made.txt").write_text(name)
            metadata |= {"run": "00001-samae", "mlflow_run": "m"}
    run = store.runs / "00001-samae"
    run.mkdir(parents=True)
    (run / "stats.jsonl").write_text("\n".join(json.dumps({"kimg": k, "loss/g": 1.0 / k}) for k in (1, 2, 3)))
    return House(tiny_plan(recipes=("samae",)), store, [])


@pytest.fixture
def tracker(tmp_path: Path) -> MlflowTracking:
    return MlflowTracking(uri=f"sqlite:///{tmp_path / 'mlflow.db'}", home=str(tmp_path / "mlflow"))


def evaluate(house: House, tracker: MlflowTracking) -> Any:
    """Run the asset; the MLflow run that it left."""
    context = dg.build_asset_context(partition_key="samae")
    try:
        stage.swap_evaluation(context, samae=house, pool=Serial(), tracking=tracker)
    finally:
        (run,) = tracker.client.search_runs([tracker.experiment_id], "tags.`samae.kind` = 'evaluation'")
    return run


def is_made(house: House) -> bool:
    return house.store.is_current(
        "swap_evaluation", "samae", provenance("swap_evaluation", "samae", house.plan, house.store)
    )


def test_an_evaluation_keeps_its_page_and_says_its_data(
    house: House, tracker: MlflowTracking, judged: Evaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "judge_export", lambda *_: judged)
    run = evaluate(house, tracker)
    page = (house.store.folder("swap_evaluation", "samae") / "report.html").read_text()
    assert "How it learned" in page
    assert "samae failed 1 of 20 pairs" in page
    assert run.info.status == "FINISHED"
    assert is_made(house)
    assert run.inputs.dataset_inputs[0].dataset.digest == judged.pairs.digest
    metrics = run.data.metrics
    assert (metrics["eval/failed"], metrics["eval/pairs"]) == (1, 20)
    low, high = (metrics[f"interval/identity_similarity_{end}"] for end in ("low", "high"))
    assert low < metrics["eval/identity_similarity"] < high
    assert {"samae.commit", "dagster.run_id", "samae.pairs_digest"} <= set(run.data.tags)
    kept = {entry.path for entry in tracker.client.list_artifacts(run.info.run_id)}
    assert {"report.html", "evaluation", "pairs.json"} <= kept


@pytest.mark.parametrize(
    "broken",
    [
        "evaluation.evaluation.write_evaluation",
        "pipelines.tracking.MlflowTracking.describe",
        "mlflow.tracking.MlflowClient.log_artifacts",
    ],
)
def test_an_evaluation_that_cannot_be_kept_or_logged_is_not_made_and_closes_its_run(
    house: House, tracker: MlflowTracking, judged: Evaluation, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    def full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(stage, "judge_export", lambda *_: judged)
    monkeypatch.setattr(broken, full)
    with pytest.raises(OSError, match="no space left"):
        evaluate(house, tracker)
    (run,) = tracker.client.search_runs([tracker.experiment_id], "tags.`samae.kind` = 'evaluation'")
    assert run.info.status == "FAILED"
    assert not is_made(house)
