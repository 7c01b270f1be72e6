"""ICT-FaceKit Light's loader on a small file in the true format, and on damaged ones."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from faces.errors import SamaeError
from faces.morphable import load_head
from faces.morphable.compare import main
from faces.morphable.ict import NEEDED, read_ict
from faces.morphable.ict_folder import main as convert

MATERIALS = (
    "M_Face",
    "M_BackHead",
    "M_GumsTongue",
    "M_Teeth",
    "M_ScleraLeft",
    "M_IrisLeft",
    "M_ScleraRight",
    "M_IrisRight",
    "M_LacrimalFluid",
    "M_EyeBlend",
    "M_EyeOcclusion",
    "M_EyeLashes",
)


def small_file() -> dict[str, np.ndarray]:
    """A tiny head in the file's own layout: 120 vertices, quads and triangles, two eyes, centimetres."""
    rng = np.random.default_rng(0)
    neutral = rng.uniform(-8, 8, (120, 3)).astype(np.float32)
    neutral[80:90] = np.array([3, 1, 7]) + rng.uniform(-1, 1, (10, 3))
    neutral[90:100] = neutral[80:90] * [-1, 1, 1]
    faces = rng.integers(0, 80, (40, 4)).astype(np.int32)
    faces[30:, 3] = -1
    material = np.zeros(40, np.int8)
    material[10:14], material[20:22] = 3, 11
    faces[14:16], material[14:16] = [[80, 81, 82, 83], [84, 85, 86, 87]], 4
    faces[16:18], material[16:18] = [[90, 91, 92, 93], [94, 95, 96, 97]], 6
    return {
        "neutral": neutral,
        "identity": rng.standard_normal((3, 120, 3)).astype(np.float16),
        "expression": rng.standard_normal((2, 120, 3)).astype(np.float16),
        "expression_names": np.array(["jawOpen", "eyeBlink_L"]),
        "faces": faces,
        "uv": rng.random((150, 2)).astype(np.float32),
        "uv_faces": np.where(faces < 0, -1, rng.integers(0, 150, (40, 4))).astype(np.int32),
        "material": material,
        "material_names": np.array(MATERIALS),
        "landmarks68": np.arange(68, dtype=np.int32),
    }


