"""Weights that a run starts from: what fits is taken over bit by bit, what does not is refused in one sentence."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from method_fakes import TINY, tiny_encoder, tiny_head
from safetensors.torch import load_file, save_file
from shard_factory import make_shards
from toy import Toy, toy_recipe, train_toy

from faces.errors import SamaeError
from faces.files import build_manifest, read_json, write_json
from training import weights as shipped
from training.config import Recipe, load_recipe
from training.engine import World
from training.export import export_model, load_swapper
from training.methods.base import Method, build_method
from training.train import Stopper
from training.weights import find_weights, keep, shipped_for, start_from


def method_of(*overrides: str, seed: int = 0) -> Method:
    return build_method(load_recipe("samae", [*TINY, f"seed={seed}", *overrides]), tiny_head(), tiny_encoder())


@pytest.fixture
def export(tmp_path: Path) -> Path:
    export_model(method_of(seed=3), tmp_path / "export", {"samples_seen": 5000})
    return tmp_path / "export"


def test_a_method_takes_over_weights(export: Path) -> None:
    method, weights = method_of(), find_weights(str(export))
    assert weights.origin()["samples_seen"] == 5000
    start_from(method, weights)
    given = load_file(export / "model.safetensors")
    for module in (method.generator, method.ema):
        assert all(torch.equal(value, given[name]) for name, value in module.state_dict().items())


@pytest.mark.parametrize(
    ("override", "what"),
    [("generator.width=16", "generator"), ("mesh.condition=vector", "mesh.condition"), ("size_px=64", "trunk_px")],
)
def test_weights_of_another_network_are_refused(export: Path, override: str, what: str) -> None:
    with pytest.raises(SamaeError, match=rf"their {what} is .* this run's"):
        start_from(method_of(override), find_weights(str(export)))


def test_missing_keys_are_refused(export: Path) -> None:
    tensors = load_file(export / "model.safetensors")
    tensors.pop(sorted(tensors)[0])
    save_file(tensors, export / "model.safetensors")
    manifest = build_manifest(export, {})
    write_json(export / "manifest.json", {"files": manifest.files, "metadata": {}})
    with pytest.raises(SamaeError, match="missing"):
        start_from(method_of(), find_weights(str(export)))


def test_damaged_weights_are_refused(export: Path) -> None:
    data = bytearray((export / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (export / "model.safetensors").write_bytes(bytes(data))
    with pytest.raises(SamaeError, match="SHA-256"):
        find_weights(str(export))


def test_an_unknown_name_says_what_there_is() -> None:
    with pytest.raises(SamaeError, match=r"no weights are called 'samea-64'.*export"):
        find_weights("samea-64")


def test_what_is_kept_is_half_as_large_and_found_by_its_recipe(
    export: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipped, "SHIPPED_FOLDER", tmp_path / "weights")
    folder = keep(export, "tiny", "A card.\n")
    assert (folder / "README.md").read_text() == "A card.\n"
    assert all(value.dtype == torch.float16 for value in load_file(folder / "model.safetensors").values())
    assert load_swapper(folder, head=tiny_head()).metadata["samples_seen"] == 5000
    recipe = load_recipe("samae", TINY)
    found = shipped_for(recipe, tiny_head().digest, tiny_encoder().digest)
    assert found is not None
    assert found.name == "tiny"
    start_from(method_of(), found)
    assert shipped_for(recipe, "another head", tiny_encoder().digest) is None
    assert shipped_for(load_recipe("samae-no-perforation", TINY), tiny_head().digest, tiny_encoder().digest) is None
    assert shipped_for(load_recipe("samae", [*TINY, "generator.width=16"]), tiny_head().digest, "f" * 16) is None


class StopAfter(Stopper):
    """Asks to stop at the n-th step."""

    def __init__(self, steps: int) -> None:
        super().__init__(0)
        self.left = steps

    def __call__(self) -> float:
        self.left -= 1
        return float(self.left <= 0)


def toy_export(folder: Path) -> None:
    """An export of the toy: its config.json says what `start_from` compares."""
    method = Toy(replace(toy_recipe(), seed=9))
    method.head = tiny_head()
    export_model(method, folder, {"samples_seen": 64})  # type: ignore[arg-type]


def from_export(export: Path) -> Recipe:
    return toy_recipe(init_from=str(export))


def test_a_run_starts_from_weights_and_its_restart_is_exact(
    tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_shards(tmp_path / "shards", count=24, per_shard=8, splits={f"{i:05d}": "validation" for i in (1, 6)})
    toy_export(tmp_path / "export")
    monkeypatch.setattr(Toy, "__init__", _with_head(Toy.__init__))
    recipe = from_export(tmp_path / "export")
    assert train_toy(recipe, tmp_path / "shards", tmp_path / "whole", world).is_finished
    assert not train_toy(recipe, tmp_path / "shards", tmp_path / "cut", world, stop=StopAfter(9)).is_finished
    (tmp_path / "export" / "model.safetensors").unlink()  # a continued run does not need it any more
    assert train_toy(recipe, tmp_path / "shards", tmp_path / "cut", world).is_finished
    one, two = (sorted((tmp_path / name / "checkpoints").iterdir())[-1] for name in ("whole", "cut"))
    a, b = load_file(one / "generator.safetensors"), load_file(two / "generator.safetensors")
    assert all(torch.equal(a[key], b[key]) for key in a)
    origin = read_json(tmp_path / "cut" / "recipe.json")["made_from"]["init_from"]
    assert origin["samples_seen"] == 64
    assert len(origin["sha256"]) == 64
    scratch = tmp_path / "scratch"
    assert train_toy(toy_recipe(), tmp_path / "shards", scratch, world).is_finished
    first = [json.loads((run / "stats.jsonl").read_text().splitlines()[0]) for run in (tmp_path / "whole", scratch)]
    assert first[0]["generator/l1"] != first[1]["generator/l1"]


def _with_head(init):  # type: ignore[no-untyped-def]
    def made(self, recipe: Recipe, explode_at_step: int = -1) -> None:  # type: ignore[no-untyped-def]
        init(self, recipe, explode_at_step)
        self.head = tiny_head()

    return made
