"""Every asset check says no to what it is there for, and yes to the same thing whole, on rows and files as kept.

The other two, gate_verdict and does_not_copy_the_target, are in test_promotion.py.
"""

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save_file

from assets.checks import (
    FOLDER_ASSETS,
    MOST_BAD_FITS,
    WORST_NME_PERCENT,
    _schema_check,
    embeddings_have_unit_length,
    faces_fill_their_pictures,
    few_photographs_rejected,
    fits_are_good,
    no_early_warning,
    shards_match_their_hashes,
    weights_are_finite,
)
from assets.graph import STAGES
from assets.models import EXPORT
from assets.store import Store
from assets.tables import OK, REJECTED, ROWS_NAME, TABLE_VERSION, write_rows
from faces.errors import SamaeError
from faces.files import write_json
from tests.assets.conftest import House, tiny_plan
from tests.training.shard_factory import key_of, make_shards

FOLDER, RECIPE, ROWS = "00000", "samae", 10
#: The check's own word for a folder without faults.
NO_FAULT = "nothing"


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tiny_plan(), Store(tmp_path, "people"), [])


def evaluation(check: dg.AssetChecksDefinition, house: House) -> dg.AssetCheckResult:
    """What one check says of what lies in the house."""
    body: Any = check.op.compute_fn.decorated_fn  # type: ignore[union-attr]
    name = next(iter(check.check_keys)).asset_key.to_user_string()
    if STAGES[name].cut == "whole":
        return body(house)
    return body(SimpleNamespace(partition_keys=[{"folder": FOLDER, "recipe": RECIPE}[STAGES[name].cut]]), house)


def is_blocking(check: dg.AssetChecksDefinition) -> bool:
    """Whether what comes after the asset waits for it."""
    return all(spec.blocking for spec in check.check_specs)


def put_rows(house: House, asset: str, reasons: tuple[str, ...] = (), **columns: Any) -> Path:
    """ROWS rows of an asset's folder, the first ones rejected for these reasons; the folder."""
    status = [REJECTED] * len(reasons) + [OK] * (ROWS - len(reasons))
    told = {"key": [f"{index:05d}" for index in range(ROWS)], "status": status}
    told["reason"] = [*reasons, *[""] * (ROWS - len(reasons))]
    with house.store.write(asset, FOLDER, {}) as (folder, _):
        write_rows(folder, told | columns)
    return house.store.folder(asset, FOLDER)


@pytest.mark.parametrize(
    ("reasons", "passed"),
    [
        (("not square",), True),
        (("not square", "too small"), False),
        (("file md5 differs",), False),
        (("landmarks missing",), False),
        (("licence not kept",) * 5, True),
    ],
)
def test_a_fifth_of_the_photographs_rejected_is_too_many(house: House, reasons: tuple[str, ...], passed: bool) -> None:
    put_rows(house, "raw_faces", reasons)
    said = evaluation(few_photographs_rejected, house)
    assert said.passed is passed
    assert said.metadata["rejected_percent"].value == pytest.approx(100 * len(reasons) / ROWS)


@pytest.mark.parametrize(
    ("rejected", "nme_percent", "passed"),
    [
        (2, 1.0, True),
        (0, WORST_NME_PERCENT + 1, False),
        (int(ROWS * MOST_BAD_FITS) + 1, 1.0, False),
        (ROWS, 1.0, False),
    ],
)
def test_fits_far_from_their_landmarks_or_often_refused_are_bad(
    house: House, rejected: int, nme_percent: float, passed: bool
) -> None:
    put_rows(house, "face_coefficients", ("poor fit",) * rejected, landmark_nme_percent=[nme_percent] * ROWS)
    assert evaluation(fits_are_good, house).passed is passed


FAULTS: list[tuple[dict[str, pa.Array], str]] = [
    ({"shoe_size": pa.array([42] * ROWS)}, "shoe_size"),
    ({"coverage": pa.array([0.5] * ROWS, pa.float64())}, "coverage"),
    ({"key": pa.array(["00000"] * ROWS)}, "key is not unique"),
    ({"status": pa.array(["perhaps"] * ROWS)}, "status"),
    ({}, NO_FAULT),
]