def write(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    np.savez(path, **arrays)
    return path


def test_small_file_is_read_in_this_projects_units(tmp_path: Path) -> None:
    arrays = small_file()
    head = read_ict(write(tmp_path / "model.npz", arrays))
    eyes = head.mean_mm[np.concatenate([head.eye_left, head.eye_right])]
    np.testing.assert_allclose((eyes.max(0) + eyes.min(0)) / 2, 0, atol=1e-4)
    assert head.mean_mm[head.eye_left, 0].min() > 0 > head.mean_mm[head.eye_right, 0].max()
    np.testing.assert_allclose(
        head.mean_mm[1] - head.mean_mm[0], (arrays["neutral"][1] - arrays["neutral"][0]) * 10, rtol=1e-4, atol=1e-4
    )
    np.testing.assert_allclose(head.identity_mm, arrays["identity"].astype(np.float32) * 10)
    np.testing.assert_allclose(head.expression_mm, arrays["expression"].astype(np.float32) * 10)
    assert head.expression_names == ("jawOpen", "eyeBlink_L")
    drawn = arrays["material"] != 11
    quads = (arrays["faces"][drawn][:, 3] >= 0).sum()
    assert len(head.triangles) == drawn.sum() + quads
    assert head.layout.n_albedo == 0
    assert head.face_region.any()
    assert head.digest == read_ict(tmp_path / "model.npz").digest


def test_quads_are_drawn_whole_each_in_its_own_part(tmp_path: Path) -> None:
    arrays = small_file()
    arrays["material"][5:8] = 1
    head = read_ict(write(tmp_path / "model.npz", arrays))
    drawn = {
        (*triangle, head.part_names[part]) for triangle, part in zip(head.triangles.tolist(), head.parts, strict=True)
    }
    parts = {0: "skin", 1: "scalp", 3: "teeth", 4: "eye_left", 6: "eye_right"}
    skin = set()
    for (a, b, c, d), material in zip(arrays["faces"].tolist(), arrays["material"].tolist(), strict=True):
        if material in parts:
            due = {(a, b, c, parts[material])} | ({(a, c, d, parts[material])} if d >= 0 else set())
            assert due <= drawn
        skin |= {corner for corner in (a, b, c, d) if material == 0 and corner >= 0}
    assert set(np.flatnonzero(head.face_region)) == skin


def test_a_vertex_takes_the_texture_coordinate_of_its_first_corner(tmp_path: Path) -> None:
    arrays = small_file()
    head = read_ict(write(tmp_path / "model.npz", arrays))
    corners, places = arrays["faces"].ravel(), arrays["uv_faces"].ravel()
    for vertex in np.unique(corners[corners >= 0]):
        first = places[np.flatnonzero(corners == vertex)[0]]
        np.testing.assert_array_equal(head.uv[vertex], arrays["uv"][first])


@pytest.mark.parametrize("name", NEEDED)
def test_the_digest_sees_every_array(tmp_path: Path, name: str) -> None:
    arrays = small_file()
    before = read_ict(write(tmp_path / "model.npz", arrays)).digest
    arrays[name] = arrays[name][::-1]
    assert read_ict(write(tmp_path / "model.npz", arrays)).digest != before


@pytest.mark.parametrize("name", NEEDED)
def test_a_missing_array_is_named(tmp_path: Path, name: str) -> None:
    arrays = small_file()
    del arrays[name]
    with pytest.raises(SamaeError, match=rf"lacks the arrays {name};"):
        read_ict(write(tmp_path / "model.npz", arrays))


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("neutral", lambda a: a[:, :2], "neutral has shape"),
        ("identity", lambda a: a[:, :50], "identity has shape"),
        ("landmarks68", lambda a: a[:51], "landmarks68 has shape"),
        ("neutral", lambda a: np.where(a > 7, np.nan, a), "neutral holds numbers that are not finite"),
        ("faces", lambda a: a + 1000, "faces points outside"),
        ("landmarks68", lambda a: a - 5, "landmarks68 points outside"),
        ("material", lambda a: np.zeros_like(a), "has no eyeballs"),
        ("expression_names", lambda a: a.astype(object), "cannot be read"),
        ("neutral", lambda a: np.float32(1), "neutral has shape"),
        ("material", lambda a: np.int8(1), "material has shape"),
        ("expression_names", lambda a: np.array("jawOpen"), "expression_names has shape"),
        ("neutral", lambda a: a + 1j, "neutral is no table of numbers but of complex"),
        ("uv", lambda a: a.astype(str), "uv is no table of numbers"),
        ("uv", lambda a: a[:, :1], "uv has shape"),
        ("faces", lambda a: a.astype(np.float64), "faces holds float64 where whole numbers are due"),
        ("faces", lambda a: np.where(a == a[0, 1], -1, a), "faces points outside 0"),
        ("landmarks68", lambda a: a + 0.5, "landmarks68 holds float64"),
        ("material", lambda a: a - 1, "material points outside"),
    ],
)
def test_damaged_files_are_refused_by_name(tmp_path: Path, name: str, damage: object, message: str) -> None:
    arrays = small_file()
    arrays[name] = damage(arrays[name])  # type: ignore[operator]
    path = write(tmp_path / "model.npz", arrays)
    with pytest.raises(SamaeError, match=message) as caught:
        read_ict(path)
    assert str(path) in str(caught.value)


def test_an_empty_mesh_is_refused_by_name(tmp_path: Path) -> None:
    arrays = small_file()
    arrays |= {name: arrays[name][:0] for name in ("faces", "uv_faces", "material")}
    with pytest.raises(SamaeError, match="faces is empty"):
        read_ict(write(tmp_path / "model.npz", arrays))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_flipped_bytes_are_one_sentence_or_nothing(tmp_path: Path, save: Callable[..., None]) -> None:
    """zlib, zipfile and numpy each meet them with errors of their own."""
    path = tmp_path / "model.npz"
    save(path, **small_file())
    whole, refused = path.read_bytes(), []
    for at in np.random.default_rng(4).integers(0, len(whole), 250):
        damaged = bytearray(whole)
        damaged[at] ^= 0xFF
        path.write_bytes(bytes(damaged))
        try:
            read_ict(path)
        except SamaeError as error:
            refused.append(str(error))
    assert len(refused) > 100
    assert all(str(path) in sentence for sentence in refused)


def test_an_npz_that_is_an_npy_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "model.npz").open("wb") as stream:
        np.save(stream, np.zeros((3, 3)))
    with pytest.raises(SamaeError, match="cannot be read as an ICT-FaceKit Light npz"):
        read_ict(tmp_path / "model.npz")


def test_truncated_text_and_missing_files_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "model.npz", small_file())
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(SamaeError, match="cannot be read"):
        read_ict(path)
    path.write_text("hello")
    with pytest.raises(SamaeError, match="cannot be read"):
        read_ict(path)
    with pytest.raises(SamaeError, match="does not exist"):
        read_ict(tmp_path / "nowhere.npz")
    with pytest.raises(SamaeError, match="needs the path"):
        load_head("ict")


def test_compare_prints_a_table_with_and_without_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    captured = capsys.readouterr()
    assert "left out" in captured.err
    assert "| mouth width (48-54) |" in captured.out
    assert main([str(write(tmp_path / "model.npz", small_file()))]) == 0
    assert "ict-facekit-light-1" in capsys.readouterr().out
    (tmp_path / "bad.npz").write_text("x")
    assert main([str(tmp_path / "bad.npz")]) == 2


