"""Settings: what the environment says, and one sentence for what it says wrongly."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from assets.plan import Plan
from assets.planned import recipe_overrides, require_own_size
from faces.errors import SamaeError
from pipelines.commands import demo, train
from pipelines.settings import load_settings
from training.config import load_recipe


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in [name for name in os.environ if name.startswith("SAMAE_")]:
        monkeypatch.delenv(name)


def test_defaults_make_the_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load_settings()
    assert settings.home == tmp_path / ".samae"
    assert settings.recipes == ("samae", "simswap")
    assert settings.raw is None
    assert settings.tracking_uri == f"sqlite:///{tmp_path}/.samae/mlflow/mlflow.db"


def test_lists_are_split_at_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAMAE_RECIPES", "samae, simswap")
    monkeypatch.setenv("SAMAE_KIMG", "samae=1.5,simswap=2")
    monkeypatch.setenv("SAMAE_OVERRIDES", "train.batch_size=8,simswap:train.batch_size=4")
    settings = load_settings()
    assert settings.kimg_of("samae") == 1.5
    assert settings.kimg_of("other") is None
    assert settings.plan.overrides_of("samae") == ["train.batch_size=8"]
    assert settings.plan.overrides_of("simswap") == ["train.batch_size=8", "train.batch_size=4"]


def test_a_setting_that_is_a_list_keeps_its_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    given = ("samae:generator.multipliers=[1,1,2]", "seed=3", "generator.attention_px=[16, 8]", "train.workers=2")
    monkeypatch.setenv("SAMAE_OVERRIDES", ",".join(given))
    plan = load_settings().plan
    assert plan.overrides == given
    made = load_recipe("samae", recipe_overrides(plan, "samae"))
    assert (made.generator.multipliers, made.generator.attention_px, made.seed) == ((1, 1, 2), (16, 8), 3)


@pytest.mark.parametrize(
    ("name", "value", "mentions"),
    [
        ("SAMAE_PHOTOGRAPHS", "many", "SAMAE_PHOTOGRAPHS is 'many'"),
        ("SAMAE_PICTURE_PX", "3", "SAMAE_PICTURE_PX is '3'"),
        ("SAMAE_RAY", "cluster", "neither serial, local, auto nor an address"),
        ("SAMAE_WEBHOOK", "http://host:abc/x", "'http://host:abc/x' has no host, or no port of 1 to 65535"),
        ("SAMAE_WEBHOOK", "https://host:99999", "has no host, or no port"),
        ("SAMAE_WEBHOOK", "http://[::1/x", "has no host, or no port"),
        ("SAMAE_WEBHOOK", "http://:80/x", "has no host, or no port"),
        ("SAMAE_WEBHOOK", "http://ann:word@host:x", "SAMAE_WEBHOOK is 'http://host:x': 'http://host:x' has no"),
        ("SAMAE_KIMG", "samae=long", "'samae=long' is not recipe=kimg"),
        ("SAMAE_RECIPES", "", "name at least one recipe"),
    ],
)
def test_a_wrong_value_is_one_sentence(monkeypatch: pytest.MonkeyPatch, name: str, value: str, mentions: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SamaeError, match="wrong setting") as caught:
        load_settings()
    assert mentions in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_plan_alone_decides_what_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    here = load_settings(home="/tmp/a", ray="serial").plan
    there = load_settings(home="/tmp/b", ray="local", cores=3).plan
    assert here == there
    assert here.digest == there.digest
    assert load_settings(seed=1).plan.digest != here.digest


def test_one_more_folder_does_not_change_which_set_it_is() -> None:
    a, b = Plan(raw=Path("/x/ffhq"), photographs=8), Plan(raw=Path("/y/ffhq"), photographs=16)
    assert a.source_identity == b.source_identity
    assert Plan(seed=1).source_identity != Plan(seed=2).source_identity
    assert a.set_name == "ffhq"


@pytest.mark.parametrize(
    ("recipe", "settings", "is_refused"),
    [
        ("samae-256", {}, True),
        ("simswap-224", {}, True),
        ("simswap-224", {"picture_px": 256}, True),
        ("simswap-script", {}, True),
        ("samae", {"picture_px": 32}, True),
        ("samae", {"picture_px": 128}, False),  # the same trunk with larger patches
        ("samae-128", {}, False),
        ("simswap", {"picture_px": 128}, False),  # its name says no size
        ("simswap-224", {"picture_px": 224}, False),
        ("samae-256", {"overrides": ("samae-256:size_px=64",)}, False),
        ("samae-256", {"overrides": ("simswap:size_px=64",)}, True),
    ],
)
def test_a_recipe_is_not_trained_at_another_size_under_its_name(
    recipe: str, settings: dict[str, Any], is_refused: bool
) -> None:
    expected = pytest.raises(SamaeError, match=f"{recipe}.*SAMAE_PICTURE_PX=.*size_px") if is_refused else nullcontext()
    with expected:
        require_own_size(Plan(**settings), recipe)


def test_the_command_says_what_size_a_recipe_wants(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SamaeError, match="SAMAE_PICTURE_PX=256 and SAMAE_PHOTO_PX=256, or say that 64 px are meant"):
        train.run("samae-256", [], None, dry_run=True)
    with pytest.raises(SamaeError, match="recipe 'simswap-224' is written for 224 px"):
        demo.make(load_settings(recipes=("simswap-224",)))


def test_a_misspelt_variable_is_told_once(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("SAMAE_PHOTOGRAPS", "12")
    for name in ("SAMAE_WEIGHTS", "SAMAE_CACHE", "SAMAE_PROGRESS", "SAMAE_OUR_TEAMS_BUCKET", "SAMAE_PAIRS"):
        monkeypatch.setenv(name, "4")
    load_settings()
    load_settings()
    told = capsys.readouterr().err
    assert told == "samae: no setting is called SAMAE_PHOTOGRAPS, it changes nothing; did you mean SAMAE_PHOTOGRAPHS?\n"
