"""Recipes: layers, overrides, refusals, digests."""

import dataclasses
from pathlib import Path

import pytest
import torch
from method_fakes import tiny_encoder, tiny_head

from faces.errors import SamaeError
from training.config import load_recipe, recipe_from_dict, recipe_names
from training.methods.base import build_method


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_of_the_project_loads_and_survives_json(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe_from_dict(recipe.as_dict()) == recipe


def test_the_promised_recipes_exist() -> None:
    ablations = {
        f"samae-{what}" for what in ("no-perforation", "no-mesh-scaling", "no-skin-colour", "vector-condition")
    }
    rivals = {"simswap", "simswap-224", "simswap-script", "blendface", "blendface-256", "simswap-blendface"}
    assert {"samae", "samae-blendface"} | rivals | ablations <= set(recipe_names())


def test_an_ablation_differs_from_samae_in_its_one_setting() -> None:
    base, ablation = load_recipe("samae").as_dict(), load_recipe("samae-no-mesh-scaling").as_dict()
    changed = [key for key in base if base[key] != ablation[key]]
    assert sorted(changed) == ["description", "mesh", "name"]
    assert ablation["mesh"] == base["mesh"] | {"scaling_probability": 0.0}


def test_overrides_convert_and_change_the_digest() -> None:
    plain, other = load_recipe("samae"), load_recipe("samae", ["train.total_kimg=2", "optimiser.learning_rate=1e-3"])
    assert other.train.total_kimg == 2.0
    assert isinstance(other.train.total_kimg, float)
    assert other.optimiser.learning_rate == 1e-3
    assert other.digest != plain.digest
    assert load_recipe("samae", ["description=other"]).digest == plain.digest


def test_an_empty_text_may_be_given_and_older_recipes_keep_their_digest() -> None:
    empty = load_recipe("samae", ["train.init_from="])
    assert empty.train.init_from == ""
    assert "init_from" not in empty.as_dict()["train"]
    assert empty.digest == load_recipe("samae").digest != load_recipe("samae", ["train.init_from=x"]).digest


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("train.totl_kimg=2", "train.total_kimg"),
        ("losess.identity=2", "losses"),
        ("train.batch_size=many", "must be int"),
        ("train.batch_size=2.5", "must be int"),
        ("flip=1", "must be bool"),
        ("mesh.condition=imag", "did you mean 'image'"),
        ("size_px=60", "not a multiple"),
        ("train.batch_size=0", "above 0"),
        ("train.total_kimg=.nan", "above 0 and finite, not nan"),
        ("train.keep_checkpoints=1", "at least 2"),
        ("identity.encoder=judge-1", "only judges"),
        ("identity.encoder=glint360k", "only judges"),
        ("seed=-1", "'seed' must be 0 or more, not -1"),
        ("train", "key.key=value"),
        ("train=3", "key: value lines"),
    ],
)
def test_a_wrong_setting_is_refused_with_its_mend(override: str, words: str) -> None:
    with pytest.raises(SamaeError, match=words):
        load_recipe("samae", [override])


@pytest.mark.parametrize(
    ("recipe", "overrides", "words"),
    [
        ("samae", ["losses.feature_stride=0"], "'losses.feature_stride' must be at least 1, not 0"),
        ("samae", ["losses.r1_every_steps=0"], "must be at least 1"),
        ("samae", ["train.log_every_steps=0"], "must be at least 1"),
        ("samae", ["discriminator.scales=0"], "must be at least 1"),
        ("samae", ["losses.feature_matching=1"], "does nothing in samae: that loss is simswap's"),
        ("samae", ["losses.reconstruction_form=half_squared"], "does nothing in samae"),
        ("samae", ["discriminator.kind=projected"], "does nothing in samae; it has 'patchgan' alone"),
        ("samae", ["losses.adversarial=1", "discriminator.layers=6"], "sees 32 px, which 5 layers halve to one"),
        ("simswap", ["losses.face=1"], "that loss is samae's"),
        ("simswap", ["losses.feature_matching_from=3"], "none of the discriminator's 3 layers .* choose 0 to 2"),
        ("simswap", ["discriminator.layers=9"], "choose at most 5, or fewer scales"),
        ("simswap-script", ["losses.r1=1"], "losses.r1 needs a PatchGAN"),
        ("blendface", ["losses.feature_matching=10"], "does nothing in blendface"),
        ("simswap", ["flip=false"], "'flip' does nothing in simswap: leave it out"),
        ("blendface", ["mesh.scaling=0.2"], "'mesh.scaling' does nothing in blendface"),
        ("simswap", ["identity.other_picture=true"], "does nothing in simswap, which always uses another picture"),
    ],
)
def test_what_a_training_would_fail_at_or_ignore_is_refused(recipe: str, overrides: list[str], words: str) -> None:
    with pytest.raises(SamaeError, match=words):
        load_recipe(recipe, overrides)


def test_a_deepest_discriminator_and_a_latest_layer_are_taken() -> None:
    settings = ["discriminator.layers=5", "losses.feature_matching_from=4", "size_px=64"]
    made = build_method(load_recipe("simswap", settings), tiny_head(), tiny_encoder())
    assert made.discriminator is not None
    maps = made.discriminator(torch.zeros(1, 3, 64, 64))
    assert [scale[-1].shape[-1] for scale in maps] == [2, 1]
    assert len(maps[0][:-1][4:]) == 1


def test_what_was_trained_once_still_loads() -> None:
    tree = load_recipe("samae").as_dict()
    tree["losses"] |= {"feature_matching": 1.0, "feature_stride": 0}
    assert recipe_from_dict(tree).losses.feature_matching == 1.0


def test_an_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(SamaeError, match="did you mean 'simswap'"):
        load_recipe("simswop")


def test_a_recipe_file_extends_another_and_circles_end(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("extends: samae\ntrain:\n  total_kimg: 3\n")
    mine = load_recipe(tmp_path / "mine.yaml")
    assert (mine.name, mine.train.total_kimg, mine.train.batch_size) == (
        "mine",
        3.0,
        load_recipe("samae").train.batch_size,
    )
    (tmp_path / "round.yaml").write_text("extends: round\n")
    with pytest.raises(SamaeError, match="circle"):
        load_recipe(tmp_path / "round.yaml")


def test_broken_yaml_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("a: b: c\n")
    with pytest.raises(SamaeError, match="not valid YAML") as caught:
        load_recipe(tmp_path / "bad.yaml")
    assert "\n" not in str(caught.value)


def test_a_recipe_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        load_recipe("samae").seed = 3  # type: ignore[misc]
