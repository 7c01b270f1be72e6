"""A folder whose preparation failed: what the sensors ask for next, how often, and what they say meanwhile."""

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from assets.automation import OVERTAKEN
from assets.graph import STAGES, provenance
from assets.partitions import FOLDERS_NAME, folder_partitions
from faces.errors import SamaeError
from faces.files import write_json
from pipelines import tries
from pipelines.jobs import FOLDER_ASSETS
from pipelines.schedules import weekly_retraining
from pipelines.sensors import FOLDER_CHECK, follow_up, new_folders
from pipelines.settings import load_settings

FOLDER = "00000"


@pytest.fixture
def samae(tmp_path: Path) -> Any:
    """A home with a listing of one folder, whose photographs are registered."""
    write_json(
        tmp_path / "set" / "ffhq-dataset-v2.json", {"0": {"image": {"file_path": f"images64x64/{FOLDER}/00000.png"}}}
    )
    settings = load_settings(home=tmp_path / "home", raw=tmp_path / "set", recipes=("samae",))
    made = SimpleNamespace(plan=settings.plan, store=settings.store)
    put(made, "photographs", None)
    return made


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as made:
        made.add_dynamic_partitions(FOLDERS_NAME, [FOLDER])
        yield made


def put(samae: Any, stage: str, partition: str | None = FOLDER) -> None:
    made_from = provenance(stage, partition, samae.plan, samae.store)
    with samae.store.write(stage, partition, made_from) as (folder, _):
        (folder / "content").write_text(stage)


def asked(sensor: Any, samae: Any, instance: dg.DagsterInstance) -> tuple[list[dg.RunRequest], str]:
    """(requests, skip text) of one tick."""
    with dg.build_sensor_context(instance=instance, resources={"samae": samae}) as context:
        answer = sensor(context)
        if isinstance(answer, dg.SensorResult):
            return list(answer.run_requests or ()), str(answer.skip_reason.skip_message if answer.skip_reason else "")
        answers = list(answer)
    requests = [one for one in answers if isinstance(one, dg.RunRequest)]
    return requests, " ".join(str(one.skip_message) for one in answers if isinstance(one, dg.SkipReason))


def stages_of(request: dg.RunRequest) -> list[str]:
    return [key.to_user_string() for key in request.asset_selection or ()]


def run(samae: Any, instance: dg.DagsterInstance, request: dg.RunRequest, sound: bool = True) -> bool:
    """A real run of what was asked for: `aligned_faces` finds the disk full. `sound`: the verdict on raw_faces."""

    @dg.asset(partitions_def=folder_partitions)
    def raw_faces() -> None:
        put(samae, "raw_faces")

    @dg.asset_check(asset=raw_faces, name=FOLDER_CHECK, blocking=True, partitions_def=folder_partitions)
    def schema_is_right() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=sound)

    @dg.asset(deps=[raw_faces], partitions_def=folder_partitions)
    def aligned_faces() -> None:
        raise SamaeError("the disk is full: free some space and start again")

    mine = [dg.AssetKey(name) for name in ("raw_faces", "aligned_faces") if name in stages_of(request)]
    done = dg.materialize(
        [raw_faces, schema_is_right, aligned_faces], instance=instance, partition_key=request.partition_key,
        tags=dict(request.tags), selection=mine, raise_on_error=False,
    )  # fmt: skip
    return done.success


