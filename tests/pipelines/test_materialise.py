"""What is fresh is skipped, what the schedule and the sensor see, and what the terminal shows."""

from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from assets.graph import STAGES, provenance
from assets.store import Store
from faces.errors import SamaeError
from faces.files import write_json
from pipelines import materialise as engine
from pipelines.commands.metrics import existing_instance
from pipelines.jobs import FOLDER_ASSETS
from pipelines.materialise import Made, sentence_of
from pipelines.progress import listening, reporter, time_left
from pipelines.schedules import stale_recipes
from pipelines.sensors import new_folders
from pipelines.settings import Settings, load_settings
from pipelines.terminal import Terminal, label


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A home with a listing of two folders and no pictures."""
    listing = {
        str(index): {"image": {"file_path": f"images64x64/{index - index % 1000:05d}/{index:05d}.png"}}
        for index in (0, 1, 1000)
    }
    write_json(tmp_path / "set" / "ffhq-dataset-v2.json", listing)
    return load_settings(home=tmp_path / "home", raw=tmp_path / "set", recipes=("samae",))


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def put(settings: Settings, instance: dg.DagsterInstance, stage: str, partition: str | None, text: str = "x") -> None:
    """An asset's folder and its event, as the real asset leaves them."""
    made_from = provenance(stage, partition, settings.plan, settings.store)
    with settings.store.write(stage, partition, made_from) as (folder, _):
        (folder / "content").write_text(text)
    instance.report_runless_asset_event(dg.AssetMaterialization(stage, partition=partition))


def test_only_what_is_out_of_date_is_made(
    settings: Settings, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[tuple[str, str | None]] = []

    def fake(instance: dg.DagsterInstance, stage: str, partition: str | None) -> tuple[str, ...]:
        ran.append((stage, partition))
        put(settings, instance, stage, partition)
        return ()

    monkeypatch.setattr(engine, "run", fake)
    stages = ("photographs", "raw_faces")
    first = engine.materialise_all(settings, instance, stages=stages)
    assert ran == [("photographs", None), ("raw_faces", "00000"), ("raw_faces", "01000")]
    assert not any(part.fresh for part in first)
    again = engine.materialise_all(settings, instance, stages=stages)
    assert all(part.fresh for part in again)
    assert len(ran) == 3
    put(settings, instance, "raw_faces", "01000", text="other bytes, same provenance")
    assert engine.is_fresh(settings, instance, "raw_faces", "01000")


def test_a_folder_that_dagster_does_not_know_is_made_again(settings: Settings, instance: dg.DagsterInstance) -> None:
    put(settings, instance, "photographs", None)
    with dg.DagsterInstance.ephemeral() as other:
        assert not engine.is_fresh(settings, other, "photographs", None)
    assert engine.is_fresh(settings, instance, "photographs", None)


def test_a_new_photograph_makes_its_own_folder_stale_alone(settings: Settings, instance: dg.DagsterInstance) -> None:
    for stage, partition in (("photographs", None), ("raw_faces", "00000"), ("raw_faces", "01000")):
        put(settings, instance, stage, partition)
    listing = {
        str(index): {"image": {"file_path": f"images64x64/{index - index % 1000:05d}/{index:05d}.png"}}
        for index in (0, 1, 1000, 1001)
    }
    write_json(settings.store.raw / "ffhq-dataset-v2.json", listing)
    assert engine.is_fresh(settings, instance, "raw_faces", "00000")
    assert not engine.is_fresh(settings, instance, "raw_faces", "01000")


def test_the_sensor_prepares_new_folders_once(settings: Settings, instance: dg.DagsterInstance) -> None:
    put(settings, instance, "photographs", None)
    samae = SimpleNamespace(plan=settings.plan, store=settings.store)
    with dg.build_sensor_context(instance=instance, resources={"samae": samae}) as context:
        result = new_folders(context)
    assert isinstance(result, dg.SensorResult)
    assert [request.partition_key for request in result.run_requests or []] == ["00000", "01000"]
    instance.add_dynamic_partitions("ffhq_folders", ["00000", "01000"])
    for stage in FOLDER_ASSETS:
        put(settings, instance, stage, "00000")
        put(settings, instance, stage, "01000")
    with dg.build_sensor_context(instance=instance, resources={"samae": samae}) as context:
        skipped = new_folders(context)
    assert isinstance(skipped, dg.SensorResult)
    assert not skipped.run_requests
    assert "all 2 folders are prepared" in str(skipped.skip_reason)


def test_the_schedule_retrains_only_what_changed(settings: Settings, instance: dg.DagsterInstance) -> None:
    with settings.store.write("training_shards", None, {}) as (folder, _):
        (folder / "shards.json").write_text("{}")
    samae: Any = SimpleNamespace(plan=settings.plan, store=settings.store)
    before = stale_recipes(samae)
    assert list(before) == ["samae"]
    made_from = provenance("swap_model", "samae", settings.plan, settings.store)
    with settings.store.write("swap_model", "samae", made_from) as (folder, _):
        (folder / "weights").write_text("1")
    assert stale_recipes(samae) == {}
    with settings.store.write("training_shards", None, {}) as (folder, _):
        (folder / "shards.json").write_text('{"new": 1}')
    assert list(stale_recipes(samae)) == ["samae"]
    assert stale_recipes(samae) != before


def test_training_settings_are_part_of_what_a_model_is(tmp_path: Path) -> None:
    store = Store(tmp_path, "people")
    with store.write("training_shards", None, {}) as (folder, _):
        (folder / "shards.json").write_text("{}")
    plans = [load_settings(home=tmp_path, kimg=("samae=1",)), load_settings(home=tmp_path, kimg=("samae=2",))]
    plans.append(load_settings(home=tmp_path, kimg=("samae=1",), ranks=2))
    made_from = [provenance("swap_model", "samae", settings.plan, store) for settings in plans]
    assert made_from[0] != made_from[1]
    assert made_from[0] != made_from[2]


def test_the_instance_is_the_teams_where_dagster_home_names_one(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    team, other = tmp_path / "team", load_settings(home=tmp_path / "other")
    own = settings.home / "dagster"
    monkeypatch.setenv("DAGSTER_HOME", "")  # samae sets it; taken back afterwards
    assert engine.prepare_dagster_home(settings) == own
    assert engine.prepare_dagster_home(other) == other.home / "dagster"  # what a command left is nobody's choice
    monkeypatch.setenv("DAGSTER_HOME", str(team))
    assert engine.prepare_dagster_home(settings) == own  # there is no dagster.yaml in it
    team.mkdir()
    foreign = f"telemetry:\n  enabled: false\nstorage:\n  sqlite:\n    base_dir: {tmp_path / 'database'}\n"
    (team / "dagster.yaml").write_text(foreign)
    monkeypatch.setenv("DAGSTER_HOME", str(team))
    assert engine.prepare_dagster_home(settings) == own  # another project's
    assert capsys.readouterr().err == ""
    (team / "dagster.yaml").write_text(foreign + OUR_LAUNCHER)
    monkeypatch.setenv("DAGSTER_HOME", str(team))
    with engine.open_instance(settings) as instance:
        instance.add_dynamic_partitions("ffhq_folders", ["00000"])
    assert capsys.readouterr().err == f"samae: Dagster's instance is that of DAGSTER_HOME, {team}\n"
    assert (team / "dagster.yaml").read_text() == foreign + OUR_LAUNCHER
    assert list((tmp_path / "database").rglob("*.db"))


OUR_LAUNCHER = "run_launcher:\n  module: pipelines.run_launcher\n  class: WatchedRunLauncher\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("storage:\n  sqlite:\n    base_dir:\n      env: NO_ONE_SET_A\n  # env: NOT_ASKED\n", "wants NO_ONE_SET_A in"),
        ("storage: [a\n", "cannot be used .while parsing a flow sequence"),
        ("storage:\n  nonsense: 3\n", 'cannot be used .Received unexpected config entry "nonsense"'),
        ("event_log_storage:\n  module: pipelines.no_such\n  class: X\n", "cannot be used .*pipelines.no_such"),
    ],
)
def test_an_instance_that_cannot_be_opened_is_one_line(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str
) -> None:
    (tmp_path / "dagster.yaml").write_text(text + OUR_LAUNCHER)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    for opened, mend in (
        (lambda: engine.open_instance(settings), "unset DAGSTER_HOME"),
        (lambda: existing_instance(tmp_path), "name another folder by --instance"),
    ):
        with pytest.raises(SamaeError, match=f"{tmp_path / 'dagster.yaml'} {said}.*{mend}") as caught:
            opened()
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 500


