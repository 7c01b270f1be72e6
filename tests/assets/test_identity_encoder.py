"""The asset identity_encoder: a tiny encoder trained from its recipe, loadable by its path, figures on the page."""

from pathlib import Path

import dagster as dg

from assets import identity
from assets.graph import encoder_overrides, partitions_of, recipe_overrides
from assets.store import Store
from faces.identity.registry import load_encoder
from tests.assets.conftest import House, make, tiny_plan

SMALL = (
    "people=4", "held_out_people=2", "pictures_per_person=2", "render_px=64", "crop_px=32", "depth=10", "width=4",
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


def test_encoders_are_never_made_unasked_and_take_only_settings_meant_for_them() -> None:
    plan = tiny_plan(overrides=("arcface:epochs=3", "train.batch_size=4"))
    assert partitions_of("identity_encoder", plan, Store(Path("nowhere"), "set")) == []
    assert encoder_overrides(plan, "arcface") == ["epochs=3"]
    assert encoder_overrides(plan, "blendface-encoder") == []
    assert "identity.encoder=builtin" in recipe_overrides(plan, "simswap")
