"""Training of the network that sees what covers a face: its examples, and a run that is small but real."""

import numpy as np
import pytest
import torch

from faces.errors import SamaeError
from faces.morphable.registry import load_head
from faces.readers.cover import CHANNELS, CLOSE_PX, CoverNetwork
from faces.readers.weights import load_reader
from training.reading import covers as covers_module
from training.reading import disturb, occluders, people
from training.reading.covers import BEYOND, COVER, KNOWN, READ, Covers, open_covers, read_landmarks
from training.reading.features import painted_features
from training.reading.occluders import CoverRecipe, example, loss_of, main, train


@pytest.fixture(scope="module")
def covers(tmp_path_factory):
    root = tmp_path_factory.mktemp("reading")
    people.draw_people(root / "people", 10, 96, 5, report=lambda _: None)
    return root, open_covers(root / "people", root / "cache", lambda _: None)


def test_close_ups_know_what_is_covered(covers):
    _, made = covers
    assert 8 <= len(made) <= 10
    planes, points = made.row(1)
    silhouette = planes[..., 6] > 127
    assert silhouette.mean() > 0.2
    assert (planes[..., COVER] <= planes[..., KNOWN]).all()
    assert (planes[..., KNOWN][silhouette] > 200).mean() > 0.8
    assert not (silhouette & (planes[..., BEYOND] > 127)).mean() > 0.05
    assert silhouette[points[17:].astype(int)[:, 1], points[17:].astype(int)[:, 0]].mean() > 0.9


def test_examples_are_a_function_of_their_generator_and_differ(covers):
    _, made = covers
    recipe = CoverRecipe(things=1.0)
    first, again, other = (example(made, 2, recipe, np.random.default_rng(seed)) for seed in (1, 1, 2))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert first[0].shape[-1] == CHANNELS
    assert (first[0] != other[0]).mean() > 0.2
    grown = [example(made, 2, recipe, np.random.default_rng(seed)) for seed in range(30)]
    bare = [example(made, 2, CoverRecipe(things=0.0), np.random.default_rng(seed)) for seed in range(30)]
    shares = [np.mean([(t * (w > 0)).mean() for _, t, w in part]) for part in (grown, bare)]
    assert shares[0] > 1.1 * shares[1]


def test_close_ups_of_photographs_are_fits_of_landmarks_that_were_read(covers):
    root, exact = covers
    read = open_covers(root / "people", root / "cache", lambda _: None, landmarks=READ)
    again = open_covers(root / "people", root / "cache", lambda _: None)
    assert 3 <= len(read) <= 10
    np.testing.assert_array_equal(again.row(0)[0], exact.row(0)[0])  # a cache holds both kinds
    assert (read.row(0)[0][..., :CHANNELS] != exact.row(0)[0][..., :CHANNELS]).any()
    drawn = people.load_people(root / "people")
    found = read_landmarks(drawn.image, drawn.landmarks_px)
    nothing = read_landmarks(np.zeros_like(drawn.image[:2]), drawn.landmarks_px[:2])
    seen = np.isfinite(found).all((1, 2))
    assert seen.sum() >= 3
    eyes_px = np.linalg.norm(drawn.landmarks_px[:, 36] - drawn.landmarks_px[:, 45], axis=-1)
    error = np.linalg.norm(found - drawn.landmarks_px, axis=-1).mean(1) / eyes_px
    assert 0.005 < np.median(error[seen]) < 0.12
    assert np.isnan(nothing).all()
    with pytest.raises(SamaeError, match="exact or read"):
        CoverRecipe(landmarks="guessed")


