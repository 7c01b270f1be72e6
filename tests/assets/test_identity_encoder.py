"""The asset identity_encoder: a tiny encoder trained from its recipe, loadable by its path, figures on the page."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import torch

from assets import identity, room
from assets.graph import partitions_of
from assets.planned import encoder_overrides, encoder_recipe_identity, recipe_overrides
from assets.store import Store
from faces.errors import SamaeError
from faces.identity.registry import load_encoder
from tests.assets.conftest import House, make, tiny_plan
from training.encoder.fit import fit
from training.encoder.recipe import load_encoder_recipe
from training.footprint import encoder_disk_bytes

SMALL = (
    "people=4", "held_out_people=2", "pictures_per_person=2", "render_px=64", "crop_px=32", "depth=10", "width=8",
    "dim=16", "epochs=1", "batch_size=4",
)  # fmt: skip


def test_an_encoder_is_made_by_name_and_loads_by_its_path(tmp_path: Path) -> None:
    plan = tiny_plan(overrides=tuple(f"blendface-encoder:{setting}" for setting in SMALL))
    house, instance = House(plan, Store(tmp_path, plan.set_name), []), dg.DagsterInstance.ephemeral()
    made = make(house, instance, "identity_encoder", partition="blendface-encoder")
    (event,) = made.get_asset_materialization_events()
    assert {"tar_at_far_1e3", "genuine_mean", "accuracy"} <= set(event.materialization.metadata)
    path = house.store.folder("identity_encoder", "blendface-encoder") / identity.ENCODER_NAME
    encoder = load_encoder(str(path))
    assert (encoder.dim, encoder.crop_px) == (16, 32)
    assert ("identity_encoder", 1.0, 1.0) in house.heard
    assert not list(house.store.runs.glob("encoder-*"))


class Stopped(Exception):
    """Somebody stopped the training."""


def test_a_training_that_goes_on_asks_for_the_rest_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a disk that is exactly large enough, after its crops and its first epoch are written; and never more than
    what was counted lies there."""

    class StopsAfterAnEpoch(House):
        """A house whose training ends with its first whole epoch."""

        def progress(self, context: object, stage: str, on_page: bool = True) -> Any:
            def said(done: float, total: float, note: str = "") -> None:
                if note.startswith("epoch"):
                    raise Stopped

            return said

    settings = (*SMALL, "epochs=3")
    plan, name = tiny_plan(overrides=tuple(f"blendface-encoder:{setting}" for setting in settings)), "blendface-encoder"
    house, instance = House(plan, Store(tmp_path, plan.set_name), []), dg.DagsterInstance.ephemeral()
    need = room.disk_needed(house, "identity_encoder", 0, name)
    free = {"bytes": need}
    monkeypatch.setattr(room, "free_here", lambda home: room.Free(free["bytes"], 1 << 50))
    with pytest.raises(Stopped):
        make(StopsAfterAnEpoch(plan, house.store, []), instance, "identity_encoder", partition=name)
    (run_dir,) = house.store.runs.glob("encoder-*")
    written = room.bytes_below(run_dir) + room.bytes_below(tmp_path / "cache" / "encoders")
    assert 0 < written < room.encoder_bytes(house, name)
    free["bytes"] = need - written - 1
    with pytest.raises(SamaeError, match=r"identity_encoder needs about .* of disk, .*nothing was started"):
        make(house, instance, "identity_encoder", partition=name)
    free["bytes"] += 1
    assert make(house, instance, "identity_encoder", partition=name).success


def test_the_room_for_an_encoder_is_that_of_its_own_files(tmp_path: Path) -> None:
    """Crops, two checkpoints and a third beside them, and the encoder: as many bytes as are written, but headers."""
    wider = ("people=20", "crop_px=64", "width=24", "dim=256", "epochs=2")
    recipe = load_encoder_recipe("blendface-encoder", [*SMALL, *wider])
    run_dir, cache, out = tmp_path / "run", tmp_path / "cache", tmp_path / "encoder.safetensors"
    fit(recipe, out, cache, 1, lambda line: None, run_dir)
    checkpoints = sorted((run_dir / "checkpoints").iterdir())
    assert len(checkpoints) == 2
    written = room.bytes_below(cache) + 3 * room.bytes_below(checkpoints[0]) + out.stat().st_size
    assert encoder_disk_bytes(recipe) == pytest.approx(written, rel=0.02)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    encoder_disk_bytes(recipe)
    assert torch.equal(torch.rand(1), expected)


def test_encoders_are_never_made_unasked_and_take_only_settings_meant_for_them() -> None:
    plan = tiny_plan(overrides=("arcface:epochs=3", "train.batch_size=4"))
    assert partitions_of("identity_encoder", plan, Store(Path("nowhere"), "set")) == []
    assert encoder_overrides(plan, "arcface") == ["epochs=3"]
    assert encoder_overrides(plan, "blendface-encoder") == []
    assert "identity.encoder=builtin" in recipe_overrides(plan, "simswap")


def test_an_encoder_is_made_from_the_pictures_of_its_folder(tmp_path: Path) -> None:
    """One more person there, and the encoder is not up to date; a folder that cannot be used stops no listing."""
    plan = tiny_plan(overrides=(f"arcface:data={tmp_path}",))
    without = encoder_recipe_identity(plan, "arcface")
    found = []
    for person in range(5):
        (tmp_path / f"name-{person}").mkdir()
        for picture in ("a.png", "b.png"):
            (tmp_path / f"name-{person}" / picture).write_bytes(b"picture")
        if person > 2:
            found.append(encoder_recipe_identity(plan, "arcface"))
    assert without["data"] == "unusable"
    assert len({one["data"] for one in (without, *found)}) == 3
    assert len({one["recipe"] for one in (without, *found)}) == 1
