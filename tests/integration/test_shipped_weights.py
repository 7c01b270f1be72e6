"""The weights that come with the project: whole, fitting today's recipe, head and encoder, and as good as published."""

import json
from pathlib import Path

import pytest

from assets.partitions import recipe_names
from assets.plan import Plan
from assets.planned import recipe_identity, recipe_overrides
from faces.identity.registry import load_encoder
from faces.morphable.registry import load_head
from tests.integration.conftest import samae
from training.config import load_recipe
from training.weights import SHIPPED_FOLDER, find_weights, shipped_for, shipped_names

#: A cut of the protocol of docs/results.md: small enough for a test.
CUT = ("photographs=48", "pairs=24")
#: Width of the pictures, px -> figure -> what it was, and how far it may be off.
KEPT = {
    128: {
        "identity_to_source": (0.630, 0.02),
        "psnr_to_truth_db": (24.06, 0.3),
        "skin_delta_e": (1.13, 0.2),
        "gaze_degrees": (5.4, 1.0),
    },
    64: {
        "identity_to_source": (0.619, 0.02),
        "psnr_to_truth_db": (24.91, 0.3),
        "skin_delta_e": (1.01, 0.2),
        "gaze_degrees": (5.6, 1.0),
    },
}


def test_they_fit_every_size_of_their_trunk() -> None:
    assert shipped_names() == ["samae-people"]
    assert not set(shipped_names()) & set(recipe_names())  # one word never means both
    digests = load_head("builtin").digest, load_encoder("builtin").digest
    for recipe in ("samae", "samae-128"):
        found = shipped_for(load_recipe(recipe), *digests)
        assert found is not None
        assert found.name == "samae-people"
    assert shipped_for(load_recipe("samae-256"), *digests) is None
    assert (SHIPPED_FOLDER / "samae-people" / "README.md").read_text().startswith("# samae-people")


def test_all_weights_stay_small() -> None:
    root = Path(__file__).parents[2]
    floors = ("faces", "training", "evaluation", "assets", "pipelines")
    sizes = [path.stat().st_size for floor in floors for path in (root / floor).rglob("*.safetensors*")]
    assert len(sizes) >= 11
    assert sum(sizes) <= 20e6


def test_the_demo_goes_on_from_them_unless_told_otherwise(tmp_path: Path) -> None:
    start = "train.init_from=samae-people"
    for plan in (Plan(), Plan(picture_px=128), Plan(picture_px=256)):
        for recipe in ("samae", "samae-128"):
            assert start in recipe_overrides(plan, recipe)
    assert recipe_identity(Plan(), "samae")["init_from"] == find_weights("samae-people").sha256
    for plan in (Plan(from_scratch=True), Plan(raw=tmp_path), Plan(picture_px=32)):
        assert start not in recipe_overrides(plan, "samae")
    assert "init_from" not in recipe_identity(Plan(from_scratch=True), "samae")
    assert "init_from" not in recipe_identity(Plan(overrides=("train.init_from=",)), "samae")
    assert start not in recipe_overrides(Plan(), "samae-no-perforation")
    for plan, sees_other in (
        (Plan(), True), (Plan(from_scratch=True), False), (Plan(overrides=("identity.other_picture=false",)), False)
    ):  # fmt: skip
        assert load_recipe("samae", recipe_overrides(plan, "samae")).identity.other_picture is sees_other
    assert start not in recipe_overrides(Plan(overrides=("generator.width=32",)), "samae")


@pytest.mark.slow
@pytest.mark.parametrize("size_px", KEPT)
def test_they_are_as_good_as_published(size_px: int, tmp_path: Path) -> None:
    settings = [part for name in (*CUT, f"size_px={size_px}") for part in ("--set", name)]
    figures = json.loads(samae("bench", "results", "--json", *settings, home=tmp_path))["figures"]
    for name, (published, tolerance) in KEPT[size_px].items():
        assert figures[name] == pytest.approx(published, abs=tolerance), name
    assert figures["identity_to_source"] > figures["copy_target_identity_to_source"] + 0.3
    assert figures["identity_to_target"] < figures["copy_target_identity_to_target"] - 0.3
