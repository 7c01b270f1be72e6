"""`samae swap` on picture files and folders, with a model's folder: one picture, a folder, and what is refused."""

from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from benchmarks.landmarks import generated
from faces.errors import SamaeError
from faces.files import read_json, write_json
from faces.identity.registry import load_encoder
from faces.morphable.registry import load_head
from faces.synthetic.dataset import write_dataset
from pipelines.commands import swap
from tests.evaluation import fakes
from training.config import load_recipe
from training.export import export_model
from training.methods.base import build_method
from training.weights import SHIPPED_FOLDER, shipped_names

SMALL = ["size_px=32", "generator.width=8", "generator.multipliers=[1, 2]", "generator.blocks=1"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    method = build_method(load_recipe("simswap", SMALL), load_head("builtin"), load_encoder("builtin"))
    export_model(method, folder / "export")
    return folder


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_dataset(tmp_path_factory.mktemp("set"), 3, size_px=96, people=3, workers=1)
    return root / "images96x96/00000"


def test_one_picture_keeps_its_size_and_its_background(
    model: Path, people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SAMAE_HOME", str(tmp_path / "home"))
    out = tmp_path / "swapped.png"
    swap.run(str(people / "00000.png"), str(people / "00001.png"), out, str(model))
    made, target = cv2.imread(str(out)), cv2.imread(str(people / "00001.png"))
    assert made.shape == target.shape
    assert 0.05 < (made != target).any(-1).mean() < 0.8
    np.testing.assert_array_equal(made[:4], target[:4])
    assert "swapped.png" in capsys.readouterr().out


def test_a_folder_is_swapped_under_the_same_names_and_says_what_it_left_out(
    model: Path, people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SAMAE_HOME", str(tmp_path / "home"))
    left = ("broken.png", "a.heic", "b.tiff", ".hidden")
    for name in left:
        (people / name).write_text("no picture")
    try:
        swap.run(str(people / "00000.png"), str(people), tmp_path / "out", str(model / "export"))
    finally:
        for name in left:
            (people / name).unlink()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["00000.png", "00001.png", "00002.png"]
    said = capsys.readouterr().out
    assert "3 of 4 pictures" in said
    assert "left out" in said
    assert "broken.png" in said
    assert "left out: what is no PNG, JPEG or WebP picture (3: LICENSE.txt, a.heic, b.tiff)\n" in said


def test_a_folder_goes_to_swapped_unless_told_otherwise_and_results_are_no_targets(
    model: Path, people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAMAE_HOME", str(tmp_path / "home"))
    targets = tmp_path / "targets"
    targets.mkdir()
    entry = read_json(people.parents[1] / "ffhq-dataset-v2.json")["0"]["image"]
    cv2.imwrite(str(targets / "A.WEBP"), cv2.imread(str(people / "00000.png")))
    write_json(targets / "landmarks.json", {"A.WEBP": entry["face_landmarks"]})
    monkeypatch.chdir(targets)
    for _ in range(2):
        swap.run(str(people / "00001.png"), ".", None, str(model))
    assert [p.relative_to(targets).as_posix() for p in (targets / "swapped").rglob("*")] == ["swapped/A.WEBP"]
    assert (targets / "swapped" / "A.WEBP").read_bytes()[8:12] == b"WEBP"


def test_what_cannot_be_swapped_is_one_sentence(
    model: Path, people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAMAE_HOME", str(tmp_path / "home"))
    (tmp_path / "empty").mkdir()
    for name in ("landmarks.json", *(f"{number:02d}.heic" for number in range(12))):
        (tmp_path / "empty" / name).write_text("no picture")
    face = str(people / "00000.png")
    with pytest.raises(SamaeError, match=r"holds no PNG, JPEG or WebP picture \(12: 00\.heic, .*, 09\.heic, …\): name"):
        swap.run(face, str(tmp_path / "empty"), tmp_path / "out", str(model))
    with pytest.raises(SamaeError, match="the folder of the targets"):
        swap.run(face, str(people), people, str(model))
    with pytest.raises(SamaeError, match=r"out\.tiff is no picture's name"):
        swap.run(face, face, tmp_path / "out.tiff", str(model))
    with pytest.raises(SamaeError, match="is a folder"):
        swap.run(str(people), face, tmp_path / "out.png", str(model))
    with pytest.raises(SamaeError, match="no picture file or folder"):
        swap.run(face, "00001", tmp_path / "out.png", str(model))


def test_a_place_that_cannot_be_written_is_said_before_anything_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    face = str(tmp_path / "a.png")
    for target, out in ((face, tmp_path / "file/x.png"), (face, Path("/proc/x.png")), (tmp_path, Path("/proc/outs"))):
        with pytest.raises(SamaeError, match=rf"{out} cannot be written .*name a place"):
            swap.run(face, str(target), out, "no such model")


def test_a_picture_that_was_given_is_never_written_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("source.jpg", "target.jpg"):
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "link.jpg").symlink_to("target.jpg")
    for out in ("source.jpg", str(tmp_path / "target.jpg"), "link.jpg"):
        with pytest.raises(SamaeError, match=rf"{out} is a picture that was given, which stays as it is: name another"):
            swap.run("source.jpg", "target.jpg", Path(out), "no such model")
    assert (tmp_path / "target.jpg").read_bytes() == b"target.jpg"


def test_weights_that_come_with_samae_say_what_they_know(tmp_path: Path) -> None:
    (shipped,) = shipped_names()
    assert "generated people alone; expect little of photographs" in swap.of_photographs(SHIPPED_FOLDER / shipped)
    assert swap.of_photographs(tmp_path) == ""


def test_two_plain_pictures_are_swapped_without_landmarks(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SAMAE_HOME", str(tmp_path / "home"))
    for name, picture in zip(("me.jpg", "you.jpg"), generated(2, 5), strict=True):
        cv2.imwrite(str(tmp_path / name), picture.image[..., ::-1])
    out = tmp_path / "swapped.png"
    swap.run(str(tmp_path / "me.jpg"), str(tmp_path / "you.jpg"), out, str(model))
    assert "trained on generated people alone" in capsys.readouterr().out
    made, target = cv2.imread(str(out)), cv2.imread(str(tmp_path / "you.jpg"))
    assert made.shape == target.shape
    changed = (made != target).any(-1)
    inside = np.zeros(changed.shape, np.uint8)
    cv2.fillConvexPoly(inside, cv2.convexHull(picture.faces[0].astype(np.int32)), 1)
    assert changed[inside > 0].mean() > 0.5
    assert changed[cv2.dilate(inside, np.ones((61, 61), np.uint8)) == 0].mean() < 0.02
    cv2.imwrite(str(tmp_path / "wall.jpg"), np.full((200, 300, 3), 90, np.uint8))
    with pytest.raises(SamaeError, match=r"no face was found in .*wall\.jpg"):
        swap.run(str(tmp_path / "me.jpg"), str(tmp_path / "wall.jpg"), out, str(model))


def test_two_keys_give_source_target_and_result_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(swap, "_width", lambda settings: fakes.SIZE_PX)
    monkeypatch.setattr(swap, "_shard_faces", lambda settings, keys, swapper: fakes.load_faces(keys))
    monkeypatch.setattr(swap, "export_of", lambda settings, model: tmp_path)
    monkeypatch.setattr("training.export.load_swapper", lambda export, size_px: fakes.FakeSwapper())
    swap.run("00001", "00008", tmp_path / "out.png", "model")
    shown = [fakes.portrait(1, 1), fakes.portrait(2, 8), fakes.truth("00001", "00008")]
    made = cv2.imread(str(tmp_path / "out.png"))[..., ::-1]
    np.testing.assert_array_equal(made, np.concatenate([one.image for one in shown], axis=1))


def test_the_first_picture_gives_the_face_and_the_second_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("me.png", "you.png"):
        cv2.imwrite(str(tmp_path / name), np.full((8, 8, 3), 90, np.uint8))
    swapped: list[tuple[str, str]] = []
    model = SimpleNamespace(size_px=8, method=SimpleNamespace(head=None))
    model.swap = lambda source, target: swapped.append((source, target))

    def portrait(path: Path, *_: object) -> SimpleNamespace:
        return SimpleNamespace(image=np.zeros((8, 8, 3), np.uint8), face=path.name)

    monkeypatch.setattr(swap, "export_of", lambda settings, name: tmp_path)
    monkeypatch.setattr("training.export.load_swapper", lambda export, size_px: model)
    monkeypatch.setattr("training.export.encoder_of", lambda swapper: None)
    monkeypatch.setattr("training.pictures.read_portrait", portrait)
    monkeypatch.setattr("training.pictures.paste_back", lambda target, result: target.image)
    swap.run(str(tmp_path / "me.png"), str(tmp_path / "you.png"), tmp_path / "out.png", "model")
    assert swapped == [("me.png", "you.png")]


def test_a_folder_of_which_nothing_could_be_swapped_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "targets").mkdir()
    for name in ("a.png", "b.png"):
        (tmp_path / "targets" / name).write_bytes(b"no picture")

    def refuse(swapper: object, face: object, target: Path, out: Path) -> None:
        raise SamaeError(f"{target.name} is no picture")

    monkeypatch.setattr(swap, "_swap_file", refuse)
    with pytest.raises(SamaeError, match=r"none of the 2 pictures in .* could be swapped"):
        swap._swap_folder(None, None, tmp_path / "targets", tmp_path / "out")
    assert "left out: b.png is no picture" in capsys.readouterr().out
