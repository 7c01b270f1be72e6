"""What a full disk and a dying Ray worker leave behind: one sentence, whole files alone, and nothing to do twice."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from assets.parts import Parts, read_part
from faces.errors import SamaeError
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
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(disk)]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("there is no mount command here")
    if done.returncode:
        pytest.skip(f"a small disk may not be mounted here: {done.stderr.strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


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
