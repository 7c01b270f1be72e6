"""BFM_model_front.mat on a small file in the true format, Deep3D's formulas to the letter, and damaged files."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import savemat

from faces.camera import Camera, head_to_camera, project, rotation_matrices
from faces.errors import SamaeError
from faces.fitting import fit
from faces.morphable import load_head
from faces.morphable.base import vertex_normals
from faces.morphable.bfm import (
    SHAPES,
    deep3d_albedo,
    deep3d_basis,
    deep3d_landmarks,
    deep3d_normals,
    deep3d_shading,
    import_deep3d,
    light_from_deep3d,
    read_bfm,
)
from faces.render.shading import SH_CONSTANTS, irradiance, to_linear, to_srgb
from tests.faces.toy_head import toy_head


def small_file() -> dict[str, np.ndarray]:
    """The toy head in the file's layout: decimetres, interleaved, 1-based, 80 + 64 + 80 modes."""
    toy, rng = toy_head(), np.random.default_rng(2)
    count, triangles = len(toy.mean_mm), len(toy.triangles)
    identity, expression = np.zeros((80, count, 3)), np.zeros((64, count, 3))
    identity[:20], expression[:8] = toy.identity_mm / 100, toy.expression_mm / 300
    texture = np.zeros((80, count, 3))
    texture[:12] = toy.albedo_modes * 200
    neighbours = np.full((count, 8), triangles + 1)
    filled = np.zeros(count, int)
    for t, corners in enumerate(toy.triangles):
        for v in corners:
            if filled[v] < 8:
                neighbours[v, filled[v]] = t + 1
                filled[v] += 1
    front = np.flatnonzero(toy.face_region)
    return {
        "meanshape": toy.mean_mm.reshape(1, -1) / 100 + 0.3,
        "meantex": rng.uniform(90, 200, (1, 3 * count)),
        "idBase": identity.reshape(80, -1).T,
        "exBase": expression.reshape(64, -1).T,
        "texBase": texture.reshape(80, -1).T,
        "tri": (toy.triangles + 1).astype(np.float64),
        "point_buf": neighbours.astype(np.float64),
        "keypoints": (toy.landmarks + 1)[None].astype(np.float64),
        "frontmask2_idx": (front + 1)[:, None].astype(np.float64),
        "tri_mask2": (toy.triangles[toy.face_triangles] + 1).astype(np.float64),
        "skinmask": toy.face_region[None].astype(np.float64),
    }


def write(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    savemat(path, arrays)
    return path


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("bfm") / "BFM_model_front.mat", small_file())


def deep3d_coefficients(rng: np.random.Generator, count: int) -> np.ndarray:
    """(N, 257) as its network gives them: small angles, translations in decimetres, a soft light."""
    out = np.zeros((count, 257), np.float32)
    out[:, :20], out[:, 80:88] = rng.normal(0, 0.7, (count, 20)), rng.normal(0, 0.5, (count, 8))
    out[:, 144:156] = rng.normal(0, 0.5, (count, 12))
    out[:, 224:227] = rng.normal(0, 0.2, (count, 3))
    out[:, 227:254] = rng.normal(0, 0.05, (count, 27))
    out[:, 254:257] = rng.normal(0, 0.15, (count, 3))
    return out


def deep3d_projection(arrays: dict[str, np.ndarray], coefficients: np.ndarray) -> np.ndarray:
    """Deep3D's compute_shape, compute_rotation, transform, to_camera, to_image, and the flip of its saved lm68."""
    mean = arrays["meanshape"].reshape(-1, 3)
    mean = mean - mean.mean(0)
    points = []
    for row in coefficients.astype(np.float64):
        shape = mean + (arrays["idBase"] @ row[:80] + arrays["exBase"] @ row[80:144]).reshape(-1, 3)
        rx, ry, rz = row[224:227]
        x = np.array([[1, 0, 0], [0, np.cos(rx), -np.sin(rx)], [0, np.sin(rx), np.cos(rx)]])
        y = np.array([[np.cos(ry), 0, np.sin(ry)], [0, 1, 0], [-np.sin(ry), 0, np.cos(ry)]])
        z = np.array([[np.cos(rz), -np.sin(rz), 0], [np.sin(rz), np.cos(rz), 0], [0, 0, 1]])
        moved = shape @ (z @ y @ x).T + row[254:257]
        moved[:, 2] = 10 - moved[:, 2]
        picture = moved @ np.array([[1015.0, 0, 112], [0, 1015, 112], [0, 0, 1]]).T
        pixels = picture[:, :2] / picture[:, 2:]
        pixels[:, 1] = 224 - 1 - pixels[:, 1]
        points.append(pixels)
    return np.stack(points)


