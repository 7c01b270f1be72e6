"""The launcher with fake trainers: progress, exit codes, and that nobody outlives a cancelled run."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from faces.errors import SamaeError
from faces.files import write_json
from faces.lock import sole_writer
from pipelines import hosts, launcher, node
from pipelines.group import end_group
from pipelines.rank import EXIT_NAME, folder_exit_code, sentence
from pipelines.ray_job import JOB_NAME

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
    assert heard[-1] == (3.0, 3.0, "50.0 images/s")


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
    end_group(process, grace_seconds=0.3)
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
    end_group(process, grace_seconds=30)
    assert process.returncode == 143
    assert (tmp_path / "saved").read_text() == "checkpoint"
    process.stdout.close()


@pytest.mark.parametrize(
    ("code", "log", "error", "words"),
    [
        (2, "noise\nsamae: the shards are missing: make them\n", SamaeError, "^the shards are missing: make them$"),
        (143, "", dg.Failure, "saved a checkpoint"),
        (1, "Traceback\nValueError: boom\n", dg.Failure, "ValueError: boom"),
        (4, "samae: rank 0 of 2 lost touch\n", dg.Failure, "lost a host; the next start goes on .*: rank 0 of 2 lost"),
        (255, "samae: host b ended with code 255\n", dg.Failure, "lost a host; .* host b ended"),
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


@pytest.mark.parametrize(("code", "is_retried"), [(143, False), (1, False), (4, True), (255, True)])
def test_a_training_that_was_stopped_is_not_begun_again_unless_a_host_was_lost(
    tmp_path: Path, code: int, is_retried: bool
) -> None:
    """`train.max_hours` or a signal; 1 is what torchrun makes of its ranks' 143."""
    (tmp_path / "log.txt").touch()
    (tmp_path / EXIT_NAME).write_text(json.dumps({"code": 143}))
    with pytest.raises(dg.Failure, match="saved a checkpoint") as caught:
        launcher._raise_for(code, "samae", tmp_path)
    assert caught.value.allow_retries is is_retried


def test_commands_for_one_rank_and_for_two(tmp_path: Path) -> None:
    arguments = launcher.trainer_arguments("samae", ["a.b=1"], tmp_path / "s", tmp_path / "r")
    one, two = (launcher.local_command(arguments, ranks) for ranks in (1, 2))
    assert one[:4] == [sys.executable, "-P", "-m", "pipelines.rank"]
    assert one[-2:] == ["--set", "a.b=1"]
    assert "pipelines.torchrun" in two
    assert "--nproc-per-node=2" in two


