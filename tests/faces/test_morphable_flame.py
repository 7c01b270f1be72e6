"""FLAME's loader: a small model in the published format, skinning against a plain loop, files that are not FLAME."""

import pickle
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import sparse

from faces.camera import Camera, head_to_camera, project, rotation_matrices
from faces.errors import SamaeError
from faces.fitting import fit
from faces.morphable import load_head
from faces.morphable.flame import ARRAYS, EMBEDDING, convert, main, read_embedding, read_flame
from faces.morphable.inert_pickle import inert_pickle
from tests.faces.toy_head import toy_head

N_EXPRESSION = 4


def small_model() -> dict[str, object]:
    """What FLAME's pickle holds, of the toy head: metres, 300 + 4 modes, five joints."""
    toy = toy_head()
    points = toy.mean_mm.astype(np.float64) / 1000 + [0.0, 0.1, 0.02]
    rng = np.random.default_rng(3)
    shape = np.zeros((len(points), 3, 300 + N_EXPRESSION), np.float32)
    shape[:, :, :20] = np.moveaxis(toy.identity_mm, 0, 2) / 1000
    shape[:, :, 300:] = np.moveaxis(toy.expression_mm[:N_EXPRESSION], 0, 2) / 2500
    marks = points[toy.landmarks]
    weights = np.zeros((len(points), 5))
    jaw = np.clip((marks[33, 1] - points[:, 1]) / 0.02, 0, 1) * (points[:, 2] > marks[2, 2])
    weights[:, 2], weights[:, 0] = 0.9 * jaw, 0.1
    weights[:, 1] = 0.9 - weights[:, 2]
    regressor = np.zeros((5, len(points)))
    for joint, eye in ((3, marks[42:48]), (4, marks[36:42])):
        near = np.linalg.norm(points - eye.mean(0), axis=1) < 0.009
        weights[near] = np.eye(5)[joint]
        regressor[joint, near] = 1 / near.sum()
    for joint, place in ((0, [0, -0.05, -0.08]), (1, [0, -0.03, -0.07]), (2, [0, 0.04, -0.05])):
        nearest = np.argsort(np.linalg.norm(points - place, axis=1))[:7]
        regressor[joint, nearest] = 1 / 7
    return {
        "v_template": points,
        "f": toy.triangles.astype(np.uint32),
        "shapedirs": shape,
        "posedirs": rng.normal(0, 2e-4, (len(points), 3, 36)),
        "J_regressor": sparse.csc_matrix(regressor),
        "weights": weights,
        "kintree_table": np.array([[4294967295, 0, 1, 1, 1], [0, 1, 2, 3, 4]], np.uint32),
        "bs_type": "lrotmin",
        "J": np.zeros((5, 3)),
    }


def embedding(model: dict[str, object]) -> dict[str, np.ndarray]:
    """DECA's arrays: each landmark in a triangle of its vertex."""
    toy = toy_head()
    places = [int(np.flatnonzero((toy.triangles == v).any(1))[0]) for v in toy.landmarks]
    shares = np.where(toy.triangles[places] == toy.landmarks[:, None], 0.8, 0.1)
    return {"full_lmk_faces_idx": np.array([places]), "full_lmk_bary_coords": shares[None].astype(np.float64)}


def in_chumpy(array: np.ndarray) -> object:
    """The array as chumpy.ch.Ch would be pickled; the module exists while pickling only."""
    kind = type("Ch", (), {"__module__": "chumpy.ch", "__qualname__": "Ch"})
    module = types.ModuleType("chumpy.ch")
    module.Ch = kind  # type: ignore[attr-defined]
    sys.modules["chumpy"], sys.modules["chumpy.ch"] = types.ModuleType("chumpy"), module
    wrapped = kind()
    wrapped.__dict__.update(x=array, _status="new")
    return wrapped


def published(model: dict[str, object]) -> bytes:
    """The pickle with the names that Python 2, old numpy and old scipy wrote."""
    try:
        data = pickle.dumps({**model, "shapedirs": in_chumpy(np.asarray(model["shapedirs"]))}, protocol=2)
    finally:
        sys.modules.pop("chumpy.ch", None)
        sys.modules.pop("chumpy", None)
    for new, old in ((b"scipy.sparse._csc\n", b"scipy.sparse.csc\n"), (b"numpy._core.", b"numpy.core."),
                     (b"ccopyreg\n", b"ccopy_reg\n"), (b"cbuiltins\n", b"c__builtin__\n")):  # fmt: skip
        data = data.replace(new, old)
    return data


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """generic_model.pkl, landmark_embedding.npy and the npz made of them."""
    folder = tmp_path_factory.mktemp("flame")
    model, marks, out = folder / "generic_model.pkl", folder / "landmark_embedding.npy", folder / "flame2020.npz"
    model.write_bytes(published(small_model()))
    np.save(marks, np.array(embedding(small_model()), dtype=object), allow_pickle=True)
    convert(model, marks, out, "2020")
    return model, marks, out


