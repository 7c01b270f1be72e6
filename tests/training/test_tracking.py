"""training.tracking: events reach a real MLflow on SQLite, and a dead server never stops or loses anything."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from full_disk import disk_that_takes
from PIL import Image

from training import tracking
from training.tracking import MlflowTracker, NoTracker, Outbox, Sender, flush, main, make_tracker


class FakeClient:
    """Takes events, or fails as a server does that is down."""

    def __init__(self) -> None:
        self.is_down = False
        self.taken: list[dict[str, Any]] = []


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> FakeClient:
    fake = FakeClient()

    def connect(self: Sender) -> None:
        if fake.is_down:
            raise ConnectionError("connection refused")

    monkeypatch.setattr(Sender, "_connect", connect)
    monkeypatch.setattr(Sender, "_deliver", lambda self, event: fake.taken.append(event))
    return fake


def wait_until(condition: Any) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "nothing was sent in 30 s"
        time.sleep(0.01)


def test_events_arrive_in_order(tmp_path: Path, server: FakeClient) -> None:
    tracker = MlflowTracker(tmp_path, "http://nowhere")
    tracker.params({"a": 1})
    for samples_seen in range(5):
        tracker.metrics({"loss": 0.5}, samples_seen)
    assert tracker.close("FINISHED") is None
    assert [event["kind"] for event in server.taken] == ["params", *["metrics"] * 5, "status"]
    assert [event["step"] for event in server.taken[1:6]] == list(range(5))


def test_a_server_that_is_down_costs_no_time_and_no_event(tmp_path: Path, server: FakeClient) -> None:
    server.is_down = True
    tracker = MlflowTracker(tmp_path, "http://nowhere", patience_s=0.05)
    start = time.monotonic()
    for samples_seen in range(50):
        tracker.metrics({"loss": 1.0}, samples_seen)
    assert time.monotonic() - start < 5
    sentence = tracker.close("FINISHED")
    assert sentence is not None
    assert "51 MLflow events wait" in sentence
    assert "connection refused" in sentence
    assert server.taken == []


def test_what_waited_is_sent_by_the_next_start(tmp_path: Path, server: FakeClient) -> None:
    server.is_down = True
    first = MlflowTracker(tmp_path, "http://nowhere", patience_s=0.05)
    first.metrics({"loss": 1.0}, 4)
    first.close("KILLED")
    first._sender.send = lambda event: False  # type: ignore[method-assign]  # its thread stands for a dead process
    server.is_down = False
    second = MlflowTracker(tmp_path, "http://nowhere")
    second.metrics({"loss": 0.5}, 8)
    assert second.close("FINISHED") is None
    assert [event.get("step", event.get("status")) for event in server.taken] == [4, "KILLED", 8, "FINISHED"]


def test_a_server_that_comes_back_gets_everything(
    tmp_path: Path, server: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.is_down = True
    tracker = MlflowTracker(tmp_path, "http://nowhere")
    tracker.metrics({"loss": 1.0}, 4)
    wait_until(lambda: tracker._sender.trouble)
    server.is_down = False
    assert tracker.close("FINISHED") is None
    assert len(server.taken) == 2


def test_a_line_that_a_kill_cut_is_dropped(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    outbox.append({"kind": "tags", "values": {"a": "1"}})
    with (tmp_path / "outbox.jsonl").open("ab") as stream:
        stream.write(b'{"kind": "met')
    again = Outbox(tmp_path)
    again.append({"kind": "tags", "values": {"b": "2"}})
    assert again.waiting() == 2
    assert taken(again) == [{"a": "1"}, {"b": "2"}]
    assert Outbox(tmp_path).next() is None


def taken(outbox: Outbox) -> list[dict[str, str]]:
    """The values of all events that wait, each marked as sent."""
    seen = []
    while (event := outbox.next()) is not None:
        seen.append(event["values"])
        outbox.sent()
    return seen


def test_a_disk_that_fills_within_an_event_loses_that_event_alone(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    outbox.append({"kind": "tags", "values": {"a": "1"}})
    with disk_that_takes(outbox.path, 9):
        outbox.append({"kind": "tags", "values": {"b": "2"}})
    outbox.append({"kind": "tags", "values": {"c": "3"}})
    assert outbox.waiting() == 2
    assert taken(outbox) == [{"a": "1"}, {"c": "3"}]
    assert Outbox(tmp_path).next() is None


def test_a_torn_line_does_not_block_what_comes_after_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    outbox = Outbox(tmp_path)
    outbox.append({"kind": "tags", "values": {"a": "1"}})
    with outbox.path.open("ab") as stream:
        stream.write(b'{"kind": "met{"kind": "tags", "values": {"b": "2"}}\n')
    again = Outbox(tmp_path)
    again.append({"kind": "tags", "values": {"c": "3"}})
    assert taken(again) == [{"a": "1"}, {"c": "3"}]
    assert again.waiting() == 0
    assert "torn line" in caplog.text


def test_a_refusal_for_good_does_not_block_the_rest(tmp_path: Path, server: FakeClient, monkeypatch: Any) -> None:
    class Refusal(Exception):
        error_code = "INVALID_PARAMETER_VALUE"

    def deliver(self: Sender, event: dict[str, Any]) -> None:
        if event["kind"] == "params":
            raise Refusal("changing parameters is not allowed")
        server.taken.append(event)

    monkeypatch.setattr(Sender, "_deliver", deliver)
    tracker = MlflowTracker(tmp_path, "http://nowhere")
    tracker.params({"a": 1})
    tracker.tags({"b": 2})
    assert tracker.close("FINISHED") is None
    assert [event["kind"] for event in server.taken] == ["tags", "status"]


def test_only_rank_zero_with_a_server_tracks(tmp_path: Path) -> None:
    assert isinstance(make_tracker(tmp_path, None, None, "run", is_main=True), NoTracker)
    assert isinstance(make_tracker(tmp_path, "sqlite:///x.db", None, "run", is_main=False), NoTracker)
    assert not (tmp_path / "tracking").exists()


def test_the_real_thing_on_sqlite(tmp_path: Path) -> None:
    from mlflow import MlflowClient

    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    picture = tmp_path / "grid.png"
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(picture)
    run_dir = tmp_path / "run"
    tracker = make_tracker(run_dir, uri, None, "00001-toy", is_main=True)
    tracker.params({"train.batch_size": 4})
    tracker.tags({"warning.copies_target": "no"})
    tracker.metrics({"generator/total": 0.5}, 4)
    tracker.metrics({"generator/total": 0.25, "perf/images_per_s": 90.0}, 8)
    tracker.image(picture, "samples", 8)
    tracker.artifact(picture, "export")
    assert isinstance(tracker, MlflowTracker)
    tracker._patience_s = 120
    assert tracker.close("FINISHED") is None
    run_id = json.loads((run_dir / "tracking/run.json").read_text())["run_id"]
    client = MlflowClient(uri)
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "00001-toy"
    assert run.data.params == {"train.batch_size": "4"}
    assert run.data.tags["warning.copies_target"] == "no"
    history = client.get_metric_history(run_id, "generator/total")
    assert [(metric.step, metric.value) for metric in history] == [(4, 0.5), (8, 0.25)]
    artifacts = {file.path for file in client.list_artifacts(run_id)}
    assert {"export", "images"} <= artifacts
    assert not Path("mlruns").exists()
    # The same events once more, as after a kill between sending and noting it: nothing doubles, the run goes on.
    (run_dir / "tracking/sent.json").unlink()
    assert flush(run_dir) == 0
    assert len(client.get_metric_history(run_id, "generator/total")) == 2


def test_the_command_sends_what_waits(
    tmp_path: Path, server: FakeClient, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    server.is_down = True
    tracker = make_tracker(tmp_path, "http://nowhere", "abc", "run", is_main=True)
    assert isinstance(tracker, MlflowTracker)
    tracker._patience_s = 0.05
    tracker.close("FINISHED")
    tracker._sender.send = lambda event: False  # type: ignore[method-assign]
    server.is_down = False
    assert main([str(tmp_path)]) == 0
    assert "everything was sent" in capsys.readouterr().out
    assert main([str(tmp_path / "absent")]) == 2
    assert "does not exist" in capsys.readouterr().err
    server.is_down = True
    Outbox(tmp_path / "tracking").append({"kind": "tags", "values": {}})
    monkeypatch.setattr(tracking, "flush", lambda run_dir: flush(run_dir, 0.1))
    assert main([str(tmp_path)]) == 1
