"""One writer a folder: living holders are waited for and named, dead ones never block, nothing else is touched."""

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from faces import lock
from faces.errors import SamaeError
from faces.lock import WRITER_NAME, FolderTaken, sole_writer

HOLD = "import sys, time; from pathlib import Path; from faces.lock import sole_writer\n"
HOLD += "with sole_writer(Path(sys.argv[1])):\n    print('held', flush=True); time.sleep(600)"
#: As the file server of a host that is gone: the lock is kept, the file says another machine. An argument: it beats.
ELSEWHERE = """
import fcntl, json, os, sys, time
file = open(sys.argv[1], 'w+')
fcntl.flock(file, fcntl.LOCK_EX)
file.write(json.dumps({'host': 'far', 'machine': 'another', 'process': 7, 'since': 'yesterday'})); file.flush()
print('held', flush=True)
while True:
    time.sleep(0.05)
    if sys.argv[2:]: os.utime(file.fileno())
"""


@contextmanager
def running(code: str, *arguments: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that holds the lock."""
    process = subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_living_holder_is_named_and_its_folder_is_left_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with running(HOLD, str(folder)) as holder:
        (folder / "exit.json").write_text("{}")
        before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}
        said: list[str] = []
        with pytest.raises(FolderTaken) as told, sole_writer(folder, patience_s=0.6, say=said.append):
            pytest.fail("two writers")
        words = (
            f"a training writes into {folder} already (process {holder.pid} on host {socket.gethostname()}, since 20"
        )
        assert str(told.value).startswith(words)
        assert str(told.value).endswith("wait until it ends, end it there, or give this one a run folder of its own")
        assert said == [f"{told.value} (waiting up to 0.6 s for its end)"]
        assert {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()} == before
        holder.kill()
        with sole_writer(folder):
            assert json.loads((folder / WRITER_NAME).read_bytes())["process"] == os.getpid()
    with sole_writer(folder, patience_s=0.0):  # it was given back
        pass


def test_a_holder_that_is_ending_is_waited_for(tmp_path: Path) -> None:
    with running(HOLD, str(tmp_path)) as holder, sole_writer(tmp_path, say=lambda _: holder.kill()):
        assert holder.wait() == -9


def test_a_holder_on_a_host_that_is_gone_is_replaced_and_one_that_lives_is_not(tmp_path: Path) -> None:
    file, said = tmp_path / WRITER_NAME, list[str]()
    refused = pytest.raises(FolderTaken, match=r"\(process 7 on host far, since yesterday\)")
    with running(ELSEWHERE, str(file), "beats"), refused, sole_writer(tmp_path, patience_s=5.0):
        pytest.fail("two writers")
    with running(ELSEWHERE, str(file)), sole_writer(tmp_path, patience_s=0.3, say=said.append):
        assert said[1] == f"{tmp_path}: its writer on host far gave no sign for 0.3 s and is gone"
        with pytest.raises(FolderTaken, match=f"process {os.getpid()} "):
            sole_writer(tmp_path, patience_s=0.0).__enter__()


def test_a_holder_shows_that_it_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "HEARTBEAT_S", 0.01)
    beaten = threading.Event()
    real = os.utime
    monkeypatch.setattr(os, "utime", lambda handle: (real(handle), beaten.set()))
    with sole_writer(tmp_path):
        assert beaten.wait(60)


def test_a_folder_that_is_removed_meanwhile_is_made_anew(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with running(HOLD, str(folder)), sole_writer(folder, say=lambda _: shutil.rmtree(folder)):
        assert (folder / WRITER_NAME).is_file()


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SamaeError, match="cannot be written"), sole_writer(tmp_path / "file" / "run"):
        pytest.fail("no folder")