def plain_skinning(
    model: dict[str, object], identity: np.ndarray, expression: np.ndarray, turns: np.ndarray
) -> np.ndarray:
    """One posed mesh in metres, vertex by vertex."""
    shape, template = np.asarray(model["shapedirs"]), np.asarray(model["v_template"])
    rest = template + shape[:, :, :300] @ identity + shape[:, :, 300:] @ expression
    joints = model["J_regressor"].toarray() @ rest  # type: ignore[attr-defined]
    rest = rest + np.asarray(model["posedirs"]) @ (turns[1:] - np.eye(3)).reshape(-1)
    world = []
    for j, parent in enumerate([-1, 0, 1, 1, 1]):
        here = np.eye(4)
        here[:3, :3], here[:3, 3] = turns[j], joints[j] - (joints[parent] if parent >= 0 else 0)
        world.append(here if parent < 0 else world[parent] @ here)
    out = np.zeros_like(rest)
    for v, point in enumerate(rest):
        for j in range(5):
            moved = world[j][:3, :3] @ (point - joints[j]) + world[j][:3, 3]
            out[v] += np.asarray(model["weights"])[v, j] * moved
    return out


def test_skinning_equals_a_plain_loop(files: tuple[Path, Path, Path]) -> None:
    model, head = small_model(), read_flame(files[2])
    rng = np.random.default_rng(0)
    identity, expression = np.zeros(300), rng.normal(size=N_EXPRESSION)
    identity[:20] = rng.normal(size=20)
    jaw, neck, gaze = np.array([0.3, 0.05, -0.1]), np.array([0.1, -0.2, 0.05]), np.array([0.2, -0.1])
    from scipy.spatial.transform import Rotation

    eye = rotation_matrices(np.array([[gaze[1], gaze[0], 0]]))[0]
    turns = np.stack(
        [np.eye(3), Rotation.from_rotvec(neck).as_matrix(), Rotation.from_rotvec(jaw).as_matrix(), eye, eye]
    )
    expected = plain_skinning(model, identity, expression, turns)
    found = head.vertices(identity[None], np.concatenate([expression, jaw, neck])[None], gaze[None])[0]
    packed = head.layout.pack(
        identity=identity[None], expression=np.concatenate([expression, jaw, neck])[None], gaze_rad=gaze[None]
    )
    for decoded in (head.decode(packed), head.decode(torch.from_numpy(packed))):
        np.testing.assert_allclose(np.asarray(decoded.vertices[0]), found, atol=1e-3)
    count = len(expected)
    rest = np.asarray(model["v_template"])
    origin = rest[0] - head.mean_mm[0] / 1000
    np.testing.assert_allclose(found[:count] / 1000 + origin, expected, atol=2e-6)
    marks = embedding(model)
    corners = np.asarray(model["f"])[marks["full_lmk_faces_idx"][0]].astype(int)
    points = (expected[corners] * marks["full_lmk_bary_coords"][0][..., None]).sum(1)
    np.testing.assert_allclose(found[head.landmarks] / 1000 + origin, points, atol=2e-6)


def test_tables_are_the_derivatives_at_rest_and_gradients_flow(files: tuple[Path, Path, Path]) -> None:
    head = read_flame(files[2])
    n = len(head.expression_mm)
    assert head.expression_names[-6:] == (
        "jaw_x_rad",
        "jaw_y_rad",
        "jaw_z_rad",
        "neck_x_rad",
        "neck_y_rad",
        "neck_z_rad",
    )
    step = np.zeros((2, n))
    step[0, -6], step[1, -6] = 1e-2, -1e-2
    ends = head.vertices(np.zeros((2, 300)), step)
    np.testing.assert_allclose((ends[0] - ends[1]) / 2e-2, head.expression_mm[-6], atol=0.05)
    expression = torch.zeros(1, n, requires_grad=True)
    head.vertices_torch(torch.zeros(1, 300), expression)[0, :, 1].min().backward()
    assert expression.grad is not None
    assert torch.isfinite(expression.grad).all()
    assert float(expression.grad.abs().sum()) > 0


