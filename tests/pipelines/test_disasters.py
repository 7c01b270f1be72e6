"""What a full disk and a dying Ray worker leave behind: one sentence, whole files alone, and nothing to do twice.

The disk is full below a worker's part, and below a whole `samae demo`, where Dagster's own records cannot be written.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from assets.parts import Parts, read_part
from faces.errors import SamaeError
from faces.files import sha256_file
from pipelines.ray_pool import RayPool

pytestmark = pytest.mark.slow
TASKS, PART_BYTES, DISK_BYTES = list(range(12)), 400_000, 2 << 20


def numbers(task: int) -> np.ndarray:
    """(PART_BYTES / 8,) float64 that no file system makes smaller."""
    return np.random.default_rng(task).normal(size=PART_BYTES // 8)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MiB of its own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount(disk, f"size={DISK_BYTES}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def mount(disk: Path, options: str) -> None:
    """Make a folder a disk in memory, or change one that it is; skips where that is not allowed."""
    command = ["mount", *(() if "remount" in options else ("-t", "tmpfs")), "-o", options, "tmpfs", str(disk)]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("there is no mount command here")
    if done.returncode:
        pytest.skip(f"a small disk may not be mounted here: {done.stderr.strip()}")


def test_a_full_disk_is_one_sentence_and_the_run_goes_on_when_there_is_space(small_disk: Path) -> None:
    parts, pool, rest = Parts(small_disk, "face_masks", "00000", {}), RayPool(address="serial"), small_disk / "rest"
    rest.write_bytes(bytes(DISK_BYTES // 2))
    with pytest.raises(SamaeError, match=r"^the disk of .* is full: free some space and start again") as told:
        parts.map(pool, numbers, TASKS[:4])
    assert "\n" not in str(told.value)
    finished = sorted(parts.folder.iterdir())
    assert 0 < len(finished) < 4
    assert all(path.suffix == ".npz" for path in finished)  # nothing half-written is left
    assert all(read_part(path) is not None for path in finished)
    written = {path: path.stat().st_mtime_ns for path in finished}
    rest.unlink()
    answers = parts.map(pool, numbers, TASKS[:4])
    np.testing.assert_array_equal(answers, [numbers(task) for task in TASKS[:4]])
    assert {path: path.stat().st_mtime_ns for path in finished} == written


def test_a_disk_that_fills_below_the_whole_demo_is_one_sentence_and_the_next_start_goes_on(small_disk: Path) -> None:
    home, peace = small_disk / "home", small_disk.parent / "peace"
    mount(small_disk, "remount,size=3g")
    demo = subprocess.Popen(
        [sys.executable, "-m", "pipelines.cli", "demo", "--plain"], env=few_faces(home), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        begun = [home / where / "aligned_faces" for where in ("parts", "assets")]
        while not any(path.is_dir() for path in begun) and demo.poll() is None:
            time.sleep(0.01)
        fill(small_disk)
        _, said = demo.communicate(timeout=600)
    finally:
        demo.kill()
        demo.wait()
    assert demo.returncode == 2, said
    told = [line for line in said.splitlines() if line.startswith("samae: ")]
    assert len(told) == 1, said
    assert "disk" in told[0]
    assert "Traceback" not in said
    mount(small_disk, "remount,size=3g")
    finished = home / "assets" / "raw_faces" / "00000" / "manifest.json"
    written = finished.stat().st_mtime_ns
    shards_of(home)
    assert finished.stat().st_mtime_ns == written
    shards_of(peace)
    assert sums(home) == sums(peace) != {}


def fill(disk: Path) -> None:
    """Leave a disk in memory no byte more than is written: it is made as small as that."""
    for _ in range(200):  # whoever writes meanwhile makes the size too small to be taken
        size = shutil.disk_usage(disk).used
        if not subprocess.run(["mount", "-o", f"remount,size={size}", str(disk)], capture_output=True).returncode:
            return
    pytest.fail("the disk could not be made as small as what is on it")


def few_faces(home: Path) -> dict[str, str]:
    """The environment of a small run in this home, serial: one writer, so that the bytes are the same."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("SAMAE_", "DAGSTER_HOME"))}
    sizes = {f"SAMAE_{name}_PX": "64" for name in ("PHOTO", "ALIGNED", "PICTURE")}
    few = {"SAMAE_PHOTOGRAPHS": "24", "SAMAE_OVERRIDES": "train.batch_size=8", "SAMAE_PAIRS": "8"}
    return bare | sizes | few | {"SAMAE_RAY": "serial", "SAMAE_HOME": str(home)}


def shards_of(home: Path) -> None:
    """Make the shards, or what is missing of them."""
    script = Path(__file__).parent.parent / "integration" / "prepare_shards.py"
    done = subprocess.run([sys.executable, str(script)], env=few_faces(home), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


def sums(home: Path) -> dict[str, str]:
    """SHA-256 of every file of the shards."""
    return {path.name: sha256_file(path) for path in sorted(home.glob("shards/*/*")) if path.is_file()}


def dies_once(task: tuple[int, str]) -> np.ndarray:
    """Task 5's first worker ends as if memory had run out."""
    number, marks = task
    if number == 5 and not (mark := Path(marks) / "died").exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return np.array([number, os.getpid()])


def dies_until_mended(task: tuple[int, str]) -> np.ndarray:
    """Task 9 ends its worker until somebody mends it."""
    number, marks = task
    if number == 9 and not (Path(marks) / "mended").exists():
        os.kill(os.getpid(), signal.SIGKILL)
    return np.array([number, os.getpid()])


def test_a_dead_ray_worker_is_replaced_and_one_that_always_dies_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))  # workers import the functions of this module
    tasks = [(number, str(tmp_path)) for number in TASKS]
    pool = RayPool(address="local", cores=2)
    try:
        once = Parts(tmp_path, "face_masks", "once", {}).map(pool, dies_once, tasks)
        parts = Parts(tmp_path, "face_masks", "always", {})
        with pytest.raises(SamaeError, match="a Ray worker was lost three times"):
            parts.map(pool, dies_until_mended, tasks)
        finished = {path: path.stat().st_mtime_ns for path in parts.folder.glob("*.npz")}
        (tmp_path / "mended").touch()
        always = parts.map(pool, dies_until_mended, tasks)
    finally:
        pool.stop()
    assert (tmp_path / "died").exists()
    assert [int(answer[0]) for answer in once] == [int(answer[0]) for answer in always] == TASKS
    assert len(finished) >= len(TASKS) // 2
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    assert not list(tmp_path.rglob("*.tmp"))
