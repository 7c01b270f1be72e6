"""Where assets lie, and when they are up to date."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from assets.graph import STAGES, is_made, provenance, what_it_waits_for
from assets.plan import Plan
from assets.planned import encoder_recipe_identity, recipe_identity, recipe_overrides
from assets.store import Store
from faces.errors import SamaeError
from faces.files import write_json
from training.config import load_recipe

PROVENANCE = {"code_version": "1", "settings": {}, "inputs": {"raw_faces": "abc"}}


def write(store: Store, text: str, provenance: dict[str, object]) -> str:
    with store.write("aligned_faces", "00000", provenance) as (folder, _):
        (folder / "rows.txt").write_text(text)
    return store.digest("aligned_faces", "00000")


def test_up_to_date_means_whole_and_made_from_the_same(tmp_path: Path) -> None:
    store = Store(tmp_path, "people")
    assert not store.is_current("aligned_faces", "00000", PROVENANCE)
    write(store, "one", PROVENANCE)
    assert store.is_current("aligned_faces", "00000", PROVENANCE)
    assert not store.is_current("aligned_faces", "00000", PROVENANCE | {"code_version": "2"})
    (store.folder("aligned_faces", "00000") / "rows.txt").unlink()
    assert not store.is_current("aligned_faces", "00000", PROVENANCE)


def test_the_data_version_is_the_content_alone(tmp_path: Path) -> None:
    store = Store(tmp_path, "people")
    first = write(store, "one", PROVENANCE)
    assert write(store, "one", PROVENANCE | {"code_version": "2"}) == first
    assert write(store, "two", PROVENANCE) != first


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    store = Store(tmp_path, "people")
    first = write(store, "one", PROVENANCE)

    def fail() -> None:
        with store.write("aligned_faces", "00000", PROVENANCE) as (folder, _):
            (folder / "rows.txt").write_text("half")
            raise RuntimeError("the power went")

    with pytest.raises(RuntimeError):
        fail()
    assert store.digest("aligned_faces", "00000") == first
    assert [path.name for path in store.folder("aligned_faces", "00000").parent.iterdir()] == ["00000"]


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(SamaeError, match=r"swap_model \[samae\] has not been made yet .*run `samae demo`"):
        Store(tmp_path, "people").digest("swap_model", "samae")


def test_sets_have_names() -> None:
    assert Plan().set_name == "people-1000x128"
    assert Plan(seed=3).set_name == "people-1000x128-s3"
    assert Plan(raw=Path("/data/FFHQ")).set_name == "ffhq"


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Heads and encoders are known by their names alone, as no test here has others."""
    for name in ("head_identity", "encoder_identity"):
        monkeypatch.setattr(f"assets.graph.{name}", lambda given: {"digest": f"of {given}"})
    monkeypatch.setattr("assets.graph.measurer_identity", lambda head, has_truth: f"{head} {has_truth}")


@pytest.mark.usefixtures("named")
@pytest.mark.parametrize(
    ("setting", "value", "stages"),
    [
        ("seed", 1, {"photographs", "swap_model", "swap_evaluation"}),
        ("pairs", 7, {"swap_evaluation"}),
        ("judges", ("judge-1",), {"swap_evaluation"}),
        ("encoder", "other", {"identity_embeddings", "training_shards", "swap_model"}),
        ("head", "other", {
            "face_coefficients", "neutral_albedo", "face_masks", "training_shards", "swap_evaluation",
        }),
        ("picture_px", 128, {"training_shards", "swap_model"}),
        ("aligned_px", 256, {"aligned_faces"}),
        ("least_sharpness", 0.3, {"raw_faces"}),
        ("kimg", ("samae=7",), {"swap_model"}),
        ("overrides", ("samae:train.batch_size=8",), {"swap_model"}),
        ("ranks", 3, {"swap_model"}),
    ],
)  # fmt: skip
def test_a_setting_makes_what_depends_on_it_out_of_date(setting: str, value: Any, stages: set[str]) -> None:
    """And nothing else by itself: what lies below follows by its inputs' digests."""
    before = Plan(from_scratch=True)
    after = before.model_copy(update={setting: value})
    own = {name: stage.settings for name, stage in STAGES.items() if stage.cut != "encoder"}
    assert {name for name, of in own.items() if of(before, "samae") != of(after, "samae")} == stages