def test_imported_coefficients_project_as_deep3d_does(path: Path) -> None:
    head, arrays = read_bfm(path), small_file()
    theirs = deep3d_coefficients(np.random.default_rng(0), 3)
    ours = import_deep3d(head, theirs)
    take = head.layout.take
    vertices = head.vertices(take(ours, "identity"), take(ours, "expression"))
    placed = head_to_camera(vertices, take(ours, "rotation_rad"), take(ours, "translation_mm"))
    pixels = project(placed, Camera.centred(224))[..., :2]
    np.testing.assert_allclose(deep3d_landmarks(pixels), deep3d_projection(arrays, theirs), atol=2e-3)


def test_texture_normals_and_shading_to_the_letter(path: Path) -> None:
    head, arrays, rng = read_bfm(path), small_file(), np.random.default_rng(1)
    texture = rng.normal(0, 0.4, (2, 80))
    expected = (arrays["meantex"] + texture @ arrays["texBase"].T).reshape(2, -1, 3) / 255
    np.testing.assert_allclose(deep3d_albedo(head, texture), np.clip(expected, 0, 1), atol=1e-5)
    np.testing.assert_allclose(to_srgb(head.albedo(texture)), np.clip(expected, 0, 1), atol=1e-4)
    shown = head.albedo(torch.from_numpy(texture.astype(np.float32)))
    np.testing.assert_allclose(shown.numpy(), head.albedo(texture), atol=1e-5)
    normals = deep3d_normals(head, head.mean_mm[None])
    usual = vertex_normals(head.mean_mm[None], head.triangles)
    assert np.degrees(np.arccos(np.clip((normals * usual).sum(-1), -1, 1)))[0, head.face_region].mean() < 3
    factors = np.array([0.886227, 1.772454, 1.772454, 1.772454, 2.427033, 2.427033, 0.700624, 2.427033, 1.213516])
    signs = np.array([1, -1, 1, -1, 1, -1, 1, -1, 1])
    x, y, z = normals[0].T
    terms = np.stack([x * 0 + 1, y, z, x, x * y, y * z, 3 * z**2 - 1, x * z, x**2 - y**2], -1)
    np.testing.assert_allclose(deep3d_basis(normals)[0], terms * factors * signs, atol=1e-5)
    gamma = rng.normal(0, 0.1, (1, 27))
    shown = deep3d_shading(np.full_like(normals, 0.5), normals, gamma)
    channel = (gamma.reshape(3, 9)[1] + 0.8 * (np.arange(9) == 0)) @ deep3d_basis(normals)[0].T
    np.testing.assert_allclose(shown[0, :, 1], 0.5 * channel, atol=1e-9)


def test_light_is_exact_when_constant_and_near_otherwise() -> None:
    albedo = np.array([[0.7, 0.55, 0.5]])
    constant = light_from_deep3d(np.zeros((1, 27)), albedo)[0].reshape(3, 9)
    level = to_linear(albedo * 0.8 * 0.8862269)[0] / to_linear(albedo)[0]
    np.testing.assert_allclose(constant[:, 0] * SH_CONSTANTS[0], level, rtol=1e-5)
    np.testing.assert_allclose(constant[:, 1:], 0, atol=1e-5)
    gamma = np.zeros((1, 27))
    gamma[0, [2, 11, 20]] = 0.15
    normals = np.random.default_rng(0).normal(size=(500, 3))
    normals[:, 2] = np.abs(normals[:, 2])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    display = deep3d_shading(np.broadcast_to(albedo, (1, 500, 3)), normals[None], gamma)[0]
    ours = to_srgb(to_linear(albedo) * irradiance(normals, light_from_deep3d(gamma, albedo)[0].astype(np.float64)))
    assert np.abs(ours - np.clip(display, 0, 1)).max() < 0.02


def test_the_head_keeps_this_projects_promises(path: Path) -> None:
    head, arrays = load_head(f"bfm:{path}"), small_file()
    assert head.edition == "bfm2009-front-1"
    assert head.layout.size == 259
    np.testing.assert_allclose(head.mean_mm[head.landmarks[36:48]].mean(0), [0, 0, 12], atol=1e-3)
    np.testing.assert_array_equal(head.face_region, toy_head().face_region)
    step = (arrays["meanshape"][0, 3:6] - arrays["meanshape"][0, :3]) * 100
    np.testing.assert_allclose(head.mean_mm[1] - head.mean_mm[0], step, atol=1e-3)
    small = np.full((1, 80), 1e-3)
    slope = (head.albedo(small)[0] - head.albedo_mean) / 1e-3
    np.testing.assert_allclose(slope, head.albedo_modes.sum(0), atol=2e-2)
    part = head.part(head.face_region, head.face_triangles)
    np.testing.assert_array_equal(part.albedo(small)[0], head.albedo(small)[0][head.face_region])
    with pytest.raises(SamaeError, match="whole BFM head"):
        deep3d_normals(part, part.mean_mm[None])
    with pytest.raises(SamaeError, match="belong to the head 'bfm'"):
        import_deep3d(toy_head(), np.zeros((1, 257)))
    with pytest.raises(SamaeError, match="257 a face"):
        import_deep3d(head, np.zeros((1, 259)))


