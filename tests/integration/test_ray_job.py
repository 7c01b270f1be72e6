"""Training as a Ray job, on a real cluster and job server: interrupted, left, resumed. And a driver that joins."""

import json
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from assets.ports import Progress
from faces.files import is_complete, read_json
from faces.lock import to_standard_error
from pipelines.launcher import TRAINING_ENVIRONMENT, Launcher, sole_launcher, trainer_arguments
from pipelines.ray_job import JOB_NAME
from tests.browser import until
from tests.integration.conftest import Whole
from tests.integration.pages import answers, free_ports
from tests.integration.ray_head import start_head
from tests.processes import kill_family

pytestmark = [pytest.mark.slow, pytest.mark.integration]
ROOT = Path(__file__).parent.parent.parent
GRACE_S = 60.0


@pytest.fixture(scope="module")
def cluster() -> Iterator[tuple[str, str]]:
    """(address of the job server, address of the head) of a cluster with two cores."""
    pytest.importorskip("aiohttp_cors", reason="no ray[default] here: pip install -e '.[cluster]'")
    pytest.importorskip("opencensus", reason="no ray[default] here: pip install -e '.[cluster]'")
    (page,) = free_ports(1)
    folder = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))
    head, address = start_head(folder, "--dashboard-host=127.0.0.1", f"--dashboard-port={page}")
    try:
        until(lambda: answers(f"http://127.0.0.1:{page}/api/version"), "Ray's job server", 180)
        until(lambda: answers(f"http://127.0.0.1:{page}/nodes?view=summary"), "Ray's node", 180)
        yield f"http://127.0.0.1:{page}", address
    finally:
        family = psutil.Process(head.pid).children(recursive=True)
        head.send_signal(signal.SIGTERM)
        head.wait(60)
        for one in psutil.wait_procs(family, 10)[1]:
            one.kill()
        shutil.rmtree(folder, ignore_errors=True)


def events(run_dir: Path) -> list[dict[str, Any]]:
    path = run_dir / "progress.jsonl"
    lines = path.read_text().splitlines() if path.is_file() else []
    return [json.loads(line) for line in lines if line.endswith("}")]


def is_training(run_dir: Path) -> bool:
    return any(event["event"] == "progress" for event in events(run_dir))


def in_folder(run_dir: Path) -> list[psutil.Process]:
    """Who has the run's folder in his command line."""
    return [one for one in psutil.process_iter(["cmdline"]) if str(run_dir) in " ".join(one.info["cmdline"] or [])]


def train(job_server: str, shards: Path, run_dir: Path, kimg: float, progress: Progress = lambda *_: None) -> int:
    """Train so far as a Ray job, as the folder's only launcher; the exit code."""
    settings = ["size_px=64", "train.batch_size=8", "train.log_every_steps=1", f"train.total_kimg={kimg}"]
    arguments = trainer_arguments("simswap", settings, shards, run_dir)
    with sole_launcher(run_dir, GRACE_S, to_standard_error):
        launcher = Launcher(launch=f"ray:{job_server}", grace_seconds=GRACE_S)
        return launcher.start(arguments, 2, TRAINING_ENVIRONMENT, run_dir, progress)


def goes_on(job_server: str, shards: Path, run_dir: Path) -> None:
    """The next start trains 16 pictures more than the last checkpoint has, to the end."""
    from training.checkpoints import CheckpointStore

    heard: list[float] = []
    seen = CheckpointStore(run_dir / "checkpoints").newest()
    assert seen
    assert train(job_server, shards, run_dir, (seen + 16) / 1000, lambda done, *_: heard.append(done)) == 0
    assert next(event for event in events(run_dir) if event["event"] == "start")["resumed_from"] == seen
    assert is_complete(run_dir / "export")
    assert heard[-1] == pytest.approx((seen + 16) / 1000)
    assert not (run_dir / JOB_NAME).exists()


def test_a_job_is_stopped_with_a_checkpoint_and_the_next_one_goes_on(
    cluster: tuple[str, str], whole: Whole, tmp_path: Path
) -> None:
    (shards,) = (whole.home / "shards").iterdir()
    main = threading.get_ident()

    def interrupt() -> None:
        while not is_training(tmp_path):
            time.sleep(0.1)
        signal.pthread_kill(main, signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        train(cluster[0], shards, tmp_path, 1000)
    assert in_folder(tmp_path) == []
    assert (tmp_path / "order.json").stat().st_mode & 0o077 == 0
    goes_on(cluster[0], shards, tmp_path)
    assert (tmp_path / "log.txt").stat().st_size > 0


def test_a_job_that_a_killed_launcher_left_is_stopped_by_the_next_one(
    cluster: tuple[str, str], whole: Whole, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (shards,) = (whole.home / "shards").iterdir()
    code = "import sys; from pathlib import Path; from tests.integration.test_ray_job import train; "
    code += "train(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), 1000)"
    launcher = subprocess.Popen([sys.executable, "-c", code, cluster[0], str(shards), str(tmp_path)], cwd=ROOT)
    try:
        until(lambda: launcher.poll() is not None or is_training(tmp_path), "a training step", 240)
    finally:
        kill_family(launcher)
    job = read_json(tmp_path / JOB_NAME)["job"]
    assert (tmp_path / JOB_NAME).stat().st_mode & 0o077 == 0
    assert [one for one in in_folder(tmp_path) if "pipelines.rank" in one.cmdline()]
    with sole_launcher(tmp_path, GRACE_S, to_standard_error):
        assert in_folder(tmp_path) == []
    said = capfd.readouterr().err
    assert f"the Ray job {job} of a launcher that is gone trains in {tmp_path}: it is stopped with a checkpoint" in said
    goes_on(cluster[0], shards, tmp_path)


def test_a_job_that_refuses_says_why_and_looks_for_weights_where_its_launcher_does(
    cluster: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAMAE_WEIGHTS", str(tmp_path / "weights"))
    arguments = trainer_arguments("simswap", [], tmp_path / "none", tmp_path)
    launcher = Launcher(launch=f"ray:{cluster[0]}", grace_seconds=60)
    assert launcher.start(arguments, 1, TRAINING_ENVIRONMENT, tmp_path, lambda *_: None) == 2
    assert "samae: " in (tmp_path / "log.txt").read_text()
    order = json.loads((tmp_path / "order.json").read_text())
    assert order["environment"]["SAMAE_WEIGHTS"] == str(tmp_path / "weights")


def test_a_driver_joins_and_leaves(cluster: tuple[str, str]) -> None:
    """What compose and Kubernetes set for runs, in a process of its own; the work is done by the cluster's cores."""
    code = "import sys; from pipelines.ray_pool import RayPool; pool = RayPool(address=sys.argv[1]); "
    code += "print(pool.map(eval, ['-1', '2', '__import__(\"ray\").cluster_resources()[\"CPU\"]']))"
    address = f"join:{cluster[1]}"
    done = subprocess.run([sys.executable, "-c", code, address], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[-1, 2, 2.0]", done.stderr[-3000:]
    own = [one for one in psutil.process_iter(["cmdline"]) if f"--address={cluster[1]}" in (one.info["cmdline"] or [])]
    assert own == []