@pytest.mark.usefixtures("named")
def test_another_code_of_swapping_or_measuring_makes_evaluations_out_of_date(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = STAGES["swap_evaluation"].settings
    before = settings(Plan(), "samae")
    for version in ("training.export.SWAP_VERSION", "evaluation.metrics.METRIC_VERSION"):
        with monkeypatch.context() as patch:
            patch.setattr(version, "another")
            assert settings(Plan(), "samae") != before
    assert settings(Plan(), "samae") == before


def test_a_model_depends_on_the_weights_that_it_starts_from(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Plan(overrides=("samae:train.init_from=mine", "arcface:start_from=mine"))
    found = []
    for digest in ("one", "two"):
        monkeypatch.setattr("training.weights.find_weights", lambda name, sha=digest: SimpleNamespace(sha256=sha))
        monkeypatch.setattr("assets.planned.encoder_identity", lambda name, sha=digest: {"digest": sha})
        found.append((recipe_identity(plan, "samae"), encoder_recipe_identity(plan, "arcface")))
    assert found[0][0] != found[1][0]
    assert found[0][1] != found[1][1]


def test_the_users_own_recipe_settings_come_last() -> None:
    plan = Plan(seed=5, overrides=("seed=3", "samae:train.total_kimg=9"), kimg=("samae=6",), from_scratch=True)
    made = load_recipe("samae", recipe_overrides(plan, "samae"))
    assert (made.seed, made.train.total_kimg) == (3, 9)
    assert load_recipe("samae", recipe_overrides(Plan(seed=5), "samae")).seed == 5


def made_of(
    store: Store, plan: Plan, stage: str, partition: str | None, provenance_: dict[str, Any] | None = None
) -> None:
    with store.write(stage, partition, provenance_ or provenance(stage, partition, plan, store)) as (folder, _):
        (folder / "content").write_text(stage)


def test_what_lies_below_something_out_of_date_is_not_made_and_waits(tmp_path: Path) -> None:
    """Though its own inputs still have the same bytes."""
    raw = tmp_path / "set"
    write_json(raw / "ffhq-dataset-v2.json", {"0": {"image": {"file_path": "images64x64/00000/00000.png"}}})
    plan = Plan(raw=raw)
    store = Store(tmp_path / "home", plan.set_name, raw)
    made_of(store, plan, "photographs", None)
    assert what_it_waits_for("raw_faces", "00000", plan, store) is not None
    made_of(store, plan, "raw_faces", "00000")
    assert is_made("raw_faces", "00000", plan, store)
    assert what_it_waits_for("raw_faces", "00000", plan, store) is None
    made_of(store, plan, "photographs", None, {"code_version": "older"})
    assert store.is_current("raw_faces", "00000", provenance("raw_faces", "00000", plan, store))
    assert not is_made("raw_faces", "00000", plan, store)
    assert what_it_waits_for("aligned_faces", "00000", plan, store) is None


def test_another_listing_of_a_folder_makes_its_photographs_out_of_date(tmp_path: Path) -> None:
    raw = tmp_path / "set"
    entry = {"image": {"file_path": "images64x64/00000/00000.png"}}
    write_json(raw / "ffhq-dataset-v2.json", {"0": entry})
    plan = Plan(raw=raw)
    store = Store(tmp_path / "home", plan.set_name, raw)
    made_of(store, plan, "photographs", None)
    before = provenance("raw_faces", "00000", plan, store)
    write_json(raw / "ffhq-dataset-v2.json", {"0": entry | {"metadata": {"license": "another"}}})
    assert provenance("raw_faces", "00000", plan, store) != before


def test_more_generated_photographs_are_other_photographs(tmp_path: Path) -> None:
    found = []
    for count in (100, 101):
        plan = Plan(photographs=count)
        found.append(provenance("photographs", None, plan, Store(tmp_path, plan.set_name)))
    assert found[0] != found[1]
