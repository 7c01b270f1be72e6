"""Plain pictures through a swapper: where landmarks come from, what goes back into the picture, and refusals."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from method_fakes import tiny_batch

from faces.errors import SamaeError
from faces.fitting import FitSettings, fit
from faces.five_points import complete_landmarks
from faces.identity.registry import load_encoder
from faces.landmarks import ffhq_transform, five_points, to_whole_pixels
from faces.masks import OccluderSettings, face_mask
from faces.morphable.registry import load_head
from faces.synthetic.dataset import write_dataset
from faces.treatment import PHOTOGRAPH_FIT, PHOTOGRAPH_OCCLUDERS, fit_width_px, settings_of
from training.batch import SwapResult
from training.pictures import (
    Portrait,
    landmarks_of,
    paste_back,
    read_picture,
    read_portrait,
    several_faces,
)


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("set"), 2, size_px=128, people=2, workers=1)


def photograph(people: Path, folder: Path) -> tuple[Path, np.ndarray]:
    """A generated picture turned and enlarged into a wide photograph, with landmarks.json beside it."""
    entry = json.loads((people / "ffhq-dataset-v2.json").read_text())["0"]["image"]
    image = cv2.imread(str(people / entry["file_path"]))
    turn = cv2.getRotationMatrix2D((64, 64), 8, 1.6)
    turn[:, 2] += [90, 40]
    wide = cv2.warpAffine(image, turn, (330, 240), borderMode=cv2.BORDER_REPLICATE)
    points = np.asarray(entry["face_landmarks"]) @ turn[:, :2].T + turn[:, 2]
    cv2.imwrite(str(folder / "photo.png"), wide)
    (folder / "landmarks.json").write_text(json.dumps({"photo.png": points.tolist()}))
    return folder / "photo.png", points


def test_a_picture_of_an_ffhq_set_is_a_crop_already(people: Path) -> None:
    path = people / "images128x128/00000/00001.png"
    portrait = read_portrait(path, 64, load_head("builtin"), load_encoder("builtin"))
    np.testing.assert_allclose(portrait.crop, [[0.5, 0, 0], [0, 0.5, 0]])
    assert portrait.face.image.shape == (1, 3, 64, 64)
    assert portrait.face.mask.mean() > 0.1
    np.testing.assert_allclose(portrait.face.landmarks[0].numpy(), portrait.landmarks_px * 0.5, atol=1e-3)
    assert portrait.face.embedding.norm() == pytest.approx(1, abs=1e-5)


def test_landmarks_of_generated_people_are_exact_and_all_others_are_believed_less(
    people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the entry's `synthetic`, which FFHQ's own listing does not have; of a plain picture nobody knows."""
    asked, used, sizes = [], [], []

    def settings(is_generated: bool) -> tuple[object, object]:
        asked.append(is_generated)
        return settings_of(is_generated)

    def fitted(images: np.ndarray, marks: np.ndarray, head: object, size_px: int, given: object) -> object:
        used.append(given)
        sizes.append((images.shape[1], size_px))
        return fit(images, marks, head, size_px, given)

    def masked(images: np.ndarray, coefficients: np.ndarray, head: object, given: object) -> np.ndarray:
        used.append(given)
        return face_mask(images, coefficients, head, given)

    for name, function in (("settings_of", settings), ("fit", fitted), ("face_mask", masked)):
        monkeypatch.setattr(f"training.pictures.{name}", function)
    head, encoder = load_head("builtin"), load_encoder("builtin")
    read_portrait(people / "images128x128/00000/00000.png", 64, head, encoder)
    others = tmp_path / "ffhq"
    shutil.copytree(people, others)
    listing = json.loads((others / "ffhq-dataset-v2.json").read_text())
    del listing["0"]["synthetic"]
    listing["1"]["synthetic"] = "no"
    (others / "ffhq-dataset-v2.json").write_text(json.dumps(listing))
    for number in (0, 1):
        read_portrait(others / f"images128x128/00000/0000{number}.png", 64, head, encoder)
    read_portrait(photograph(people, tmp_path)[0], 64, head, encoder)
    assert asked == [True, False, False, False]
    assert used == [FitSettings(), OccluderSettings(), *[PHOTOGRAPH_FIT, PHOTOGRAPH_OCCLUDERS] * 3]
    assert sizes == [(128, 128), *[(256, 256)] * 3]


def test_faces_are_fitted_at_a_multiple_of_the_trainings_width() -> None:
    assert [fit_width_px(size_px, True) for size_px in (64, 112, 128, 512)] == [128, 224, 128, 512]
    assert [fit_width_px(size_px, False) for size_px in (64, 112, 128, 512)] == [256, 336, 256, 512]


