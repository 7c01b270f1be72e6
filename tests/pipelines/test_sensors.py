"""The sensors by themselves: what follows from what, and a failed run that is told to a real local server."""

import base64
import json
import re
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
from dagster._utils.error import serializable_error_info_from_exc_info

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


@dataclass
class Hook:
    """A server at `place`: what it was sent, and the authorization beside it; `code` is what it answers with."""

    place: str
    heard: list[dict[str, Any]] = field(default_factory=list)
    allowed: list[str | None] = field(default_factory=list)
    code: int = 200


@pytest.fixture
def webhook() -> Iterator[Hook]:
    """A server that keeps what it was sent."""

    class Ear(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            hook.heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            hook.allowed.append(self.headers["Authorization"])
            self.send_response(hook.code)
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Ear)
    hook = Hook(f"127.0.0.1:{server.server_port}")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield hook
    server.shutdown()
    server.server_close()


@pytest.fixture
def failure() -> Iterator[dg.RunFailureSensorContext]:
    """What the sensor is told of a run that failed just now."""

    @dg.op
    def fails() -> None:
        raise SamaeError("the shards are missing: make them")

    @dg.job
    def doomed() -> None:
        fails()

    with dg.DagsterInstance.ephemeral() as instance:
        result = doomed.execute_in_process(instance=instance, raise_on_error=False)
        yield dg.build_run_status_sensor_context(
            sensor_name="tell_failures",
            dagster_instance=instance,
            dagster_run=result.dagster_run,
            dagster_event=result.get_run_failure_event(),
        ).for_run_failure()


def test_a_failed_run_is_told_with_its_own_sentence(
    webhook: Hook, failure: dg.RunFailureSensorContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAMAE_WEBHOOK", f"http://{webhook.place}/hook")
    tell_failures(failure)
    (heard,) = webhook.heard
    assert heard["run_id"] == failure.dagster_run.run_id
    assert heard["job"] == "doomed"
    assert "the shards are missing: make them" in heard["error"]
    assert "doomed failed" in heard["text"]
    assert webhook.allowed == [None]


def test_a_user_and_a_password_in_the_address_are_sent_as_http_wants_them(webhook: Hook) -> None:
    post(f"http://ann:pass%40word@{webhook.place}/hook", {"text": "x"})
    assert webhook.allowed == ["Basic " + base64.b64encode(b"ann:pass@word").decode()]
    assert webhook.heard == [{"text": "x"}]


def test_a_webhook_that_takes_nothing_fails_the_tick_and_gives_no_secret_away(
    webhook: Hook, failure: dg.RunFailureSensorContext, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Whole as the sensor's page shows it: sentence, causes and stack. The path of the address is a secret too."""
    webhook.code = 403
    with socket.socket() as taken:  # bound and not listening: whoever connects is refused
        taken.bind(("127.0.0.1", 0))
        nobody = f"127.0.0.1:{taken.getsockname()[1]}"
        for place, why in {webhook.place: "HTTP code 403", nobody: "Connection refused"}.items():
            monkeypatch.setenv("SAMAE_WEBHOOK", f"http://ann:pass@word@{place}/hook/tokenofours")
            with pytest.raises(SamaeError) as caught:
                tell_failures(failure)
            shown = serializable_error_info_from_exc_info((caught.type, caught.value, caught.tb))
            assert f"the webhook at http://{place} did not take the message (" in shown.message
            assert why in shown.message
            said = shown.to_string() + caplog.text + "".join(capfd.readouterr())
            assert not {"ann", "pass", "word", "tokenofours"} & set(re.findall(r"\w+", said))
    assert len(webhook.heard) == 1


def test_an_address_that_python_refuses_is_a_sentence_without_it(webhook: Hook) -> None:
    with pytest.raises(SamaeError, match=r"the webhook at http://[0-9.:]+ did not take the message \(InvalidURL\)"):
        post(f"http://ann:word@{webhook.place}/to ken", {"text": "x"})


def test_the_one_switch(monkeypatch: pytest.MonkeyPatch) -> None:
    from pipelines import schedules, sensors

    assert not Settings().weekly
    assert schedules.status_of_schedule() == dg.DefaultScheduleStatus.STOPPED
    monkeypatch.setenv("SAMAE_WEEKLY", "true")
    assert schedules.status_of_schedule() == dg.DefaultScheduleStatus.RUNNING
    assert sensors.status_of_sensor() == dg.DefaultSensorStatus.RUNNING
