"""The network that sees what covers a face: what it finds, what it leaves alone, the same bits everywhere, its file."""

import dataclasses
import shutil

import numpy as np
import pytest
import torch

from faces.errors import SamaeError
from faces.finding.packing import packed, unpacked
from faces.fitting import fit
from faces.masks import OccluderSettings, face_mask, occluder_mask, silhouette
from faces.morphable import load_head
from faces.occluders import NETWORKS
from faces.readers import cover
from faces.readers.blocks import each_face
from faces.readers.weights import load_reader, reader_digest, save_reader
from faces.synthetic.person import person_from_seed
from faces.synthetic.portrait import render_person
from faces.synthetic.scene import scene_from_seed

SIZE_PX = 192
#: Name -> what a person and the scene get; two people each.
KINDS: dict[str, tuple[dict, dict]] = {
    "hair": ({}, {"hair_style": "fringe", "occluder": "none", "glasses": "none"}),
    "glasses": ({}, {"glasses": "square", "occluder": "none", "glasses_linear": (0.01, 0.01, 0.01)}),
    "sunglasses": ({}, {"glasses": "sunglasses", "occluder": "none"}),
    "hand": ({}, {"occluder": "hand", "glasses": "none"}),
    "beard": ({"beard_style": "full", "beard_mm": 9.0, "beard_density": 1.0, "lightness": 62.0},
              {"hair_style": "buzz", "occluder": "none", "glasses": "none"}),
    "dark": ({"lightness": 30.0}, {"hair_style": "buzz", "occluder": "none", "glasses": "none"}),
}  # fmt: skip


@pytest.fixture(scope="module")
def people():
    """Name -> (images, coefficients of a fit, true masks) of two people each."""
    head, made = load_head("builtin"), {}
    for number, (name, (own, shown)) in enumerate(KINDS.items()):
        portraits = []
        for index in (2 * number, 2 * number + 1):
            person = dataclasses.replace(person_from_seed(515, index), **own)
            scene = dataclasses.replace(scene_from_seed(515, index, person), **shown, yaw_rad=0.1)
            portraits.append(render_person(person, scene, SIZE_PX))
        images = np.stack([p.image for p in portraits])
        found = fit(images, np.stack([p.landmarks_px for p in portraits]), head, SIZE_PX)
        made[name] = images, found.coefficients, np.stack([p.mask for p in portraits])
    return made


@pytest.mark.parametrize("method", NETWORKS)
@pytest.mark.parametrize(("name", "least"), [("hair", 0.7), ("glasses", 0.6), ("sunglasses", 0.9), ("hand", 0.5)])
def test_what_covers_a_face_is_taken_out(people, name, least, method):
    images, coefficients, truth = people[name]
    head = load_head("builtin")
    inside = silhouette(coefficients, head, SIZE_PX) > 0.9
    covered = inside & (truth < 64)
    found = face_mask(images, coefficients, head, OccluderSettings(method=method)) < 128
    assert covered.sum() > 200
    assert found[covered].mean() > least
    bare = inside & (truth > 250)
    assert found[bare].mean() < 0.03


@pytest.mark.parametrize("method", NETWORKS)
@pytest.mark.parametrize("name", ["beard", "dark"])
def test_beards_and_dark_skin_stay(people, name, method):
    images, coefficients, truth = people[name]
    head = load_head("builtin")
    bare = (silhouette(coefficients, head, SIZE_PX) > 0.9) & (truth > 250)
    assert (face_mask(images, coefficients, head, OccluderSettings(method=method)) < 128)[bare].mean() < 0.02


def test_masks_do_not_depend_on_batch_or_threads(people, monkeypatch):
    head = load_head("builtin")
    images, coefficients = (np.concatenate([people[name][k] for name in KINDS]) for k in (0, 1))
    monkeypatch.setenv("NUMBA_NUM_THREADS", "1")
    one = occluder_mask(images, coefficients, head)
    before = torch.get_num_threads()
    monkeypatch.setenv("NUMBA_NUM_THREADS", "3")
    torch.set_num_threads(2)
    try:
        np.testing.assert_array_equal(occluder_mask(images, coefficients, head), one)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    # What goes in is made batch by batch: a pixel of it may round to the next grey level (see faces/readers/cover.py).
    np.testing.assert_allclose(occluder_mask(images[3:5], coefficients[3:5], head), one[3:5], rtol=0, atol=1e-3)
    assert occluder_mask(images[:0], coefficients[:0], head).shape == (0, SIZE_PX, SIZE_PX)


