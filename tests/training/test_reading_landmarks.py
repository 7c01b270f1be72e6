"""training/reading: the networks that find and read faces learn, go on after an end, and say what is wrong."""

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import landmarks as bench
from faces.errors import SamaeError
from faces.files import read_json
from faces.finding.detector import load_detector
from faces.finding.networks import CROP_PX, HEAT_PX, FinderNetwork
from faces.landmarks import transform_points
from training.reading import landmarks as reading
from training.reading.clutter import Clutter
from training.reading.finding import Painter, Square, face_crop, finder_canvas, no_face_crop, similarity
from training.reading.people import draw_people, load_people

QUICK = ["--set", "finder.steps=3", "--set", "points.steps=2", "--set", "finder.batch=4", "--set", "points.batch=4"]


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_people(tmp_path_factory.mktemp("people"), 4, 64, 31, report=lambda line: None)


@pytest.fixture(scope="module")
def painter(people: Path) -> Painter:
    return Painter(load_people(people), Clutter(4, 3, photographs=False))


def test_training_writes_weights_and_goes_on(
    people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(reading, "CLUTTER", 3)
    monkeypatch.setattr(reading, "MINED", 2)
    out = tmp_path / "out"
    assert reading.main([str(people), str(out), *QUICK]) == 0
    detector = load_detector(out / "faces.safetensors")
    assert (out / "faces.safetensors").stat().st_size < 0.45e6
    assert read_json(out / "faces.json")["trained_on"] == "4 generated people"
    assert detector.digest == read_json(out / "faces.json")["sha256"]
    first = (out / "faces.safetensors").read_bytes()
    assert "points: step 2/2" in capsys.readouterr().out
    assert reading.main([str(people), str(out), *QUICK]) == 0
    assert "step" not in capsys.readouterr().out
    assert (out / "faces.safetensors").read_bytes() == first
    assert reading.main([str(people), str(out), *QUICK, "--set", "finder.rate=0.1"]) == 2
    assert "trained with other settings" in capsys.readouterr().err
    further = tmp_path / "further"
    assert reading.main([str(people), str(further), *QUICK, "--set", "finder.rate=1e-9", "--start", str(out)]) == 0
    near = load_detector(further / "faces.safetensors").finder.state_dict()["head.bias"]
    torch.testing.assert_close(near, detector.finder.state_dict()["head.bias"], atol=1e-3, rtol=0)
    (out / "points.pt").write_bytes(b"no weights")
    assert reading.main([str(people), str(tmp_path / "third"), *QUICK, "--start", str(out)]) == 2
    assert "points.pt cannot be read" in capsys.readouterr().err
    assert reading.main([str(people), str(out), "--set", "finder.speed=1"]) == 2
    assert "NAME=VALUE with a name of steps" in capsys.readouterr().err


def test_one_network_alone_is_written_beside_the_other_shipped_one(
    people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "CLUTTER", 3)
    monkeypatch.setattr(reading, "MINED", 2)
    assert reading.main([str(people), str(tmp_path), *QUICK, "--only", "points"]) == 0
    made, shipped = load_detector(tmp_path / "faces.safetensors"), load_detector()
    for name, value in shipped.finder.state_dict().items():
        torch.testing.assert_close(made.finder.state_dict()[name], value, rtol=0, atol=0)
    assert not torch.equal(made.points.state_dict()["heat.weight"], shipped.points.state_dict()["heat.weight"])
    assert set(read_json(tmp_path / "faces.json")["settings"]) == {"points"}
    assert not (tmp_path / "finder.pt").exists()


def test_examples_are_a_function_of_their_seed_and_show_what_they_say(painter: Painter) -> None:
    for make in (face_crop, finder_canvas):
        one, other = (make(painter, np.random.default_rng(8)) for _ in range(2))
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)
    crop, points = face_crop(painter, np.random.default_rng(8))
    assert crop.shape == (CROP_PX, CROP_PX, 3)
    assert ((points > -20) & (points < CROP_PX + 20)).all()
    assert no_face_crop(painter, np.random.default_rng(1)).shape == crop.shape


def test_a_person_is_painted_where_the_matrix_says(painter: Painter) -> None:
    marks = np.asarray(painter.people.landmarks_px[0], np.float64)
    for side in (20.0, 90.0):
        matrix = similarity(Square.of(marks), np.array([60.0, 70.0]), side, 0.4)
        moved = Square.of(transform_points(matrix, marks))
        np.testing.assert_allclose(moved.centre, [60, 70], atol=1e-6)
        assert (moved.side_px, moved.roll_rad) == pytest.approx((side, 0.4))
        layer = np.zeros((64, 64, 4), np.uint8)
        layer[24:32, 40:48] = 255
        canvas = np.zeros((140, 140, 3), np.uint8)
        painter.paint(canvas, layer, matrix)
        rows, columns = np.mgrid[0:140, 0:140] + 0.5
        seen = canvas[..., 0] / canvas[..., 0].sum()
        at = transform_points(matrix, np.array([[44.0, 28.0]]))[0]
        np.testing.assert_allclose([(columns * seen).sum(), (rows * seen).sum()], at, atol=0.3)


def test_a_finders_mistakes_become_crops_without_faces(people: Path) -> None:
    painter = Painter(load_people(people), Clutter(4, 3, photographs=False))
    blank = FinderNetwork().eval()
    with torch.no_grad():
        blank.head.bias[0] = 5.0
    painter.mine(blank, 3, np.random.default_rng(2))
    assert 3 <= len(painter.mistakes) <= 36
    assert no_face_crop(painter, np.random.default_rng(4)).shape == (CROP_PX, CROP_PX, 3)
    painter.mistakes.clear()
    with torch.no_grad():
        blank.head.bias[0] = -5.0
    painter.mine(blank, 3, np.random.default_rng(2))
    assert painter.mistakes == []


def test_the_wanted_heat_is_about_its_point() -> None:
    points = torch.tensor([[[30.0, 61.0]] * 68])
    heat = reading.wanted_heat(points)
    assert heat.sum((2, 3)).numpy() == pytest.approx(np.ones((1, 68)), abs=1e-5)
    at = (torch.arange(heat.shape[-1]) + 0.5) * HEAT_PX
    assert float((heat[0, 0].sum(0) * at).sum()) == pytest.approx(30, abs=0.05)
    assert float((heat[0, 0].sum(1) * at).sum()) == pytest.approx(61, abs=0.05)


def test_the_benchmark_reads_files_of_dlibs_form(tmp_path: Path) -> None:
    from PIL import Image

    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(tmp_path / "a.png")
    parts = "".join(f"<part name='{n:02d}' x='{n}' y='{2 * n}'/>" for n in range(68))
    (tmp_path / "faces.xml").write_text(
        f"<dataset><images><image file='a.png'><box>{parts}</box><box/></image><image file='b.png'/></images></dataset>"
    )
    (picture,) = bench.listed(tmp_path)
    assert picture.image.shape == (20, 30, 3)
    np.testing.assert_array_equal(picture.faces[0][3], [3.5, 6.5])
    shifted = picture.faces[0] + [3.0, 0]
    rows, others = bench.matched(picture.faces, [shifted + 500, shifted])
    assert others == 1
    assert rows[0][2] == pytest.approx(100 * 3 / bench.eye_distance_px(picture.faces[0]))
    (tmp_path / "faces.xml").write_text("<dataset>")
    with pytest.raises(SamaeError, match="is no XML"):
        next(bench.listed(tmp_path))