@pytest.mark.parametrize("name", SHAPES)
def test_the_digest_sees_every_array(path: Path, tmp_path: Path, name: str) -> None:
    arrays = small_file()
    arrays[name] = np.flip(arrays[name])
    assert read_bfm(write(tmp_path / "BFM_model_front.mat", arrays)).digest != read_bfm(path).digest


def test_imported_light_is_that_of_the_skins_colour(path: Path) -> None:
    """Hair and neck have colours of their own, which the light must not see."""
    head = read_bfm(path)
    theirs = deep3d_coefficients(np.random.default_rng(3), 2)
    mean = np.stack([one[toy_head().face_region].mean(0) for one in deep3d_albedo(head, theirs[:, 144:224])])
    light = light_from_deep3d(theirs[:, 227:254], mean)
    np.testing.assert_allclose(head.layout.take(import_deep3d(head, theirs), "light"), light, atol=1e-6)


def test_signed_expressions_are_fitted_from_landmarks(path: Path) -> None:
    """Expressions of BFM are N(0, 1) and not activations: negative ones must be found."""
    head = read_bfm(path)
    truth = import_deep3d(head, deep3d_coefficients(np.random.default_rng(5), 4))
    take = head.layout.take
    truth[:, head.layout.slices["expression"]][:, :8] = [-1, 1, -1, 0.5, -0.5, 0.8, -0.8, 0]
    vertices = head.vertices(take(truth, "identity"), take(truth, "expression"))[:, head.landmarks]
    placed = head_to_camera(vertices, take(truth, "rotation_rad"), take(truth, "translation_mm"))
    found = fit(None, project(placed, Camera.centred(224))[..., :2], head, 224)
    assert found.landmark_nme_percent.max() < 1.0
    assert take(found.coefficients, "expression").min() < -0.1
    turns = [rotation_matrices(take(c, "rotation_rad")) for c in (found.coefficients, truth)]
    assert np.degrees(np.arccos((np.einsum("nij,nij->n", *turns) - 1) / 2)).mean() < 4


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("idBase", lambda a: a[:, :79], "idBase has shape"),
        ("meanshape", lambda a: a[:, :-3], "meanshape has shape"),
        ("texBase", lambda a: np.where(np.arange(a.size).reshape(a.shape) == 7, np.nan, a), "texBase holds numbers"),
        ("tri", lambda a: a - 1, "tri points outside"),
        ("keypoints", lambda a: a + 1e6, "keypoints points outside"),
        ("point_buf", lambda a: a + 1, "point_buf points outside"),
        ("exBase", lambda a: np.array("text"), "exBase is no table"),
        ("keypoints", lambda a: a + 0.5, "keypoints holds float64 where whole numbers are due"),
        ("tri", lambda a: a + 1j, "tri is no table of numbers"),
        ("meanshape", lambda a: a + 1j, "meanshape is no table of numbers"),
    ],
)
def test_damaged_files_are_refused_by_name(tmp_path: Path, name: str, damage: object, message: str) -> None:
    arrays = small_file()
    arrays[name] = damage(arrays[name])  # type: ignore[operator]
    file = write(tmp_path / "BFM_model_front.mat", arrays)
    with pytest.raises(SamaeError, match=message) as caught:
        read_bfm(file)
    assert str(file) in str(caught.value)


def test_truncated_foreign_and_missing_files_are_refused(path: Path, tmp_path: Path) -> None:
    file = tmp_path / "BFM_model_front.mat"
    content = path.read_bytes()
    for length in (0, 100, 5000, len(content) - 2000):
        file.write_bytes(content[:length])
        with pytest.raises(SamaeError, match=r"cannot be read|lacks the arrays"):
            read_bfm(file)
    file.write_text("hello" * 100)
    with pytest.raises(SamaeError, match="cannot be read"):
        read_bfm(file)
    with pytest.raises(SamaeError, match="is the Basel Face Model itself"):
        read_bfm(write(file, {"shapePC": np.zeros((3, 199))}))
    with pytest.raises(SamaeError, match="lacks the arrays meanshape"):
        read_bfm(write(file, {"tri": np.zeros((3, 3))}))
    with pytest.raises(SamaeError, match="does not exist"):
        read_bfm(tmp_path / "nowhere.mat")
    with pytest.raises(SamaeError, match="needs the path of BFM_model_front"):
        load_head("bfm")