def test_bent_photographs_take_their_truth_along_and_leave_the_fit(covers, monkeypatch):
    """With nothing else changed: the fit's planes stay bit for bit, picture and truth move alike."""
    _, made = covers
    for name in ("relit", "filmed"):
        as_it_is = (lambda _, picture, *__: picture) if name == "relit" else lambda _, picture: np.rint(255 * picture)
        monkeypatch.setattr(disturb, name, as_it_is)
    monkeypatch.setattr(disturb, "coloured", lambda _, pictures: pictures)
    monkeypatch.setattr(disturb, "chance", lambda _, probability: probability == 0.5)  # flip, bend, plainer
    monkeypatch.setattr(occluders, "plainer", lambda _, render, __: render)
    planes, points = made.row(2)
    planes = planes.copy()
    planes[..., 0] = planes[..., COVER] = np.where(np.indices(planes.shape[:2]).sum(0) // 12 % 2, 255, 0)
    planes[..., KNOWN] = 255
    one = Covers([planes[None]], [points[None]])
    straight, bent = (
        example(one, 0, CoverRecipe(covered_from=0, bend=bend), np.random.default_rng(4)) for bend in (0.0, 1.0)
    )
    np.testing.assert_array_equal(bent[0][..., 3:], straight[0][..., 3:])
    assert (np.abs(bent[1].astype(int) - straight[1]) > 100).mean() > 0.02
    inside = bent[0][..., 6] > 127
    np.testing.assert_allclose(bent[0][..., 0][inside], bent[1][inside].astype(float), atol=2)


def test_painted_features_lie_on_the_face_and_never_on_what_covers_it(covers):
    _, made = covers
    planes, points = made.row(3)
    picture = planes[..., :3].astype(np.float32) / 255
    bare = np.ones(picture.shape[:2], np.float32)
    bare[:, :72] = 0
    touched = np.zeros(picture.shape[:2], bool)
    for seed in range(20):
        painted = painted_features(np.random.default_rng(seed), picture, points, bare)
        np.testing.assert_array_equal(painted, painted_features(np.random.default_rng(seed), picture, points, bare))
        assert painted.dtype == np.float32
        assert 0 <= painted.min() <= painted.max() <= 1
        np.testing.assert_array_equal(painted[:, :72], picture[:, :72])
        touched |= (np.abs(painted - picture) > 0.02).any(-1)
    assert 0.01 < touched.mean() < 0.25
    y, x = np.nonzero(touched)
    apart = np.linalg.norm(points[:, None] - np.stack([x, y], 1), axis=-1).min(0)
    assert apart.max() < 0.35 * np.linalg.norm(points[36] - points[45])


def test_a_short_run_learns_and_its_file_is_read_back(covers, tmp_path):
    root, made = covers
    recipe = CoverRecipe(steps=12, batch_size=4, average=0.5)
    lines: list[str] = []
    network = train(made, recipe, lines.append)
    inputs, target, weight = (torch.from_numpy(x) for x in example(made, 3, recipe, np.random.default_rng(0)))
    pictures = inputs.permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        losses = [
            float(loss_of(one(pictures), target[None, None] / 255, weight[None, None] / 255, 0.0))
            for one in (CoverNetwork().eval(), network)
        ]
    assert losses[1] < losses[0]
    again = train(made, recipe, lines.append)
    for a, b in zip(network.state_dict().values(), again.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    given = [str(root / "people"), "--cache", str(root / "cache"), "--steps", "2", "--batch-size", "2"]
    assert main([*given, "--out", str(tmp_path / "net.safetensors")]) == 0
    assert load_reader(CoverNetwork(), tmp_path / "net.safetensors")
    how = ["--landmarks", "read", "--features", "1", "--bend", "0.5", "--start-from", str(tmp_path / "net.safetensors")]
    assert main([*given, *how, "--out", str(tmp_path / "further.safetensors")]) == 0
    assert load_reader(CoverNetwork(), tmp_path / "further.safetensors")
    assert main([str(tmp_path / "nobody"), "--cache", str(tmp_path)]) == 2
    assert main([*given, "--landmarks", "guessed", "--out", str(tmp_path / "none.safetensors")]) == 2


def test_people_in_whom_no_face_is_seen_are_left_out(covers, monkeypatch, tmp_path):
    root, _ = covers
    monkeypatch.setattr(covers_module, "read_landmarks", lambda _, marks: np.full(marks.shape, np.nan))
    part = covers_module.read_part(root / "people", 0, 10)
    planes, points = covers_module.close_up(part, load_head("builtin"), 0, READ)
    assert (planes.shape, points.shape) == ((0, CLOSE_PX, CLOSE_PX, covers_module.PLANES), (0, 68, 2))
    with pytest.raises(SamaeError, match=r"no face of .*people could be read and fitted"):
        open_covers(root / "people", tmp_path / "cache", lambda _: None, landmarks=READ)


def test_missing_people_are_named(tmp_path):
    with pytest.raises(SamaeError, match="holds no people"):
        open_covers(tmp_path / "none", tmp_path / "cache")
