"""The gaze reader against true gazes of people it never saw, and its geometry."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evaluation.context import Gallery, PairContext, Pictures
from evaluation.gaze import (
    WEIGHTS,
    GazeNetwork,
    angle_degrees,
    load_reader,
    network_input,
    save_reader,
    strip_transforms,
    turned,
)
from evaluation.metrics import METRIC_VERSION, gaze
from evaluation.train_gaze import scene_of, shrunk, true_direction
from faces.errors import SamaeError
from faces.files import sha256_file
from faces.fitting.gaze import gaze_angles, gaze_vectors
from faces.morphable.registry import load_head
from faces.synthetic.person import person_from_seed
from faces.synthetic.portrait import Portrait, render_person
from faces.synthetic.scene import scene_from_seed

#: Of another seed than the trainer's, so nobody here was ever trained on.
SEED, SIZE_PX = 4_242, 64
YAWS_RAD = (-0.35, 0.0, 0.35)


@pytest.fixture(scope="module")
def looks() -> list[list[Portrait]]:
    """Six people, each looking to the right of the subject, ahead, and to the left; without dark glasses or blinks."""
    found = []
    for number in range(6):
        owner = person_from_seed(SEED, number)
        scene = scene_from_seed(SEED, number, owner)
        plain = tuple((n, v) for n, v in scene.expression if not n.startswith("eyeBlink"))
        scene = replace(scene, glasses="none", occluder="none", expression=plain, yaw_rad=0.1, pitch_rad=0.0)
        found.append([render_person(owner, replace(scene, gaze_yaw_rad=yaw), 128) for yaw in YAWS_RAD])
    return found


def pictures(portraits: list[Portrait]) -> Pictures:
    images = np.stack([shrunk(p.image, SIZE_PX) for p in portraits])
    marks = np.stack([p.landmarks_px * (SIZE_PX / 128) for p in portraits])
    return Pictures(images, marks, np.ones(images.shape[:3], np.float32))


def test_it_reads_the_true_gaze_of_strangers(looks: list[list[Portrait]]) -> None:
    head, reader = load_head("builtin"), load_reader()
    everyone = [portrait for person in looks for portrait in person]
    shown = pictures(everyone)
    read, spread = reader.read(shown.image, shown.landmarks_px)
    true = np.stack([true_direction(head, portrait) for portrait in everyone])
    error = angle_degrees(read, true)
    ahead = angle_degrees(np.broadcast_to([0.0, 0.0, 1.0], true.shape), true)
    assert error.mean() < 6 < ahead.mean()
    assert np.all((spread > 0) & (spread < 30))


def test_a_wrong_gaze_costs_and_a_copy_does_not(looks: list[list[Portrait]]) -> None:
    right, ahead, left = (pictures([person[k] for person in looks]) for k in range(3))
    keys = tuple(map(str, range(len(looks))))

    def measured(target: Pictures, result: Pictures) -> np.ndarray:
        context = PairContext(target, target, result, None, Gallery(keys, np.arange(6), {}), keys, keys)
        return gaze.compute(context)

    assert np.nan_to_num(measured(ahead, ahead)).tolist() == [0] * 6
    small, large = (np.nanmean(measured(left, other)) for other in (ahead, right))
    assert 10 < small < 30
    assert large > small + 10


def test_directions_and_angles_undo_each_other() -> None:
    angles = np.random.default_rng(0).uniform(-0.7, 0.7, (20, 2))
    assert np.allclose(gaze_angles(gaze_vectors(angles)), angles)
    assert np.allclose(gaze_vectors(np.array([[0.3, 0.0]]))[0, [0, 2]], [np.sin(0.3), np.cos(0.3)])
    assert gaze_vectors(np.array([[0.0, 0.3]]))[0, 1] < 0  # a positive pitch looks down


def test_a_tilted_picture_gives_a_tilted_direction() -> None:
    marks = np.random.default_rng(1).uniform(20, 40, (1, 68, 2))
    marks[:, 36:42], marks[:, 42:48] = (20, 30), (40, 30)
    tilted = np.stack([40 - marks[..., 1], marks[..., 0]], -1)  # a quarter turn clockwise in the picture
    right = np.array([[1.0, 0.0, 0.0]])
    assert np.allclose(turned(right, strip_transforms(marks)), right)
    level = turned(np.array([[0.0, -1.0, 0.0]]), strip_transforms(tilted))  # downwards, in the tilted picture
    assert np.allclose(level, right)
    assert np.allclose(turned(level, strip_transforms(tilted), back=True), [[0, -1, 0]])


def test_strips_are_level_and_of_one_size() -> None:
    rng = np.random.default_rng(2)
    marks = rng.uniform(20, 60, (3, 68, 2))
    strips, points = network_input(rng.integers(0, 255, (3, 80, 80, 3), dtype=np.uint8), marks)
    assert strips.shape == (3, 3, 24, 72)
    assert points.shape == (3, 136)
    eyes = points.reshape(3, 68, 2)
    assert np.allclose(eyes[:, 36:42].mean(1), [-0.5, 0], atol=1e-5)
    assert np.allclose(eyes[:, 42:48].mean(1), [0.5, 0], atol=1e-5)


def test_half_precision_is_kept_and_a_missing_file_named(tmp_path: Path) -> None:
    save_reader(tmp_path / "reader.safetensors", GazeNetwork())
    marks = np.random.default_rng(3).uniform(20, 40, (1, 68, 2))
    way, _ = load_reader(tmp_path / "reader.safetensors").read(np.zeros((1, 64, 64, 3), np.uint8), marks)
    assert np.linalg.norm(way) == pytest.approx(1)
    with pytest.raises(SamaeError, match=r"evaluation\.train_gaze"):
        load_reader(tmp_path / "absent.safetensors")


def test_other_weights_ask_for_another_metric_version() -> None:
    """Rows are kept by METRIC_VERSION: who trains the reader anew raises it, and writes both down here."""
    assert (METRIC_VERSION, sha256_file(WEIGHTS)[:16]) == (6, "1ebc7e4c66e0b326")


def test_training_scenes_are_pure_functions_of_their_number() -> None:
    assert scene_of(5) == scene_of(5)
    assert abs(scene_of(5)[0].gaze_yaw_rad) <= 0.5
