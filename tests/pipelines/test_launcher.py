"""The launcher with fake trainers: progress, exit codes, and that nobody outlives a cancelled run."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import dagster as dg
import pytest

from faces.errors import SamaeError
from pipelines import launcher
from pipelines.rank import EXIT_NAME, folder_exit_code, sentence

QUIET: dict[str, str] = {}


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_progress_is_followed_to_the_last_line(tmp_path: Path) -> None:
    code = """
import json, os
with open(os.environ['SAMAE_PROGRESS'], 'a') as stream:
    for kimg in (1, 2, 3):
        stream.write(json.dumps({'event': 'progress', 'kimg': kimg, 'total_kimg': 3, 'images_per_s': 50}) + '\\n')
"""
    heard: list[tuple[float, float, str]] = []
    assert launcher.run_group(python(code), QUIET, tmp_path, 5, lambda *step: heard.append(step)) == 0
    assert heard[-1] == (3.0, 3.0, "50 images/s")


def test_an_unfinished_line_waits(tmp_path: Path) -> None:
    path = tmp_path / "progress.jsonl"
    tail = launcher.follow(path)
    assert next(tail) == []
    path.write_text('{"kimg": 1}\n{"kim')
    assert next(tail) == [{"kimg": 1}]
    path.write_text('{"kimg": 1}\n{"kimg": 2}\n')
    assert next(tail) == [{"kimg": 2}]


def test_cancelling_ends_every_process_of_the_group(tmp_path: Path) -> None:
    """The leader ignores SIGTERM and so does its child: only SIGKILL to the group ends them."""
    code = f"""
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])  # inherits what is ignored
open({str(tmp_path / "pids")!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}')
time.sleep(600)
"""
    main = threading.get_ident()

    def interrupt() -> None:
        while not (tmp_path / "pids").exists() or not (tmp_path / "pids").read_text():
            time.sleep(0.02)
        signal.pthread_kill(main, signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        launcher.run_group(python(code), QUIET, tmp_path, 0.3, lambda *_: None)
    for pid in map(int, (tmp_path / "pids").read_text().split()):
        assert not is_running(pid)


def test_a_rank_in_a_session_of_its_own_ends_too(tmp_path: Path) -> None:
    """As under torchrun: the child has left the group, ignores SIGTERM, and its parent dies at once."""
    child = f"""
import os, pathlib, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path({str(tmp_path / "pid")!r}).write_text(str(os.getpid()))
time.sleep(600)
"""
    code = f"""
import subprocess, sys, time
subprocess.Popen([sys.executable, '-c', {child!r}], start_new_session=True)
time.sleep(600)
"""
    process = subprocess.Popen(python(code), start_new_session=True)
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        time.sleep(0.02)
    launcher.end_group(process, grace_seconds=0.3)
    assert not is_running(int((tmp_path / "pid").read_text()))


def is_running(pid: int) -> bool:
    for _ in range(100):
        state = Path(f"/proc/{pid}/stat")
        if not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z":
            return False
        time.sleep(0.05)
    return True


def test_a_group_that_ends_at_sigterm_is_not_killed(tmp_path: Path) -> None:
    code = f"""
import pathlib, signal, sys, time
def leave(*_):
    pathlib.Path({str(tmp_path / "saved")!r}).write_text('checkpoint')
    sys.exit(143)
signal.signal(signal.SIGTERM, leave)
print('ready', flush=True)
time.sleep(600)
"""
    process = subprocess.Popen(python(code), stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    launcher.end_group(process, grace_seconds=30)
    assert process.returncode == 143
    assert (tmp_path / "saved").read_text() == "checkpoint"
    process.stdout.close()


@pytest.mark.parametrize(
    ("code", "log", "error", "words"),
    [
        (2, "noise\nsamae: the shards are missing: make them\n", SamaeError, "^the shards are missing: make them$"),
        (143, "", dg.Failure, "saved a checkpoint"),
        (1, "Traceback\nValueError: boom\n", dg.Failure, "ValueError: boom"),
    ],
)
def test_exit_codes(tmp_path: Path, code: int, log: str, error: type[Exception], words: str) -> None:
    (tmp_path / "log.txt").write_text(log)
    with pytest.raises(error) as caught:
        launcher._raise_for(code, "samae", tmp_path)
    text = str(caught.value) if isinstance(caught.value, SamaeError) else str(getattr(caught.value, "description", ""))
    assert re.search(words, text)


def test_divergence_is_never_retried_and_torchrun_cannot_hide_it(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text("samae: the loss is not finite\n")
    (tmp_path / EXIT_NAME).write_text(json.dumps({"code": 3}))
    assert folder_exit_code(tmp_path) == 3
    with pytest.raises(dg.Failure) as caught:
        launcher._raise_for(1, "samae", tmp_path)
    assert caught.value.allow_retries is False


def test_commands_for_one_rank_and_for_two(tmp_path: Path) -> None:
    one = launcher.training_command("samae", ["a.b=1"], tmp_path / "s", tmp_path / "r", 1)
    two = launcher.training_command("samae", [], tmp_path / "s", tmp_path / "r", 2)
    assert one[:3] == [sys.executable, "-m", "pipelines.rank"]
    assert one[-2:] == ["--set", "a.b=1"]
    assert "torch.distributed.run" in two
    assert "--nproc-per-node=2" in two
    assert int(launcher.training_environment(2)["OMP_NUM_THREADS"]) == max((os.cpu_count() or 1) // 2, 1)


def test_events_in_words() -> None:
    event = {"event": "progress", "kimg": 1.0, "total_kimg": 2.0, "losses": {"generator": 0.5}, "images_per_s": 90.0}
    assert sentence(event) == "progress: 1.00 of 2 kimg, generator 0.500, 90 images/s"