def test_a_photograph_is_cropped_by_its_landmarks_and_embeds_as_the_same_person(people: Path, tmp_path: Path) -> None:
    head, encoder = load_head("builtin"), load_encoder("builtin")
    path, points = photograph(people, tmp_path)
    portrait = read_portrait(path, 64, head, encoder)
    assert portrait.image.shape == (240, 330, 3)
    np.testing.assert_allclose(portrait.crop, ffhq_transform(points + 0.5, 64), atol=1e-6)
    plain = [read_portrait(people / f"images128x128/00000/0000{i}.png", 64, head, encoder).face for i in (0, 1)]
    own, other = ((portrait.face.embedding * face.embedding).sum().item() for face in plain)
    assert own > 0.8
    assert own > other + 0.2


def test_what_was_not_swapped_stays_exactly_and_what_was_is_drawn_once(people: Path, tmp_path: Path) -> None:
    path, points = photograph(people, tmp_path)
    image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    face = tiny_batch(1)
    portrait = Portrait(image, points + 0.5, ffhq_transform(points + 0.5, 32), face)
    nothing = SwapResult(torch.rand(1, 3, 32, 32), torch.zeros(1, 1, 32, 32))
    np.testing.assert_array_equal(paste_back(portrait, nothing), image)
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., 8:24, 8:24] = 0.5
    drawn = torch.full((1, 3, 32, 32), 0.8)
    made = paste_back(portrait, SwapResult(drawn * mask + face.image * (1 - mask), mask))
    middle = np.linalg.inv(np.vstack([portrait.crop, [0, 0, 1]])) @ [16, 16, 1]
    x, y = int(middle[0]), int(middle[1])
    wanted = 0.5 * 0.8 * 255 + 0.5 * image[y, x].astype(float)
    assert np.abs(made[y, x] - wanted).max() < 3
    np.testing.assert_array_equal(made[:10], image[:10])


