"""faces/finding and faces/detection.py: faces of plain pictures found and read, nothing found where nothing is."""

import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.landmarks import eye_distance_px, generated, matched
from faces.detection import ABOUT, READERS, landmark_reader, load_detector, reader_digest
from faces.errors import SamaeError
from faces.files import read_json, write_json
from faces.finding import detector as own
from faces.finding import packing
from faces.finding.finder import Proposal, propose, sizes
from faces.finding.networks import CELL_PX, CROP_PX, FINDER_CHANNELS, HEAT_CELLS, HEAT_PX, PointsNetwork, points_of_heat
from faces.finding.reader import CROP_SHARE, crop_transform, cut, square_of
from faces.landmarks import ffhq_transform, transform_points
from faces.pictures_photograph import astronaut_landmarks_px
from training.reading.clutter import Clutter
from training.reading.finding import CANVAS_PX, Square, wanted_answers


@pytest.fixture
def shipped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> own.OwnDetector:
    """Our detector, whatever weights this machine has."""
    monkeypatch.setenv("HOME", str(tmp_path))
    found = load_detector()
    assert isinstance(found, own.OwnDetector)
    return found


def test_people_in_clutter_are_found_and_read(shipped: own.OwnDetector) -> None:
    errors, missed, others = [], 0, 0
    for picture in generated(12, 424_243):
        rows, more = matched(picture.faces, shipped.faces(picture.image))
        errors += [row[2] for row in rows if row[1]]
        missed += sum(not row[1] for row in rows)
        others += more
    assert missed <= 1
    assert others <= 1
    assert np.median(errors) < 4.5


def test_there_is_no_face_in_textures(shipped: own.OwnDetector) -> None:
    clutter, rng = Clutter(24, 77, photographs=False), np.random.default_rng(5)
    found = [shipped.faces(clutter.patch(int(side), rng)) for side in rng.integers(150, 500, 16)]
    assert sum(map(len, found)) <= 1
    assert shipped.faces(np.full((90, 300, 3), 128, np.uint8)) == []


def test_a_real_photograph_is_read(shipped: own.OwnDetector) -> None:
    data = pytest.importorskip("skimage.data", reason="the photograph comes with scikit-image")
    image, truth = data.astronaut(), astronaut_landmarks_px()
    found = shipped.faces(image)[0]
    error = np.linalg.norm(found - truth, axis=1) / eye_distance_px(truth)
    assert 100 * error[17:].mean() < 8.0
    grey = np.repeat(image.mean(2, keepdims=True).astype(np.uint8), 3, 2)
    assert np.abs(shipped.faces(grey)[0] - found).mean() / eye_distance_px(truth) < 0.06


def test_the_largest_face_comes_first_and_threads_do_not_matter(shipped: own.OwnDetector) -> None:
    small, large = (next(iter(generated(1, seed))) for seed in (11, 12))
    image = np.concatenate([small.image, large.image], 1)
    before = torch.get_num_threads()
    try:
        read = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            read.append(shipped.faces(image))
    finally:
        torch.set_num_threads(before)
    assert len(read[0]) == len(read[1]) >= 1
    np.testing.assert_array_equal(np.stack(read[0]), np.stack(read[1]))
    widths = [square_of(points)[1] for points in read[0]]
    assert widths == sorted(widths, reverse=True)


