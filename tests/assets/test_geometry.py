"""Fits and masks of a folder: generated people are believed to the pixel, photographs less."""

from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa
import pytest

from assets.geometry import are_generated, fit_faces, mask_faces
from assets.graph import provenance
from assets.tables import accepted, matrix, read_array, read_rows
from faces.fitting import PHOTOGRAPH_FIT, FitSettings, fit
from faces.masks import PHOTOGRAPH_OCCLUDERS, OccluderSettings, face_mask
from faces.morphable.registry import load_head
from tests.assets.conftest import House, tiny_plan

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


def test_masks_of_photographs_have_no_islands(
    made: tuple[House, dg.DagsterInstance], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a network that takes every mouth for something in front of it."""
    store, head = made[0].store, load_head("builtin")
    aligned = store.folder("aligned_faces", "00000")
    marks = matrix(read_rows(aligned), "landmarks_px").reshape(-1, 68, 2)
    fits = matrix(read_rows(store.folder("face_coefficients", "00000")), "coefficients")
    where = np.arange(4)
    images = np.array(read_array(aligned, "images")[where])

    def mouths(pictures: np.ndarray, coefficients: np.ndarray, *_: object) -> np.ndarray:
        rows = [int(np.abs(fits - one).sum(1).argmin()) for one in coefficients]
        covers = np.zeros(pictures.shape[:3], np.float32)
        for cover, middle in zip(covers, marks[rows, 48:].mean(1).astype(int), strict=True):
            cover[middle[1] - 1 : middle[1] + 2, middle[0] - 2 : middle[0] + 3] = 1
        return covers

    monkeypatch.setattr("faces.masks.find_occluders", mouths)
    made_of = [mask_faces(("builtin", aligned, where, fits[where], generated))["mask"] for generated in (True, False)]
    np.testing.assert_array_equal(made_of[0], face_mask(images, fits[where], head))
    np.testing.assert_array_equal(made_of[1], face_mask(images, fits[where], head, PHOTOGRAPH_OCCLUDERS))
    for n, middle in enumerate(marks[where, 48:].mean(1).astype(int)):
        assert made_of[0][n, middle[1], middle[0]] == 0
        assert made_of[1][n, middle[1], middle[0]] == 255


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
    monkeypatch.setattr("faces.fitting.PHOTOGRAPH_FIT", FitSettings(noise_percent=3.0))
    monkeypatch.setattr("faces.occluders.PHOTOGRAPH_OCCLUDERS", OccluderSettings())
    assert [one == other for one, other in zip(before, settings(), strict=True)] == [True, True, False, False]
