"""MLflow on a SQLite file: runs below one parent, versions registered once, aliases that move and move back."""

from pathlib import Path

import numpy as np
import pytest

from faces.errors import SamaeError
from pipelines.tracking import CHAMPION, EXPORT_TAG, PREVIOUS, MlflowTracking


@pytest.fixture(scope="module")
def tracker(tmp_path_factory: pytest.TempPathFactory) -> MlflowTracking:
    home = tmp_path_factory.mktemp("mlflow")
    return MlflowTracking(uri=f"sqlite:///{home / 'mlflow.db'}", home=str(home), model_name="swap-test")


@pytest.fixture
def export(tmp_path: Path) -> Path:
    folder = tmp_path / "export"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    return folder


def test_runs_of_one_cycle_share_a_parent(tracker: MlflowTracking) -> None:
    first = tracker.start("00001-samae", "cycle-a", {"recipe": "samae"})
    second = tracker.start("00002-simswap", "cycle-a", {"recipe": "simswap"})
    other = tracker.start("00003-samae", "cycle-b", {})
    sheet = np.full((8, 8, 3), 200, np.uint8)
    tracker.describe(first, {"recipe": "samae"}, {"fixed": sheet}, {"pair_id": ["a>b"], "skin_delta_e": [1.5]})
    assert tracker.client.get_run(first).data.params == {"recipe": "samae"}
    assert {"images", "pairs.json"} <= {entry.path for entry in tracker.client.list_artifacts(first)}
    tracker.finish(first, "FINISHED", {"eval/identity_similarity": 0.5})
    tracker.finish(second, "KILLED", {})
    tracker.finish(other, "FAILED", {})
    runs = {run_id: tracker.client.get_run(run_id) for run_id in (first, second, other)}
    parents = [run.data.tags["mlflow.parentRunId"] for run in runs.values()]
    assert parents[0] == parents[1] != parents[2]
    assert [run.info.status for run in runs.values()] == ["FINISHED", "KILLED", "FAILED"]
    assert runs[first].data.metrics == {"eval/identity_similarity": 0.5}
    assert first in tracker.page(first)
    assert tracker.environment(first)["MLFLOW_RUN_ID"] == first


def test_the_registry_from_the_first_champion_to_a_rollback(tracker: MlflowTracking, export: Path) -> None:
    assert tracker.aliases() == {}
    with pytest.raises(SamaeError, match="nothing to roll back to"):
        tracker.rollback()
    run = tracker.start("00004-samae", "cycle-c", {})
    one = tracker.register(run, export, {EXPORT_TAG: "aaa", "recipe": "samae"})
    assert tracker.register(run, export, {EXPORT_TAG: "aaa", "recipe": "samae"}) == one
    assert tracker.card(one) == ""
    two = tracker.register(run, export, {EXPORT_TAG: "bbb", "recipe": "samae"}, "# samae\n\nsmall\n\n## Made of\n")
    assert tracker.card(two) == "# samae\n\nsmall\n\n## Made of\n"
    assert tracker.versions()[0].description == "samae\n\nsmall"
    assert two != one
    tracker.set_alias(CHAMPION, one)
    tracker.set_alias(PREVIOUS, one)
    tracker.set_alias(CHAMPION, two)
    champion = tracker.version_at(CHAMPION)
    assert champion is not None
    assert (champion[0], champion[1]["recipe"]) == (two, "samae")
    assert (tracker.export_folder(two) / "config.json").read_text() == "{}"
    assert tracker.rollback() == (one, two)
    assert tracker.aliases() == {CHAMPION: one, PREVIOUS: two}
    assert tracker.version_at("nobody") is None


def test_a_store_that_cannot_be_reached_is_one_sentence(tmp_path: Path) -> None:
    lost = MlflowTracking(uri="nosuchscheme://host", home=str(tmp_path))
    with pytest.raises(SamaeError, match="unset SAMAE_MLFLOW_URI"):
        _ = lost.client
