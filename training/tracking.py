"""MLflow that cannot stop a training: every event goes to a file first, a thread sends it when the server answers.

The only module of training/ that imports mlflow, lazily and in its thread. Rank 0 alone tracks. An event is one line of
`<run>/tracking/outbox.jsonl`; `sent.json` says how far the thread came. What could not be sent when the run ends waits
there: the next start sends it, or `python -m training.tracking RUN_DIR` does. Sending twice is harmless (same run, key,
step and time). Steps are pictures seen.
"""

import json
import logging
import os
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from faces.errors import SamaeError
from faces.files import append_whole, make_folder, read_json, write_json

EXPERIMENT = "samae"
#: Answers of a server that no repetition will change; such an event is dropped and noted.
PERMANENT = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST", "RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS")
LOGGER = logging.getLogger(__name__)


class Tracker(Protocol):
    """What the loop calls. No method waits for a server, none raises because of one."""

    def params(self, values: Mapping[str, Any]) -> None:
        """Parameters and digests, once a run."""

    def tags(self, values: Mapping[str, Any]) -> None:
        """Tags; a later value replaces an earlier one."""

    def metrics(self, values: Mapping[str, float], samples_seen: int) -> None:
        """Figures at so many pictures seen."""

    def image(self, path: Path, key: str, samples_seen: int) -> None:
        """A PNG under one key, so that the page shows it as a series."""

    def artifact(self, path: Path, folder: str = "") -> None:
        """A file, or a folder with what is in it."""

    def close(self, status: str) -> str | None:
        """End: "FINISHED", "KILLED" or "FAILED". A sentence when something waits to be sent, else None."""


class NoTracker:
    """For ranks other than 0, and for runs without a tracking server."""

    def params(self, values: Mapping[str, Any]) -> None:
        """Nothing."""

    def tags(self, values: Mapping[str, Any]) -> None:
        """Nothing."""

    def metrics(self, values: Mapping[str, float], samples_seen: int) -> None:
        """Nothing."""

    def image(self, path: Path, key: str, samples_seen: int) -> None:
        """Nothing."""

    def artifact(self, path: Path, folder: str = "") -> None:
        """Nothing."""

    def close(self, status: str) -> str | None:
        """Nothing waits."""
        return None


class MlflowTracker:
    """A run on an MLflow server or SQLite file, through the outbox.

    Args:
        run_dir: the training's folder; the outbox lies in `tracking/` below it.
        uri: e.g. "sqlite:////path/mlflow.db" or "http://host:5000".
        run_id: a run somebody else made and will end; None makes (or, after a restart, continues) one of our own.
        run_name: of a run of our own.
        patience_s: how long `close` waits for the outbox to empty.
    """

    def __init__(
        self, run_dir: Path, uri: str, run_id: str | None = None, run_name: str = "samae", patience_s: float = 20.0
    ) -> None:
        self.folder = make_folder(run_dir / "tracking")
        self._outbox = Outbox(self.folder)
        self._sender = Sender(self.folder, uri, run_id, run_name)
        self._patience_s = patience_s
        self._work, self._ending, self._done = threading.Event(), threading.Event(), threading.Event()
        self._work.set()
        self._thread = threading.Thread(target=self._send_all, name="mlflow", daemon=True)
        self._thread.start()

    def params(self, values: Mapping[str, Any]) -> None:
        """See Tracker."""
        self._put({"kind": "params", "values": {key: str(value)[:6000] for key, value in values.items()}})

    def tags(self, values: Mapping[str, Any]) -> None:
        """See Tracker."""
        self._put({"kind": "tags", "values": {key: str(value)[:5000] for key, value in values.items()}})

    def metrics(self, values: Mapping[str, float], samples_seen: int) -> None:
        """See Tracker."""
        self._put({"kind": "metrics", "values": dict(values), "step": samples_seen})

    def image(self, path: Path, key: str, samples_seen: int) -> None:
        """See Tracker."""
        self._put({"kind": "image", "path": str(path.resolve()), "key": key, "step": samples_seen})

    def artifact(self, path: Path, folder: str = "") -> None:
        """See Tracker."""
        self._put({"kind": "artifact", "path": str(path.resolve()), "folder": folder})

    def close(self, status: str) -> str | None:
        """See Tracker."""
        self._put({"kind": "status", "status": status})
        self._ending.set()
        self._work.set()  # who waits for work looks whether this was the end
        self._done.wait(self._patience_s)
        waiting = self._outbox.waiting()
        if not waiting:
            return None
        return (
            f"{waiting} MLflow events wait in {self.folder} ({self._sender.trouble or 'not yet sent'}); "
            f"send them with `python -m training.tracking {self.folder.parent}`"
        )

    def _put(self, event: dict[str, Any]) -> None:
        self._outbox.append(event)
        self._work.set()

    def _send_all(self) -> None:
        pause_s = 1.0
        while True:
            self._work.wait()
            self._work.clear()
            while (event := self._outbox.next()) is not None:
                if self._sender.send(event):
                    self._outbox.sent()
                    pause_s = 1.0
                else:
                    self._ending.wait(pause_s) if not self._ending.is_set() else time.sleep(min(pause_s, 1.0))
                    pause_s = min(2 * pause_s, 60.0)
            if self._ending.is_set() and not self._outbox.waiting():
                self._done.set()
                return


