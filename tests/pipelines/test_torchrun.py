"""torchrun's ends: a sentence and a code, no traceback of its own; the ranks' words stay."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.browser import until

START = [sys.executable, "-m", "pipelines.torchrun", "--standalone", "--nproc-per-node=2", "--max-restarts=0"]


def test_a_rank_that_fails_is_named_and_keeps_the_last_word(tmp_path: Path) -> None:
    script = tmp_path / "rank.py"
    script.write_text("import os, sys\nsys.exit('the shards are gone' if os.environ['RANK'] == '1' else 0)\n")
    done = subprocess.run([*START, str(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "the shards are gone" in done.stderr
    assert done.stderr.rstrip().endswith("torchrun: rank 1 ended first, with code 1")
    assert "Traceback" not in done.stderr


def test_stopped_by_a_signal(tmp_path: Path) -> None:
    script = tmp_path / "rank.py"
    script.write_text(
        "import os, pathlib, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))\n"
        f"(pathlib.Path({str(tmp_path)!r}) / ('up' + os.environ['RANK'])).touch()\n"
        "time.sleep(600)\n"
    )
    process = subprocess.Popen([*START, str(script)], stderr=subprocess.PIPE, text=True, env=os.environ)
    until(lambda: (tmp_path / "up0").exists() and (tmp_path / "up1").exists(), "both ranks", 120)
    process.send_signal(signal.SIGTERM)
    words = process.communicate()[1]
    assert process.returncode == 143
    assert words.rstrip().endswith("torchrun: stopped by SIGTERM, which the ranks got as well")
    assert "Traceback" not in words