def test_ranks_take_no_module_from_the_folder_that_the_user_is_in(tmp_path: Path) -> None:
    (tmp_path / "faces.py").write_text("raise SystemExit('taken from the folder')\n")
    for ranks in (1, 2):
        command = launcher.local_command(["--help"], ranks)
        done = subprocess.run(
            command, cwd=tmp_path, env=os.environ | launcher.TRAINING_ENVIRONMENT, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("usage: training.train") == ranks
    assert hosts.torchrun([hosts.Host("a", 2)], 0, 1)[1:3] == ["-P", "-m"]


def test_events_in_words() -> None:
    event = {"event": "progress", "kimg": 1.0, "total_kimg": 2.0, "losses": {"generator": 0.5}, "images_per_s": 90.0}
    assert sentence(event) == "progress: 1.00 of 2 kimg, generator 0.500, 90.0 images/s"


def test_nobody_outlives_a_launcher_that_was_killed(tmp_path: Path) -> None:
    """SIGKILL to the launcher itself: the node sees its pipe end, and the rank gets its SIGTERM and saves."""
    rank = f"""
import pathlib, signal, sys, time
def leave(*_):
    pathlib.Path({str(tmp_path / "saved")!r}).write_text('checkpoint')
    sys.exit(143)
signal.signal(signal.SIGTERM, leave)
import os
pathlib.Path({str(tmp_path / "pid")!r}).write_text(str(os.getpid()))
time.sleep(600)
"""
    code = f"""
import sys
from pathlib import Path
from typing import Any
from pipelines import hosts, launcher
launcher.run_group([sys.executable, '-c', {rank!r}], {{}}, Path({str(tmp_path)!r}), 20, lambda *_: None)
"""
    process = subprocess.Popen(python(code))
    pid = written_number(tmp_path / "pid")
    process.kill()
    process.wait()
    assert not is_running(pid)
    assert (tmp_path / "saved").read_text() == "checkpoint"


def written_number(path: Path) -> int:
    while not path.exists() or not path.read_text():
        time.sleep(0.02)
    return int(path.read_text())


def test_gloo_gets_the_interface_that_reaches_the_first_host() -> None:
    assert hosts.interface_towards("127.0.0.1") == "lo"
    assert node.network_environment("127.0.0.1") == {"GLOO_SOCKET_IFNAME": "lo"}
    assert node.network_environment("") == {}


def test_a_node_shares_out_its_own_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the launcher's host has: a node of 12 cores and 4 ranks gives each of them 3 threads."""
    monkeypatch.setattr(node, "cores", lambda: 12)
    monkeypatch.setenv("OMP_NUM_THREADS", "77")
    said = tmp_path / "said"
    asked = f"""
import os, pathlib
words = os.environ['OMP_NUM_THREADS'], os.environ['NUMBA_NUM_THREADS']
pathlib.Path({str(said)!r}).write_text(' '.join(words))
"""
    for slots, threads in ((4, "3 3"), (1, "12 12"), (99, "1 1")):
        order = launcher.make_order(python(asked), launcher.TRAINING_ENVIRONMENT, tmp_path, 5, slots)
        assert node.supervise(order, threading.Event()) == 0
        assert said.read_text() == threads


def test_one_failed_node_ends_the_others(tmp_path: Path) -> None:
    """Two nodes: the second fails, the first would train for ever."""
    first = f"""
import os, pathlib, time
pathlib.Path({str(tmp_path / "pid")!r}).write_text(str(os.getpid()))
time.sleep(600)
"""
    second = (
        f"import pathlib, sys, time\nwhile not pathlib.Path({str(tmp_path / 'pid')!r}).exists(): time.sleep(0.05)\n"
    )
    orders = [launcher.make_order(python(code), {}, tmp_path, 1) for code in (first, second + "sys.exit(7)")]
    pair = [(launcher.NODE, order) for order in orders]
    code = launcher.run_nodes(pair, tmp_path, 1, lambda *_: None, ["a", "b"])
    assert code == 7
    assert (tmp_path / "log.txt").read_text() == "samae: host b ended with code 7\n"
    assert not is_running(written_number(tmp_path / "pid"))


def test_a_hostfile_is_read_and_its_mistakes_are_named(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text("# two machines\nnode-a slots=2\n\n10.0.0.2 slots=4  # the new one\n")
    found = hosts.read_hostfile(path)
    assert found == [hosts.Host("node-a", 2), hosts.Host("10.0.0.2", 4)]
    command = hosts.torchrun(found, 1, 29400)
    assert {"--nnodes=2", "--node-rank=1", "--nproc-per-node=4", "--master-addr=node-a"} <= set(command)
    hosts.require_ranks(found, 6)
    with pytest.raises(SamaeError, match="6 slots and SAMAE_RANKS is 8"):
        hosts.require_ranks(found, 8)
    for text in ("", "a slots=0", "a b c", "-oProxyCommand=x", "a\na"):
        path.write_text(text)
        with pytest.raises(SamaeError, match="hosts"):
            hosts.read_hostfile(path)


def test_nodes_of_a_hostfile_start_by_the_remote_shell(tmp_path: Path) -> None:
    """What is typed in on either host, and what goes there by standard input."""
    (tmp_path / "hosts").write_text("a slots=1\nb slots=2\n")
    seen: list[Any] = []
    made = launcher.Launcher(launch=f"hosts:{tmp_path / 'hosts'}", remote_shell="ssh -x")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NCCL_SOCKET_IFNAME", "eth7")
        patch.setattr(launcher, "run_nodes", lambda nodes, *rest: seen.extend(nodes) or 0)
        assert made.start(["--recipe", "x"], 3, {"A": "1"}, tmp_path, lambda *_: None) == 0
    for (command, order), name in zip(seen, ("a", "b"), strict=True):
        assert command == ["ssh", "-x", name, *launcher.NODE]
        assert order["environment"]["NCCL_SOCKET_IFNAME"] == "eth7"
        assert order["slots"] == {"a": 1, "b": 2}[name]
        assert "OMP_NUM_THREADS" not in order["environment"]
        assert order["command"][-3:] == ["pipelines.rank", "--recipe", "x"]


def test_a_ray_job_that_nobody_can_ask_about_is_named_with_the_command_that_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its job server is gone, and something still trains in the folder; a free folder is not kept from anybody."""
    monkeypatch.setattr(launcher, "PATIENCE_S", 0.0)
    with socket.socket() as taken:  # bound and not listening: whoever connects is refused
        taken.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        write_json(tmp_path / JOB_NAME, {"address": f"http://ann:word@{place}", "job": "samae_1"})
        taken_by = f"a training writes into {tmp_path} already .*; the Ray job of a launcher that is gone"
        refused = pytest.raises(dg.Failure, match=f"^{taken_by}.*: ray job stop --address http://{place} samae_1$")
        with sole_writer(tmp_path), refused as caught, launcher.sole_launcher(tmp_path, 60, print):
            pass
        assert not {"ann", "word"} & set(re.findall(r"\w+", str(caught.value.description)))
        with launcher.sole_launcher(tmp_path, 60, print):
            pass
    assert (tmp_path / JOB_NAME).exists()