class Outbox:
    """Events in a file, and how many bytes of it were sent. Appended to by one thread, read by another."""

    def __init__(self, folder: Path) -> None:
        self.path, self._cursor = folder / "outbox.jsonl", folder / "sent.json"
        data = self.path.read_bytes() if self.path.exists() else b""
        self._whole = data.rfind(b"\n") + 1
        if self._whole < len(data):  # a kill cut the last line
            os.truncate(self.path, self._whole)
        self._position = min(int(read_json(self._cursor)["bytes"]), self._whole) if self._cursor.exists() else 0
        self._length = 0
        self._lock = threading.Lock()

    def append(self, event: dict[str, Any]) -> None:
        """Add one event, with the time of now in milliseconds."""
        line = (json.dumps({**event, "time_ms": int(time.time() * 1000)}) + "\n").encode()
        with self._lock:
            try:
                append_whole(self.path, line)
                self._whole += len(line)
            except OSError as error:
                LOGGER.warning("an MLflow event is lost: %s cannot be written (%s)", self.path, error)

    def next(self) -> dict[str, Any] | None:
        """The oldest event that was not sent, or None. A torn line is no event: it is dropped with a warning."""
        while (line := self._oldest_line()) is not None:
            self._length = len(line)
            try:
                event: dict[str, Any] = json.loads(line)
                return event
            except ValueError:
                LOGGER.warning("a torn line of %s is passed over; its MLflow event is lost", self.path)
                self.sent()
        return None

    def _oldest_line(self) -> bytes | None:
        with self._lock:
            if self._position >= self._whole:
                return None
            with self.path.open("rb") as stream:
                stream.seek(self._position)
                return stream.readline()

    def sent(self) -> None:
        """The event that `next` gave is done."""
        with self._lock:
            self._position += self._length
            try:
                write_json(self._cursor, {"bytes": self._position})
            except (OSError, SamaeError) as error:
                LOGGER.warning("%s cannot be written (%s); events may be sent twice", self._cursor, error)

    def waiting(self) -> int:
        """Events that were not sent yet."""
        with self._lock:
            data = self.path.read_bytes() if self.path.exists() else b""
            return data[self._position :].count(b"\n")