def test_the_image_without_its_database_names_what_is_missing(settings: Settings, tmp_path: Path) -> None:
    """infra/cluster/dagster.yaml is the image's DAGSTER_HOME."""
    text = resources.files("infra").joinpath("cluster/dagster.yaml").read_text(encoding="utf-8")
    (tmp_path / "dagster.yaml").write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HOST", "USER", "PASSWORD", "DB"):
            patch.delenv(f"DAGSTER_POSTGRES_{name}", raising=False)
        patch.setenv("DAGSTER_HOME", str(tmp_path))
        assert engine.team_home() == tmp_path
        with pytest.raises(SamaeError, match=r"wants DAGSTER_POSTGRES_HOST, .* set them, .* unset DAGSTER_HOME"):
            engine.open_instance(settings)


def test_progress_reaches_who_listens() -> None:
    heard: list[tuple[Any, ...]] = []
    context: Any = SimpleNamespace(has_partition_key=True, partition_key="00000", log=SimpleNamespace(info=print))
    with listening(lambda *step: heard.append(step)):
        reporter(context, "raw_faces")(1, 4, "")
    reporter(context, "raw_faces")(2, 4, "")
    assert heard == [("raw_faces", "00000", 1, 4, "")]


def test_time_left() -> None:
    assert time_left(0, 10, 5) == "?"
    assert time_left(5, 10, 65) == "1 min 05 s"
    assert time_left(10, 10, 65) == "0 s"


def test_the_terminal_says_what_was_made_and_what_not(capsys: pytest.CaptureFixture[str]) -> None:
    with Terminal(plain=True) as terminal:
        terminal.started("swap_model", "samae")
        terminal.ended(Made("swap_model", "samae", fresh=False, seconds=12.34))
        terminal.ended(Made("leaderboard", None, fresh=True, seconds=0))
    shown = capsys.readouterr().out.splitlines()
    assert [" ".join(line.split()) for line in shown] == ["swap_model [samae] made in 12.3 s", "leaderboard up to date"]
    assert label("swap_model", "samae") == "swap_model [samae]"


def test_every_stage_says_what_it_is_made_from(settings: Settings) -> None:
    assert set(STAGES["champion"].inputs) == {"leaderboard", "swap_model"}
    made_from = provenance("photographs", None, settings.plan, settings.store)
    assert set(made_from) == {"code_version", "settings", "inputs"}


def test_the_sentence_behind_an_error_is_found_and_a_circle_ends() -> None:
    failure, last = dg.Failure("no host answers"), RuntimeError("exceeded max_retries of 2")
    last.__cause__ = failure
    assert sentence_of(last) == "no host answers"
    last.__cause__ = SamaeError("the disk is full")
    assert sentence_of(last) == "the disk is full"
    circle = PermissionError("denied")
    circle.__cause__ = last.__cause__ = circle
    assert sentence_of(last) is None
