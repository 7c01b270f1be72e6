"""A day in the life, for real at small size: sensors, schedule, cancelled training, dead servers, gate, rollback.

Every step is a process of its own, as Dagster's daemon and a person at a terminal start them.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from assets.promotion import CHAMPION, PREVIOUS
from faces.files import read_json
from faces.synthetic.dataset import write_dataset
from pipelines.tracking import MlflowTracking
from tests.browser import until
from tests.integration.conftest import environment
from tests.integration.pages import answers, free_ports
from tests.integration.ray_head import start_head
from tests.processes import kill_family

pytestmark = [pytest.mark.slow, pytest.mark.integration]
QUICK = "train.batch_size=8,train.log_every_steps=1"
#: The first champion shows much of its target through a soft edge, and the better model keeps inside the face, so that
#: the gate's every floor is clear of noise on the few people of the day.
FIRST = f"{QUICK},mask.feather_px=40,mask.swap_dilate_px=12"
BETTER = f"{QUICK},mask.feather_px=10,mask.swap_dilate_px=0,train.init_from=samae-people"
FOLDER_ASSETS = [
    "aligned_faces", "face_coefficients", "face_masks", "identity_embeddings", "neutral_albedo", "raw_faces",
]  # fmt: skip


class Day:
    """A home, a folder of photographs, and today's settings, which later steps change."""

    def __init__(self, folder: Path) -> None:
        self.home, self.raw = folder / "home", folder / "photographs"
        self.settings = {
            "SAMAE_RAW": str(self.raw), "SAMAE_RECIPES": "samae", "SAMAE_PAIRS": "60", "SAMAE_RANKS": "1",
            "SAMAE_KIMG": "samae=0.064", "SAMAE_GRACE_SECONDS": "60", "SAMAE_OVERRIDES": FIRST,
        }  # fmt: skip

    def photographs(self, count: int, first: int = 0) -> None:
        write_dataset(self.raw, count, 64, people=60, seed=3, first=first, workers=2)

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", *arguments], env=environment(self.home, **self.settings), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def run(self, *arguments: str) -> str:
        process = self.start(*arguments)
        out, err = process.communicate()
        assert process.returncode == 0, f"{arguments}\n{out[-2000:]}\n{err[-4000:]}"
        return out

    def tick(self, *arguments: str) -> list[dict[str, Any]]:
        return told(self.run("tests.integration.tick", *arguments))

    def runs(self) -> list[Path]:
        return sorted((self.home / "runs").glob("*"))

    def progress(self, number: int) -> list[dict[str, Any]]:
        """What the newest run told so far, when it is run `number`."""
        path = self.runs()[-1] / "progress.jsonl" if len(self.runs()) == number else Path("none")
        lines = path.read_text().splitlines() if path.is_file() else []
        return [json.loads(line) for line in lines if line.endswith("}")]

    def tracking(self) -> MlflowTracking:
        store = f"sqlite:///{self.home / 'mlflow' / 'mlflow.db'}"
        return MlflowTracking(uri=store, home=str(self.home / "mlflow"))

    def judged(self) -> dict[str, int]:
        """The files of rows that were judged so far, and when each was written."""
        folder = self.home / "cache" / "judged"
        return {path.name: path.stat().st_mtime_ns for path in folder.glob("[!.]*.parquet")}

    def verdict(self) -> dict[str, Any]:
        return read_json(self.home / "assets" / "champion" / "all" / "verdict.json")


def told(out: str) -> list[dict[str, Any]]:
    """The JSON lines of a tick; MLflow prints addresses of its own between them."""
    return [json.loads(line) for line in out.splitlines() if line.startswith("{")]


@pytest.fixture
def day(tmp_path: Path) -> Day:
    made = Day(tmp_path)
    made.photographs(48)
    return made


def test_a_day_in_the_life(day: Day) -> None:
    start_on_nothing(day)
    new_folder(day)
    cancelled(day)
    resumed_and_dead_ray(day)
    dead_mlflow(day)
    worse_is_refused(day)
    previous = day.tracking().aliases()[PREVIOUS]
    assert f"version {previous} is champion again" in day.run("pipelines.cli", "models", "rollback")
    assert day.tracking().aliases()[CHAMPION] == previous


def start_on_nothing(day: Day) -> None:
    """The sensors make everything, once; on Monday there is nothing to do."""
    done = day.tick()
    assert [(run["job"], run["partition"]) for run in done] == [
        ("find_photographs", None), ("prepare_folder", "00000"), ("make_shards", None), ("train_recipe", "samae"),
        ("promote", None),
    ], done  # fmt: skip
    assert all(run["success"] for run in done), done
    assert day.tracking().aliases()[CHAMPION] == "1", day.verdict()
    (answer,) = day.tick("--monday")
    assert "every model was trained on today's data" in answer["skipped"]


def new_folder(day: Day) -> None:
    """Only its own stages run, then the shards; training waits for Monday."""
    day.photographs(8, first=1000)
    done = day.tick()
    assert all(run["success"] for run in done), done
    assert [(run["job"], run["partition"]) for run in done if run["job"] != "find_photographs"] == [
        ("prepare_folder", "01000"), ("make_shards", None),
    ], done  # fmt: skip
    assert next(run["made"] for run in done if run["job"] == "prepare_folder") == FOLDER_ASSETS