@pytest.mark.parametrize("scale", [0.25, 2.0])
def test_what_is_pasted_back_lies_where_the_crop_came_from(people: Path, scale: float) -> None:
    """A ramp of 12 grey levels a pixel of the crop: half a pixel off in either frame would be seen."""
    portrait = read_portrait(
        people / "images128x128/00000/00000.png", 64, load_head("builtin"), load_encoder("builtin")
    )
    side = round(64 / scale)
    target = replace(
        portrait, image=np.zeros((side, side, 3), np.uint8), crop=np.array([[scale, 0, 0], [0, scale, 0]]),
        face=replace(portrait.face, image=torch.zeros(1, 3, 64, 64)),
    )  # fmt: skip
    across = (torch.arange(64) + 0.5 - 22) * 12 / 255
    ramp = torch.stack([across.expand(64, 64), across[:, None].expand(64, 64), torch.full((64, 64), 0.5)])
    made = paste_back(target, SwapResult(ramp.clamp(0, 1)[None], torch.ones(1, 1, 64, 64)))
    inside = slice(round(28 / scale), round(36 / scale))
    wanted = (scale * (np.arange(side) + 0.5) - 22) * 12
    np.testing.assert_allclose(made[side // 2, inside, 0], wanted[inside], atol=0.6)
    np.testing.assert_allclose(made[inside, side // 2, 1], wanted[inside], atol=0.6)


def test_a_picture_without_landmarks_or_file_names_the_mend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SAMAE_WEIGHTS", raising=False)
    cv2.imwrite(str(tmp_path / "plain.png"), np.zeros((40, 40, 3), np.uint8))
    with pytest.raises(SamaeError, match=r"no face was found in .*plain\.png \(by Samae's own .*landmarks\.json"):
        landmarks_of(tmp_path / "plain.png", np.zeros((40, 40, 3), np.uint8))
    monkeypatch.setenv("SAMAE_LANDMARKS", "insightface")
    with pytest.raises(SamaeError, match=r"plain\.png has no landmarks .*det_10g\.onnx"):
        landmarks_of(tmp_path / "plain.png", np.zeros((40, 40, 3), np.uint8))
    head, encoder = load_head("builtin"), load_encoder("builtin")
    with pytest.raises(SamaeError, match="there is no picture"):
        read_portrait(tmp_path / "missing.png", 64, head, encoder)
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(SamaeError, match="not a readable PNG"):
        read_portrait(tmp_path / "text.png", 64, head, encoder)


def test_points_of_landmarks_json_are_whole_pixels(people: Path, tmp_path: Path) -> None:
    path, points = photograph(people, tmp_path)
    found, is_crop, _ = landmarks_of(path, np.zeros((240, 330, 3), np.uint8))
    assert not is_crop
    np.testing.assert_allclose(to_whole_pixels(found), points)


def test_landmarks_json_is_checked_and_sought_near_the_picture_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    image, deep = np.zeros((40, 40, 3), np.uint8), tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    cv2.imwrite(str(deep / "photo.png"), image)
    (tmp_path / "landmarks.json").write_text(json.dumps({"a/b/photo.png": [[1, 2]] * 68}))
    with pytest.raises(SamaeError, match="no face was found"):
        landmarks_of(deep / "photo.png", image)
    (tmp_path / "a" / "landmarks.json").write_text(json.dumps({"b/photo.png": [[1, 2]] * 67}))
    with pytest.raises(SamaeError, match=r"b/photo\.png: landmarks are not 68 or 5 points of a face: write"):
        landmarks_of(deep / "photo.png", image)
    (tmp_path / "a" / "landmarks.json").write_text(json.dumps({"b/photo.png": [[1, 2]] * 68, "other": 1}))
    assert landmarks_of(deep / "photo.png", image)[0].shape == (68, 2)


POINTS = [[float(i), float(i % 7)] for i in range(68)]


@pytest.mark.parametrize(
    "damage",
    [
        {"face_landmarks": None}, {"face_landmarks": POINTS[:67]}, {"face_landmarks": [[float("nan"), 1.0]] * 68},
        {"face_landmarks": [["left", "up"]] * 68}, {"face_landmarks": 7}, {"pixel_size": None}, {"pixel_size": []},
        {"pixel_size": [0, 0]}, {"pixel_size": ["wide", 40]}, {"pixel_size": [float("inf"), 40]}, {"pixel_size": 40},
    ],
)  # fmt: skip
def test_a_damaged_entry_of_an_ffhq_set_is_refused_by_name_and_the_rest_works(tmp_path: Path, damage: dict) -> None:
    good = {"file_path": "good.png", "pixel_size": [20, 20], "face_landmarks": POINTS}
    images = [good, good | {"file_path": "bad.png"} | damage]
    listing = {str(i): {"image": image} for i, image in enumerate(images)} | {"2": None, "3": {}, "4": {"image": 5}}
    (tmp_path / "ffhq-dataset-v2.json").write_text(json.dumps(listing))
    image = np.zeros((40, 40, 3), np.uint8)
    np.testing.assert_allclose(landmarks_of(tmp_path / "good.png", image)[0], 2 * (np.array(POINTS) + 0.5))
    with pytest.raises(SamaeError, match=r"ffhq-dataset-v2\.json: bad\.png has (not 68 points|no pixel_size)"):
        landmarks_of(tmp_path / "bad.png", image)


def test_a_listing_that_is_no_ffhq_listing_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "ffhq-dataset-v2.json").write_text("[1, 2]")
    with pytest.raises(SamaeError, match="no JSON object of photographs"):
        landmarks_of(tmp_path / "photo.png", np.zeros((40, 40, 3), np.uint8))


def test_five_points_are_completed_and_no_points_are_refused(people: Path, tmp_path: Path) -> None:
    path, points = photograph(people, tmp_path)
    image = np.zeros((240, 330, 3), np.uint8)
    five = five_points(points)
    (tmp_path / "landmarks.json").write_text(json.dumps({"photo.png": five.tolist()}))
    found, is_crop, _ = landmarks_of(path, image)
    assert not is_crop
    np.testing.assert_allclose(five_points(found), five + 0.5, atol=1e-6)
    np.testing.assert_allclose(found, complete_landmarks(five + 0.5))
    (tmp_path / "landmarks.json").write_text(json.dumps({"photo.png": []}))
    with pytest.raises(SamaeError, match="not 68 or 5 points of a face"):
        landmarks_of(path, image)


def test_of_several_faces_the_largest_is_taken_and_that_is_said_once(
    people: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SAMAE_LANDMARKS", "own")
    small, large = (cv2.imread(str(people / f"images128x128/00000/0000{i}.png"))[..., ::-1] for i in (0, 1))
    image = np.full((320, 480, 3), 120, np.uint8)
    image[40:168, 20:148], image[30:286, 200:456] = small, cv2.resize(large, (256, 256))
    several_faces()
    points, is_crop, _ = landmarks_of(tmp_path / "two.png", image)
    assert not is_crop
    assert points[:, 0].min() > 200
    assert several_faces() == ["two.png: 2 faces, the largest was taken"]
    landmarks_of(tmp_path / "one.png", np.ascontiguousarray(image[:, 190:]))
    assert several_faces() == []


def test_a_picture_with_too_many_pixels_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("PIL.Image.MAX_IMAGE_PIXELS", 100)
    cv2.imwrite(str(tmp_path / "bomb.png"), np.zeros((40, 40, 3), np.uint8))
    with pytest.raises(SamaeError, match=r"not a readable PNG.*\(too many pixels\)"):
        read_picture(tmp_path / "bomb.png")
    monkeypatch.undo()
    monkeypatch.setattr("faces.photographs.PIXEL_CAP", 1599)
    with pytest.raises(SamaeError, match=r"of at most 80 million pixels \(too many pixels\)"):
        read_picture(tmp_path / "bomb.png")
