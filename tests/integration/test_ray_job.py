"""Training as a Ray job on a real cluster with a real job server: interrupted, resumed. And a driver that joins."""

import json
import os
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

from faces.files import is_complete
from pipelines.launcher import TRAINING_ENVIRONMENT, Launcher, trainer_arguments
from pipelines.ray_pool import QUIET_ENVIRONMENT
from tests.browser import until
from tests.integration.conftest import Whole
from tests.integration.pages import answers, free_ports

pytestmark = [pytest.mark.slow, pytest.mark.integration]


@pytest.fixture(scope="module")
def cluster() -> Iterator[tuple[str, str]]:
    """(address of the job server, address of the head) of a cluster with two cores."""
    pytest.importorskip("aiohttp_cors", reason="no ray[default] here: pip install -e '.[cluster]'")
    pytest.importorskip("opencensus", reason="no ray[default] here: pip install -e '.[cluster]'")
    port, page, client, agent = free_ports(4)
    folder = tempfile.mkdtemp(prefix="ray", dir="/tmp")  # short: sockets lie in it
    program = Path(sys.executable).parent / "ray"
    command = [
        str(program), "start", "--head", "--block", f"--port={port}", "--num-cpus=2", "--node-ip-address=127.0.0.1",
        "--dashboard-host=127.0.0.1", f"--dashboard-port={page}", f"--dashboard-agent-listen-port={agent}",
        f"--ray-client-server-port={client}", f"--temp-dir={folder}", "--object-store-memory=100000000",
    ]  # fmt: skip
    quiet = os.environ | QUIET_ENVIRONMENT
    head = subprocess.Popen(
        command, env=quiet, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        until(lambda: answers(f"http://127.0.0.1:{page}/api/version"), "Ray's job server", 180)
        until(lambda: answers(f"http://127.0.0.1:{page}/nodes?view=summary"), "Ray's node", 180)
        yield f"http://127.0.0.1:{page}", f"127.0.0.1:{port}"
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


def test_a_job_is_stopped_with_a_checkpoint_and_the_next_one_goes_on(
    cluster: tuple[str, str], whole: Whole, tmp_path: Path
) -> None:
    from training.checkpoints import CheckpointStore

    (shards,) = (whole.home / "shards").iterdir()
    launcher = Launcher(launch=f"ray:{cluster[0]}", grace_seconds=60)
    small = ["size_px=64", "train.batch_size=8", "train.log_every_steps=1"]
    heard: list[float] = []

    def train(kimg: float) -> int:
        arguments = trainer_arguments("simswap", [*small, f"train.total_kimg={kimg}"], shards, tmp_path)
        return launcher.start(arguments, 2, TRAINING_ENVIRONMENT, tmp_path, lambda done, *_: heard.append(done))

    main = threading.get_ident()

    def interrupt() -> None:
        while not any(event["event"] == "progress" for event in events(tmp_path)):
            time.sleep(0.1)
        signal.pthread_kill(main, signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        train(1000)
    ours = [one for one in psutil.process_iter(["cmdline"]) if str(tmp_path) in " ".join(one.info["cmdline"] or [])]
    assert ours == []
    seen = CheckpointStore(tmp_path / "checkpoints").newest()
    assert seen
    assert (tmp_path / "order.json").stat().st_mode & 0o077 == 0

    assert train((seen + 16) / 1000) == 0
    assert next(event for event in events(tmp_path) if event["event"] == "start")["resumed_from"] == seen
    assert is_complete(tmp_path / "export")
    assert heard[-1] == pytest.approx((seen + 16) / 1000)
    assert (tmp_path / "log.txt").stat().st_size > 0


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
    code += "print(pool.map(abs, [-1, 2, -3]), pool.start().cluster_resources()['CPU'])"
    address = f"join:{cluster[1]}"
    done = subprocess.run([sys.executable, "-c", code, address], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[1, 2, 3] 2.0", done.stderr[-3000:]
    own = [one for one in psutil.process_iter(["cmdline"]) if f"--address={cluster[1]}" in (one.info["cmdline"] or [])]
    assert own == []