def write_folder(folder: Path, arrays: dict[str, np.ndarray]) -> Path:
    """The same head as ICT-FaceKit publishes it: OBJ files and vertex_indices.json."""
    folder.mkdir(parents=True, exist_ok=True)

    def vertices(offset: np.ndarray) -> list[str]:
        return [f"v {x:.8f} {y:.8f} {z:.8f}" for x, y, z in arrays["neutral"] + offset]

    lines = ["# ICT", "mtllib model.mtl", *vertices(np.zeros(3)), *(f"vt {u:.8f} {v:.8f}" for u, v in arrays["uv"])]
    for k, name in enumerate(arrays["material_names"]):
        lines.append(f"usemtl {name}")
        for face, uv in zip(
            arrays["faces"][arrays["material"] == k], arrays["uv_faces"][arrays["material"] == k], strict=True
        ):
            lines.append("f " + " ".join(f"{a + 1}/{b + 1}" for a, b in zip(face, uv, strict=True) if a >= 0))
    (folder / "generic_neutral_mesh.obj").write_text("\n".join(lines))
    for k, offset in enumerate(arrays["identity"].astype(np.float32)):
        (folder / f"identity{k:03d}.obj").write_text("\n".join(vertices(offset)))
    for name, offset in zip(arrays["expression_names"], arrays["expression"].astype(np.float32), strict=True):
        (folder / f"{name}.obj").write_text("\n".join(vertices(offset)))
    indices = {"idx_to_landmark_verts": arrays["landmarks68"].tolist(), "expressions": []}
    (folder / "vertex_indices.json").write_text(json.dumps(indices))
    return folder


def test_its_own_folder_gives_the_same_head(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arrays = small_file()
    one = read_ict(write(tmp_path / "model.npz", arrays))
    other = load_head(f"ict:{write_folder(tmp_path / 'FaceXModel', arrays)}")
    np.testing.assert_allclose(other.mean_mm, one.mean_mm, atol=1e-3)
    np.testing.assert_allclose(other.identity_mm, one.identity_mm, atol=2e-2)
    names = [other.expression_names.index(name) for name in one.expression_names]
    np.testing.assert_allclose(other.expression_mm[names], one.expression_mm, atol=2e-2)
    np.testing.assert_array_equal(other.landmarks, one.landmarks)
    np.testing.assert_array_equal(other.face_region, one.face_region)
    assert {tuple(t) for t in other.triangles.tolist()} == {tuple(t) for t in one.triangles.tolist()}
    assert convert([str(tmp_path / "FaceXModel"), str(tmp_path / "made.npz")]) == 0
    assert other.digest in capsys.readouterr().out
    assert read_ict(tmp_path / "made.npz").digest == other.digest


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("generic_neutral_mesh.obj", "v 1 2\n", "holds no rows of 3 numbers"),
        ("generic_neutral_mesh.obj", "v 1 2 x\n", "no row of 3 numbers"),
        ("identity001.obj", "v 1 2 3\n", "has 1 vertices where 120 are due"),
        ("jawOpen.obj", "v 1 2 3\nv 1 2\n", "no row of 3 numbers"),
        ("vertex_indices.json", "{", "is not valid JSON"),
        ("vertex_indices.json", '{"idx_to_landmark_verts": [1, 2]}', "landmarks68 has shape"),
        ("vertex_indices.json", '{"idx_to_landmark_verts": ["a"]}', "no list of vertices"),
    ],
)
def test_damaged_folders_are_refused_by_name(tmp_path: Path, name: str, text: str, message: str) -> None:
    folder = write_folder(tmp_path / "FaceXModel", small_file())
    (folder / name).write_text(text)
    with pytest.raises(SamaeError, match=message) as caught:
        read_ict(folder)
    assert str(folder) in str(caught.value)


def test_faces_of_a_damaged_folder_are_refused_by_name(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "FaceXModel", small_file())
    mesh = folder / "generic_neutral_mesh.obj"
    whole = mesh.read_text()
    mesh.write_text(whole + "\nf 1/1 2/2\n")
    with pytest.raises(SamaeError, match="no triangle or quad"):
        read_ict(folder)
    mesh.write_text(whole.replace("usemtl", "# usemtl"))
    with pytest.raises(SamaeError, match="before its first usemtl"):
        read_ict(folder)
    for path in folder.glob("identity*.obj"):
        path.unlink()
    with pytest.raises(SamaeError, match="holds no identity"):
        read_ict(folder)
    (folder / "vertex_indices.json").unlink()
    with pytest.raises(SamaeError, match="does not exist"):
        read_ict(folder)
