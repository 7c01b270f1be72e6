"""The Prometheus metrics say what lies below the home and what Dagster's instance knows."""

import json
import os
import shutil
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from assets.models import run_folder
from faces.errors import SamaeError
from faces.files import write_json
from faces.synthetic.dataset import write_dataset
from pipelines.commands import metrics as command
from pipelines.metrics import SamaeCollector, last_progress
from pipelines.settings import Settings, load_settings


def scrape(settings: Settings) -> dict[str, float]:
    """Every sample by its name with labels, as Prometheus reads it."""
    registry = CollectorRegistry()
    with dg.DagsterInstance.ephemeral() as instance:
        registry.register(SamaeCollector(settings, instance))
        lines = generate_latest(registry).decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


def test_photographs_rejects_training_and_queue(tmp_path: Path) -> None:
    raw = tmp_path / "photographs"
    settings = load_settings(home=tmp_path / "home", raw=raw)
    empty = scrape(settings)
    assert empty['samae_photographs_made{stage="raw_faces"}'] == 0
    assert empty['samae_pool_queue{pool="training"}'] == 0
    assert empty['samae_runs{status="queued"}'] == 0

    write_dataset(raw, 3, 64, people=2, seed=0)
    with settings.store.write("raw_faces", "00000", {}) as (folder, _):
        pq.write_table(pa.table({"reason": ["", "blurred", ""]}), folder / "rows.parquet")
    made_from = {"inputs": {}}
    running = run_folder(settings.store, "samae", 2, made_from)
    progress = {"event": "progress", "kimg": 1.5, "total_kimg": 6, "images_per_s": 40.0, "losses": {"total": 0.25}}
    (running / "progress.jsonl").write_text(json.dumps(progress) + '\n{"event": "chec')
    found = scrape(settings)
    assert found['samae_photographs_made{stage="raw_faces"}'] == 3
    assert found['samae_folders_waiting{stage="raw_faces"}'] == 0
    assert found['samae_folders_waiting{stage="face_masks"}'] == 1
    assert found['samae_photographs{verdict="ok"}'] == 2
    assert found['samae_photographs{verdict="blurred"}'] == 1
    labels = f'{{recipe="samae",run="{running.name}"}}'
    assert found[f"samae_training_kimg{labels}"] == 1.5
    assert found[f"samae_training_images_per_s{labels}"] == 40.0
    assert found[f'samae_training_loss{{loss="total",recipe="samae",run="{running.name}"}}'] == 0.25

    with settings.store.write("raw_faces", "00000", {}) as (folder, _):
        pq.write_table(pa.table({"reason": ["", "blurred", "blurred"]}), folder / "rows.parquet")
    assert scrape(settings)['samae_photographs{verdict="blurred"}'] == 2


def test_a_long_progress_file_is_read_from_its_end(tmp_path: Path) -> None:
    path = tmp_path / "progress.jsonl"
    path.write_text("".join(json.dumps({"event": "progress", "kimg": n}) + "\n" for n in range(2000)))
    assert last_progress(path) == {"event": "progress", "kimg": 1999}
    assert last_progress(tmp_path / "none") == {}


def test_a_finished_training_is_no_series(tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path / "home", raw=tmp_path / "none")
    run = run_folder(settings.store, "samae", 1, {"inputs": {}})
    (run / "progress.jsonl").write_text(json.dumps({"event": "progress", "kimg": 6, "total_kimg": 6}) + "\n")
    assert any(name.startswith("samae_training_kimg{") for name in scrape(settings))
    from faces.files import atomic_folder

    with atomic_folder(run / "export", {}) as folder:
        write_json(folder / "config.json", {})
    assert not any(name.startswith("samae_training_kimg{") for name in scrape(settings))


def test_a_team_reads_its_own_instance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """infra/ runs the exporter with --instance: the database is the one of that dagster.yaml, not SAMAE_HOME's."""
    monkeypatch.setenv("SAMAE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DAGSTER_HOME", os.environ.get("DAGSTER_HOME", ""))  # samae sets it; given back afterwards
    team = tmp_path / "team"
    with pytest.raises(SamaeError, match=r"holds no dagster.yaml: .*--instance"):
        command.run(None, "127.0.0.1", team)
    team.mkdir()
    shutil.copyfile(Path(__file__).parents[2] / "infra/dagster.yaml", team / "dagster.yaml")
    with dg.DagsterInstance.from_config(str(team)) as instance:
        dg.materialize([dg.AssetsDefinition.from_op(_nothing)], instance=instance)
    for folder, runs in ((team, 1), (None, 0)):
        command.run(None, "127.0.0.1", folder)
        assert f'samae_runs{{status="success"}} {runs}.0' in capsys.readouterr().out


@dg.op
def _nothing() -> None: ...