@pytest.mark.parametrize(
    ("asset", "wrong", "named"),
    [(asset, *FAULTS[index % len(FAULTS)]) for index, asset in enumerate(FOLDER_ASSETS)]
    + [(FOLDER_ASSETS[-2], *FAULTS[0])],
)
def test_rows_of_another_schema_are_refused(
    house: House, asset: dg.AssetsDefinition, wrong: dict[str, pa.Array], named: str
) -> None:
    """One fault for each of the six; what is right is an asset's, too."""
    path = put_rows(house, asset.key.to_user_string()) / ROWS_NAME
    table = pq.read_table(path)
    for name, values in wrong.items():
        table = table.drop_columns([name]) if name in table.column_names else table
        table = table.append_column(name, values)
    pq.write_table(table.replace_schema_metadata({"table_version": TABLE_VERSION}), path)
    check = _schema_check(asset)
    said = evaluation(check, house)
    assert is_blocking(check)
    assert said.metadata["wrong"].value == named
    assert said.passed is (named == NO_FAULT)


@pytest.mark.parametrize(("coverage", "passed"), [(0.3, True), (0.0, False), (0.9, False)])
def test_masks_that_show_no_face_or_the_whole_picture_are_bad(house: House, coverage: float, passed: bool) -> None:
    put_rows(house, "face_masks", coverage=[coverage] * 2 + [0.3] * (ROWS - 2))
    assert evaluation(faces_fill_their_pictures, house).passed is passed


@pytest.mark.parametrize(("first", "passed"), [(1.0, True), (1.1, False), (float("nan"), False)])
def test_an_embedding_of_another_length_is_found(house: House, first: float, passed: bool) -> None:
    embeddings = np.tile(np.float32([[0.6, 0.8]]), (ROWS, 1))
    embeddings[0] *= first
    put_rows(house, "identity_embeddings", embedding=embeddings)
    assert evaluation(embeddings_have_unit_length, house).passed is passed


SPLITS = {key_of(index): ("train", "validation", "test")[index % 3] for index in range(6)}


def put_shards(house: House, splits: dict[str, str]) -> Path:
    """Two shards of three samples, kept as the asset keeps them; their folder."""
    with house.store.write("training_shards", None, {}) as (folder, _):
        made = folder.parent / "made"
        make_shards(made, count=6, per_shard=3, splits=splits).close()
        shutil.copytree(made, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("manifest.json"))
        shutil.rmtree(made)
    return house.store.folder("training_shards")


def test_a_flipped_byte_of_a_shard_stops_what_comes_after(house: House) -> None:
    folder = put_shards(house, SPLITS)
    assert is_blocking(shards_match_their_hashes)
    assert evaluation(shards_match_their_hashes, house).passed
    shard = min(folder.glob("*.tar"))
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.chmod(0o644)
    shard.write_bytes(data)
    with pytest.raises(SamaeError, match=shard.name):
        evaluation(shards_match_their_hashes, house)


def test_shards_without_a_face_to_test_on_are_refused(house: House) -> None:
    put_shards(house, dict.fromkeys(SPLITS, "train"))
    assert not evaluation(shards_match_their_hashes, house).passed


def put_model(house: House, last: float = 1.0) -> None:
    """A recipe's export whose last number is `last`, made by the run 00001-samae."""
    with house.store.write("swap_model", RECIPE, {}) as (folder, metadata):
        (folder / EXPORT).mkdir()
        weights = {"first.weight": np.ones(4, np.float32), "last.weight": np.float32([0.0, last])}
        save_file(weights, folder / EXPORT / "model.safetensors")
        metadata["run"] = "00001-samae"


@pytest.mark.parametrize("last", [1.0, float("nan")])
def test_one_weight_that_is_no_number_stops_the_model(house: House, last: float) -> None:
    assert is_blocking(weights_are_finite)
    put_model(house, last)
    said = evaluation(weights_are_finite, house)
    assert said.passed is bool(np.isfinite(last))
    assert said.metadata["parameters"].value == 6
    assert said.metadata["bad"].value == ("none" if said.passed else "samae/last.weight")


@pytest.mark.parametrize("warnings", [{}, {"mode_collapse": "all results look alike"}])
def test_what_training_warned_of_is_on_the_page(house: House, warnings: dict[str, str]) -> None:
    put_model(house)
    folder = house.store.runs / "00001-samae"
    folder.mkdir(parents=True)
    write_json(folder / "warnings.json", {"warnings": warnings})
    said = evaluation(no_early_warning, house)
    assert said.passed is not bool(warnings)
    assert {value.value for value in said.metadata.values()} == set(warnings.values() or {"none"})


@pytest.mark.parametrize(("far", "passed"), [(1, True), (2, False)])
def test_nine_of_ten_fits_lie_near_their_landmarks(house: House, far: int, passed: bool) -> None:
    put_rows(house, "face_coefficients", landmark_nme_percent=[1.0] * (ROWS - far) + [WORST_NME_PERCENT + 1] * far)
    assert evaluation(fits_are_good, house).passed is passed