def test_a_preparation_that_failed_goes_on_with_the_stages_that_lack(
    samae: Any, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    (first,), _ = asked(new_folders, samae, instance)
    assert stages_of(first) == list(FOLDER_ASSETS)
    assert not run(samae, instance, first)
    (second,), _ = asked(new_folders, samae, instance)  # raw_faces is made: a new state, which nothing failed from yet
    assert stages_of(second) == list(FOLDER_ASSETS[1:])
    assert second.run_key != first.run_key
    assert not run(samae, instance, second)
    requests, text = asked(new_folders, samae, instance)
    assert not requests
    assert text.startswith("00000 (aligned_faces, face_coefficients, ")
    assert "failed, and is tried again at" in text
    assert asked(follow_up, samae, instance) == ([], "aligned_faces of 00000 is not made: new_folders asks for it")
    monkeypatch.setattr(tries, "PAUSES_S", (0, 0))
    keys = {second.run_key}
    for _ in tries.PAUSES_S:
        (again,), _ = asked(new_folders, samae, instance)
        keys.add(again.run_key)
        assert not run(samae, instance, again)
    assert len(keys) == 3
    requests, text = asked(new_folders, samae, instance)
    assert not requests
    assert "failed 3 times" in text
    for stage in FOLDER_ASSETS[1:]:
        put(samae, stage)
    assert asked(new_folders, samae, instance) == ([], "all 1 folders are prepared")


def test_a_stage_whose_blocking_check_failed_is_made_again_before_what_follows(
    samae: Any, instance: dg.DagsterInstance
) -> None:
    (first,), _ = asked(new_folders, samae, instance)
    assert not run(samae, instance, first, sound=False)
    (second,), _ = asked(new_folders, samae, instance)
    assert stages_of(second) == list(FOLDER_ASSETS)


def test_a_folder_that_is_being_prepared_is_left_alone(samae: Any, instance: dg.DagsterInstance) -> None:
    under_way = dg.DagsterRun(
        job_name="__ASSET_JOB", status=dg.DagsterRunStatus.STARTED, tags={"dagster/partition": FOLDER},
        asset_selection=frozenset({dg.AssetKey("aligned_faces")}),
    )  # fmt: skip
    instance.add_run(under_way)
    assert asked(new_folders, samae, instance) == ([], "00000 is being prepared")


def test_the_pause_grows_and_a_cancelled_run_counts_only_where_it_is_told_to(instance: dg.DagsterInstance) -> None:
    request = dg.RunRequest(run_key="state")
    now = datetime.now(UTC) + timedelta(days=1)
    assert isinstance(tries.asked_again(instance, request, "it", now), dg.RunRequest)
    for number in range(len(tries.PAUSES_S) + 1):
        answer = tries.asked_again(instance, request, "it", now)
        assert isinstance(answer, dg.RunRequest)
        assert answer.run_key == f"state-try-{number + 1}"
        cancelled = dg.DagsterRun(job_name="promote", status=dg.DagsterRunStatus.CANCELED, tags=dict(answer.tags))
        instance.add_run(cancelled)
    assert str(tries.asked_again(instance, request, "it", now)).endswith("then launch promote by hand")
    only_failures = tries.asked_again(instance, request, "it", now, [dg.DagsterRunStatus.FAILURE])
    assert str(only_failures).endswith("launch promote by hand, or wait for Monday")


def ended(instance: dg.DagsterInstance, request: dg.RunRequest, status: dg.DagsterRunStatus) -> None:
    """A run of what was asked for, which came to this end; a key that was seen would have been dropped."""
    seen = {run.tags.get("dagster/run_key") for run in instance.get_runs()}
    assert request.run_key not in seen
    tags = {**request.tags, "dagster/run_key": str(request.run_key), "dagster/partition": str(request.partition_key)}
    instance.add_run(dg.DagsterRun(job_name=request.job_name or "prepare_folder", status=status, tags=tags))


def test_a_state_that_comes_back_after_a_success_gets_a_new_key_after_a_pause(instance: dg.DagsterInstance) -> None:
    @dg.job
    def nothing() -> None: ...

    request = dg.RunRequest(run_key="state")
    now = datetime.now(UTC) + timedelta(days=1)
    for number in range(len(tries.PAUSES_S) + 2):  # no limit: nothing failed
        answer = tries.asked_again(instance, request, "it", now)
        assert isinstance(answer, dg.RunRequest)
        assert answer.run_key == f"state-try-{number + 1}"
        assert nothing.execute_in_process(instance=instance, tags=dict(answer.tags)).success
        ended_at = instance.get_run_records(limit=1)[0].end_time
        assert ended_at is not None
        text = tries.asked_again(instance, request, "it", datetime.fromtimestamp(ended_at, UTC))
        assert str(text).startswith("it was made and lacks again, and is tried again at")


def test_a_folder_that_was_made_and_removed_is_asked_for_with_a_new_key(
    samae: Any, instance: dg.DagsterInstance
) -> None:
    (first,), _ = asked(new_folders, samae, instance)
    ended(instance, first, dg.DagsterRunStatus.SUCCESS)
    for stage in FOLDER_ASSETS:
        put(samae, stage)
    shutil.rmtree(samae.store.folder("raw_faces", FOLDER))
    (again,), _ = asked(new_folders, samae, instance)
    assert again.run_key != first.run_key  # the daemon drops a key that it saw
    assert "raw_faces" in stages_of(again)


def test_a_cancelled_judging_is_tried_again_and_a_cancelled_training_waits_for_monday(
    samae: Any, instance: dg.DagsterInstance
) -> None:
    for stage in FOLDER_ASSETS:
        put(samae, stage)
    put(samae, "training_shards", None)
    (training,), _ = asked(follow_up, samae, instance)
    ended(instance, training, dg.DagsterRunStatus.CANCELED)
    requests, text = asked(follow_up, samae, instance)
    assert not requests
    assert text.startswith("train_recipe of samae was cancelled")
    assert monday(samae, instance) == "asked for samae"
    put(samae, "swap_model", "samae")
    (judging,), _ = asked(follow_up, samae, instance)
    assert stages_of(judging) == ["swap_evaluation"]
    ended(instance, judging, dg.DagsterRunStatus.CANCELED)
    (again,), _ = asked(follow_up, samae, instance)
    assert again.run_key != judging.run_key
    assert stages_of(again) == ["swap_evaluation"]


def checked(samae: Any, instance: dg.DagsterInstance, passed: bool | None, makes: bool = True) -> None:
    """A real run of the last stage and its check. None: it was cancelled before the check, or (`makes`) before both."""

    @dg.asset(partitions_def=folder_partitions)
    def identity_embeddings() -> None:
        if not makes:
            raise KeyboardInterrupt
        put(samae, "identity_embeddings")

    @dg.asset_check(asset=identity_embeddings, name=FOLDER_CHECK, blocking=True, partitions_def=folder_partitions)
    def schema_is_right() -> dg.AssetCheckResult:
        if passed is None:
            raise KeyboardInterrupt
        return dg.AssetCheckResult(passed=passed)

    with contextlib.suppress(KeyboardInterrupt, dg.DagsterExecutionInterruptedError):
        dg.materialize(
            [identity_embeddings, schema_is_right], instance=instance, partition_key=FOLDER, raise_on_error=False
        )


def test_no_shards_are_made_of_a_folder_whose_last_check_failed(samae: Any, instance: dg.DagsterInstance) -> None:
    for stage in FOLDER_ASSETS:
        put(samae, stage)
    checked(samae, instance, passed=False)
    for _ in range(2):
        (request,), _ = asked(new_folders, samae, instance)
        assert stages_of(request) == ["identity_embeddings"]
        text = "new_folders makes 00000 again: a check of its rows failed"
        assert asked(follow_up, samae, instance) == ([], text)
        checked(samae, instance, passed=None, makes=False)  # what failed before still counts
    checked(samae, instance, passed=True)
    assert asked(new_folders, samae, instance) == ([], "all 1 folders are prepared")
    assert [request.job_name for request in asked(follow_up, samae, instance)[0]] == ["make_shards"]


def test_a_cancelled_run_makes_nothing_again_but_what_it_left_unchecked(
    samae: Any, instance: dg.DagsterInstance
) -> None:
    for stage in FOLDER_ASSETS:
        put(samae, stage)
    checked(samae, instance, passed=True)
    checked(samae, instance, passed=None, makes=False)
    assert asked(new_folders, samae, instance) == ([], "all 1 folders are prepared")
    checked(samae, instance, passed=None)
    (request,), _ = asked(new_folders, samae, instance)
    assert stages_of(request) == ["identity_embeddings"]


def test_a_raised_code_version_of_a_folder_stage_is_made_by_the_sensor_and_then_the_schedule_goes_on(
    samae: Any, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    for stage in FOLDER_ASSETS:
        put(samae, stage)
    put(samae, "training_shards", None)
    assert "all 1 folders are prepared" in asked(new_folders, samae, instance)[1]
    monkeypatch.setitem(STAGES, "face_coefficients", replace(STAGES["face_coefficients"], code_version="raised"))
    assert "face_coefficients of 00000" in monday(samae, instance)
    (request,), _ = asked(new_folders, samae, instance)
    assert stages_of(request) == ["face_coefficients", "neutral_albedo", "face_masks"]
    for stage in stages_of(request):
        put(samae, stage)
    assert monday(samae, instance) == "asked for samae"


def monday(samae: Any, instance: dg.DagsterInstance) -> str:
    """What the weekly schedule answers."""
    time = datetime(2026, 11, 30, 3, tzinfo=UTC)
    context = dg.build_schedule_context(instance, scheduled_execution_time=time, resources={"samae": samae})
    (answer,) = weekly_retraining(context)
    return answer.skip_message or "" if isinstance(answer, dg.SkipReason) else f"asked for {answer.partition_key}"


def test_a_monday_that_finds_nothing_to_do_keeps_leaderboard_and_champion_fresh(
    samae: Any, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    for stage in FOLDER_ASSETS:
        put(samae, stage)
    for stage, partition in (
        ("training_shards", None), ("swap_model", "samae"), ("swap_evaluation", "samae"), ("leaderboard", None),
        ("champion", None),
    ):  # fmt: skip
        put(samae, stage, partition)
    made = dg.AssetMaterialization("champion", metadata={"promoted": "samae"}, tags={"dagster/data_version": "abc"})
    instance.report_runless_asset_event(made)

    def told() -> list[dg.AssetMaterialization]:
        records = instance.fetch_materializations(dg.AssetKey("champion"), limit=10).records
        return [record.asset_materialization for record in records if record.asset_materialization]

    assert "every model was trained on today's data" in monday(samae, instance)
    assert len(told()) == 2
    assert (told()[0].metadata["promoted"], told()[0].tags) == (made.metadata["promoted"], made.tags)
    assert "found up to date" in told()[0].metadata
    monkeypatch.setitem(STAGES, "champion", replace(STAGES["champion"], code_version="raised"))
    monday(samae, instance)
    assert len(told()) == 2
    assert instance.get_latest_materialization_event(dg.AssetKey("leaderboard")) is None  # never made: not told


def test_the_condition_of_overtaken_folders_asks_for_new_code_and_new_inputs_once() -> None:
    parts = dg.StaticPartitionsDefinition([FOLDER, "01000"])

    def definitions(code_version: str) -> dg.Definitions:
        @dg.asset(partitions_def=parts)
        def raw_faces() -> None: ...

        @dg.asset(deps=[raw_faces], partitions_def=parts, code_version=code_version, automation_condition=OVERTAKEN)
        def aligned_faces() -> None: ...

        return dg.Definitions([raw_faces, aligned_faces])

    def made(name: str) -> None:
        assets = list(definitions("1").assets or ())
        assert dg.materialize(assets, instance=instance, partition_key=FOLDER, selection=[name]).success  # type: ignore[arg-type]

    def requested(code_version: str) -> int:
        nonlocal cursor
        found = dg.evaluate_automation_conditions(definitions(code_version), instance, cursor=cursor)
        cursor = found.cursor
        return found.get_num_requested(dg.AssetKey("aligned_faces"))

    cursor = None
    with dg.DagsterInstance.ephemeral() as instance:
        assert requested("1") == 0  # what is missing is new_folders' to make
        made("raw_faces")
        made("aligned_faces")
        requested("1")
        assert requested("1") == 0
        assert requested("2") == 1  # the folder that is made, not the one that never was
        assert requested("2") == 0
        made("aligned_faces")
        assert requested("2") == 0
        made("raw_faces")
        assert requested("2") == 1
        assert requested("2") == 0
