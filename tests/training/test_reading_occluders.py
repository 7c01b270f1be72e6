"""Training of the network that sees what covers a face: its examples, and a run that is small but real."""

import numpy as np
import pytest
import torch

from faces.errors import SamaeError
from faces.readers.cover import CHANNELS, CoverNetwork
from faces.readers.weights import load_reader
from training.reading import people
from training.reading.covers import BEYOND, COVER, KNOWN, open_covers
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
    assert main([str(tmp_path / "nobody"), "--cache", str(tmp_path)]) == 2


def test_missing_people_are_named(tmp_path):
    with pytest.raises(SamaeError, match="holds no people"):
        open_covers(tmp_path / "none", tmp_path / "cache")
