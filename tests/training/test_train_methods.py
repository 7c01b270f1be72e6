"""The loop with the real methods, a real head and the shipped encoder, at the smallest size: train, restart, export."""

import json
from pathlib import Path

import pytest
import torch
from shard_factory import make_real_shards
from test_any_encoder import other_encoder
from test_train import StopAfter
from toy import losses_of

from faces.errors import SamaeError
from faces.identity import registry
from faces.identity.registry import load_encoder
from training import train as training_train
from training.config import load_recipe
from training.engine import World
from training.export import load_swapper
from training.methods.base import build_method
from training.session import Session
from training.shards import ShardSet, write_index
from training.stream import load_faces
from training.tracking import NoTracker
from training.train import fitting_parts, main, train

SMALL = [
    "size_px=32", "generator.width=8", "generator.condition_width=16", "train.batch_size=4", "train.total_kimg=0.016",
    "train.checkpoint_kimg=0.008", "train.snapshot_kimg=0.008", "train.log_every_steps=1",
]  # fmt: skip


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen smooth pictures with plausible coefficients of the built-in head."""
    folder = tmp_path_factory.mktemp("shards")
    make_real_shards(folder)
    return folder


def command(recipe: str, shards: Path, run_dir: Path, *extra: str) -> list[str]:
    settings = [part for setting in SMALL for part in ("--set", setting)]
    return [
        "--recipe",
        recipe,
        "--shards",
        str(shards),
        "--run-dir",
        str(run_dir),
        "--device",
        "cpu",
        *settings,
        *extra,
    ]


@pytest.mark.parametrize("recipe", ["samae", "simswap", "blendface"])
def test_a_recipe_trains_to_a_swapper(
    shards: Path, tmp_path: Path, recipe: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    progress = tmp_path / "progress.jsonl"
    monkeypatch.setenv("SAMAE_PROGRESS", str(progress))
    levels = ["--set", "generator.multipliers=[1, 2, 2, 2]"] if recipe == "blendface" else []
    assert main(command(recipe, shards, tmp_path / "run", "--engine", "deepspeed", *levels)) == 0
    events = [json.loads(line) for line in progress.read_text().splitlines()]
    assert events[0]["event"] == "start"
    assert events[-1] == events[-1] | {"event": "done", "kimg": 0.016, "total_kimg": 0.016}
    swapper = load_swapper(tmp_path / "run/export")
    shard_set = ShardSet.open(shards)
    faces = load_faces(shard_set, shard_set.keys("validation"))
    result = swapper.swap(faces.select([1, 2]), faces.select([0, 3]))
    assert result.image.shape == (2, 3, 32, 32)
    assert torch.isfinite(result.image).all()


def test_samae_goes_on_exactly_after_a_stop(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = load_recipe("samae", [*SMALL, "losses.adversarial=0.1", "train.engine=ddp"])
    train(recipe, shards, tmp_path / "whole", device="cpu")
    with monkeypatch.context() as patch:
        patch.setattr(training_train, "Stopper", lambda hours: StopAfter(3))
        assert train(recipe, shards, tmp_path / "parts", device="cpu").samples_seen == 12
    assert train(recipe, shards, tmp_path / "parts", device="cpu").resumed_from == 12
    assert losses_of(tmp_path / "parts") == losses_of(tmp_path / "whole")


def test_a_run_goes_on_with_the_encoder_that_it_began_with_alone(shards: Path, tmp_path: Path) -> None:
    path = other_encoder(tmp_path)
    first = path.read_bytes()
    settings = [*SMALL, f"identity.encoder={path}", "losses.adversarial=0", "train.engine=ddp"]
    begun = load_recipe("simswap", [*settings, "losses.feature_matching=0", "train.total_kimg=0.008"])
    train(begun, shards, tmp_path / "run", device="cpu")
    encoder = load_encoder(str(path))
    made_from = json.loads((tmp_path / "run" / "recipe.json").read_text())["made_from"]
    assert made_from["encoder"] == {"name": encoder.name, "digest": encoder.digest}
    other_encoder(tmp_path, seed=8)
    registry._load.cache_clear()  # as a new process would read the file
    with pytest.raises(SamaeError, match=f"made with encoder_digest {encoder.digest}, this run has"):
        train(begun, shards, tmp_path / "run", device="cpu")
    path.write_bytes(first)  # saved once more it would have another digest: safetensors shuffles its header
    registry._load.cache_clear()  # as a new process would read the file
    assert train(begun, shards, tmp_path / "run", device="cpu").resumed_from == 8


@pytest.mark.parametrize("recipe", ["simswap", "blendface", "samae"])
def test_methods_learn_from_second_pictures_of_labelled_people(
    shards: Path, tmp_path: Path, recipe: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A session's own inputs of two even updates, and the sentence of the whole run."""
    own = {"blendface": ["generator.multipliers=[1, 2, 2, 2]"], "samae": ["identity.other_picture=true"]}
    made = load_recipe(recipe, [*SMALL, *own.get(recipe, []), "train.total_kimg=0.008", "train.engine=ddp"])
    shard_set = ShardSet.open(shards)
    method = build_method(made, *fitting_parts(made, shard_set, "cpu"))
    session = Session(made, method, method.encoder, shard_set, tmp_path / "a", World("cpu"), NoTracker())
    coming = session.coming()
    ready = [next(coming) for _ in range(3)]
    coming.close()
    for step in (0, 2):
        positions = session.stream.positions(4 * step)
        others = [str(session.stream.second_key_at(p)) for p in positions]
        assert all(key != session.stream.key_at(p) for p, key in zip(positions, others, strict=True))
        inputs, stored = ready[step].inputs[0], load_faces(shard_set, others).embedding
        dim = stored.shape[1]
        seen = inputs.conditions.vector[:, :dim] / dim**0.5 if recipe == "samae" else inputs.identity
        torch.testing.assert_close(seen, stored)
    train(made, shards, tmp_path / "b", device="cpu")
    assert "for 0 of 4 people, who have one picture" in capsys.readouterr().err


def test_shards_of_another_head_or_size_are_refused(shards: Path, tmp_path: Path) -> None:
    with pytest.raises(SamaeError, match="recipe 'samae' is for 64 px"):
        train(load_recipe("samae"), shards, tmp_path, device="cpu")
    other = tmp_path / "other"
    other.mkdir()
    (other / "00000.tar").write_bytes((shards / "00000.tar").read_bytes())
    encoder = load_encoder("builtin")
    maker = {"name": encoder.name, "digest": encoder.digest}
    write_index(other, size_px=32, head={"edition": "builtin-1", "digest": "0" * 16}, encoder=maker)
    with pytest.raises(SamaeError, match="another head"):
        train(load_recipe("samae", SMALL), other, tmp_path / "run", device="cpu")


def test_a_dry_run_prints_and_trains_nothing(shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command("samae", shards, tmp_path / "run", "--dry-run")) == 0
    out = capsys.readouterr().out
    assert "train.batch_size: 4" in out
    assert "steps: 4 of 4 pictures" in out
    assert "'train': 12, 'validation': 4" in out
    assert not (tmp_path / "run").exists()
