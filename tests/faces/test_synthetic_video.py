"""Sequences: smooth tracks, true swaps frame by frame, the same frames however many are asked for."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from faces.errors import SamaeError
from faces.files import read_json
from faces.synthetic.film import develop
from faces.synthetic.person import person_from_seed
from faces.synthetic.portrait import render_person
from faces.synthetic.scene import scene_from_seed
from faces.synthetic.video import Sequence, sequence, track, write_sequence

SIZE = 32


@pytest.fixture(scope="module")
def shown() -> Sequence:
    return sequence(5, 3, SIZE, source_person=2, target_person=1, readings=("face", "full"))


def test_a_track_moves_and_moves_smoothly() -> None:
    scenes = track(5, 60, person_from_seed(5, 1), fps=25.0)
    for name, most in (("yaw_rad", 0.035), ("pitch_rad", 0.012), ("gaze_yaw_rad", 0.02)):
        steps = np.abs(np.diff([getattr(scene, name) for scene in scenes]))
        assert 0.0 < steps.max() < most, name
    azimuth = np.diff([scene.key.azimuth_rad for scene in scenes])
    assert 0.0 < np.abs(azimuth).max() < 0.04
    names = sorted({name for scene in scenes for name, _ in scene.expression} - {"eyeBlink_L", "eyeBlink_R"})
    values = np.array([[dict(scene.expression).get(name, 0.0) for name in names] for scene in scenes])
    assert 0.02 < np.abs(np.diff(values, axis=0)).max() < 0.06


def test_a_track_keeps_the_owners_hair_clothes_and_backdrop() -> None:
    first, last = track(5, 40, person_from_seed(5, 1))[::39]
    for name in ("seed", "hair_style", "hair_linear", "clothes", "background_seed", "glasses", "occluder"):
        assert getattr(first, name) == getattr(last, name)


def test_a_track_is_its_seeds_and_its_owners() -> None:
    owner = person_from_seed(5, 1)
    one = track(5, 30, owner)
    for other in (track(6, 30, owner), track(5, 30, replace(owner, person_id=2))):
        assert one[0].expression != other[0].expression
        turns = [np.diff([scene.gaze_yaw_rad for scene in scenes]) for scenes in (one, other)]
        assert np.abs(turns[0] - turns[1]).max() > 1e-3
    assert track(5, 30, owner) == one


def test_frames_lie_on_the_clock_of_their_rate_and_each_has_its_own_grain() -> None:
    owner = person_from_seed(5, 1)
    slow, fast = track(5, 6, owner, fps=25.0), track(5, 11, owner, fps=50.0)
    assert [scene.frame for scene in fast] == list(range(11))
    assert [replace(scene, frame=0) for scene in fast[::2]] == [replace(scene, frame=0) for scene in slow]
    light = np.full((SIZE, SIZE, 3), 0.2, np.float32)
    grainy = [develop(light, replace(scene, noise=0.02, jpeg_quality=0)) for scene in slow[:2]]
    assert (grainy[0] != grainy[1]).mean() > 0.3


def test_people_blink_in_a_track() -> None:
    shut = [dict(scene.expression).get("eyeBlink_L", 0.0) for scene in track(5, 70, person_from_seed(5, 1))]
    assert max(shut) > 0.8
    assert np.median(shut) < 0.3


def test_every_frame_agrees_with_the_target_outside_its_mask(shown: Sequence) -> None:
    for reading in ("face", "full"):
        differs = (shown.target_images() != shown.swap_images(reading)).any(-1)
        assert differs.any(axis=(1, 2)).all()
        assert not differs[shown.changed(reading) == 0].any()
        assert (shown.changed(reading) == 0).any(axis=(1, 2)).all()


def test_a_longer_sequence_begins_with_the_shorter_one(shown: Sequence) -> None:
    short = sequence(5, 2, SIZE, source_person=2, target_person=1)
    np.testing.assert_array_equal(short.target_images(), shown.target_images()[:2])
    np.testing.assert_array_equal(short.swap_images(), shown.swap_images()[:2])
    np.testing.assert_array_equal(short.source.image, shown.source.image)


def test_frames_differ_in_pose_and_share_the_wearers_identity(shown: Sequence) -> None:
    first, last = (frame.swaps["face"].coefficients for frame in (shown.frames[0], shown.frames[-1]))
    assert (first != last).any()
    count = min(len(person_from_seed(5, 2).shape), 20)
    np.testing.assert_allclose(first[:count], person_from_seed(5, 2).shape[:count], rtol=1e-6)
    np.testing.assert_array_equal(first[:count], last[:count])


def test_the_still_is_the_source_in_a_scene_of_their_own(shown: Sequence) -> None:
    source = person_from_seed(5, 2)
    scene = scene_from_seed(5, 2_000_003 + 2, source)
    np.testing.assert_array_equal(shown.source.image, render_person(source, scene, SIZE).image)


def test_an_empty_sequence_is_refused() -> None:
    with pytest.raises(SamaeError, match="at least 1 frame"):
        sequence(5, 0, SIZE)


def test_a_written_sequence_is_continued_and_another_one_refused(shown: Sequence, tmp_path: Path) -> None:
    people = {"source_person": 2, "target_person": 1}
    write_sequence(tmp_path / "clip", 5, 2, SIZE, **people)
    before = (tmp_path / "clip/target/00000.png").stat().st_mtime_ns
    write_sequence(tmp_path / "clip", 5, 3, SIZE, **people)
    assert (tmp_path / "clip/target/00000.png").stat().st_mtime_ns == before
    swaps = {reading: shown.swap_images(reading) for reading in ("face", "full")}
    for name, truth in ({"target": shown.target_images()} | swaps).items():
        for index in range(3):
            stored = cv2.imread(str(tmp_path / f"clip/{name}/{index:05d}.png"), cv2.IMREAD_COLOR)
            np.testing.assert_array_equal(stored[..., ::-1], truth[index])
    for reading in ("face", "full"):
        mask = cv2.imread(str(tmp_path / f"clip/{reading}_changed/00002.png"), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(mask, shown.changed(reading)[2])
    still = cv2.imread(str(tmp_path / "clip/source.png"), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(still[..., ::-1], shown.source.image)
    marks = [frame["face_landmarks"] for frame in read_json(tmp_path / "clip/truth.json")["frames"]]
    truth = np.stack([frame.target.landmarks_px for frame in shown.frames])
    np.testing.assert_allclose(np.array(marks) + 0.5, truth, atol=1e-3)
    mine = {"seed": 5, "frames": 3, "size_px": SIZE} | people
    for other in ({"seed": 6}, {"source_person": 0}, {"target_person": 0}, {"fps": 30.0}, {"size_px": 2 * SIZE}):
        with pytest.raises(SamaeError, match="another sequence"):
            write_sequence(tmp_path / "clip", **mine | other)


@pytest.mark.parametrize("record", ["{}", "[]", '{"origin": 1}', '{"frames": []}', '{"origin": 1, "frames": 2}'])
def test_a_damaged_record_of_a_sequence_is_one_sentence(tmp_path: Path, record: str) -> None:
    (tmp_path / "truth.json").write_text(record)
    with pytest.raises(SamaeError, match=r"truth\.json is not the record of a sequence: restore it, or remove it"):
        write_sequence(tmp_path, 5, 1, SIZE)