def test_large_pictures_and_faces_that_are_nowhere(people):
    head = load_head("builtin")
    images, coefficients, _ = people["sunglasses"]
    large = np.kron(images, np.ones((1, 4, 4, 1), np.uint8))
    small = occluder_mask(images, coefficients, head)
    shrunk = occluder_mask(large, coefficients, head).reshape(2, SIZE_PX, 4, SIZE_PX, 4).mean((2, 4))
    assert np.abs(shrunk - small).mean() < 0.01
    assert np.isfinite(occluder_mask(images, np.zeros_like(coefficients), head)).all()


def test_each_face_is_worked_on_once(monkeypatch):
    monkeypatch.setenv("NUMBA_NUM_THREADS", "2")
    done = []
    each_face(done.append, 7)
    assert sorted(done) == list(range(7))


def test_one_byte_a_weight_is_near(people):
    torch.manual_seed(0)
    state = {"a.weight": torch.randn(8, 3, 3, 3), "a.bias": torch.randn(8)}
    back = unpacked(packed(state, 8), state, 8)
    assert packed(state, 8)["a.weight.bits"].nbytes == state["a.weight"].numel()
    step = state["a.weight"].abs().amax((1, 2, 3), keepdim=True) / 127
    assert ((back["a.weight"] - state["a.weight"]).abs() <= 0.52 * step).all()
    torch.testing.assert_close(back["a.bias"], state["a.bias"], atol=2e-3, rtol=1e-3)


def test_photographs_are_read_by_weights_of_their_own(people):
    head, (images, coefficients, _) = load_head("builtin"), people["glasses"]
    ways = [OccluderSettings(method=method) for method in NETWORKS]
    plain, photographs = (occluder_mask(images, coefficients, head, way) for way in ways)
    assert np.abs(plain - photographs).max() > 0.2
    assert reader_digest(NETWORKS["network"]) != reader_digest(NETWORKS["photographs"])


def test_the_digest_of_photographs_settings_names_their_network(tmp_path, monkeypatch):
    plain, photographs = OccluderSettings(), OccluderSettings(method="photographs")
    before = plain.digest, photographs.digest
    path = tmp_path / "other.safetensors"
    save_reader(cover.CoverNetwork(), path, {})
    monkeypatch.setitem(NETWORKS, "photographs", path)
    assert plain.digest == before[0]
    assert photographs.digest not in before


def test_damaged_missing_and_foreign_weights_are_refused_by_name(tmp_path):
    path, note = tmp_path / "occluders.safetensors", tmp_path / "occluders.json"
    with pytest.raises(SamaeError, match=r"occluders.safetensors is missing"):
        load_reader(cover.CoverNetwork(), path)
    shutil.copy(cover.WEIGHTS, path)
    with pytest.raises(SamaeError, match=r"occluders.json is missing"):
        load_reader(cover.CoverNetwork(), path)
    shutil.copy(cover.WEIGHTS.with_suffix(".json"), note)
    assert load_reader(cover.CoverNetwork(), path)
    assert reader_digest(path) == reader_digest(cover.WEIGHTS)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(SamaeError, match=r"occluders.safetensors does not match the SHA-256"):
        load_reader(cover.CoverNetwork(), path)
    save_reader(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3)), path, {})
    with pytest.raises(SamaeError, match="does not hold a CoverNetwork"):
        load_reader(cover.CoverNetwork(), path)


def test_settings_are_checked():
    with pytest.raises(SamaeError, match="'network', 'photographs' or 'residual'"):
        OccluderSettings(method="magic")
    with pytest.raises(SamaeError, match="rising"):
        OccluderSettings(certain=(0.8, 0.2))


@pytest.mark.parametrize("note", ["[]", "{}"])
def test_a_note_without_a_digest_is_one_sentence(tmp_path, note):
    path = tmp_path / "occluders.safetensors"
    shutil.copy(cover.WEIGHTS, path)
    path.with_suffix(".json").write_text(note)
    for ask in (reader_digest, lambda p: load_reader(cover.CoverNetwork(), p)):
        with pytest.raises(SamaeError, match=r"occluders\.json names no SHA-256"):
            ask(path)