def test_damaged_or_missing_weights_are_refused_by_name(tmp_path: Path) -> None:
    copy = tmp_path / "faces.safetensors"
    with pytest.raises(SamaeError, match=r"faces\.safetensors is missing"):
        own.load_detector(copy)
    for path in (own.WEIGHTS, own.WEIGHTS.with_suffix(".json")):
        shutil.copy(path, tmp_path / path.name)
    data = bytearray(copy.read_bytes())
    data[len(data) // 2] ^= 1
    copy.write_bytes(data)
    with pytest.raises(SamaeError, match=r"faces\.safetensors is damaged.*faces\.json"):
        own.load_detector(copy)
    own.save_detector(copy, own.FinderNetwork(), PointsNetwork(), {})
    kept = copy.read_bytes()
    note = read_json(copy.with_suffix(".json"))
    copy.write_bytes(kept[:-1000])
    write_json(copy.with_suffix(".json"), {**note, "sha256": own.sha256_bytes(kept[:-1000])})
    with pytest.raises(SamaeError, match=r"faces\.safetensors holds no face finder"):
        own.load_detector(copy)
    copy.with_suffix(".json").write_text("{}")
    with pytest.raises(SamaeError, match=r"faces\.json cannot be read"):
        own.load_detector(copy)


def test_who_reads_is_a_setting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert landmark_reader() == "own"
    assert reader_digest().startswith("own-")
    weights = tmp_path / "weights"
    weights.mkdir()
    for name in ("det_10g.onnx", "1k3d68.onnx"):
        (weights / name).write_bytes(b"")
    monkeypatch.setenv("SAMAE_WEIGHTS", str(weights))
    assert landmark_reader() == reader_digest() == "insightface"
    monkeypatch.setenv("SAMAE_LANDMARKS", "own")
    assert landmark_reader() == "own"
    monkeypatch.setenv("SAMAE_LANDMARKS", "dlib")
    with pytest.raises(SamaeError, match="SAMAE_LANDMARKS is 'dlib'"):
        landmark_reader()
    assert set(ABOUT) | {"auto"} == set(READERS)


class Says(torch.nn.Module):
    """A finder that gives this answer to pictures of its size, and nothing to others."""

    def __init__(self, wanted: np.ndarray) -> None:
        super().__init__()
        self.answer = torch.from_numpy(wanted[:FINDER_CHANNELS])[None]
        self.answer[:, 0] = torch.where(self.answer[:, 0] > 0, 9.0, -9.0)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """(1, 3, H, W) -> (1, 6, H / 8, W / 8)."""
        cells = tuple(n // CELL_PX for n in pictures.shape[2:])
        return self.answer if cells == tuple(self.answer.shape[2:]) else torch.full((1, FINDER_CHANNELS, *cells), -9.0)


def test_what_the_finder_is_taught_is_what_is_made_of_its_answers() -> None:
    squares = [Square(np.array([41.0, 50.0]), 61.0, 0.3), Square(np.array([120.0, 101.0]), 45.0, -0.2)]
    answers = Says(wanted_answers(squares, CANVAS_PX))
    found = propose(answers, np.zeros((CANVAS_PX, CANVAS_PX, 3), np.uint8), 0.5, 10)  # type: ignore[arg-type]
    assert len(found) == 2
    for square in squares:
        place = min(found, key=lambda p: float(np.hypot(*(p.centre_px - square.centre))))
        np.testing.assert_allclose(place.centre_px, square.centre, atol=1e-3)
        assert place.side_px == pytest.approx(square.side_px, rel=1e-4)
        assert place.roll_rad == pytest.approx(square.roll_rad, abs=1e-4)


def test_every_size_of_face_is_looked_at() -> None:
    for height, width in ((40, 40), (300, 1000), (3000, 4000)):
        scales = sizes(height, width)
        assert max(height, width) * scales[0] <= 1024 * 1.0001
        assert max(height, width) * 1.5 * scales[-1] <= 56 * 2**0.5 * 1.0001
        assert all(abs(a / b - 2**0.5) < 1e-9 for a, b in pairwise(scales))


def test_crops_agree_with_their_matrix_at_any_size() -> None:
    landmarks = astronaut_landmarks_px()
    for factor in (0.6, 1.0, 6.0):
        points = landmarks * factor
        matrix = crop_transform(*square_of(points))
        wanted = ffhq_transform(points, CROP_PX)
        inner = transform_points(wanted, points) / CROP_SHARE + CROP_PX * (1 - 1 / CROP_SHARE) / 2
        np.testing.assert_allclose(transform_points(matrix, points), inner, atol=0.6)
        image = np.zeros((int(512 * factor), int(512 * factor), 3), np.uint8)
        spot, reach = points[30], max(2, int(3 * factor))
        x, y = (int(v) for v in spot)
        image[y - reach : y + reach + 1, x - reach : x + reach + 1] = 255
        seen = cut(image, matrix)[..., 0].astype(float)
        rows, columns = np.mgrid[0:CROP_PX, 0:CROP_PX] + 0.5
        at = [(columns * seen).sum() / seen.sum(), (rows * seen).sum() / seen.sum()]
        np.testing.assert_allclose(at, transform_points(matrix, (np.array([x, y]) + 0.5)[None])[0], atol=0.35)


def test_the_mean_of_a_heat_map_is_its_point() -> None:
    heat = torch.full((1, 68, HEAT_CELLS, HEAT_CELLS), -20.0)
    heat[:, :, 10, 7] = heat[:, :, 10, 8] = 5.0
    points, spread = points_of_heat(heat)
    np.testing.assert_allclose(points[0, 0].numpy(), [8 * HEAT_PX, 10.5 * HEAT_PX], atol=1e-2)
    assert spread[0, 0] == pytest.approx(HEAT_PX / 2, abs=0.05)


def test_packed_networks_answer_nearly_as_whole_ones() -> None:
    torch.manual_seed(0)
    whole = PointsNetwork().eval()
    crops = torch.randn(2, 3, CROP_PX, CROP_PX)
    quick = packing.folded(whole)
    with torch.inference_mode():
        wanted, score = whole(crops)
        torch.testing.assert_close(quick(crops)[0], wanted, atol=1e-4, rtol=1e-4)
        kept = packing.packed(quick.state_dict())
        quick.load_state_dict(packing.unpacked(kept, quick.state_dict()))
        heat, close = quick(crops)
    assert float((heat - wanted).std() / wanted.std()) < 0.15
    assert float((close - score).abs().max()) < 0.2
    weight = whole.heat.weight.detach()
    again = packing.unpacked(packing.packed({"a": weight}), {"a": torch.zeros_like(weight)})["a"]
    steps = weight.flatten(1).abs().amax(1) / 31
    assert ((again - weight).flatten(1).abs().median(1).values <= steps).all()
    assert kept["heat.weight.bits"].numel() == -(-weight.numel() * 6 // 8)


def test_a_place_that_shows_nothing_is_dropped(shipped: own.OwnDetector) -> None:
    from faces.finding.reader import read_face

    image = np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8)
    assert read_face(shipped.points, image, Proposal(np.array([100.0, 100.0]), 90.0, 0.0, 1.0), 0.5) is None


def test_damaged_weights_of_insightface_are_one_sentence(tmp_path: Path) -> None:
    pytest.importorskip("insightface", reason="insightface is not installed")
    from faces.detection import DETECTOR_FILES, Detector

    for name in DETECTOR_FILES:
        (tmp_path / name).write_bytes(b"no model")
    with pytest.raises(SamaeError, match=r"cannot be loaded .*SAMAE_LANDMARKS=own"):
        Detector(tmp_path)
