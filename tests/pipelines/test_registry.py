"""MLflow on a SQLite file: runs below one parent, versions registered once, aliases that move and move back."""

import shutil
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow.exceptions import MlflowException

from assets.promotion import CHAMPION, EXPORT_TAG, PREVIOUS, ROLLED_BACK_TAG, carry_out, kept_verdicts
from assets.store import Store
from assets.tracked import tracked
from faces.errors import SamaeError
from pipelines.commands import models
from pipelines.tracking import MlflowTracking


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


def test_a_run_says_which_data_its_metrics_are_of(tracker: MlflowTracking) -> None:
    run_id = tracker.start("evaluation-samae", "cycle-a", {})
    tracker.judged_on(run_id, "pairs-test-cross", "485d8990442e9bed", {"protocol": "cross"})
    tracker.finish(run_id, "FINISHED", {"eval/failed": 2.0, "eval/seam": 0.1})
    run = tracker.client.get_run(run_id)
    (entry,) = run.inputs.dataset_inputs
    assert (entry.dataset.name, entry.dataset.digest) == ("pairs-test-cross", "485d8990442e9bed")
    assert run.data.metrics == {"eval/failed": 2.0, "eval/seam": 0.1}
    found = tracker.client.search_runs([tracker.experiment_id], "dataset.digest = '485d8990442e9bed'")
    assert [one.info.run_id for one in found] == [run_id]


def test_no_run_stays_open(tracker: MlflowTracking) -> None:
    def ended(error: BaseException | None, metric: str = "eval/seam") -> str:
        """The status of a run whose block ended by this error, or well and with this metric to keep."""
        with suppress(RuntimeError, KeyboardInterrupt, MlflowException), tracked(tracker, "any", "cycle-d", {}) as run:
            run.metrics[metric] = 1.0
            run_id.append(run.run_id)
            if error is not None:
                raise error
        return str(tracker.client.get_run(run_id[-1]).info.status)

    run_id: list[str] = []
    assert ended(None) == "FINISHED"
    assert ended(RuntimeError("the disk is full")) == "FAILED"
    assert ended(KeyboardInterrupt()) == "KILLED"
    assert ended(None, "a name that is refused!") == "FAILED"


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
    assert ROLLED_BACK_TAG in tracker.tags_of(two)
    assert ROLLED_BACK_TAG not in tracker.tags_of(one)
    assert tracker.rollback() == (two, one)
    assert ROLLED_BACK_TAG in tracker.tags_of(one)
    assert ROLLED_BACK_TAG not in tracker.tags_of(two)
    assert tracker.version_at("nobody") is None


def test_a_version_whose_files_are_gone_is_one_sentence(tracker: MlflowTracking, export: Path) -> None:
    run = tracker.start("00005-samae", "cycle-e", {})
    version = tracker.register(run, export, {EXPORT_TAG: "gone"})
    shutil.rmtree(tracker.export_folder(version))
    with pytest.raises(SamaeError, match=rf"version {version} of swap-test cannot be read .*samae models rollback"):
        tracker.export_folder(version)
    with pytest.raises(SamaeError, match="version 99 of swap-test cannot be read"):
        tracker.export_folder("99")


def test_two_promotions_at_once_on_one_store_end_with_one_champion(tmp_path: Path, export: Path) -> None:
    """Both were weighed against version 1. One stands still with the alias in its hand until the other one waits for
    it, or, where nothing made it wait, has promoted as well."""

    def tracker() -> MlflowTracking:
        return MlflowTracking(uri=f"sqlite:///{tmp_path / 'mlflow.db'}", home=str(tmp_path / "mlflow"))

    first, second = tracker(), tracker()
    run = first.start("00001-samae", "cycle", {})
    versions = {name: first.register(run, export, {EXPORT_TAG: name}) for name in ("old", "samae", "simswap")}
    first.set_alias(CHAMPION, versions["old"])
    store, in_hand, other_is_stopped = Store(tmp_path, "people"), threading.Event(), threading.Event()
    found: dict[str, Exception | None] = {}

    class Slow:
        """The first tracker, which lets the other one run when it is about to move the champion."""

        def __getattr__(self, name: str) -> Any:
            return getattr(first, name)

        def set_alias(self, alias: str, version: str) -> None:
            if alias == CHAMPION:
                in_hand.set()
                assert other_is_stopped.wait(60)
            first.set_alias(alias, version)

    def promote(name: str, tracking: Any) -> None:
        outcome = {"promoted": name, "champion_before": versions["old"], "verdicts": []}
        try:
            carry_out(tracking, store, outcome, versions, {}, say=lambda _: other_is_stopped.set())
            found[name] = None
        except Exception as error:
            found[name] = error
        finally:
            in_hand.set()
            other_is_stopped.set()

    threads = [threading.Thread(target=promote, args=("samae", Slow()))]
    threads[0].start()
    assert in_hand.wait(60)
    threads.append(threading.Thread(target=promote, args=("simswap", second)))
    threads[1].start()
    for thread in threads:
        thread.join()
    assert found["samae"] is None
    assert "weighed against version 1, but version 2 became champion meanwhile" in str(found["simswap"])
    aliases = tracker().aliases()
    assert (aliases[CHAMPION], aliases[PREVIOUS]) == (versions["samae"], versions["old"])
    assert len(kept_verdicts(store)) == 2


def test_the_list_shows_the_verdict(
    tmp_path: Path, export: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"
    tracker = MlflowTracking(uri=f"sqlite:///{home / 'mlflow' / 'mlflow.db'}", home=str(home / "mlflow"))
    monkeypatch.setattr(models, "tracking", lambda: tracker)
    run = tracker.start("00001-samae", "cycle", {})
    versions = {"samae": tracker.register(run, export, {EXPORT_TAG: "samae", "recipe": "samae"})}
    verdict = {"promote": True, "challenger": "samae", "reasons": []}
    outcome = {"promoted": "samae", "champion_before": None, "verdicts": [verdict]}
    carry_out(tracker, Store(home, "people"), outcome, versions, {})
    models.list_versions(as_json=False)
    shown = capsys.readouterr().out
    assert "promoted: better than the baselines" in shown
    assert "rolled back" not in shown
    tracker.tag_version(versions["samae"], ROLLED_BACK_TAG, "2026-11-27")
    models.list_versions(as_json=False)
    assert "rolled back 2026-11-27; " in capsys.readouterr().out


def test_a_store_that_cannot_be_reached_is_one_sentence(tmp_path: Path) -> None:
    lost = MlflowTracking(uri="nosuchscheme://host", home=str(tmp_path))
    with pytest.raises(SamaeError, match="unset SAMAE_MLFLOW_URI"):
        _ = lost.client