def cancelled(day: Day) -> None:
    """A training from better weights is interrupted, and leaves a checkpoint and a closed MLflow run."""
    day.settings |= {"SAMAE_OVERRIDES": BETTER, "SAMAE_KIMG": "samae=0.4"}
    training = day.start("pipelines.cli", "train", "--recipe", "samae")
    until(lambda: any(line["kimg"] >= 0.016 for line in day.progress(2) if "kimg" in line), "a training step", 240)
    family = psutil.Process(training.pid).children(recursive=True)
    training.send_signal(signal.SIGINT)
    training.communicate()
    assert training.returncode not in (0, None)
    assert not [one for one in family if one.is_running() and "pipelines.rank" in " ".join(one.cmdline())]
    assert 16 <= samples_seen(day.runs()[-1]) < 400
    newest = day.tracking().client.search_runs([day.tracking().experiment_id], "tags.`samae.kind` = 'training'")[0]
    assert newest.info.status == "KILLED"


def samples_seen(run_dir: Path) -> int:
    """Of the one checkpoint there is."""
    (checkpoint,) = (run_dir / "checkpoints").glob("[0-9]*")
    return int(checkpoint.name)


def resumed_and_dead_ray(day: Day) -> None:
    """Monday's run trains on where it stopped. Ray is killed while it judges, and the run says so; once Ray is back,
    the rest alone is done, and the model is promoted."""
    interrupted, seen, old = day.runs()[-1], samples_seen(day.runs()[-1]), day.judged()
    with ray_cluster(day) as head:
        monday = day.start("tests.integration.tick", "--monday", "--hold", str(day.raw.parent))
        try:  # one task of the judgement ends and the others wait, so that work is left whatever the speed
            until(lambda: monday.poll() is not None or day.judged().keys() - old.keys(), "the first rows", 1800)
            kill_family(head)
            out, err = monday.communicate()
        finally:
            kill_family(monday)
    assert told(out), (out, err)
    (failed,) = told(out)
    assert (failed["job"], failed["success"], failed["made"]) == ("train_recipe", False, ["swap_model"]), (out, err)
    assert "RayLost: Ray has ended under this run (" in failed["error"], failed
    assert day.runs()[-1] == interrupted
    assert next(line for line in day.progress(2) if line["event"] == "start")["resumed_from"] == seen
    judged = day.judged()
    with ray_cluster(day):
        done = day.tick()
    assert [(run["job"], run["made"]) for run in done] == [
        ("train_recipe", ["swap_evaluation"]), ("promote", ["champion", "leaderboard"]),
    ], done  # fmt: skip
    assert all(run["success"] for run in done), done
    assert day.judged().items() > judged.items()
    assert len(day.runs()) == 2
    assert day.tracking().aliases()[CHAMPION] == "2", day.verdict()
    assert day.tracking().aliases()[PREVIOUS] == "1"


def dead_mlflow(day: Day) -> None:
    """MLflow is killed while a model trains and comes back: the run goes on and nothing is missing."""
    (port,) = free_ports(1)
    day.settings |= {"SAMAE_MLFLOW_URI": f"http://127.0.0.1:{port}", "SAMAE_KIMG": "samae=0.096", "SAMAE_SEED": "1"}
    server = mlflow_server(day, port)
    try:
        monday = day.start("tests.integration.tick", "--monday")
        until(lambda: any("kimg" in line and line["kimg"] > 0 for line in day.progress(3)), "a training step", 240)
        kill_family(server)
        server = mlflow_server(day, port)
        out, err = monday.communicate()
        done = told(out)
        assert [(run["job"], run["success"]) for run in done] == [("train_recipe", True), ("promote", True)], (out, err)
        tracking = day.tracking()
        trained = tracking.client.search_runs([tracking.experiment_id], "tags.`samae.kind` = 'training'")[0]
        history = tracking.client.get_metric_history(trained.info.run_id, "generator/total")
        stats = [json.loads(line) for line in (day.runs()[-1] / "stats.jsonl").read_text().splitlines()]
        assert {point.step for point in history} == {line["samples_seen"] for line in stats}
        assert trained.info.status == "FINISHED"
    finally:
        kill_family(server)
        del day.settings["SAMAE_MLFLOW_URI"]


def worse_is_refused(day: Day) -> None:
    """Weights from nothing do not replace the champion, and the verdict says why."""
    before = day.tracking().aliases()[CHAMPION]
    day.settings |= {"SAMAE_OVERRIDES": QUICK, "SAMAE_KIMG": "samae=0.032"}
    done = day.tick("--monday")
    assert [run["job"] for run in done] == ["train_recipe", "promote"], done
    assert day.verdict()["promoted"] is None
    assert any("identity_similarity" in reason for reason in day.verdict()["verdicts"][0]["reasons"])
    assert day.tracking().aliases()[CHAMPION] == before


@contextlib.contextmanager
def ray_cluster(day: Day) -> Iterator["subprocess.Popen[bytes]"]:
    """A Ray cluster that the day's runs use inside the block; its head."""
    folder = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))
    head, address = start_head(folder, "--include-dashboard=false")
    day.settings["SAMAE_RAY"] = address
    try:
        yield head
    finally:
        kill_family(head)
        shutil.rmtree(folder, ignore_errors=True)
        del day.settings["SAMAE_RAY"]


def mlflow_server(day: Day, port: int) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{day.home / 'mlflow' / 'mlflow.db'}"]
    command += ["--default-artifact-root", (day.home / "mlflow" / "artifacts").as_uri()]
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    server = subprocess.Popen(
        command, env=os.environ | quiet, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    until(lambda: answers(f"http://127.0.0.1:{port}/health"), "the MLflow server", 240)
    return server
