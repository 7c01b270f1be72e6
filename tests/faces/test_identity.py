"""faces/identity: networks, crops, files and the registry."""

import lzma
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from faces.errors import SamaeError
from faces.files import sha256_bytes
from faces.identity import KNOWN_ENCODERS, encoder_status, load_encoder
from faces.identity.crops import crop_matrices, identity_crops, shrink_factors
from faces.identity.encoder import read_encoder, save_encoder
from faces.identity.iresnet import FrozenPReLU, IResNet, IResNetConfig, folded
from faces.landmarks import five_points


def face_landmarks(size_px: int) -> np.ndarray:
    """68 points whose five-point reduction is a plain upright face in the middle of the picture."""
    points = np.tile([[0.5, 0.6]], (68, 1))
    points[36:42], points[42:48] = (0.38, 0.45), (0.62, 0.45)
    points[30], points[48], points[54] = (0.5, 0.58), (0.41, 0.70), (0.59, 0.70)
    return points * size_px


def test_parameter_counts_of_the_published_networks() -> None:
    counts = {
        depth: sum(p.numel() for p in IResNet(IResNetConfig(depth=depth)).parameters()) / 1e6 for depth in (18, 50, 100)
    }
    assert counts[18] == pytest.approx(24.0, abs=0.1)
    assert counts[50] == pytest.approx(43.6, abs=0.1)
    assert counts[100] == pytest.approx(65.15, abs=0.1)


