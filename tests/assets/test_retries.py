"""A training that fails is started again; one that was stopped, or that forbids it, is not."""

from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import pytest
from dagster import DagsterExecutionInterruptedError

from assets import models
from assets.models import MAX_RETRIES, retried, swap_model
from assets.store import Store
from faces.lock import sole_writer
from pipelines import launcher
from pipelines.materialise import sentence_of


def attempts(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> int:
    """How often Dagster starts a step whose block raises this."""
    monkeypatch.setattr(models, "FIRST_DELAY_S", 0)
    started = []

    @dg.asset
    def training(context: dg.AssetExecutionContext) -> None:
        started.append(context.retry_number)
        with retried(context):
            raise error

    try:
        assert not dg.materialize([training], raise_on_error=False).success
    except (DagsterExecutionInterruptedError, KeyboardInterrupt):
        assert isinstance(error, (DagsterExecutionInterruptedError, KeyboardInterrupt))
    return len(started)


def test_a_lost_host_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    assert attempts(dg.Failure("a rank was killed"), monkeypatch) == 1 + MAX_RETRIES


def test_the_last_attempt_says_why_to_whoever_started_it_at_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "FIRST_DELAY_S", 0)

    @dg.asset
    def training(context: dg.AssetExecutionContext) -> None:
        with retried(context):
            raise dg.Failure(f"attempt {context.retry_number} lost a host")

    with pytest.raises(dg.DagsterError) as caught:
        dg.materialize([training])
    assert sentence_of(caught.value) == f"attempt {MAX_RETRIES} lost a host"
    assert sentence_of(ValueError()) is None


def test_what_the_user_must_mend_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert attempts(dg.Failure("the shards are missing", allow_retries=False), monkeypatch) == 1


@pytest.mark.parametrize("interruption", [DagsterExecutionInterruptedError(), KeyboardInterrupt()])
def test_what_was_stopped_stays_stopped(interruption: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    assert attempts(interruption, monkeypatch) == 1


def test_dagster_has_no_policy_that_would_start_a_stopped_training_again() -> None:
    assert swap_model.op.retry_policy is None


def test_a_training_that_finds_its_folder_taken_opens_no_run_in_mlflow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launcher, "PATIENCE_S", 0.0)
    made_from = {"recipe": "samae"}
    instead = {
        "provenance": made_from,
        "require_own_size": None,
        "require_room": None,
        "ranks_of": 1,
        "_require_batches": None,
    }
    for name, value in instead.items():
        monkeypatch.setattr(models, name, lambda *_, value=value, **__: value)
    store = Store(tmp_path, "people")
    folder = models.run_folder(store, "samae", 1, made_from)
    samae, no_mlflow = SimpleNamespace(plan=None, store=store), object()
    context = dg.build_asset_context(partition_key="samae")
    refused = pytest.raises(dg.Failure, match=f"a training writes into {folder} already")
    with sole_writer(folder), refused:
        models.train(context, samae, launcher.Launcher(), no_mlflow)  # type: ignore[arg-type]