def test_landmarks_of_a_posed_flame_are_fitted(files: tuple[Path, Path, Path]) -> None:
    head = read_flame(files[2])
    rng = np.random.default_rng(1)
    identity = np.zeros((3, 300))
    identity[:, :20] = rng.normal(0, 0.7, (3, 20))
    expression = np.zeros((3, len(head.expression_mm)))
    expression[:, :N_EXPRESSION], expression[:, -6] = rng.normal(0, 0.5, (3, N_EXPRESSION)), 0.1
    vertices = head.vertices(identity, expression)[:, head.landmarks]
    placed = head_to_camera(vertices, rng.normal(0, 0.15, (3, 3)), np.array([[0, 0, 1100.0]] * 3))
    points = project(placed, Camera.centred(224))[..., :2]
    found = fit(None, points, head, 224)
    assert found.ok.all()
    assert found.landmark_nme_percent.max() < 1.5
    picture = np.full((3, 224, 224, 3), 128, np.uint8)
    assert np.isfinite(fit(picture, points, head, 224).coefficients).all()


def test_edition_digest_and_parts(files: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    head = load_head(f"flame:{files[2]}")
    assert (head.edition, head.licence) == ("flame2020-1", "non-commercial research (FLAME 2020)")
    assert head.digest == read_flame(files[2]).digest
    monkeypatch.setenv("SAMAE_WEIGHTS", str(files[2].parent))
    assert load_head("flame2020").digest == head.digest
    kept = head.face_region.copy()
    part = head.part(kept, head.face_triangles)
    zero = np.zeros((1, 300)), np.zeros((1, len(head.expression_mm)))
    np.testing.assert_array_equal(part.vertices(*zero)[0], head.vertices(*zero)[0][kept])
    every_third = np.arange(kept.sum()) % 3 == 0
    smaller = part.part(every_third, np.zeros(len(part.triangles), bool))
    np.testing.assert_array_equal(smaller.vertices(*zero)[0], part.vertices(*zero)[0][every_third])


def test_eyes_limits_and_face_region_are_in_their_places(files: tuple[Path, Path, Path]) -> None:
    head = read_flame(files[2])
    eyes = [head.mean_mm[eye] for eye in (head.eye_left, head.eye_right)]
    assert eyes[0][:, 0].min() > 0 > eyes[1][:, 0].max()
    np.testing.assert_allclose(np.mean([(eye.max(0) + eye.min(0)) / 2 for eye in eyes], axis=0), 0, atol=1e-3)
    for name, eye in (("eye_left", head.eye_left), ("eye_right", head.eye_right)):
        inside = np.isin(head.triangles, eye).all(1)
        np.testing.assert_array_equal(head.parts == head.part_names.index(name), inside)
    assert head.expression_limits is not None
    assert head.expression_sigma is not None
    limits = dict(zip(head.expression_names, head.expression_limits.tolist(), strict=True))
    sigma = dict(zip(head.expression_names, head.expression_sigma.tolist(), strict=True))
    assert limits["expression000"] == [-3.0, 3.0]
    assert limits["jaw_x_rad"] == [-0.05, 0.6]
    assert limits["neck_x_rad"] == [-0.7, 0.7]
    assert sigma["expression000"] > sigma["jaw_x_rad"] > sigma["jaw_y_rad"] > sigma["neck_x_rad"]
    marks = head.mean_mm[head.landmarks]
    assert head.face_region[head.landmarks[17:]].all()
    assert head.mean_mm[head.face_region, 2].min() > marks[[0, 16], 2].mean() - 6.0


def test_the_edition_is_the_files_and_the_digest_sees_every_array(
    files: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    with np.load(files[2]) as file:
        data = {name: file[name] for name in file.files}
    before = read_flame(files[2]).digest
    for name in (*ARRAYS, *EMBEDDING):
        changed = data[name].copy()
        changed.flat[-1] = changed.flat[0] if changed.dtype.kind in "iu" else changed.flat[-1] + 1e-3
        np.savez(tmp_path / "flame.npz", **data | {name: changed, "edition": np.array("2023")})
        head = read_flame(tmp_path / "flame.npz")
        assert head.digest != before, name
        assert head.edition == "flame2023-1"


def test_embeddings_in_three_containers(files: tuple[Path, Path, Path], tmp_path: Path) -> None:
    expected = read_embedding(files[1])
    marks = embedding(small_model())
    flat = {"lmk_face_idx": marks["full_lmk_faces_idx"][0], "lmk_b_coords": marks["full_lmk_bary_coords"][0]}
    np.savez(tmp_path / "marks.npz", **flat)
    (tmp_path / "marks.pkl").write_bytes(pickle.dumps(flat, protocol=2))
    for name in ("marks.npz", "marks.pkl"):
        for one, other in zip(read_embedding(tmp_path / name), expected, strict=True):
            np.testing.assert_array_equal(one, other)
    np.savez(tmp_path / "few.npz", lmk_face_idx=np.arange(51), lmk_b_coords=np.zeros((51, 3)))
    with pytest.raises(SamaeError, match="holds no 68 landmarks"):
        read_embedding(tmp_path / "few.npz")


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_every_protocol_gives_the_same_arrays(protocol: int) -> None:
    values = {"a": np.arange(6.0).reshape(2, 3), "f": np.asfortranarray(np.arange(6).reshape(2, 3)), "s": "text"}
    values |= {"m": sparse.csr_matrix(np.eye(3)), "n": np.float32(2.5), "t": (1, -(2**40), 2.5, None, True, b"\xff")}
    found = inert_pickle(pickle.dumps(values, protocol=protocol), Path("x.pkl"))
    np.testing.assert_array_equal(found["a"], values["a"])
    np.testing.assert_array_equal(found["f"], values["f"])
    np.testing.assert_array_equal(found["m"], np.eye(3))
    assert (found["s"], float(found["n"]), found["t"]) == ("text", 2.5, values["t"])


def test_python_2_bytes_and_big_endian_are_read() -> None:
    values = np.array([1.5, -2.25], ">f4")
    head = b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01btR(K\x01K\x02\x85cnumpy\n"
    head += b"dtype\n"
    state = b"(U\x02f4K\x00K\x01tR(K\x03U\x01>NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x08"
    found = inert_pickle(head + state + values.tobytes() + b"tb.", Path("x.pkl"))
    np.testing.assert_array_equal(found, values)


class _Trap:
    """A pickle that would create a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os

        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_code_is_refused_by_name_and_never_runs(
    tmp_path: Path, protocol: int, capsys: pytest.CaptureFixture[str]
) -> None:
    trap, model = tmp_path / "trapped", tmp_path / "generic_model.pkl"
    model.write_bytes(pickle.dumps({"v_template": np.zeros((4, 3)), "bs_type": [_Trap(trap)]}, protocol=protocol))
    with pytest.raises(SamaeError, match=r"names (posix|nt)\.mkdir, which is not an array"):
        convert(model, model, tmp_path / "out.npz", "2020")
    assert main([str(model), str(model), str(tmp_path / "out.npz"), "--edition", "2020"]) == 2
    assert "nothing of the file was executed" in capsys.readouterr().err
    assert not trap.exists()
    assert not (tmp_path / "out.npz").exists()


@pytest.mark.parametrize(
    "data",
    [b"c__builtin__\neval\n(S'1'\ntR.", b"(S'1'\ni__builtin__\neval\n.", b"\x80\x02cnumpy.testing\nassert_\n."],
)
def test_other_names_and_opcodes_are_refused(data: bytes) -> None:
    with pytest.raises(SamaeError, match="nothing of the file was executed"):
        inert_pickle(data, Path("x.pkl"))


def test_lists_that_double_with_each_level_are_refused() -> None:
    """400 bytes that stand for 2 ** 60 values, plain and through arrays of objects."""
    plain: object = [1.0]
    for _ in range(60):
        plain = [plain, plain]
    with pytest.raises(SamaeError, match="more than 1000000 values"):
        inert_pickle(pickle.dumps({"v_template": plain}), Path("x.pkl"))
    held = np.array([1.0], object)
    for _ in range(60):
        held, inner = np.empty(2, object), held
        held[:] = [inner, inner]
    with pytest.raises(SamaeError, match="more than 1000000 values"):
        inert_pickle(pickle.dumps({"v_template": held}), Path("x.pkl"))


@pytest.mark.parametrize(
    ("key", "damage", "message"),
    [
        ("v_template", lambda a: np.where(a > 0.05, np.nan, a), "template holds numbers that are not finite"),
        ("shapedirs", lambda a: a[:, :, :200], "shape has 200 modes"),
        ("shapedirs", lambda a: a[:50], "shape has shape"),
        ("posedirs", lambda a: a[:, :, :9], "pose has shape"),
        ("f", lambda a: a + 9000, "triangles points outside"),
        ("kintree_table", lambda a: a[:, ::-1].copy(), "lists a joint before its parent"),
        ("weights", lambda a: np.zeros_like(a), "move no eyeballs"),
        ("weights", lambda a: "text", "is no array of numbers"),
        ("weights", lambda a: [[1.0], [1.0, 2.0]], "weights is no array of numbers"),
        ("v_template", lambda a: a + 1j, "which is no number"),
        ("f", lambda a: a + 0.5, "f holds float32 where whole numbers are due"),
    ],
)
def test_damaged_models_are_refused_by_name(
    files: tuple[Path, Path, Path], tmp_path: Path, key: str, damage: object, message: str
) -> None:
    model = small_model()
    model[key] = damage(model[key])  # type: ignore[operator]
    path = tmp_path / "generic_model.pkl"
    path.write_bytes(pickle.dumps(model, protocol=2))
    with pytest.raises(SamaeError, match=message) as caught:
        convert(path, files[1], tmp_path / "out.npz", "2020")
    assert str(path) in str(caught.value)
    assert not (tmp_path / "out.npz").exists()


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("template", lambda a: np.float32(1), "template has shape"),
        ("shape", lambda a: np.float32(1), "shape has 0 modes|shape has shape"),
        ("triangles", lambda a: a.astype(np.float64), "triangles holds float64 where whole numbers are due"),
        ("triangles", lambda a: a[:0], "triangles is empty"),
        ("triangles", lambda a: a.astype(str), "triangles is no table of numbers"),
        ("landmark_triangles", lambda a: a + 0.5, "landmark_triangles holds float64"),
        ("landmark_weights", lambda a: a * 1j, "landmark_weights is no table of numbers"),
        ("tree", lambda a: a.astype(np.float64), "tree holds float64"),
    ],
)
def test_damaged_conversions_are_refused_by_name(
    files: tuple[Path, Path, Path], tmp_path: Path, name: str, damage: object, message: str
) -> None:
    arrays = dict(np.load(files[2], allow_pickle=False))
    arrays[name] = damage(arrays[name])  # type: ignore[operator]
    np.savez(tmp_path / "flame2020.npz", **arrays)
    with pytest.raises(SamaeError, match=message):
        read_flame(tmp_path / "flame2020.npz")


@pytest.mark.parametrize(
    ("places", "shares", "message"),
    [
        (np.arange(68) + 0.5, np.ones((68, 3)), "lmk_face_idx holds float64"),
        (np.array(["a"] * 68), np.ones((68, 3)), "lmk_face_idx holds <U1"),
        (np.arange(68), np.array([["a"] * 3] * 68), "lmk_b_coords is no table of numbers"),
        (np.arange(68), np.ones(67), "holds no 68 landmarks"),
    ],
)
def test_damaged_embeddings_are_refused_by_name(
    tmp_path: Path, places: np.ndarray, shares: np.ndarray, message: str
) -> None:
    np.savez(tmp_path / "marks.npz", lmk_face_idx=places, lmk_b_coords=shares)
    with pytest.raises(SamaeError, match=message):
        read_embedding(tmp_path / "marks.npz")


def test_truncated_and_missing_files_are_refused(files: tuple[Path, Path, Path], tmp_path: Path) -> None:
    model, marks, out = (path.read_bytes() for path in files)
    cut = tmp_path / "cut"
    for share in (0.1, 0.6, 0.999):
        cut.write_bytes(model[: int(share * len(model))])
        with pytest.raises(SamaeError, match="cannot be read as a pickle"):
            convert(cut, files[1], tmp_path / "x.npz", "2020")
    cut.write_bytes(out[: len(out) // 2])
    with pytest.raises(SamaeError, match="cannot be read as a converted FLAME"):
        read_flame(cut)
    cut.write_bytes(marks[:100])
    with pytest.raises(SamaeError, match="cut"):
        read_embedding(cut)
    with pytest.raises(SamaeError, match="does not exist"):
        read_flame(tmp_path / "nowhere.npz")
    with pytest.raises(SamaeError, match="no edition of FLAME"):
        convert(files[0], files[1], tmp_path / "x.npz", "2019")
    arrays = dict(np.load(files[2], allow_pickle=False))
    del arrays["weights"]
    np.savez(tmp_path / "less.npz", **arrays)
    with pytest.raises(SamaeError, match="lacks the arrays weights"):
        read_flame(tmp_path / "less.npz")
