"""The main job, end to end, small: what it leaves behind, what it says, and that a second time costs nothing."""

import json
import re
from pathlib import Path

import dagster as dg
import numpy as np
import pytest

from assets.graph import STAGES
from assets.promotion import CHALLENGER, CHAMPION
from evaluation.evaluation import read_evaluation
from faces.files import read_json, read_manifest
from pipelines.tracking import MlflowTracking
from tests.integration.conftest import Whole, samae
from training.export import load_swapper
from training.shards import ShardSet

pytestmark = pytest.mark.integration
SET = "people-32x64"
#: What `samae demo` makes: all but the encoders, which have recipes of their own.
MAIN_JOB = {name: stage for name, stage in STAGES.items() if name != "identity_encoder"}


def shards(whole: Whole) -> Path:
    return whole.home / "shards" / SET


def test_every_asset_was_made_and_dagster_knows_its_version(whole: Whole) -> None:
    with dg.DagsterInstance.from_config(str(whole.home / "dagster")) as instance:
        for name, stage in MAIN_JOB.items():
            event = instance.get_latest_materialization_event(dg.AssetKey(name))
            assert event is not None, name
            assert event.asset_materialization is not None
            tags = event.asset_materialization.tags or {}
            assert tags["dagster/code_version"] == stage.code_version
            assert re.fullmatch("[0-9a-f]{16}", tags["dagster/data_version"]), name
        failed = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE]))
    assert failed == []


def test_the_shards_are_whole_and_split_by_people(whole: Whole) -> None:
    found = ShardSet.open(shards(whole))
    read_manifest(shards(whole)).verify(shards(whole), hashes=True)
    assert 24 <= len(found) <= 32
    people = [set(found.persons(found.keys(split)).tolist()) for split in ("train", "validation", "test")]
    assert all(people)
    assert not people[0] & people[2]
    found.close()


@pytest.mark.parametrize(("recipe", "ranks"), [("samae", 1), ("simswap", 2)])
def test_training_ran_on_its_ranks_and_left_a_swapper(whole: Whole, recipe: str, ranks: int) -> None:
    runs = sorted((whole.home / "runs").glob(f"*-{recipe}-{SET}-ranks{ranks}"))
    assert len(runs) == 1
    stats = [json.loads(line) for line in (runs[0] / "stats.jsonl").read_text().splitlines()]
    assert stats[-1]["kimg"] == pytest.approx(0.048)
    swapper = load_swapper(whole.home / "assets" / "swap_model" / recipe / "export")
    from training.stream import load_faces

    found = ShardSet.open(shards(whole))
    faces = load_faces(found, found.keys("test")[:2])
    made = swapper.swap(faces.select([0]), faces.select([1]))
    found.close()
    assert made.image.shape == (1, 3, 64, 64)
    assert np.isfinite(made.image.numpy()).all()


def test_the_report_stands_alone(whole: Whole) -> None:
    page = (whole.home / "reports" / "leaderboard" / "report.html").read_text()
    assert "data:image/" in page
    assert not re.findall(r"""(?:src|href)=["']https?://""", page)
    assert "simswap" in page
    own = (whole.home / "assets" / "swap_evaluation" / "simswap" / "report.html").read_text()
    assert "How it learned" in own


def test_the_registry_has_both_models(whole: Whole) -> None:
    store = f"sqlite:///{whole.home / 'mlflow' / 'mlflow.db'}"
    tracking = MlflowTracking(uri=store, home=str(whole.home / "mlflow"))
    recipes = {version.tags["recipe"] for version in tracking.versions()}
    assert recipes == {"samae", "simswap"}
    verdict = read_json(whole.home / "assets" / "champion" / "all" / "verdict.json")
    assert verdict["verdicts"] or verdict["champion_before"]
    cards = [tracking.card(str(version.version)) for version in tracking.versions()]
    assert all("| photographs (" in card and "Apache-2.0" in card and "samae train --recipe" in card for card in cards)
    aliases = tracking.aliases()
    if CHAMPION in aliases:
        folder = tracking.export_folder(aliases[CHAMPION])
        assert {path.name for path in folder.iterdir()} >= {"model.safetensors", "config.json"}
    assert set(aliases) <= {CHAMPION, CHALLENGER, "previous"}
    runs = tracking.client.search_runs([tracking.experiment_id])
    kinds = [run.data.tags.get("samae.kind") for run in runs]
    assert {"cycle", "training", "evaluation"} <= set(kinds)
    assert all(run.info.status == "FINISHED" for run in runs)
    trained = next(run for run in runs if run.data.tags.get("samae.kind") == "training")
    assert any(name.startswith("generator") for name in trained.data.metrics)
    judged = next(run for run in runs if run.data.tags.get("samae.kind") == "evaluation")
    assert judged.inputs.dataset_inputs[0].dataset.digest == judged.data.tags["samae.pairs_digest"]
    assert {"eval/failed", "eval/identity_similarity", "interval/identity_similarity_low"} <= set(judged.data.metrics)
    assert judged.data.tags["samae.commit"]


def test_it_says_where_to_look(whole: Whole) -> None:
    assert f"Report: {whole.home}/reports/leaderboard/report.html" in whole.first
    for words in ("looks like the source", "looks like the true swap", "close to the true swap", "skin colour kept"):
        assert words in whole.first
    assert "dev --page dagster" in whole.first
    assert "dev --page mlflow" in whole.first


def test_what_is_done_is_not_done_again(whole: Whole) -> None:
    assert whole.first.count("made in") == len(MAIN_JOB)
    again = [line for line in whole.second.splitlines() if "made in" in line]
    assert [line.split()[0] for line in again] == ["swap_model", "swap_evaluation", "leaderboard", "champion"]
    assert "made in" not in whole.third
    assert whole.third.count("up to date") >= len(MAIN_JOB)
    assert "Nothing to do: every asset is up to date." in whole.third


def test_commands_on_what_was_made(whole: Whole, tmp_path: Path) -> None:
    figures = json.loads(samae("evaluate", "--recipe", "samae", "--json", home=whole.home, SAMAE_RECIPES="samae"))
    assert figures["identity_similarity"]["unit"] == "cosine"
    keys = ShardSet.open(shards(whole)).keys("test")
    samae("swap", keys[0], keys[1], "--model", "samae", "--out", str(tmp_path / "swap.png"), home=whole.home)
    assert (tmp_path / "swap.png").read_bytes().startswith(b"\x89PNG")
    answer = json.loads(samae("bench", "demo", "--json", home=whole.home))
    assert answer["figures"]["total_s"] > 0
    assert {"bench", "commit", "machine", "settings", "figures"} == set(answer)
    listed = json.loads(samae("models", "list", "--json", home=whole.home))
    assert [one["version"] for one in listed if one["tags"].get("samae.kind") == "shipped"] == ["samae-people"]
    assert len(listed) == 3  # and two registered ones


def test_evaluate_judges_as_many_pairs_as_it_is_told(whole: Whole) -> None:
    """The kept judgement is then of these pairs; without the option it is of SAMAE_PAIRS again."""
    place = whole.home / "assets" / "swap_evaluation" / "samae" / "evaluation"
    for asked, count in ((("--pairs", "6"), 6), ((), 8)):
        samae("evaluate", "--recipe", "samae", *asked, home=whole.home, SAMAE_RECIPES="samae", SAMAE_RANKS="1")
        assert len(read_evaluation(place).pairs) == count
