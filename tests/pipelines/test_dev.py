"""`samae dev`: a second Ctrl-C during the end leaves nobody behind, and an end by itself is one sentence."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from faces.errors import SamaeError
from pipelines.commands.dev import serve

#: A server that takes a while to end, as MLflow's does, and writes its process id when it stands.
SLOW = """
import os, pathlib, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (time.sleep(1.5), sys.exit(0)))
print("up", flush=True)
path = pathlib.Path(sys.argv[1])
path.with_suffix(".new").write_text(str(os.getpid()))
path.with_suffix(".new").rename(path)
while True:
    time.sleep(0.1)
"""
CALL = """
import os, pathlib, sys
from pipelines.commands.dev import serve
folder, slow = pathlib.Path(sys.argv[1]), sys.argv[2]
serve([[sys.executable, "-c", slow, str(folder / n)] for n in "ab"], dict(os.environ), folder / "dev.log")
"""


def test_two_signals_end_both_servers(tmp_path: Path) -> None:
    command = [sys.executable, "-c", CALL, str(tmp_path), SLOW]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        while not ((tmp_path / "a").exists() and (tmp_path / "b").exists()):
            assert process.poll() is None
            time.sleep(0.05)
        servers = [psutil.Process(int((tmp_path / name).read_text())) for name in "ab"]
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate()
    assert process.returncode == 0
    assert said == "samae: closed\n"
    assert not [server for server in servers if server.is_running()]
    assert (tmp_path / "dev.log").read_text() == "up\nup\n"


def test_a_server_that_ends_by_itself_is_told(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(SamaeError, match=r"a page ended by itself; the last lines of .*dev\.log say why"):
        serve([[sys.executable, "-c", "print('no port')"]], dict(os.environ), tmp_path / "dev.log")
    assert (tmp_path / "dev.log").read_text() == "no port\n"
    assert signal.getsignal(signal.SIGINT) is before
