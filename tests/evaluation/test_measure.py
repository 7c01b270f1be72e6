"""Finding landmarks and fitting results: error on unseen people, independence of the start, honest refusals."""

from pathlib import Path

import numpy as np
import pytest

from evaluation.context import Pictures
from evaluation.locator import Locator, describe, gradient_channels, load_locator, save_locator
from evaluation.measure import default_measurer, expected_landmarks
from evaluation.metrics.truth_landmarks import nme_percent
from evaluation.pairs import pose_difference_degrees
from evaluation.train_locator import degrade, disturbed
from faces.errors import SamaeError
from faces.morphable.registry import load_head
from faces.render.mesh_image import project_landmarks
from tests.evaluation import people
from tests.faces.toy_head import toy_head

RNG = np.random.default_rng(11)


@pytest.fixture(scope="module")
def shots() -> Pictures:
    return Pictures.of_batch(people.load_faces(people.KEYS[:16]))


def test_landmarks_are_found_from_a_disturbed_start(shots: Pictures) -> None:
    head, known = load_head("builtin"), shots.coefficients
    assert known is not None
    start = expected_landmarks(shots.landmarks_px, known, disturbed(known, head, RNG), head, shots.size_px)
    found = load_locator().locate(shots.image, start)
    before, after = nme_percent(start, shots.landmarks_px), nme_percent(found, shots.landmarks_px)
    assert before.mean() > 4
    assert after.mean() < 3
    assert after.mean() < 0.6 * before.mean()


def test_a_weak_models_pictures_are_read_too(shots: Pictures) -> None:
    head, known = load_head("builtin"), shots.coefficients
    assert known is not None
    start = expected_landmarks(shots.landmarks_px, known, disturbed(known, head, RNG), head, shots.size_px)
    found = load_locator().locate(np.stack([degrade(image, RNG) for image in shots.image]), start)
    assert nme_percent(found, shots.landmarks_px).mean() < 3.5


def test_the_fitted_pose_hangs_on_the_picture_and_not_on_the_start(shots: Pictures) -> None:
    head, known = load_head("builtin"), shots.coefficients
    measurer = default_measurer(head)
    assert known is not None
    assert measurer is not None
    turned = known.copy()
    turned[:, head.layout.slices["rotation_rad"]] += np.radians([0, 4, 0]).astype(np.float32)
    here, there = (measurer.measure(shots, start)[0] for start in (known, turned))
    take = head.layout.take
    moved = pose_difference_degrees(take(here, "rotation_rad"), take(there, "rotation_rad"))
    assert moved.mean() < 2
    away = pose_difference_degrees(take(here, "rotation_rad"), take(known, "rotation_rad"))
    assert away.mean() < 5  # what the locator costs; source, target and result all pay it


def test_a_black_picture_does_not_stop_the_others(shots: Pictures) -> None:
    head = load_head("builtin")
    measurer = default_measurer(head)
    assert measurer is not None
    assert shots.coefficients is not None
    pictures = Pictures(shots.image[:2].copy(), shots.landmarks_px[:2], shots.mask[:2], shots.coefficients[:2])
    pictures.image[0] = 0
    coefficients, found = measurer.measure(pictures, shots.coefficients[:2])
    assert coefficients.shape == (2, head.layout.size)
    assert np.isfinite(coefficients[1]).all()
    assert found.shape == (2, 68, 2)


def test_projection_is_that_of_the_head(shots: Pictures) -> None:
    head = load_head("builtin")
    assert shots.coefficients is not None
    seen = project_landmarks(shots.coefficients, head, shots.size_px)
    assert nme_percent(seen, shots.landmarks_px).mean() < 3
    same = expected_landmarks(shots.landmarks_px, shots.coefficients, shots.coefficients, head, shots.size_px)
    assert np.array_equal(same, shots.landmarks_px)


def test_descriptors_are_bounded_and_move_with_the_picture() -> None:
    picture = RNG.integers(0, 255, (1, 96, 96, 3), dtype=np.uint8)
    points = np.full((1, 68, 2), 48.0, np.float32)
    here = describe(gradient_channels(picture), points, 3.0)
    assert here.shape == (1, 68, 72)
    assert np.linalg.norm(here, axis=-1).max() <= 1
    there = describe(gradient_channels(np.roll(picture, 5, axis=2)), points + np.array([5, 0], np.float32), 3.0)
    assert np.allclose(here, there, atol=1e-4)
    edge = describe(gradient_channels(picture), points + 1000, 3.0)
    assert np.isfinite(edge).all()


def test_tables_are_kept_in_half_precision(tmp_path: Path, shots: Pictures) -> None:
    locator = load_locator()
    save_locator(tmp_path / "copy.safetensors", locator.stages)
    again = load_locator(tmp_path / "copy.safetensors")
    assert isinstance(again, Locator)
    found = [one.locate(shots.image, shots.landmarks_px) for one in (locator, again)]
    assert np.array_equal(*found)
    with pytest.raises(SamaeError, match="is missing; make it with"):
        load_locator(tmp_path / "absent.safetensors")


def test_no_measurer_where_it_is_not_to_be_trusted() -> None:
    assert default_measurer(None) is None
    assert default_measurer(toy_head()) is None
    assert default_measurer(load_head("builtin"), has_truth=False) is None
