"""Spherical-harmonic light against closed forms, numpy against torch, gradients against finite differences."""

import math

import numpy as np
import pytest
import torch

from faces.render.shading import (
    SH_CONSTANTS,
    constant_light,
    directional_light,
    irradiance,
    make_unit,
    sh_basis,
    shade,
    to_linear,
    to_srgb,
)


def directions(count: int = 4000) -> np.ndarray:
    """Unit vectors spread evenly over the sphere (Fibonacci lattice)."""
    k = np.arange(count) + 0.5
    z, angle = 1 - 2 * k / count, np.pi * (1 + 5**0.5) * k
    ring = np.sqrt(1 - z * z)
    return np.stack([ring * np.cos(angle), ring * np.sin(angle), z], -1)


def test_constants() -> None:
    expected = [0.282095, 0.488603, 0.488603, 0.488603, 1.092548, 1.092548, 0.315392, 1.092548, 0.546274]
    np.testing.assert_allclose(SH_CONSTANTS, expected, atol=1e-6)


def test_order_is_ramamoorthis() -> None:
    x, y, z = normal = np.array([0.36, 0.48, 0.8])
    terms = [1, y, z, x, x * y, y * z, 3 * z * z - 1, x * z, x * x - y * y]
    np.testing.assert_allclose(sh_basis(normal), np.array(terms) * SH_CONSTANTS)


def test_basis_is_orthonormal_on_the_sphere() -> None:
    basis = sh_basis(directions())
    np.testing.assert_allclose(basis.T @ basis * 4 * np.pi / len(basis), np.eye(9), atol=2e-3)


def test_constant_light_leaves_albedo_unchanged() -> None:
    albedo = np.random.default_rng(0).uniform(0, 1, (4000, 3))
    np.testing.assert_allclose(shade(albedo, directions(), constant_light()), albedo, rtol=1e-6)
    np.testing.assert_allclose(shade(albedo, directions(), constant_light(0.3)), 0.3 * albedo, rtol=1e-6)


def test_linear_light_on_a_sphere() -> None:
    """A light whose only order is the first gives a gradient: 1/2 + n.d / 2 for these coefficients."""
    light = constant_light(0.5).reshape(3, 9)
    light[:, 1:4] = 0.5 / SH_CONSTANTS[1] * np.array([0.6, 0.0, 0.8])
    normals = directions()
    expected = 0.5 + 0.5 * (0.6 * normals[:, 1] + 0.8 * normals[:, 0])
    received = shade(np.ones((len(normals), 3)), normals, light.reshape(27))
    np.testing.assert_allclose(received, np.repeat(expected[:, None], 3, 1), atol=1e-6)


def test_a_lamp_from_afar_is_lamberts_cosine_to_second_order() -> None:
    """Ramamoorthi and Hanrahan: max(0, cos) = 1/4 + cos / 2 + 5 (3 cos^2 - 1) / 32 + higher orders."""
    lamp, normals = np.array([1.0, 2.0, 2.0]) / 3, directions()
    cosine = normals @ lamp
    expected = 0.25 + cosine / 2 + 5 / 32 * (3 * cosine**2 - 1)
    received = irradiance(normals, directional_light(lamp * 7, np.array([1.0, 0.5, 0.0])))
    np.testing.assert_allclose(received, expected[:, None] * [1.0, 0.5, 0.0], atol=1e-6)
    assert np.abs(received[:, 0] - np.maximum(cosine, 0)).max() < 0.1


def test_light_comes_from_where_it_says() -> None:
    lit = shade(np.ones((3, 3)), np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]]), directional_light([0, 1, 0], [1, 1, 1]))
    assert lit[1, 0] > 1
    assert lit[0, 0] < 0.2
    assert lit[2, 0] < 0.2


def test_darkness_is_not_negative() -> None:
    light = directional_light([0, 0, 1], [1, 1, 1]) * np.float32(1)
    light.reshape(3, 9)[:, 2] *= 3
    assert irradiance(np.array([0.0, 0.0, -1.0]), light).max() < 0
    assert shade(np.ones(3), np.array([0.0, 0.0, -1.0]), light).max() == 0


def test_channels_and_batches_keep_apart() -> None:
    rng = np.random.default_rng(1)
    lights, normals = rng.normal(size=(2, 27)), np.stack([directions(50), -directions(50)])
    both = irradiance(normals, lights)
    for n in range(2):
        np.testing.assert_allclose(both[n], irradiance(normals[n], lights[n]))
        for channel in range(3):
            alone = sh_basis(normals[n]) @ lights[n, 9 * channel : 9 * channel + 9]
            np.testing.assert_allclose(both[n, :, channel], alone)
    np.testing.assert_allclose(irradiance(normals.reshape(2, 5, 10, 3), lights), both.reshape(2, 5, 10, 3))


def test_torch_equals_numpy() -> None:
    rng = np.random.default_rng(2)
    albedo, normals, lights = rng.uniform(size=(2, 30, 3)), rng.normal(size=(2, 30, 3)), rng.normal(size=(2, 27))
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    ours = shade(albedo, normals, lights)
    theirs = shade(*(torch.from_numpy(a) for a in (albedo, normals, lights)))
    np.testing.assert_allclose(theirs.numpy(), ours, atol=1e-12)
    for convert in (to_srgb, to_linear):
        np.testing.assert_allclose(convert(torch.from_numpy(ours)).numpy(), convert(ours), atol=1e-12)


def test_gradients_of_shading_by_finite_differences() -> None:
    rng = np.random.default_rng(3)
    normals = directions(12)
    light = np.tile(constant_light(2.0).astype(np.float64), (1, 1)) + rng.normal(0, 0.1, (1, 27))
    inputs = tuple(
        torch.from_numpy(a.copy()).requires_grad_() for a in (rng.uniform(0.2, 0.8, (1, 12, 3)), normals[None], light)
    )
    assert torch.autograd.gradcheck(shade, inputs)
    linear = torch.from_numpy(rng.uniform(0.01, 0.99, 20)).requires_grad_()
    assert torch.autograd.gradcheck(to_srgb, (linear,))
    assert torch.autograd.gradcheck(to_linear, (linear,))


def test_srgb_known_values_and_round_trip() -> None:
    np.testing.assert_allclose(to_srgb(np.array([0.0, 0.0031308, 0.214041, 1.0])), [0, 0.04045, 0.5, 1], atol=1e-5)
    values = np.linspace(0, 1, 1001)
    np.testing.assert_allclose(to_linear(to_srgb(values)), values, atol=1e-7)
    np.testing.assert_allclose(to_srgb(np.array([-1.0, 2.0])), [0, 1])
    black = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    to_srgb(black).sum().backward()
    assert black.grad is not None
    assert torch.isfinite(black.grad).all()
    assert float(black.grad[0]) == pytest.approx(12.92)


def test_light_of_a_uniform_sky_through_the_lobe() -> None:
    """Radiance 1 from everywhere gives irradiance pi: coefficients sqrt(4 pi) times LOBE[0] make 1 after division."""
    assert constant_light()[0] == pytest.approx(math.sqrt(4 * math.pi), rel=1e-6)


def test_unit_vectors_have_the_bits_of_numpys_norm() -> None:
    vectors = np.random.default_rng(1).normal(size=(50, 40, 3)).astype(np.float32)
    vectors[:3] = 0.0
    expected = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)
    make_unit(vectors)
    assert vectors.tobytes() == expected.tobytes()


def test_numpy_and_torch_have_one_basis() -> None:
    normals = directions().astype(np.float32)
    assert sh_basis(normals).tobytes() == sh_basis(torch.from_numpy(normals)).numpy().tobytes()