class Sender:
    """Events to MLflow calls. `trouble` is the last reason why an event could not be sent."""

    def __init__(self, folder: Path, uri: str, run_id: str | None, run_name: str) -> None:
        self._card, self._uri, self._run_name = folder / "run.json", uri, run_name
        self._given, self._run_id = run_id is not None, run_id
        self._client: Any = None
        self.trouble = ""

    def send(self, event: dict[str, Any]) -> bool:
        """True when the event is done (sent, or refused for good and noted); False when it must be tried again."""
        try:
            self._connect()
            self._deliver(event)
        except Exception as error:  # whatever a tracking server does, training goes on
            self.trouble = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            if getattr(error, "error_code", "") in PERMANENT or isinstance(error, FileNotFoundError):
                LOGGER.warning("MLflow refuses a %s event for good: %s", event.get("kind"), self.trouble)
                return True
            return False
        self.trouble = ""
        return True

    def _connect(self) -> None:
        if self._client is None:
            os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
            os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
            os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
            from mlflow import MlflowClient

            self._client = MlflowClient(tracking_uri=self._uri)
        if self._run_id is None:
            self._run_id = self._own_run()

    def _own_run(self) -> str:
        if self._card.exists():
            card = read_json(self._card)
            if card["uri"] == self._uri:
                self._client.update_run(card["run_id"], status="RUNNING")
                return str(card["run_id"])
        experiment = self._client.get_experiment_by_name(EXPERIMENT)
        place = (
            experiment.experiment_id if experiment else self._client.create_experiment(EXPERIMENT, self._artifacts())
        )
        run_id = self._client.create_run(place, run_name=self._run_name).info.run_id
        write_json(self._card, {"uri": self._uri, "run_id": run_id})
        return str(run_id)

    def _artifacts(self) -> str | None:
        """Beside the database for SQLite (the default would be the working directory); a server knows its own place."""
        if not self._uri.startswith("sqlite:///"):
            return None
        return (Path(self._uri.removeprefix("sqlite:///")).resolve().parent / "artifacts").as_uri()

    def _deliver(self, event: dict[str, Any]) -> None:
        kind, client, run_id = event["kind"], self._client, self._run_id
        if kind == "metrics":
            from mlflow.entities import Metric

            rows = [Metric(key, value, event["time_ms"], event["step"]) for key, value in event["values"].items()]
            client.log_batch(run_id, metrics=rows)
        elif kind == "params":
            from mlflow.entities import Param

            client.log_batch(run_id, params=[Param(key, value) for key, value in event["values"].items()])
        elif kind == "tags":
            from mlflow.entities import RunTag

            client.log_batch(run_id, tags=[RunTag(key, value) for key, value in event["values"].items()])
        elif kind == "image":
            from PIL import Image

            with Image.open(event["path"]) as picture:
                client.log_image(run_id, picture.copy(), key=event["key"], step=event["step"], synchronous=True)
        elif kind == "artifact":
            path, folder = Path(event["path"]), event["folder"] or None
            (client.log_artifacts if path.is_dir() else client.log_artifact)(run_id, str(path), folder)
        elif kind == "status" and not self._given:
            client.set_terminated(run_id, event["status"])


def make_tracker(run_dir: Path, uri: str | None, run_id: str | None, run_name: str, *, is_main: bool) -> Tracker:
    """The tracker of a rank: MLflow on rank 0 when there is a URI, else none."""
    if not is_main or not uri:
        return NoTracker()
    write_json(run_dir / "tracking" / "target.json", {"uri": uri, "run_id": run_id, "run_name": run_name})
    return MlflowTracker(run_dir, uri, run_id, run_name)


def flush(run_dir: Path, patience_s: float = 60.0) -> int:
    """Send what waits in a run folder's outbox; the number of events that still wait."""
    target = read_json(run_dir / "tracking" / "target.json")
    outbox = Outbox(run_dir / "tracking")
    sender = Sender(run_dir / "tracking", target["uri"], target["run_id"], target["run_name"])
    deadline = time.monotonic() + patience_s
    while (event := outbox.next()) is not None and time.monotonic() < deadline:
        if sender.send(event):
            outbox.sent()
        else:
            time.sleep(min(1.0, patience_s / 10))
    return outbox.waiting()


def main(arguments: list[str]) -> int:
    """`python -m training.tracking RUN_DIR`: send what waits."""
    if len(arguments) != 1:
        print("usage: python -m training.tracking RUN_DIR", file=sys.stderr)
        return 2
    try:
        left = flush(Path(arguments[0]))
    except SamaeError as error:
        print(f"samae: {error}", file=sys.stderr)
        return 2
    print(f"{left} events wait" if left else "everything was sent")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
