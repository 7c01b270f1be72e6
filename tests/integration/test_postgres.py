"""The team's storage on a real PostgreSQL: Dagster by infra/cluster/dagster.yaml, MLflow's runs and registry.

The server is the operating system's package, with a data folder and a port of its own, and never run as root.
"""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from pipelines.tracking import MlflowTracking

pytestmark = pytest.mark.slow
INFRA = Path(__file__).parent.parent.parent / "infra"


def programs() -> Path:
    """The folder with initdb and pg_ctl; skips where there is none."""
    found = [*sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True), *map(Path, os.get_exec_path())]
    for folder in found:
        if (folder / "initdb").exists() and (folder / "pg_ctl").exists():
            return folder
    pytest.skip("no PostgreSQL on this machine (apt-get install postgresql)")


def as_postgres(*command: str) -> None:
    """Run a command; as the package's user where this process is root, because PostgreSQL refuses root."""
    prefix = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
    subprocess.run([*prefix, *command], check=True, cwd="/", stdout=subprocess.DEVNULL, timeout=60)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """A running server with the databases of infra/cluster/databases.sql; its port."""
    pytest.importorskip("dagster_postgres", reason="pip install -e '.[cluster]'")
    folder = programs()
    home = Path(tempfile.mkdtemp(prefix="samae-pg-"))  # pytest's own folders are closed to other users
    if os.getuid() == 0:
        shutil.chown(home, "postgres", "postgres")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number = int(probe.getsockname()[1])
    data = str(home / "data")
    as_postgres(str(folder / "initdb"), "-D", data, "-U", "samae", "--auth=trust", "--no-sync")
    options = f"-p {number} -k {home} -c listen_addresses=127.0.0.1 -c fsync=off"
    as_postgres(str(folder / "pg_ctl"), "-D", data, "-l", str(home / "log"), "-o", options, "-w", "start")
    try:
        psql = [str(folder / "psql"), "-h", str(home), "-p", str(number), "-U", "samae", "-d", "postgres"]
        as_postgres(*psql, "-c", "CREATE DATABASE dagster")
        statement = (INFRA / "cluster/databases.sql").read_text()
        as_postgres(*psql, "-c", statement)
        yield number
    finally:
        as_postgres(str(folder / "pg_ctl"), "-D", data, "-m", "immediate", "-w", "stop")
        shutil.rmtree(home, ignore_errors=True)


@dg.asset(pool="training")
def three() -> dg.MaterializeResult:
    """One tiny asset."""
    return dg.MaterializeResult(metadata={"value": 3}, data_version=dg.DataVersion("v3"))


def test_dagster_keeps_its_runs_in_postgres(port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one process wrote through the team's dagster.yaml, another instance on the same database reads."""
    for name, value in {"HOST": "127.0.0.1", "USER": "samae", "PASSWORD": "unused", "DB": "dagster"}.items():
        monkeypatch.setenv(f"DAGSTER_POSTGRES_{name}", value)
    monkeypatch.setenv("DAGSTER_SHARED", str(tmp_path / "shared"))
    text = (INFRA / "cluster/dagster.yaml").read_text()
    assert "port: 5432" in text
    for home in ("one", "two"):
        (tmp_path / home).mkdir()
        (tmp_path / home / "dagster.yaml").write_text(text.replace("port: 5432", f"port: {port}"))
    with dg.DagsterInstance.from_config(str(tmp_path / "one")) as instance:
        result = dg.materialize([three], instance=instance)
        assert result.success
        instance.add_dynamic_partitions("folders", ["00000"])
    with dg.DagsterInstance.from_config(str(tmp_path / "two")) as instance:
        run = instance.get_run_by_id(result.run_id)
        assert run is not None
        assert run.status == dg.DagsterRunStatus.SUCCESS
        event = instance.get_latest_materialization_event(dg.AssetKey("three"))
        assert event is not None
        assert event.asset_materialization is not None
        assert event.asset_materialization.metadata["value"].value == 3
        assert instance.get_dynamic_partitions("folders") == ["00000"]
        assert "Postgres" in type(instance.event_log_storage).__name__


def test_mlflow_keeps_runs_and_aliases_in_postgres(port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run, its metric, a registered version and its alias, written and read by two clients."""
    monkeypatch.chdir(tmp_path)
    uri = f"postgresql+psycopg2://samae@127.0.0.1:{port}/mlflow"
    writer = MlflowTracking(uri=uri, home=str(tmp_path / "home"))
    writer.client.create_experiment("samae", artifact_location=(tmp_path / "artifacts").as_uri())
    run = writer.start("one", "cycle", {"samae.recipe": "samae"})
    export = tmp_path / "export"
    export.mkdir()
    (export / "config.json").write_text("{}")
    version = writer.register(run, export, {"samae.export": "digest"})
    writer.set_alias("champion", version)
    writer.finish(run, "FINISHED", {"eval.psnr_db": 23.25})
    reader = MlflowTracking(uri=uri, home=str(tmp_path / "other"))
    found = reader.client.get_run(run)
    assert found.info.status == "FINISHED"
    assert found.data.metrics == {"eval.psnr_db": 23.25}
    assert reader.version_at("champion") == (version, {"samae.export": "digest"})
    assert (reader.export_folder(version) / "config.json").read_text() == "{}"