def test_the_crop_puts_the_eyes_where_arcface_wants_them() -> None:
    points = face_landmarks(128)
    matrix = crop_matrices(points[None], 112)[0]
    moved = five_points(points) @ matrix[:, :2].T + matrix[:, 2]
    template = np.array(
        [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
    )
    assert np.abs(moved - (template + 0.5)).max() < 6
    assert np.abs(moved.mean(0) - (template + 0.5).mean(0)).max() < 1e-6


@pytest.mark.parametrize("size_px", [64, 256])
def test_a_marked_eye_lands_on_its_place_at_any_picture_size(size_px: int) -> None:
    points = face_landmarks(size_px)
    image = torch.zeros(1, 3, size_px, size_px)
    x, y = points[36]
    reach = max(1, size_px // 64)
    image[:, :, int(y) - reach : int(y) + reach, int(x) - reach : int(x) + reach] = 1
    crop = identity_crops(image, torch.from_numpy(points[None]), 112)[0, 0]
    mass = crop / crop.sum()
    grid = torch.arange(112) + 0.5
    found = np.array([(mass.sum(0) * grid).sum(), (mass.sum(1) * grid).sum()])
    matrix = crop_matrices(points[None], 112)[0]
    assert np.abs(found - (matrix[:, :2] @ np.floor([x, y]) + matrix[:, 2])).max() < 1.0


def test_a_crop_is_cut_at_the_same_place_inside_autocast() -> None:
    pictures = torch.rand(2, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    marks = torch.from_numpy(np.stack([face_landmarks(256), face_landmarks(256) + 7.3]))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = identity_crops(pictures, marks, 112)
    assert torch.equal(inside, identity_crops(pictures, marks, 112))


def test_a_crop_does_not_depend_on_who_else_is_in_the_batch() -> None:
    """A face that fills its picture is averaged down, a small one beside it is not: each by its own size alone."""
    images = torch.rand(3, 3, 256, 256, generator=torch.Generator().manual_seed(3), requires_grad=True)
    large, small = face_landmarks(256), (face_landmarks(256) - 128) * 0.2 + 128
    marks = torch.from_numpy(np.stack([large, small, large]))
    together = identity_crops(images, marks, 32)
    alone = [identity_crops(images[row : row + 1], marks[row : row + 1], 32) for row in range(3)]
    assert torch.equal(together, torch.cat(alone))
    together.sum().backward()
    assert images.grad is not None
    assert (images.grad.flatten(1).abs().sum(1) > 0).all()


@pytest.mark.parametrize(("size_px", "scale", "factor"), [(256, 3.2, 2), (256, 4.5, 4), (96, 3.2, 3), (64, 0.4, 1)])
def test_a_picture_is_averaged_down_by_a_divisor_of_its_side(size_px: int, scale: float, factor: int) -> None:
    forward = np.array([[[1 / scale, 0, 0], [0, 1 / scale, 0]]])
    assert shrink_factors(forward, size_px).tolist() == [factor]


def test_gradients_reach_the_picture_and_not_the_weights(tmp_path: Path) -> None:
    encoder = make_encoder(tmp_path)
    images = torch.rand(2, 3, 64, 64, requires_grad=True)
    marks = torch.from_numpy(np.stack([face_landmarks(64)] * 2)).float()
    encoder.embed_tensor(images, marks).sum().backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0
    assert all(p.grad is None for p in encoder.network.parameters())


def test_folded_norms_embed_as_the_trained_network_does() -> None:
    torch.manual_seed(5)
    network = IResNet(IResNetConfig(depth=10, width=8, dim=32, crop_px=64, head="depthwise"))
    for _ in range(3):
        network(torch.randn(8, 3, 64, 64))  # running statistics other than 0 and 1
    network.eval()
    crops = torch.rand(4, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        assert (folded(network)(crops) - network(crops)).abs().max() < 1e-4 * network(crops).abs().max()


@pytest.mark.parametrize("largest_slope", [0.9, 1.5])
@pytest.mark.parametrize("with_gradient", [False, True])
def test_the_quick_prelu_is_prelu(largest_slope: float, with_gradient: bool) -> None:
    trained = torch.nn.PReLU(8)
    trained.weight.data = torch.linspace(-0.7, largest_slope, 8)
    quick = FrozenPReLU(trained)
    x = torch.randn(2, 8, 6, 6, generator=torch.Generator().manual_seed(0)).bfloat16().requires_grad_(with_gradient)
    y, wanted = quick(x), torch.nn.functional.prelu(x, trained.weight.detach().bfloat16())
    assert torch.equal(y, wanted)
    if with_gradient:
        found, expected = (torch.autograd.grad(out.float().sum(), x)[0] for out in (y, wanted))
        assert torch.equal(found, expected)


def make_encoder(folder: Path):
    torch.manual_seed(3)
    network = IResNet(IResNetConfig(depth=10, width=8, dim=32, crop_px=64, head="depthwise")).eval()
    save_encoder(network, folder / "small.safetensors", {"licence": "Apache-2.0"})
    return read_encoder(folder / "small.safetensors")


def test_embeddings_are_unit_vectors_and_both_ways_agree(tmp_path: Path) -> None:
    encoder = make_encoder(tmp_path)
    images = np.random.default_rng(0).integers(0, 255, (3, 64, 64, 3), dtype=np.uint8)
    marks = np.stack([face_landmarks(64)] * 3)
    vectors = encoder.embed(images, marks)
    assert vectors.shape == (3, 32)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    tensor = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    again = encoder.embed_tensor(tensor, torch.from_numpy(marks)).numpy()
    np.testing.assert_allclose(vectors, again, atol=1e-6)
    assert (encoder.dim, encoder.crop_px, encoder.licence, len(encoder.digest)) == (32, 64, "Apache-2.0", 16)


def test_packed_weights_are_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = make_encoder(tmp_path)
    data = (tmp_path / "small.safetensors").read_bytes()
    packed = tmp_path / "small.safetensors.xz"
    packed.write_bytes(lzma.compress(data))
    encoder = load_encoder(str(packed))
    assert encoder.digest == plain.digest == sha256_bytes(data)[:16]
    for name, value in plain.trained.state_dict().items():
        assert torch.equal(value, encoder.trained.state_dict()[name]), name
    refused = {
        "cut": lzma.compress(data)[:-40], "plain": data, "empty": b"", "holds": lzma.compress(b"no weights"),
        "alone": lzma.compress(data, format=lzma.FORMAT_ALONE),
    }  # fmt: skip
    for name, damaged in refused.items():
        path = tmp_path / f"{name}.safetensors.xz"
        path.write_bytes(damaged)
        with pytest.raises(SamaeError, match=rf"{name}\.safetensors\.xz is not a readable safetensors file"):
            read_encoder(path)
    monkeypatch.setattr("faces.identity.encoder.LARGEST", len(data) - 1)
    with pytest.raises(SamaeError, match="too large"):
        read_encoder(packed)


def test_damaged_or_foreign_files_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "cut.safetensors").write_bytes(b"\x10\0\0")
    with pytest.raises(SamaeError, match=r"cut\.safetensors is not a readable safetensors"):
        read_encoder(tmp_path / "cut.safetensors")
    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(SamaeError, match="does not hold an identity encoder"):
        read_encoder(tmp_path / "other.safetensors")
    (tmp_path / "bad.onnx").write_bytes(b"not a model")
    with pytest.raises(SamaeError, match=r"bad\.onnx is not a readable ONNX"):
        load_encoder(str(tmp_path / "bad.onnx"))


def test_a_missing_weight_file_names_the_mend(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SAMAE_WEIGHTS", str(tmp_path / "weights"))
    with pytest.raises(SamaeError, match=r"w600k_r50\.onnx .*SAMAE_WEIGHTS"):
        load_encoder("arcface")
    with pytest.raises(SamaeError, match="no identity encoder is called 'archface'"):
        load_encoder("archface")


def onnx_recogniser(path: Path, *middle: str) -> None:
    """A small recogniser with the published ones' operators: conv, norm, PReLU, a shortcut, a fully connected end."""
    onnx = pytest.importorskip("onnx", reason="the onnx package is not installed")
    make, rng = onnx.helper, np.random.default_rng(0)

    def numbers(name: str, *shape: int, low: float = -0.3, high: float = 0.3) -> None:
        values.append(onnx.numpy_helper.from_array(rng.uniform(low, high, shape).astype(np.float32), name))

    values: list = []
    numbers("w1", 8, 3, 3, 3)
    numbers("b1", 8)
    numbers("slope", 8, 1, 1)
    for name, low in (("scale", 0.5), ("shift", -0.5), ("mean", -0.5), ("variance", 0.5)):
        numbers(name, 8, low=low, high=1.0)
    numbers("w2", 8, 8, 3, 3)
    numbers("fc", 32, 8)
    numbers("bias", 32)
    pads = {"pads": [1, 1, 1, 1]}
    nodes = [
        make.make_node("Conv", ["x", "w1", "b1"], ["c"], strides=[2, 2], **pads),
        make.make_node("PRelu", ["c", "slope"], ["p"]),
        make.make_node("BatchNormalization", ["p", "scale", "shift", "mean", "variance"], ["n"], epsilon=1e-4),
        make.make_node("Conv", ["n", "w2"], ["d"], **pads),
        make.make_node("Add", ["d", "p"], ["a"]),
        *(make.make_node(name, ["a"], ["a2"]) for name in middle),
        make.make_node("GlobalAveragePool", ["a2" if middle else "a"], ["g"]),
        make.make_node("Flatten", ["g"], ["f"]),
        make.make_node("Gemm", ["f", "fc", "bias"], ["y"], transB=1),
    ]
    graph = make.make_graph(
        nodes,
        "recogniser",
        [make.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", 3, 112, 112])],
        [make.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["N", 32])],
        values,
    )
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 17)])
    model.ir_version = 9
    onnx.save(model, path)


def test_an_onnx_recogniser_embeds_alike_in_both_runtimes_and_passes_gradients(tmp_path: Path) -> None:
    onnx_recogniser(tmp_path / "standin.onnx")
    encoder = load_encoder(str(tmp_path / "standin.onnx"))
    images = np.random.default_rng(1).integers(0, 255, (2, 64, 64, 3), dtype=np.uint8)
    marks = np.stack([face_landmarks(64)] * 2)
    vectors = encoder.embed(images, marks)
    assert vectors.shape == (2, 32)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    tensor = (torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255).requires_grad_()
    again = encoder.embed_tensor(tensor, torch.from_numpy(marks))
    np.testing.assert_allclose(vectors, again.detach().numpy(), atol=1e-5)
    assert encoder.differentiable
    again[:, 0].sum().backward()
    assert tensor.grad is not None
    assert tensor.grad.abs().max() > 0


def test_an_onnx_graph_beyond_torch_embeds_but_is_no_loss(tmp_path: Path) -> None:
    onnx_recogniser(tmp_path / "strange.onnx", "Softplus")
    encoder = load_encoder(str(tmp_path / "strange.onnx"))
    assert not encoder.differentiable
    images = np.zeros((1, 64, 64, 3), np.uint8)
    assert encoder.embed(images, face_landmarks(64)[None]).shape == (1, 32)
    with pytest.raises(SamaeError, match="uses Softplus"):
        encoder.embed_tensor(torch.rand(1, 3, 64, 64), torch.from_numpy(face_landmarks(64)[None]))


def test_every_known_encoder_has_a_row_for_the_doctor() -> None:
    rows = encoder_status()
    assert [row["name"] for row in rows] == list(KNOWN_ENCODERS)
    assert all(row["licence"] and row["origin"] for row in rows)
