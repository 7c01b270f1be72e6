"""assets/ingest.py and faces/detection.py: InsightFace's own code on stand-in weights, and every way to be refused."""

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image
from typer.testing import CliRunner

from assets.ingest import REJECTED_NAME, ingest
from assets.plan import Plan
from assets.raw import verify_photograph
from assets.rules import Rules
from faces.camera import Camera, head_to_camera, project
from faces.detection import DETECTOR_FILES, Detector
from faces.errors import SamaeError
from faces.files import read_json, write_json
from faces.five_points import complete_landmarks
from faces.landmark_list import LANDMARKS_NAME, NOT_LANDMARKS, NOT_LISTED
from faces.landmarks import ffhq_transform, five_points, transform_points
from faces.morphable.registry import load_head
from faces.photographs import LISTING_NAME
from faces.synthetic.pictures import render_picture
from pipelines.cli import app

SIZE_PX = 320


@pytest.fixture(scope="module")
def portrait():
    return render_picture(3, 0, 4, SIZE_PX)


def constant_model(path: Path, input_shape: list[int], outputs: list[np.ndarray]) -> None:
    """An ONNX file that gives the same answer to every picture."""
    names = [f"out{i}" for i in range(len(outputs))]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", [f"c{name}"], [name]) for name in names],
        "standin",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, input_shape)],
        [
            onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, o.shape)
            for n, o in zip(names, outputs, strict=True)
        ],
        [onnx.numpy_helper.from_array(o.astype(np.float32), f"c{n}") for n, o in zip(names, outputs, strict=True)],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
    model.ir_version = 9
    onnx.save(model, path)


