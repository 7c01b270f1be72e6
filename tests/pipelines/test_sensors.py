"""The sensors by themselves: what follows from what, and a failed run that is told to a real local server."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from assets.graph import STAGES, provenance
from faces.errors import SamaeError
from faces.files import write_json
from pipelines.sensors import following, post, tell_failures
from pipelines.settings import Settings, load_settings

FOLDERS = [name for name, stage in STAGES.items() if stage.cut == "folder"]


@pytest.fixture
def samae(tmp_path: Path) -> Any:
    """A home with a listing of one folder and nothing made."""
    listing = {"0": {"image": {"file_path": "images64x64/00000/00000.png"}}}
    write_json(tmp_path / "set" / "ffhq-dataset-v2.json", listing)
    settings = load_settings(home=tmp_path / "home", raw=tmp_path / "set", recipes=("samae",))
    return SimpleNamespace(plan=settings.plan, store=settings.store)


def put(samae: Any, stage: str, partition: str | None = None) -> None:
    made_from = provenance(stage, partition, samae.plan, samae.store)
    with samae.store.write(stage, partition, made_from) as (folder, _):
        (folder / "content").write_text(stage)


def wanted(samae: Any) -> list[tuple[str | None, str | None]]:
    return [(request.job_name, request.partition_key) for request in following(samae)]


def test_each_stage_follows_when_all_above_it_is_whole(samae: Any) -> None:
    assert wanted(samae) == [("find_photographs", None)]
    put(samae, "photographs")
    assert wanted(samae) == []
    for stage in FOLDERS:
        put(samae, stage, "00000")
    assert wanted(samae) == [("make_shards", None)]
    assert list(following(samae, unsound=["00000"])) == []
    put(samae, "training_shards")
    assert wanted(samae) == [("train_recipe", "samae")]
    put(samae, "swap_model", "samae")
    assert wanted(samae) == [("train_recipe", "samae")]
    assert next(following(samae)).asset_selection == [dg.AssetKey("swap_evaluation")]
    assert list(following(samae, busy={"samae"})) == []
    put(samae, "swap_evaluation", "samae")
    assert wanted(samae) == [("promote", None)]
    put(samae, "leaderboard")
    put(samae, "champion")
    assert wanted(samae) == []


def test_new_bytes_are_new_shards_but_retraining_waits_for_the_schedule(samae: Any) -> None:
    for stage in ("photographs", *FOLDERS, "training_shards", "swap_model", "swap_evaluation"):
        put(samae, stage, {"folder": "00000", "recipe": "samae"}.get(STAGES[stage].cut))
    first = [request.run_key for request in following(samae)]
    with samae.store.write("face_masks", "00000", provenance("face_masks", "00000", samae.plan, samae.store)) as (f, _):
        (f / "content").write_text("other masks")
    assert wanted(samae) == [("make_shards", None)]
    assert [request.run_key for request in following(samae)] != first
    with samae.store.write("training_shards", None, provenance("training_shards", None, samae.plan, samae.store)) as (
        f,
        _,
    ):
        (f / "content").write_text("other shards")
    assert wanted(samae) == []


@pytest.fixture
def webhook() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A server that keeps what it was sent."""
    heard: list[dict[str, Any]] = []

    class Ear(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Ear)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/hook", heard
    server.shutdown()
    server.server_close()


def test_a_failed_run_is_told_with_its_own_sentence(
    webhook: tuple[str, list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, heard = webhook
    monkeypatch.setenv("SAMAE_WEBHOOK", address)

    @dg.op
    def fails() -> None:
        raise SamaeError("the shards are missing: make them")

    @dg.job
    def doomed() -> None:
        fails()

    with dg.DagsterInstance.ephemeral() as instance:
        result = doomed.execute_in_process(instance=instance, raise_on_error=False)
        context = dg.build_run_status_sensor_context(
            sensor_name="tell_failures",
            dagster_instance=instance,
            dagster_run=result.dagster_run,
            dagster_event=result.get_run_failure_event(),
        ).for_run_failure()
        tell_failures(context)
    assert len(heard) == 1
    assert heard[0]["run_id"] == result.run_id
    assert heard[0]["job"] == "doomed"
    assert "the shards are missing: make them" in heard[0]["error"]
    assert "doomed failed" in heard[0]["text"]


def test_a_webhook_that_does_not_answer_is_an_error_of_the_tick() -> None:
    with pytest.raises(OSError, match="refused"):
        post("http://127.0.0.1:9", {"text": "x"})


def test_the_one_switch(monkeypatch: pytest.MonkeyPatch) -> None:
    from pipelines import schedules, sensors

    assert not Settings().weekly
    assert schedules.status_of_schedule() == dg.DefaultScheduleStatus.STOPPED
    monkeypatch.setenv("SAMAE_WEEKLY", "true")
    assert schedules.status_of_schedule() == dg.DefaultScheduleStatus.RUNNING
    assert sensors.status_of_sensor() == dg.DefaultSensorStatus.RUNNING
