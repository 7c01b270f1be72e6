"""The loop: exact restarts, any number of ranks, orderly ends, divergence, full disks. With a toy method."""

import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import psutil
import pytest
import torch
from safetensors.torch import load_file
from shard_factory import make_shards
from toy import losses_of, toy_recipe, train_toy

from faces.errors import SamaeError
from training.engine import World
from training.process import start_with_allocator
from training.session import Diverged, Session, micro_batch_count, require_whole_groups, resume_digest, round_up
from training.snapshots import GAP_PX, LABEL_PX
from training.train import Stopper, main

TOY = Path(__file__).parent / "toy.py"


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    make_shards(folder, count=24, per_shard=8, splits={f"{i:05d}": "validation" for i in (1, 6, 11, 16)})
    return folder


@pytest.fixture(scope="module")
def whole(shards: Path, world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run, what all others are compared with."""
    run_dir = tmp_path_factory.mktemp("whole")
    assert train_toy(toy_recipe(), shards, run_dir, world).is_finished
    return run_dir


def weights(run_dir: Path, name: str = "ema") -> dict[str, torch.Tensor]:
    return load_file(sorted((run_dir / "checkpoints").iterdir())[-1] / f"{name}.safetensors")


def assert_same_weights(one: Path, two: Path) -> None:
    for name in ("ema", "generator", "discriminator", "generator_optimiser", "discriminator_optimiser"):
        a, b = weights(one, name), weights(two, name)
        assert a.keys() == b.keys()
        assert all(torch.equal(a[key], b[key]) for key in a), name


class StopAfter(Stopper):
    """Asks to stop at the n-th step."""

    def __init__(self, steps: int) -> None:
        super().__init__(0)
        self.left = steps

    def __call__(self) -> float:
        self.left -= 1
        return float(self.left <= 0)


def test_a_run_leaves_what_it_promises(whole: Path) -> None:
    lines = losses_of(whole)
    assert [line["samples_seen"] for line in lines] == list(range(4, 65, 4))
    assert lines[-1]["generator/l1"] < lines[0]["generator/l1"]
    assert {"generator/total", "generator/gradient_norm", "discriminator/r1"} <= lines[0].keys()
    assert sorted(path.name for path in (whole / "checkpoints").iterdir()) == ["000000032", "000000048", "000000064"]
    grid = cv2.imread(str(whole / "samples/000000064.png"))
    assert grid.shape == (3 * (128 + GAP_PX), LABEL_PX + 8 * (128 + GAP_PX), 3)
    card = json.loads((whole / "recipe.json").read_text())
    assert card["recipe"]["train"]["batch_size"] == 4
    assert (whole / "exported.txt").read_text() == "64"


def test_the_speed_and_the_waiting_are_told(whole: Path) -> None:
    line = json.loads((whole / "stats.jsonl").read_text().splitlines()[-1])
    assert line["perf/images_per_s"] > 0
    assert 0 <= line["perf/data_wait_percent"] <= 100
    assert 0 <= line["perf/render_percent"] <= 100
    assert line["perf/mfu_percent"] > 0


@pytest.mark.parametrize("steps", [1, 4, 7, 15])
def test_stopped_anywhere_it_goes_on_as_if_nothing_was(
    shards: Path, world: World, whole: Path, tmp_path: Path, steps: int
) -> None:
    stopped = train_toy(toy_recipe(), shards, tmp_path, world, stop=StopAfter(steps))
    assert not stopped.is_finished
    assert stopped.samples_seen == 4 * steps
    assert not (tmp_path / "exported.txt").exists()
    finished = train_toy(toy_recipe(), shards, tmp_path, world)
    assert finished.resumed_from == 4 * steps
    assert losses_of(tmp_path) == losses_of(whole)
    assert_same_weights(tmp_path, whole)


def test_means_over_several_steps_survive_a_restart(shards: Path, world: World, tmp_path: Path) -> None:
    recipe = toy_recipe(log_every_steps=3)
    train_toy(recipe, shards, tmp_path / "a", world)
    train_toy(recipe, shards, tmp_path / "b", world, stop=StopAfter(5))
    train_toy(recipe, shards, tmp_path / "b", world)
    assert losses_of(tmp_path / "a") == losses_of(tmp_path / "b")
    assert [line["samples_seen"] for line in losses_of(tmp_path / "a")] == [12, 24, 36, 48, 60, 64]


def test_a_damaged_newest_checkpoint_costs_only_its_steps(
    shards: Path, world: World, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train_toy(toy_recipe(), shards, tmp_path, world, stop=StopAfter(9))
    path = tmp_path / "checkpoints/000000036/generator.safetensors"
    path.write_bytes(path.read_bytes()[:-7])
    assert train_toy(toy_recipe(), shards, tmp_path, world).resumed_from == 32
    assert "passed over" in capsys.readouterr().err
    assert losses_of(tmp_path) == losses_of(whole)


def test_a_finished_run_started_again_does_nothing_but_end(shards: Path, world: World, tmp_path: Path) -> None:
    train_toy(toy_recipe(), shards, tmp_path, world)
    before = (tmp_path / "stats.jsonl").read_bytes()
    again = train_toy(toy_recipe(), shards, tmp_path, world)
    assert again.is_finished
    assert again.resumed_from == 64
    assert (tmp_path / "stats.jsonl").read_bytes() == before


def test_other_settings_need_another_folder(shards: Path, world: World, tmp_path: Path) -> None:
    train_toy(toy_recipe(total_kimg=0.016), shards, tmp_path, world)
    with pytest.raises(SamaeError, match="recipe_digest"):
        train_toy(toy_recipe(ema_halflife_kimg=0.5), shards, tmp_path, world)
    longer = train_toy(toy_recipe(), shards, tmp_path, world)
    assert longer.resumed_from == 16
    assert longer.is_finished


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_deepspeed_gives_the_same_run(shards: Path, world: World, whole: Path, tmp_path: Path, stage: int) -> None:
    recipe = toy_recipe(engine="deepspeed", zero_stage=stage)
    train_toy(recipe, shards, tmp_path, world, stop=StopAfter(6))
    train_toy(recipe, shards, tmp_path, world)
    for line, expected in zip(losses_of(tmp_path), losses_of(whole), strict=True):
        assert line == pytest.approx(expected, abs=1e-5)


def test_micro_batches_give_the_same_losses(shards: Path, world: World, tmp_path: Path) -> None:
    for name, micro_batch in (("whole", 0), ("halves", 4)):
        train_toy(toy_recipe(batch_size=8, micro_batch=micro_batch), shards, tmp_path / name, world)
    for line, expected in zip(losses_of(tmp_path / "halves"), losses_of(tmp_path / "whole"), strict=True):
        assert line == pytest.approx(expected, abs=1e-4)


def test_a_micro_batch_may_not_part_partners(shards: Path, world: World, tmp_path: Path) -> None:
    with pytest.raises(SamaeError, match=r"micro_batch 2 is not a multiple of 4: .* choose 0 \(0: all at once\)"):
        train_toy(toy_recipe(micro_batch=2), shards, tmp_path, world)


def test_not_a_number_stops_before_the_update_and_says_where(shards: Path, world: World, tmp_path: Path) -> None:
    with pytest.raises(Diverged, match=r"generator/total became nan at 0.020 kimg \(step 6\), before the update"):
        train_toy(toy_recipe(), shards, tmp_path, world, explode_at_step=5)
    assert all(torch.isfinite(tensor).all() for tensor in weights(tmp_path, "generator").values())
    assert [line["samples_seen"] for line in losses_of(tmp_path)][-1] == 20


def test_events_tell_the_launcher_how_far_it_is(shards: Path, world: World, tmp_path: Path) -> None:
    events: list[dict[str, Any]] = []
    train_toy(toy_recipe(), shards, tmp_path, world, on_progress=events.append)
    names = [event["event"] for event in events]
    assert names[0] == "start"
    assert names[-1] == "done"
    assert names.count("snapshot") == 2
    assert names.count("checkpoint") == 4
    progress = [event for event in events if event["event"] == "progress"]
    assert progress[-1]["kimg"] == progress[-1]["total_kimg"] == 0.064
    assert progress[-1]["losses"].keys() == {"generator", "discriminator"}
    assert progress[-1]["seconds_left"] == 0


def test_a_full_disk_keeps_the_last_good_checkpoint(
    shards: Path, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write, calls = Path.write_bytes, [0]

    def nearly_full(self: Path, data: bytes) -> int:
        calls[0] += self.suffix == ".safetensors"
        if self.suffix == ".safetensors" and calls[0] > 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(self, data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", nearly_full)
        with pytest.raises(SamaeError, match="could not be written; free some space"):
            train_toy(toy_recipe(), shards, tmp_path, world)
    assert "the last good checkpoint" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["000000016"]
    assert train_toy(toy_recipe(), shards, tmp_path, world).resumed_from == 16


def launch(shards: Path, run_dir: Path, ranks: int = 1, **train: Any) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m"]
    command += ["torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"] if ranks > 1 else []
    command = command if ranks > 1 else command[:1]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    run_dir.mkdir(parents=True, exist_ok=True)
    with (run_dir / "log.txt").open("ab") as log:
        return subprocess.Popen(
            [*command, str(TOY), str(shards), str(run_dir), json.dumps(train)],
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def test_two_ranks_give_the_run_of_one(shards: Path, whole: Path, tmp_path: Path) -> None:
    assert launch(shards, tmp_path, 2).wait(300) == 0, (tmp_path / "log.txt").read_text()
    for line, expected in zip(losses_of(tmp_path), losses_of(whole), strict=True):
        assert line == pytest.approx(expected, abs=1e-4)


def test_a_run_moves_from_two_ranks_to_one(shards: Path, world: World, whole: Path, tmp_path: Path) -> None:
    assert launch(shards, tmp_path, 2, total_kimg=0.032, engine="deepspeed", zero_stage=2).wait(300) == 0
    assert train_toy(toy_recipe(), shards, tmp_path, world).resumed_from == 32
    for line, expected in zip(losses_of(tmp_path), losses_of(whole), strict=True):
        assert line == pytest.approx(expected, abs=1e-4)


def wait_for_steps(run_dir: Path, steps: int, process: "subprocess.Popen[bytes]") -> None:
    while process.poll() is None:
        path = run_dir / "stats.jsonl"
        if path.exists() and path.read_bytes().count(b"\n") >= steps:
            return
        time.sleep(0.005)
    raise AssertionError(f"the run ended too early:\n{(run_dir / 'log.txt').read_text()[-2000:]}")


def test_sigterm_finishes_the_step_saves_and_leaves(shards: Path, tmp_path: Path) -> None:
    process = launch(shards, tmp_path, total_kimg=1000)
    wait_for_steps(tmp_path, 3, process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 143
    last = losses_of(tmp_path)[-1]["samples_seen"]
    assert (tmp_path / f"checkpoints/{int(last):09d}/manifest.json").is_file()


def kill_tree(process: "subprocess.Popen[bytes]") -> None:
    """SIGKILL to torchrun and to its ranks, which have sessions of their own."""
    family = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    for member in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    process.wait()
    psutil.wait_procs(family)


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, 2])
def test_killed_at_random_moments_it_ends_like_an_uninterrupted_run(shards: Path, tmp_path: Path, ranks: int) -> None:
    settings = {"total_kimg": 1.2, "checkpoint_kimg": 0.012, "snapshot_kimg": 1.0}
    assert launch(shards, tmp_path / "whole", ranks, **settings).wait(300) == 0
    run_dir = tmp_path / "killed"
    for steps in (2, 40, 90, 150, 230):
        process = launch(shards, run_dir, ranks, **settings)
        wait_for_steps(run_dir, steps, process)
        kill_tree(process)
    assert launch(shards, run_dir, ranks, **settings).wait(300) == 0
    assert losses_of(run_dir) == losses_of(tmp_path / "whole")
    assert_same_weights(run_dir, tmp_path / "whole")


def test_small_arithmetic_is_right() -> None:
    assert round_up(64, 4) == 64
    assert round_up(65, 4) == 68
    assert round_up(0.5, 4) == 4
    assert micro_batch_count(8, 0) == micro_batch_count(8, 8) == 1
    assert micro_batch_count(24, 8) == 3
    with pytest.raises(SamaeError, match="choose 0 or 4 "):
        micro_batch_count(12, 6)
    with pytest.raises(SamaeError, match=r"8 / 3 = 2\.67"):
        micro_batch_count(8, 3)
    for batch_size, ranks in ((6, 1), (16, 2), (16, 3)):
        require_whole_groups(batch_size, ranks)
    for rank_batch in (1, 6):
        with pytest.raises(SamaeError, match=rf"leave each {rank_batch} pictures .* train\.batch_size=8 or more"):
            require_whole_groups(2 * rank_batch, 2)
    assert resume_digest(toy_recipe()) == resume_digest(toy_recipe(total_kimg=9, workers=3, engine="deepspeed"))
    assert resume_digest(toy_recipe()) != resume_digest(toy_recipe(batch_size=8))


def test_it_starts_once_more_with_the_allocator_set(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(os, "execv", lambda path, arguments: calls.append((path, arguments)))
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "1")
    monkeypatch.delenv("MALLOC_MMAP_MAX_", raising=False)
    start_with_allocator()
    assert calls == [(sys.executable, sys.orig_argv)]
    assert os.environ["MALLOC_MMAP_MAX_"] == "0"
    assert os.environ["MALLOC_TRIM_THRESHOLD_"] == "1"
    start_with_allocator()
    assert len(calls) == 1
    monkeypatch.delenv("MALLOC_MMAP_MAX_")


def test_what_the_user_can_mend_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--shards", str(tmp_path / "none"), "--run-dir", str(tmp_path / "run")]
    assert main(["--recipe", "samea", *options]) == 2
    assert "did you mean 'samae'" in capsys.readouterr().err
    assert main(["--recipe", "samae", *options]) == 2
    error = capsys.readouterr().err
    assert error.startswith("samae: ")
    assert "materialise training_shards first" in error
    assert not (tmp_path / "run").exists()


def test_the_learning_rate_warms_up_and_falls_to_its_end() -> None:
    recipe = toy_recipe()
    optimiser = replace(recipe.optimiser, warmup_kimg=0.1, final_fraction=0.25)
    at = SimpleNamespace(recipe=replace(recipe, optimiser=optimiser), samples_seen=0, total_samples=1000)
    found = {}
    for at.samples_seen in (0, 49, 99, 100, 500, 1000, 2000):
        found[at.samples_seen] = Session.learning_rate(at, 2.0)  # type: ignore[arg-type]
    assert found == pytest.approx({0: 0.02, 49: 1.0, 99: 2.0, 100: 1.85, 500: 1.25, 1000: 0.5, 2000: 0.5})


def test_each_network_has_its_own_learning_rate(world: World, tmp_path: Path) -> None:
    """Adam's first step is the rate itself, whatever the gradient."""
    make_shards(tmp_path / "shards", count=24, splits={f"{i:05d}": "validation" for i in (1, 6, 11, 16)})
    ends = []
    for rates in ((1e-2, 1e-3), (0.0, 0.0)):
        recipe = toy_recipe(total_kimg=0.004)
        optimiser = replace(recipe.optimiser, learning_rate=rates[0], discriminator_learning_rate=rates[1])
        train_toy(replace(recipe, optimiser=optimiser), tmp_path / "shards", tmp_path / str(rates[0]), world)
        saved = tmp_path / str(rates[0]) / "checkpoints/000000004"
        ends.append([load_file(saved / f"{name}.safetensors") for name in ("generator", "discriminator")])
    for one, other, rate in zip(*ends, (1e-2, 1e-3), strict=True):
        moved = max(float((one[name] - other[name]).abs().max()) for name in one)
        assert moved == pytest.approx(rate, rel=0.01)
