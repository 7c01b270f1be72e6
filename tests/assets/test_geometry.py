"""Fits and masks of a folder: generated people are believed to the pixel, photographs less."""

import shutil
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa
import pytest

from assets.geometry import are_generated, fit_faces, mask_faces
from assets.graph import provenance
from assets.store import Store
from assets.tables import accepted, matrix, read_array, read_rows
from faces.files import read_json, write_json
from faces.fitting import FitSettings, fit
from faces.masks import OccluderSettings, face_mask, silhouette
from faces.morphable.base import MorphableHead
from faces.morphable.registry import load_head
from faces.photographs import LISTING_NAME
from faces.render.mesh_image import project_landmarks
from faces.treatment import PHOTOGRAPH_FIT
from tests.assets.conftest import House, make, tiny_plan

PART = slice(0, 4)


def test_a_row_without_its_truth_makes_a_folder_one_of_photographs() -> None:
    assert are_generated(pa.table({"synthetic": ["{}", "{}"]}))
    assert not are_generated(pa.table({"synthetic": ["{}", ""]}))


def test_generated_people_are_fitted_as_exact_and_photographs_are_not(made: tuple[House, dg.DagsterInstance]) -> None:
    store, head = made[0].store, load_head("builtin")
    aligned = store.folder("aligned_faces", "00000")
    rows = read_rows(aligned)
    assert are_generated(rows)
    images, landmarks = np.array(read_array(aligned, "images")[PART]), matrix(rows, "landmarks_px").reshape(-1, 68, 2)
    task = ("builtin", aligned, PART, landmarks[PART])
    fits = [fit_faces((*task, generated))["coefficients"] for generated in (True, False)]
    size_px = images.shape[1]
    np.testing.assert_array_equal(fits[0], fit(images, landmarks[PART], head, size_px).coefficients)
    np.testing.assert_array_equal(fits[1], fit(images, landmarks[PART], head, size_px, PHOTOGRAPH_FIT).coefficients)
    kept = matrix(accepted(read_rows(store.folder("face_coefficients", "00000"))), "coefficients")
    np.testing.assert_allclose(kept[0], fits[0][0], atol=1e-3)
    assert np.abs(fits[1][0] - fits[0][0]).max() > 0.1


def mouths(images: np.ndarray, coefficients: np.ndarray, head: MorphableHead, _: OccluderSettings) -> np.ndarray:
    """As a network that takes every mouth for something in front of it."""
    covers = np.zeros(images.shape[:3], np.float32)
    middles = project_landmarks(coefficients, head, images.shape[1])[:, 48:].mean(1).astype(int)
    for cover, (x, y) in zip(covers, middles, strict=True):
        cover[y - 1 : y + 2, x - 2 : x + 3] = 1
    return covers


def test_masks_of_photographs_have_no_islands(
    made: tuple[House, dg.DagsterInstance], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, head, where = made[0].store, load_head("builtin"), np.arange(4)
    aligned = store.folder("aligned_faces", "00000")
    images = np.array(read_array(aligned, "images")[where])
    fits = matrix(read_rows(store.folder("face_coefficients", "00000")), "coefficients")[where]
    monkeypatch.setattr("faces.masks.find_occluders", mouths)
    generated, photographs = (mask_faces(("builtin", aligned, where, fits, flag))["mask"] for flag in (True, False))
    np.testing.assert_array_equal(generated, face_mask(images, fits, head))
    np.testing.assert_array_equal(photographs, np.rint(255 * silhouette(fits, head, images.shape[1])))
    assert (photographs.astype(int) - generated).max((1, 2)).min() == 255


def test_a_set_without_truth_goes_through_the_stages_as_photographs(
    photographs_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same pictures in a listing like FFHQ's own, which says nothing of truth."""
    shutil.copytree(photographs_folder, raw := tmp_path / "ffhq")
    listing = read_json(raw / LISTING_NAME)
    for entry in listing.values():
        del entry["synthetic"]
    write_json(raw / LISTING_NAME, listing)
    plan = tiny_plan(raw=raw)
    house, head = House(plan, Store(tmp_path / "home", plan.set_name, raw), []), load_head("builtin")
    stages = ("photographs", "raw_faces", "aligned_faces", "face_coefficients", "neutral_albedo", "face_masks")
    monkeypatch.setattr("faces.masks.find_occluders", mouths)
    make(house, dg.DagsterInstance.ephemeral(), *stages, partition="00000")
    aligned = house.store.folder("aligned_faces", "00000")
    images, landmarks = np.array(read_array(aligned, "images")), matrix(read_rows(aligned), "landmarks_px")
    rows = read_rows(house.store.folder("face_coefficients", "00000"))
    fits = matrix(rows, "coefficients")
    wanted = fit(images, landmarks.reshape(-1, 68, 2), head, images.shape[1], PHOTOGRAPH_FIT).coefficients
    np.testing.assert_allclose(fits, wanted, atol=1e-3)
    masks = read_array(house.store.folder("face_masks", "00000"), "masks")
    whole = np.rint(255 * silhouette(matrix(accepted(rows), "coefficients"), head, images.shape[1]))
    left_whole = np.abs(masks - whole).max((1, 2)) <= 1
    assert left_whole.sum() >= 12  # of 16; a turned face's mouth may reach its outline


def test_what_photographs_are_fitted_by_belongs_to_sets_of_photographs_alone(
    made: tuple[House, dg.DagsterInstance], monkeypatch: pytest.MonkeyPatch
) -> None:
    """So sets of one's own are made anew when it changes, and generated ones are not."""
    house = made[0]
    own = tiny_plan(raw=house.store.raw)

    def settings() -> list[dict[str, Any]]:
        """Of both stages: with people that the project generates, and with a folder of one's own."""
        names = ("face_coefficients", "face_masks")
        return [
            provenance(name, "00000", plan, house.store)["settings"] for plan in (house.plan, own) for name in names
        ]

    before = settings()
    assert all("photographs" not in one for one in before[:2])
    monkeypatch.setattr("faces.treatment.PHOTOGRAPH_FIT", FitSettings(noise_percent=3.0))
    monkeypatch.setattr("faces.treatment.PHOTOGRAPH_OCCLUDERS", OccluderSettings())
    assert [one == other for one, other in zip(before, settings(), strict=True)] == [True, True, False, False]