def write_weights(folder: Path, landmarks_px: np.ndarray, score: float = 0.9) -> Path:
    """SCRFD that sees one face, 80..240 px of a 320 px picture, and a 68-point model that knows its points."""
    folder.mkdir()
    outputs = []
    for width in (1, 4, 10):
        outputs += [np.zeros((2 * (640 // stride) ** 2, width)) for stride in (8, 16, 32)]
    anchor = (10 * 20 + 10) * 2
    outputs[2][anchor], outputs[5][anchor] = score, 5.0
    constant_model(folder / DETECTOR_FILES[0], [1, 3, 640, 640], outputs)
    # The picture is 320 px wide: SCRFD sees it doubled, so the box is 160 px wide there, and the crop is 1.5 boxes.
    scale = 192 / (160 * 1.5)
    crop = (landmarks_px - 0.5 - 160) * scale + 96
    points = np.concatenate([crop / 96 - 1, np.zeros((68, 1))], axis=1)
    answer = np.zeros((1103, 3))
    answer[-68:] = points
    constant_model(folder / DETECTOR_FILES[1], [1, 3, 192, 192], [answer.reshape(1, -1)])
    return folder


def test_landmarks_come_back_in_our_pixels(tmp_path: Path, portrait) -> None:
    detector = Detector(write_weights(tmp_path / "weights", portrait.landmarks_px))
    (found,) = detector.faces(portrait.image)
    np.testing.assert_allclose(found, portrait.landmarks_px, atol=0.01)


def test_a_photograph_becomes_a_verified_ffhq_entry(tmp_path: Path, portrait) -> None:
    (tmp_path / "photos" / "sub").mkdir(parents=True)
    Image.fromarray(portrait.image).save(tmp_path / "photos" / "sub" / "a.png")
    detector = Detector(write_weights(tmp_path / "weights", portrait.landmarks_px))
    seen: list[tuple[int, int]] = []
    counts = ingest(
        tmp_path / "photos",
        tmp_path / "set",
        detector,
        SIZE_PX,
        "CC0 1.0",
        lambda done, total: seen.append((done, total)),
    )
    assert counts == {"ok": 1}
    assert seen == [(1, 1)]
    entries = read_json(tmp_path / "set" / LISTING_NAME)
    row = verify_photograph(tmp_path / "set", "0", entries["0"], Rules.of(Plan()))
    assert (row["status"], row["reason"], row["licence"]) == ("ok", "", "CC0 1.0")
    np.testing.assert_allclose(np.reshape(row["landmarks_px"], (68, 2)), portrait.landmarks_px, atol=0.5)
    crop = np.asarray(Image.open(tmp_path / "set" / entries["0"]["image"]["file_path"]))
    assert np.abs(crop.astype(int) - portrait.image).mean() < 4


class NoFace:
    def faces(self, image: np.ndarray) -> list[np.ndarray]:
        return []


class OneFace:
    """A face whose landmarks are these, whatever the picture."""

    def __init__(self, landmarks_px: np.ndarray) -> None:
        self.landmarks_px = landmarks_px

    def faces(self, image: np.ndarray) -> list[np.ndarray]:
        return [self.landmarks_px]


def test_what_cannot_be_used_has_a_reason_and_a_second_call_goes_on(tmp_path: Path, portrait) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.fromarray(portrait.image).save(photos / "plain.png")
    (photos / "text.png").write_text("hello")
    data = (photos / "plain.png").read_bytes()
    (photos / "cut.png").write_bytes(data[: len(data) // 2])
    counts = ingest(photos, tmp_path / "set", NoFace(), 64)
    assert counts == {"no face found": 1, "not a PNG, JPEG or WebP picture": 1, "picture damaged": 1}
    assert read_json(tmp_path / "set" / REJECTED_NAME)["cut.png"]["reason"] == "picture damaged"
    Image.fromarray(portrait.image).save(photos / "later.png")
    again = ingest(photos, tmp_path / "set", OneFace(portrait.landmarks_px), 64)
    assert again["ok"] == 1
    assert read_json(tmp_path / "set" / LISTING_NAME)["0"]["metadata"]["photo_url"] == "later.png"


def test_what_was_done_before_an_interruption_is_not_done_again(tmp_path: Path, portrait) -> None:
    photos, seen = tmp_path / "photos", []
    photos.mkdir()
    for name in "abc":
        Image.fromarray(portrait.image).save(photos / f"{name}.png")
    os.mkfifo(photos / "pipe.png")  # nobody writes into it: opening it would wait for ever

    class Finder(OneFace):
        """Stopped by Ctrl-C at the third picture it sees."""

        def faces(self, image: np.ndarray) -> list[np.ndarray]:
            """The face, or the signal."""
            seen.append(1)
            if len(seen) == 3:
                raise KeyboardInterrupt
            return super().faces(image)

    with pytest.raises(KeyboardInterrupt):
        ingest(photos, tmp_path / "set", Finder(portrait.landmarks_px), 64)
    assert len(read_json(tmp_path / "set" / LISTING_NAME)) == 2
    assert ingest(photos, tmp_path / "set", Finder(portrait.landmarks_px), 64) == {"ok": 3}
    assert len(seen) == 4


def test_the_command_says_what_it_left_out_and_fails_where_nothing_can_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAMAE_LANDMARKS", "own")
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(photos / "black.png")
    (photos / "phone.heic").write_text("no picture of ours")
    shown = CliRunner().invoke(app, ["ingest", str(photos), str(tmp_path / "set")])
    assert "left out: what is no PNG, JPEG or WebP picture (1: phone.heic)" in shown.output
    assert "1 refused: no face found" in shown.output
    assert isinstance(shown.exception, SamaeError)
    assert "none of the photographs" in str(shown.exception)


def test_what_one_reader_refused_another_one_looks_at(
    tmp_path: Path, portrait, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No face for our own networks, one for InsightFace's code with stand-in weights."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SAMAE_WEIGHTS", str(write_weights(tmp_path / "weights", portrait.landmarks_px)))
    monkeypatch.setenv("SAMAE_LANDMARKS", "auto")  # the command sets it: this puts it back
    photos, out = tmp_path / "photos", tmp_path / "set"
    photos.mkdir()
    Image.new("RGB", (SIZE_PX, SIZE_PX), (90, 90, 90)).save(photos / "wall.png")
    (photos / "text.png").write_text("hello")

    def told(reader: str) -> str:
        done = CliRunner().invoke(app, ["ingest", str(photos), str(out), "--size-px", "64", "--landmarks", reader])
        assert done.exception is None or "0 faces in" in done.output, done.output
        return done.output

    assert "0 faces in" in told("own")
    refused = read_json(out / REJECTED_NAME)
    assert refused["wall.png"]["reason"] == "no face found"
    assert refused["wall.png"]["reader"].startswith("own-")
    assert "1 faces in" in told("insightface")
    entries = read_json(out / LISTING_NAME)
    assert [entry["metadata"]["photo_url"] for entry in entries.values()] == ["wall.png"]
    assert read_json(out / REJECTED_NAME) == {"text.png": {"reason": "not a PNG, JPEG or WebP picture", "reader": ""}}
    assert "1 faces in" in told("own")  # what was taken stays
    assert read_json(out / LISTING_NAME) == entries


def test_refusals_of_earlier_versions_and_of_another_landmarks_file_are_looked_at_anew(
    tmp_path: Path, portrait
) -> None:
    points = (portrait.landmarks_px - 0.5).tolist()
    photos = photographs_with_landmarks(tmp_path / "photos", portrait, {"a.png": points})
    write_json(tmp_path / "set" / REJECTED_NAME, {"a.png": "no face found"})
    assert ingest(photos, tmp_path / "set", size_px=64) == {"ok": 1, NOT_LISTED: 1}
    write_json(photos / LANDMARKS_NAME, {"a.png": points, "sub/b.png": points})
    assert ingest(photos, tmp_path / "set", size_px=64) == {"ok": 2}
    assert read_json(tmp_path / "set" / REJECTED_NAME) == {}


def test_small_and_cut_faces_are_refused(tmp_path: Path, portrait) -> None:
    (tmp_path / "photos").mkdir()
    Image.fromarray(portrait.image).save(tmp_path / "photos" / "a.png")
    small = OneFace(portrait.landmarks_px * 0.1 + 100)
    assert ingest(tmp_path / "photos", tmp_path / "small", small, 256) == {"face too small": 1}
    assert read_json(tmp_path / "small" / REJECTED_NAME)["a.png"]["reader"] == "unnamed at 256 px"
    assert ingest(tmp_path / "photos", tmp_path / "small", small, 16) == {"ok": 1}
    beside = OneFace(portrait.landmarks_px + np.array([SIZE_PX * 0.8, 0]))
    assert ingest(tmp_path / "photos", tmp_path / "cut", beside, 256) == {"face cut off": 1}


def test_missing_weights_and_empty_folders_name_the_mend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SAMAE_WEIGHTS", str(tmp_path))
    with pytest.raises(SamaeError, match=r"det_10g\.onnx and 1k3d68\.onnx .* SAMAE_WEIGHTS .*SAMAE_LANDMARKS=own"):
        Detector()
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "x.heic").write_text("no picture of ours")
    for name, words in (
        ("nowhere", "nowhere does not exist: name a folder"), ("empty/x.heic", "is a file, and a folder is asked for"),
        ("empty", r"holds no PNG, JPEG or WebP picture \(1: x.heic\)"),
    ):  # fmt: skip
        with pytest.raises(SamaeError, match=words):
            ingest(tmp_path / name, tmp_path / "set", NoFace())
    assert not (tmp_path / "set").exists()


def photographs_with_landmarks(folder: Path, portrait, listed: dict) -> Path:
    """Two pictures in a folder with their landmarks beside them."""
    (folder / "sub").mkdir(parents=True)
    Image.fromarray(portrait.image).save(folder / "a.png")
    Image.fromarray(portrait.image).save(folder / "sub" / "b.png")
    write_json(folder / LANDMARKS_NAME, listed)
    return folder


def test_landmarks_beside_the_photographs_need_no_detector(tmp_path: Path, portrait) -> None:
    points = portrait.landmarks_px - 0.5
    listed = {"a.png": points.tolist(), "sub/b.png": five_points(points).tolist()}
    photos = photographs_with_landmarks(tmp_path / "photos", portrait, listed)
    out = tmp_path / "set"
    done = CliRunner().invoke(app, ["ingest", str(photos), str(out), "--size-px", str(SIZE_PX)])
    assert done.exit_code == 0, done.output
    assert "2 faces in" in done.output
    entries = read_json(out / LISTING_NAME)
    for key, tolerance_px in (("0", 0.01), ("1", 0.12 * SIZE_PX)):
        row = verify_photograph(out, key, entries[key], Rules.of(Plan()))
        assert (row["status"], row["reason"]) == ("ok", "")
        found = np.reshape(row["landmarks_px"], (68, 2))
        matrix = ffhq_transform(portrait.landmarks_px, SIZE_PX)
        expected = transform_points(matrix, portrait.landmarks_px)
        np.testing.assert_allclose(found, expected, atol=tolerance_px)
        np.testing.assert_allclose(five_points(found), five_points(expected), atol=0.01)


def test_photographs_without_usable_landmarks_have_a_reason(tmp_path: Path, portrait) -> None:
    line = [[float(i), float(i)] for i in range(5)]
    photos = photographs_with_landmarks(tmp_path / "photos", portrait, {"a.png": line, "c.png": [[1, 2]] * 7})
    assert ingest(photos, tmp_path / "set") == {NOT_LANDMARKS: 1, NOT_LISTED: 1}
    write_json(photos / LANDMARKS_NAME, {"a.png": "here", "sub/b.png": [[1, None]] * 68})
    assert ingest(photos, tmp_path / "other") == {NOT_LANDMARKS: 2}


def test_a_wrong_landmarks_file_is_one_sentence(tmp_path: Path, portrait) -> None:
    photos = photographs_with_landmarks(tmp_path / "photos", portrait, {"/elsewhere/a.png": [[1, 2]] * 68})
    with pytest.raises(SamaeError, match=r"names none of the photographs .*'/elsewhere/a\.png'.* relative to"):
        ingest(photos, tmp_path / "set")
    write_json(photos / LANDMARKS_NAME, [[1, 2]])
    with pytest.raises(SamaeError, match="is not a list of landmarks"):
        ingest(photos, tmp_path / "set")
    (photos / LANDMARKS_NAME).unlink()
    with pytest.raises(SamaeError, match=r"landmarks\.json does not exist"):
        ingest(photos, tmp_path / "set")
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize("yaw_degrees", [-50.0, 0.0, 50.0])
def test_five_points_of_a_turned_head_give_its_68(yaw_degrees: float) -> None:
    head = load_head("builtin")
    angles, place = np.radians([[5.0, yaw_degrees, 8.0]]), np.array([[10.0, 20.0, 1100.0]])
    seen = head_to_camera(np.asarray(head.mean_mm[head.landmarks], np.float64)[None], angles, place)
    points = project(seen, Camera.centred(512))[0, :, :2]
    np.testing.assert_allclose(complete_landmarks(five_points(points)), points, atol=3.0)


def test_a_set_inside_the_folder_is_not_read_again(tmp_path: Path, portrait) -> None:
    photos, finds = tmp_path / "photos", OneFace(portrait.landmarks_px)
    photos.mkdir()
    Image.fromarray(portrait.image).save(photos / "a.png")
    for _ in range(2):
        assert ingest(photos, photos / "set", finds, 64) == {"ok": 1}
    with pytest.raises(SamaeError, match="is the folder of photographs itself"):
        ingest(photos, photos, finds, 64)
    (tmp_path / "photos" / "inner").mkdir()
    Image.fromarray(portrait.image).save(photos / "inner" / "b.png")
    assert ingest(photos / "inner", tmp_path, finds, 64) == {"ok": 1}


def test_one_set_has_one_size(tmp_path: Path, portrait) -> None:
    photos, finds = tmp_path / "photos", OneFace(portrait.landmarks_px)
    photos.mkdir()
    Image.fromarray(portrait.image).save(photos / "a.png")
    ingest(photos, tmp_path / "set", finds, 64)
    before = (tmp_path / "set" / LISTING_NAME).read_bytes()
    with pytest.raises(SamaeError, match="holds faces of 64 px: go on with --size-px 64"):
        ingest(photos, tmp_path / "set", finds, 128)
    assert (tmp_path / "set" / LISTING_NAME).read_bytes() == before
