"""training.progress: one history, means that survive a restart, durations in words, events for a launcher."""

import json
import math
from pathlib import Path

import pytest
from full_disk import disk_that_takes

from training import progress
from training.progress import Means, Reporter, Shares, duration, progress_file


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (192, "3 min 12 s"), (7500, "2 h 05 min"), (math.nan, "?")],
)
def test_durations_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_means_of_names_that_are_sometimes_absent() -> None:
    means = Means()
    means.add({"a": 1.0, "r1": 4.0})
    means.add({"a": 2.0})
    again = Means()
    again.restore(json.loads(json.dumps(means.state())))
    for kept in (means, again):
        kept.add({"a": 6.0})
        assert kept.take() == {"a": 3.0, "r1": 4.0}
        assert kept.take() == {}


def test_shares_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 1.0, 3.0, 3.0, 3.5, 10.0])
    monkeypatch.setattr(progress.time, "perf_counter", lambda: next(clock))
    shares = Shares()
    with shares.of("data"):
        pass
    with shares.of("data"):
        pass
    assert shares.take() == (10.0, {"data": 2.5})


def test_a_restart_drops_what_came_after_its_checkpoint(tmp_path: Path) -> None:
    report = Reporter(tmp_path, 100, is_main=True, on_progress=None)
    for samples_seen in (10, 20, 30):
        report.stats(samples_seen, {"x/total": 1.0})
    with (tmp_path / "stats.jsonl").open("a") as stream:
        stream.write('{"samples_seen": 40, "ki')
    report.rewind(20)
    lines = [json.loads(line) for line in (tmp_path / "stats.jsonl").read_text().splitlines()]
    assert [line["samples_seen"] for line in lines] == [10, 20]


def test_the_time_left_follows_the_speed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    report = Reporter(tmp_path, 1000, is_main=True, on_progress=None)
    assert math.isnan(report.seconds_left(0))
    report.begin(200)
    now[0] += 20
    assert report.seconds_left(400) == pytest.approx(60)


def test_events_go_to_the_file_of_the_launcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SAMAE_PROGRESS", raising=False)
    assert progress_file() is None
    monkeypatch.setenv("SAMAE_PROGRESS", str(tmp_path / "events.jsonl"))
    report = Reporter(tmp_path, 2000, is_main=True, on_progress=progress_file())
    report.stats(500, {"generator/total": 0.5, "generator/l1": 0.1, "perf/images_per_s": 90.0})
    report.event("snapshot", 500, figures={"change": 0.1})
    first, second = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert first["event"] == "progress"
    assert (first["kimg"], first["total_kimg"], first["images_per_s"]) == (0.5, 2.0, 90.0)
    assert first["losses"] == {"generator": 0.5}
    assert first["seconds_left"] is None
    assert second["figures"] == {"change": 0.1}


def test_other_ranks_are_silent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = Reporter(tmp_path, 10, is_main=False, on_progress=lambda event: pytest.fail("an event from another rank"))
    report.stats(10, {"generator/total": 0.5})
    report.say("hello")
    report.event("done", 10)
    assert capsys.readouterr().err == ""
    assert not (tmp_path / "stats.jsonl").exists()


def test_a_full_disk_does_not_stop_the_curves_from_being_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = Reporter(tmp_path / "absent", 10, is_main=True, on_progress=None)
    report.stats(10, {"generator/total": 0.5})
    assert "training goes on" in capsys.readouterr().err


def test_a_disk_that_fills_within_a_line_leaves_no_half_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "stats.jsonl"
    report = Reporter(tmp_path, 100, is_main=True, on_progress=None)
    report.stats(10, {"x/total": 1.0})
    with disk_that_takes(path, 7):
        report.stats(20, {"x/total": 1.0})
    report.stats(30, {"x/total": 1.0})
    assert [json.loads(line)["samples_seen"] for line in path.read_text().splitlines()] == [10, 30]
    assert "training goes on without this line" in capsys.readouterr().err


def test_a_line_glued_to_a_torn_one_does_not_keep_a_run_from_starting(tmp_path: Path) -> None:
    path = tmp_path / "stats.jsonl"
    whole = '{"samples_seen": 10, "kimg": 0.01, "x/total": 1.0}\n'
    path.write_text(whole + '{"samples_seen": 20, "ki' + whole.replace("10", "30") + whole.replace("10", "40"))
    Reporter(tmp_path, 100, is_main=True, on_progress=None).rewind(40)
    assert [json.loads(line)["samples_seen"] for line in path.read_text().splitlines()] == [10, 40]
