"""The code location as a whole: it loads, it has exactly this graph, and nothing in it lacks its papers."""

import dagster as dg
import pytest

from assets.automation import as_promised
from assets.graph import STAGES
from pipelines.definitions import ALL_ASSETS, defs

#: Asset -> its inputs. The order is the way of one face.
GRAPH = {
    "photographs": [],
    "raw_faces": ["photographs"],
    "aligned_faces": ["raw_faces"],
    "face_coefficients": ["aligned_faces"],
    "neutral_albedo": ["aligned_faces", "face_coefficients"],
    "face_masks": ["aligned_faces", "face_coefficients"],
    "identity_embeddings": ["aligned_faces"],
    "training_shards": [
        "aligned_faces", "face_coefficients", "face_masks", "identity_embeddings", "neutral_albedo",
    ],
    "identity_encoder": [],
    "swap_model": ["training_shards"],
    "swap_evaluation": ["swap_model", "training_shards"],
    "leaderboard": ["swap_evaluation"],
    "champion": ["leaderboard", "swap_model"],
}  # fmt: skip
CHECKS = {
    "raw_faces:schema_is_right", "raw_faces:few_photographs_rejected", "aligned_faces:schema_is_right",
    "face_coefficients:schema_is_right", "face_coefficients:fits_are_good", "neutral_albedo:schema_is_right",
    "face_masks:schema_is_right", "face_masks:faces_fill_their_pictures", "identity_embeddings:schema_is_right",
    "identity_embeddings:embeddings_have_unit_length", "training_shards:shards_match_their_hashes",
    "swap_model:no_early_warning", "swap_model:weights_are_finite",
    "swap_evaluation:does_not_copy_the_target", "champion:gate_verdict",
}  # fmt: skip


@pytest.fixture(scope="module")
def specs() -> dict[str, dg.AssetSpec]:
    return {spec.key.to_user_string(): spec for spec in defs.resolve_all_asset_specs()}


def test_the_graph_is_this_one(specs: dict[str, dg.AssetSpec]) -> None:
    found = {name: sorted(dep.asset_key.to_user_string() for dep in spec.deps) for name, spec in specs.items()}
    assert found == GRAPH
    assert list(STAGES) == list(GRAPH)


def test_the_checks_are_these() -> None:
    keys = defs.resolve_asset_graph().asset_check_keys
    assert {f"{key.asset_key.to_user_string()}:{key.name}" for key in keys} == CHECKS


def test_every_asset_has_its_papers(specs: dict[str, dg.AssetSpec]) -> None:
    for name, spec in specs.items():
        assert spec.code_version, name
        assert spec.owners, name
        assert spec.kinds, name
        assert spec.group_name != "default", name
        assert len(spec.description or "") > 40, name


def test_jobs_schedules_and_sensors() -> None:
    jobs = {job.name for job in defs.resolve_all_job_defs() if not job.name.startswith("__")}
    assert jobs == {"find_photographs", "prepare_folder", "make_shards", "train_recipe", "promote"}
    schedule = defs.resolve_schedule_def("weekly_retraining")
    assert schedule.default_status == dg.DefaultScheduleStatus.STOPPED
    assert defs.resolve_sensor_def("new_folders").default_status == dg.DefaultSensorStatus.STOPPED


def test_partitions(specs: dict[str, dg.AssetSpec]) -> None:
    folders = [name for name, spec in specs.items() if isinstance(spec.partitions_def, dg.DynamicPartitionsDefinition)]
    recipes = [name for name, spec in specs.items() if isinstance(spec.partitions_def, dg.StaticPartitionsDefinition)]
    assert sorted(folders) == sorted(name for name in GRAPH if STAGES[name].cut == "folder")
    assert sorted(recipes) == ["identity_encoder", "swap_evaluation", "swap_model"]
    keys = specs["swap_model"].partitions_def.get_partition_keys()
    assert {"samae", "simswap"} <= set(keys)


def test_only_one_training_and_one_promotion_at_a_time() -> None:
    graph = defs.resolve_asset_graph()
    assert graph.get(dg.AssetKey("swap_model")).pools == {"training"}
    assert graph.get(dg.AssetKey("champion")).pools == {"registry"}


def test_a_week_is_promised_only_while_the_schedule_is_on() -> None:
    def promised(weekly: bool) -> set[str]:
        specs = [spec for asset in as_promised(ALL_ASSETS, weekly) for spec in asset.specs]
        return {spec.key.to_user_string() for spec in specs if spec.freshness_policy}

    assert promised(weekly=True) == {"leaderboard", "champion"}
    assert promised(weekly=False) == set()
    assert len(as_promised(ALL_ASSETS, weekly=False)) == len(GRAPH)
