"""Benchmarks: how settings are read, and what an answer holds."""

import inspect
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import demo, fit, stages
from faces.errors import SamaeError
from faces.files import write_json
from faces.fitting import FitSettings
from faces.masks import OccluderSettings
from faces.treatment import PHOTOGRAPH_FIT, PHOTOGRAPH_OCCLUDERS
from pipelines.commands import bench
from pipelines.commands.demo import keep_time


@pytest.mark.parametrize("name", bench.names())
def test_every_benchmark_keeps_the_contract(name: str) -> None:
    module = bench.load(name)
    assert len(str(module.SUMMARY).strip().splitlines()) == 1
    assert list(inspect.signature(module.run).parameters) == ["settings"]


def test_settings_are_read_as_values() -> None:
    parsed = bench.parse(["count=3", "size=0.5", "fast=true", "name=a=b"])
    assert parsed == {"count": 3, "size": 0.5, "fast": True, "name": "a=b"}
    with pytest.raises(SamaeError, match="not KEY=VALUE"):
        bench.parse(["count"])


def test_fits_are_measured_as_generated_people_or_as_photographs() -> None:
    exact, photographs = (FitSettings(), OccluderSettings()), (PHOTOGRAPH_FIT, PHOTOGRAPH_OCCLUDERS)
    assert fit.how({}) == (*exact, False)
    assert fit.how({"landmarks": "read"}) == (*photographs, True)
    chosen, way, _ = fit.how({"landmarks": "read", "noise_percent": 1, "islands": True, "occluders": "residual"})
    assert (chosen.noise_percent, chosen.max_nme_percent) == (1, PHOTOGRAPH_FIT.max_nme_percent)
    assert way == OccluderSettings(method="residual")
    for wrong in ({"landmarks": "yes"}, {"islands": "yes"}, {"noise_percent": 0}):
        with pytest.raises(SamaeError, match=str(next(iter(wrong)))):
            fit.how(wrong)


def test_faces_that_nobody_finds_are_left_out_of_read_landmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    known = np.arange(3 * 68 * 2, dtype=float).reshape(3, 68, 2)
    near, other = known[1] + 1, known[1] + 1000
    finds = iter([[], [other, near], [other]])
    monkeypatch.setattr(fit, "load_detector", lambda: SimpleNamespace(faces=lambda image: next(finds)))
    truth = fit.with_read_landmarks({"image": np.zeros((3, 4, 4, 3)), "landmarks_px": known})
    np.testing.assert_array_equal(truth["landmarks_px"], known[[1]])
    np.testing.assert_array_equal(truth["given_px"], near[None])


def test_an_answer_says_what_was_measured_where(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        bench, "load", lambda name: SimpleNamespace(SETTINGS=("count",), run=lambda settings: {"faces_per_s": 2.5})
    )
    answer = bench.measure("anything", {"count": 1})
    assert set(answer) == {"bench", "commit", "machine", "settings", "figures"}
    assert answer["figures"] == {"faces_per_s": 2.5}
    assert "cores" in answer["machine"]
    assert "faces_per_s" in bench.table(answer)


def test_figures_of_a_demo(tmp_path: Path) -> None:
    measured = [
        {"stage": "raw_faces", "partition": "00000", "fresh": False, "seconds": 1.25},
        {"stage": "raw_faces", "partition": "01000", "fresh": False, "seconds": 2.0},
        {"stage": "swap_model", "partition": "samae", "fresh": False, "seconds": 10.0},
        {"stage": "champion", "partition": None, "fresh": True, "seconds": 0.0},
    ]
    write_json(tmp_path / "times.json", {"stages": measured})
    found = demo.figures(demo.read_times(tmp_path / "times.json"))
    expected = {"total_s": 13.2, "stages_made": 3, "raw_faces_s": 3.2, "swap_model_samae_s": 10.0, "champion_s": 0.0}
    assert found == pytest.approx(expected, abs=0.06)
    with pytest.raises(SamaeError, match="run `samae demo` first"):
        demo.read_times(tmp_path / "none.json")


def test_a_stage_keeps_the_time_of_when_it_was_made(tmp_path: Path) -> None:
    path = tmp_path / "times.json"
    for stage, seconds in (("raw_faces", 3.0), ("champion", 1.0), ("champion", 2.0)):
        keep_time(path, {"stage": stage, "partition": None, "fresh": False, "seconds": seconds})
    assert demo.figures(demo.read_times(path)) == {
        "total_s": 5.0, "stages_made": 2, "raw_faces_s": 3.0, "champion_s": 2.0,
    }  # fmt: skip


def test_figures_of_the_stages_are_sums_over_folders_per_thousand() -> None:
    row = {"seconds": 2.0, "cpu_s": 3.0, "peak_bytes": 2**20, "bytes": 4_000_000, "units": 0.5}
    rows = [{"stage": name} | row for name in stages.PREPARING] + [{"stage": "raw_faces"} | row | {"peak_bytes": 2**21}]
    rows.append({"stage": "swap_model"} | row | {"units": 0.25})
    found = stages.figures(rows)
    assert found["raw_faces_s"] == 4.0
    assert found["raw_faces_cpu_s"] == 6.0
    assert found["raw_faces_peak_mib"] == 2
    assert found["raw_faces_disk_mb"] == 8.0
    assert found["swap_model_s"] == 8.0
    assert found["ffhq_prepare_core_hours"] == pytest.approx(70 * 7 * 6 / 3600, abs=0.01)
    assert found["ffhq_disk_gb"] == pytest.approx(70 * 7 * 8 / 1000)


@pytest.mark.parametrize("name", bench.names())
def test_a_misspelt_setting_is_refused_before_anything_runs(name: str) -> None:
    with pytest.raises(SamaeError, match=f"bench {name} knows no photos; its settings are "):
        bench.measure(name, {"photos": 3})


def test_shares_of_covered_pixels_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """A head of 10 x 10 px whose upper 4 rows are hidden; the fit begins 2 rows lower and finds 1 of the 2 it holds."""
    true, fitted = np.zeros((1, 20, 20)), np.zeros((1, 20, 20))
    true[0, 5:15, 5:15] = fitted[0, 7:15, 5:15] = 1
    monkeypatch.setattr(fit, "silhouette", lambda coefficients, *_: coefficients)
    bare, seen = true.copy(), fitted.copy()
    bare[0, 5:9] = 0
    seen[0, 7] = seen[0, 14] = 0  # a row of the cover, and a row of bare skin
    truth = {"coefficients": true, "image": np.zeros((1, 20, 20, 3)), "mask": 255 * bare, "kind": np.array(["hair"]),
             "lightness": np.array([30.0]), "bearded": np.array([False])}  # fmt: skip
    figures = fit.occluder_figures(fit.mask_figures(fitted, truth, 255 * seen, None))
    assert figures["occluder_recall_percent_hair"] == 25
    assert figures["occluder_in_reach_percent_hair"] == 50
    assert figures["occluder_precision_percent"] == 50
    assert figures["bare_pixels_lost_percent"] == figures["bare_pixels_lost_percent_dark_skin"] == round(100 / 6, 2)
    assert "bare_pixels_lost_percent_light_skin" not in figures
