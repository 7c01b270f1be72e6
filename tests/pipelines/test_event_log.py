"""pipelines/event_log.py: Dagster's own classes read what is written faster, and the databases are the same."""

import sqlite3
from pathlib import Path

import dagster as dg
import pytest

from pipelines.event_log import MOST_OPEN, Databases, QuickEventLog, QuickRuns
from pipelines.materialise import open_instance
from pipelines.settings import load_settings


@dg.asset
def number() -> int:
    """One asset."""
    return 1


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home folder of Dagster, with three runs of one asset in it."""
    monkeypatch.setenv("SAMAE_HOME", str(tmp_path))
    monkeypatch.setenv("DAGSTER_HOME", "")
    with open_instance(load_settings()) as instance:
        assert isinstance(instance.event_log_storage, QuickEventLog)
        for _ in range(3):
            assert dg.materialize([number], instance=instance).success
    return tmp_path / "dagster"


def schema(path: Path) -> list[tuple[str, ...]]:
    """Tables and indices of a database, and its version."""
    with sqlite3.connect(path) as database:
        return [
            *sorted(database.execute("select type, name, sql from sqlite_master")),
            *database.execute("select version_num from alembic_version"),
        ]


def test_dagster_reads_what_was_written(home: Path) -> None:
    with dg.DagsterInstance.from_config(str(home)) as instance:
        runs = instance.get_runs()
        assert [run.status for run in runs] == [dg.DagsterRunStatus.SUCCESS] * 3
        events = [[log.dagster_event_type for log in instance.all_logs(run.run_id)] for run in runs]
        assert events[0] == events[1] == events[2]
        assert dg.DagsterEventType.ASSET_MATERIALIZATION in events[0]
        assert len(instance.fetch_materializations(dg.AssetKey("number"), limit=10).records) == 3


def test_the_databases_are_those_of_dagster(home: Path, tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "own")) as instance:
        dg.materialize([number], instance=instance)
    own = {path.name for path in (tmp_path / "own" / "history").glob("*.db")}
    assert own == {path.name for path in (home / "history").glob("*.db")}
    runs = [path for path in (home / "history" / "runs").glob("*.db") if path.stem != "index"]
    theirs = next(path for path in (tmp_path / "own" / "history" / "runs").glob("*.db") if path.stem != "index")
    assert len(runs) == 3
    assert all(schema(path) == schema(theirs) for path in runs)


def test_both_write_into_one_home(home: Path) -> None:
    with dg.DagsterInstance.from_config(str(home)) as theirs, open_instance(load_settings()) as ours:
        assert isinstance(ours.run_storage, QuickRuns)
        for instance in (theirs, ours, theirs, ours):
            assert dg.materialize([number], instance=instance).success
        for instance in (theirs, ours):
            assert instance.get_runs_count() == 7
            assert len(instance.fetch_materializations(dg.AssetKey("number"), limit=10).records) == 7


def test_few_databases_stay_open(tmp_path: Path) -> None:
    databases = Databases()
    for number_ in range(MOST_OPEN + 3):
        with databases.engine(f"sqlite:///{tmp_path}/{number_}.db").begin() as connection:
            connection.exec_driver_sql("create table one (two int)")
    open_files = [path.resolve().name for path in Path("/proc/self/fd").iterdir() if path.exists()]
    assert sum(name.endswith(".db") for name in open_files) == MOST_OPEN
    databases.close()
