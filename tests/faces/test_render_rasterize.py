"""The rasteriser against its definition, on meshes that are ordinary, hostile, huge and empty."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from faces.compiled import over_faces
from faces.errors import SamaeError
from faces.render.rasterize import BACKENDS, available_backends, barycentric_at, covered, interpolate, rasterize
from tests.faces.naive_raster import naive_rasterize


def assert_same(vertices: np.ndarray, triangles: np.ndarray, height: int, width: int, backend: str = "numba") -> None:
    """Index exactly, barycentrics and depth to 1e-5, for (N, V, 3) vertices."""
    raster = rasterize(vertices, triangles, height, width, backend)
    np.testing.assert_array_equal(covered(vertices, triangles, height, width), raster.covered)
    for n, mesh in enumerate(vertices):
        triangle, barycentric, depth = naive_rasterize(mesh, triangles, height, width)
        np.testing.assert_array_equal(raster.triangle[n], triangle)
        np.testing.assert_allclose(raster.barycentric[n], barycentric, atol=1e-5)
        np.testing.assert_allclose(raster.depth_mm[n], depth, rtol=1e-5)


def random_mesh(
    rng: np.random.Generator, n_vertices: int, n_triangles: int, size: float, grid: float | None, edge_px: float | None
) -> tuple[np.ndarray, np.ndarray]:
    """A soup of triangles, some far outside; `grid` puts points on a lattice so that edges hit pixel centres."""
    vertices = np.empty((n_vertices, 3), np.float32)
    vertices[:, :2] = rng.uniform(-0.4 * size, 1.4 * size, (n_vertices, 2))
    vertices[:, 2] = rng.uniform(500, 1500, n_vertices)
    triangles = rng.integers(0, n_vertices, (n_triangles, 3)).astype(np.int32)
    if edge_px is not None:
        corners = rng.uniform(0, size, (n_triangles, 1, 2)) + rng.uniform(-edge_px, edge_px, (n_triangles, 3, 2))
        vertices = np.concatenate([corners, rng.uniform(500, 1500, (n_triangles, 3, 1))], -1)
        vertices = vertices.reshape(-1, 3).astype(np.float32)
        triangles = np.arange(3 * n_triangles, dtype=np.int32).reshape(-1, 3)
    if grid is not None:
        vertices = (np.round(vertices / grid) * grid).astype(np.float32)
    return vertices, triangles


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**31),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    n_triangles=st.integers(0, 60),
    grid=st.sampled_from([None, 0.5, 0.25, 1.0]),
    edge_px=st.sampled_from([None, 0.6, 1.5, 4.0]),
)
def test_random_meshes(
    seed: int, height: int, width: int, n_triangles: int, grid: float | None, edge_px: float | None
) -> None:
    rng = np.random.default_rng(seed)
    assert_same(*_batch(random_mesh(rng, 24, n_triangles, max(height, width), grid, edge_px)), height, width)


def _batch(mesh: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    return mesh[0][None], mesh[1]


@settings(max_examples=40, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**31))
def test_hostile_vertices(seed: int) -> None:
    """Behind the camera, on it, not finite, out of range: their triangles vanish, the others stay."""
    rng = np.random.default_rng(seed)
    vertices, triangles = random_mesh(rng, 30, 40, 16, None, None)
    odd = rng.choice(len(vertices), 8, replace=False)
    vertices[odd[0], 2] = -700
    vertices[odd[1], 2] = 0
    vertices[odd[2], 2] = 1.0
    vertices[odd[3]] = np.nan
    vertices[odd[4], 0] = np.inf
    vertices[odd[5], 2] = np.inf
    vertices[odd[6], 1] = 524288
    vertices[odd[7], 0] = -524287
    assert_same(vertices[None], triangles, 16, 16)
    shown = np.unique(rasterize(vertices[None], triangles, 16, 16).triangle)
    assert not np.isin(triangles[shown[shown >= 0]], odd[:7]).any()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**31),
    height=st.sampled_from([1, 2, 3, 7, 16, 33, 64, 127, 129, 256]),
    width=st.sampled_from([1, 2, 5, 31, 63, 64, 65, 128, 255]),
    kind=st.sampled_from(["degenerate", "ties", "behind", "huge", "specks", "mixed"]),
)
def test_every_kind_of_mesh_at_many_sizes(seed: int, height: int, width: int, kind: str) -> None:
    """Slivers and points, equal depths and copies, triangles through the camera plane, far larger and far smaller than
    a pixel, and all of them in one mesh of more than one block."""
    rng = np.random.default_rng(seed)
    side = max(height, width)
    parts = [kind] if kind != "mixed" else ["degenerate", "ties", "behind", "huge", "specks"]
    corners = np.concatenate([odd_triangles(rng, part, 24 if kind != "mixed" else 12, side) for part in parts])
    if kind == "mixed":
        corners = np.concatenate([corners, odd_triangles(rng, "specks", 600, side)])[rng.permutation(660)]
    triangles = np.arange(3 * len(corners), dtype=np.int32).reshape(-1, 3)
    assert_same(corners.reshape(1, -1, 3), triangles, height, width)
    turned = np.ascontiguousarray(triangles[:, [2, 1, 0]])
    assert_same(corners.reshape(1, -1, 3), turned, height, width, "numba-one-core")


def odd_triangles(rng: np.random.Generator, kind: str, count: int, side: int) -> np.ndarray:
    """(count, 3, 3) float32 triangles u, v, depth of one kind of trouble."""
    centre = rng.uniform(-0.2 * side, 1.2 * side, (count, 1, 2))
    depth = rng.uniform(2, 2000, (count, 3, 1))
    reach = {"huge": 4e5, "specks": 0.8}.get(kind, 0.4 * side + 1)
    points = centre + rng.uniform(-reach, reach, (count, 3, 2))
    if kind == "degenerate":
        share = rng.choice([0.0, 0.5, 1.0, 2.0, 1.0 + 1e-4], (count, 1))
        points[:, 2] = points[:, 0] + share * (points[:, 1] - points[:, 0])
    if kind == "ties":
        points, depth = np.round(points * 2) / 2, np.full_like(depth, rng.choice([500.0, 700.0]))
        points[count // 2 :], depth[count // 2 :] = points[: count - count // 2], depth[: count - count // 2]
    if kind == "behind":
        depth = rng.choice([-500.0, 0.0, 1.0, 1.0 + 1e-6, 600.0, 1e9, np.inf, np.nan], (count, 3, 1), p=[
            0.05, 0.05, 0.05, 0.05, 0.7, 0.04, 0.03, 0.03])  # fmt: skip
    return np.concatenate([points, depth], -1).astype(np.float32)


@pytest.mark.parametrize("size", [(1, 1024), (1024, 1), (1023, 1024), (512, 768)])
def test_large_pictures(size: tuple[int, int]) -> None:
    """Few triangles of every sort in large pictures; the naive reference is slow there."""
    rng = np.random.default_rng(9)
    corners = np.concatenate(
        [odd_triangles(rng, kind, 3, max(size)) for kind in ("degenerate", "ties", "huge", "specks")]
    )
    assert_same(corners.reshape(1, -1, 3), np.arange(36, dtype=np.int32).reshape(-1, 3), *size)


def test_huge_positions_stay_exact() -> None:
    corners = np.array([[-500000, -3, 900], [500000, 20.2, 1000], [3.3, 500000, 700], [8, 8, 400]], np.float32)
    triangles = np.array([[0, 1, 2], [2, 1, 0], [0, 3, 1]], np.int32)
    assert_same(corners[None], triangles, 24, 31)


def test_ties_go_to_the_lowest_index() -> None:
    vertices = np.array([[0, 0, 500], [8, 0, 500], [0, 8, 500], [8, 8, 500]], np.float32)
    triangles = np.array([[0, 1, 2], [0, 1, 2], [2, 1, 0], [1, 3, 2]], np.int32)
    raster = rasterize(vertices[None], triangles, 8, 8)
    assert set(np.unique(raster.triangle)) == {0, 3}
    assert_same(vertices[None], triangles, 8, 8)


def test_nearest_wins_whatever_the_order() -> None:
    square = [[0, 0], [8, 0], [0, 8], [8, 8]]
    vertices = np.array([[u, v, z] for z in (900, 500, 700) for u, v in square], np.float32)
    triangles = np.array([[4 * k + i for i in tri] for k in range(3) for tri in ((0, 1, 2), (1, 3, 2))], np.int32)
    raster = rasterize(vertices[None], triangles, 8, 8)
    assert set(np.unique(raster.triangle)) == {2, 3}
    np.testing.assert_allclose(raster.depth_mm, 500)


@pytest.mark.parametrize("steps", [1, 3, 7])
def test_shared_edges_cover_every_pixel_once(steps: int) -> None:
    """A grid over the picture whose lines run through pixel centres: no gap, and no pixel owned by two triangles."""
    lines = np.linspace(0.5, 20.5, steps + 1)
    u, v = np.meshgrid(lines, lines)
    vertices = np.stack([u.ravel(), v.ravel(), np.full(u.size, 800.0)], -1).astype(np.float32)
    start = (np.arange(steps)[:, None] * (steps + 1) + np.arange(steps)).ravel()
    down = start + steps + 1
    triangles = np.concatenate(
        [np.stack([start, start + 1, down], -1), np.stack([start + 1, down + 1, down], -1)]
    ).astype(np.int32)
    owners = np.zeros((21, 21), int)
    for triangle in triangles:
        owners += rasterize(vertices[None], triangle[None], 21, 21).triangle[0] >= 0
    assert owners[:20, :20].min() == owners.max() == 1
    assert owners[20].max() == owners[:, 20].max() == 0


def test_degenerate_triangles_draw_nothing() -> None:
    vertices = np.array([[1, 1, 500], [6, 6, 500], [3, 3, 500], [1, 1, 600]], np.float32)
    triangles = np.array([[0, 1, 2], [0, 0, 1], [0, 3, 1], [2, 2, 2]], np.int32)
    assert rasterize(vertices[None], triangles, 8, 8).triangle.max() == -1


@pytest.mark.parametrize("n_vertices", [0, 5])
def test_empty_meshes(n_vertices: int) -> None:
    raster = rasterize(np.zeros((2, n_vertices, 3), np.float32), np.zeros((0, 3), np.int32), 3, 5)
    assert raster.triangle.shape == (2, 3, 5)
    assert raster.triangle.max() == -1
    assert np.isinf(raster.depth_mm).all()
    assert not raster.barycentric.any()
    assert rasterize(np.zeros((0, 4, 3), np.float32), np.zeros((1, 3), np.int32), 3, 5).triangle.shape == (0, 3, 5)


def test_every_size_from_1_to_1024() -> None:
    """A triangle over the whole picture and a small one in its middle; the wide side takes every length once."""
    for width in range(1, 1025):
        height = 1 + (width * 7) % 3
        vertices = np.array(
            [[-width, -9, 800], [3 * width, -9, 900], [width / 2, 40, 700],
             [width / 2 - 1.3, 0, 300], [width / 2 + 1.1, 0.2, 300], [width / 2, 2.9, 300]], np.float32
        )  # fmt: skip
        triangles = np.array([[0, 1, 2], [3, 4, 5]], np.int32)
        assert_same(vertices[None], triangles, *((height, width) if width % 2 else (width, height)))


def test_a_dense_sphere() -> None:
    """Thousands of triangles smaller than a pixel, front and back, with perspective."""
    vertices, triangles = sphere(28, 44)
    scale = 400 / (900 + 100 * vertices[:, 2])
    projected = np.stack([20 + 25 * vertices[:, 0] * scale, 20 + 40 * vertices[:, 1] * scale, 400 / scale], -1)
    batch = np.stack([projected, projected + np.array([0.37, -0.21, 5])]).astype(np.float32)
    assert_same(batch, triangles, 40, 40)
    assert_same(batch, triangles[::-1].copy(), 40, 40, "numba-one-core")
    assert_same(batch, triangles[:, [0, 2, 1]].copy(), 40, 40)


def sphere(rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit sphere, (V, 3) float64 and (T, 3) int32, anticlockwise seen from outside."""
    theta, phi = np.meshgrid(
        np.linspace(0.01, np.pi - 0.01, rows), np.arange(columns) * 2 * np.pi / columns, indexing="ij"
    )
    points = np.stack([np.sin(theta) * np.cos(phi), np.cos(theta), np.sin(theta) * np.sin(phi)], -1).reshape(-1, 3)
    a = (np.arange(rows - 1)[:, None] * columns + np.arange(columns)).ravel()
    b = (np.arange(rows - 1)[:, None] * columns + (np.arange(columns) + 1) % columns).ravel()
    quads = np.stack([a, b, a + columns, b, b + columns, a + columns], -1)
    return points, quads.reshape(-1, 3).astype(np.int32)


def test_perspective_is_correct() -> None:
    """Half way across the screen is not half way along an edge that recedes: 1 / depth is linear there."""
    vertices = np.array([[0, 0, 500], [100, 0, 1500], [0, 4, 500]], np.float32)
    raster = rasterize(vertices[None], np.array([[0, 1, 2]], np.int32), 4, 100)
    weight = raster.barycentric[0, 0, 50]
    share = 50.5 / 100
    expected = share / 1500 / ((1 - share) / 500 + share / 1500)
    assert weight[1] == pytest.approx(expected, abs=1e-5)
    assert raster.depth_mm[0, 0, 50] == pytest.approx(1 / ((1 - share) / 500 + share / 1500), rel=1e-5)
    np.testing.assert_allclose(raster.barycentric[raster.covered].sum(-1), 1, atol=1e-6)


def test_backends_of_this_machine_agree() -> None:
    rng = np.random.default_rng(5)
    vertices, triangles = random_mesh(rng, 200, 400, 48, None, 3.0)
    assert_same(np.stack([vertices] * 3), triangles, 48, 40, "numba-one-core")
    tensors = rasterize(torch.from_numpy(vertices[None]), torch.from_numpy(triangles), 48, 40)
    arrays = rasterize(vertices[None], triangles, 48, 40)
    np.testing.assert_array_equal(tensors.triangle.numpy(), arrays.triangle)
    np.testing.assert_array_equal(tensors.barycentric.numpy(), arrays.barycentric)


def test_available_backends_name_every_backend() -> None:
    assert set(available_backends()) == set(BACKENDS) - {"auto"}
    assert available_backends()["numba"] == "ready"
    if not torch.cuda.is_available():
        assert available_backends()["triton"] != "ready"


def test_mistakes_are_named() -> None:
    vertices, triangles = np.zeros((1, 3, 3), np.float32), np.array([[0, 1, 2]], np.int32)
    with pytest.raises(SamaeError, match="no rasteriser is called 'opengl'"):
        rasterize(vertices, triangles, 4, 4, "opengl")
    with pytest.raises(SamaeError, match="batch axis"):
        rasterize(vertices[0], triangles, 4, 4)
    with pytest.raises(SamaeError, match=r"vertices 0\.\.3"):
        rasterize(vertices, np.array([[0, 1, 3]], np.int32), 4, 4)
    with pytest.raises(SamaeError, match="no pixel"):
        rasterize(vertices, triangles, 0, 4)
    with pytest.raises(SamaeError, match="do not fit"):
        interpolate(np.zeros((2, 3, 1)), triangles, rasterize(vertices, triangles, 4, 4))
    with pytest.raises(SamaeError, match="whole numbers"):
        rasterize(vertices, triangles + 0.5, 4, 4)


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor], ids=["numpy", "torch"])
def test_another_heads_triangles_are_refused_and_not_followed(kind: Any) -> None:
    """The kernels would read beyond the vertices; the mesh covers the picture, so that every index is used."""
    vertices = kind(np.array([[[-9, -9, 800], [30, -9, 800], [-9, 30, 800]]], np.float32))
    triangles, others = kind(np.array([[0, 1, 2]], np.int32)), kind(np.array([[0, 1, 99_999_999]], np.int32))
    raster = rasterize(vertices, triangles, 8, 8)
    assert bool(raster.covered.all())
    for backend in ("numba", "pytorch3d"):
        with pytest.raises(SamaeError, match=r"vertices 0\.\.99999999, but the mesh has 0\.\.2"):
            rasterize(vertices, others, 8, 8, backend)
    with pytest.raises(SamaeError, match="of the same head"):
        interpolate(vertices[0], others, raster)
    with pytest.raises(SamaeError, match="of the same head"):
        interpolate(vertices[0], -1 - triangles, raster)
    with pytest.raises(SamaeError, match="shows triangle 0, but 0 triangles"):
        interpolate(vertices[0], triangles[:0], raster)


def test_barycentrics_refuse_another_heads_triangles() -> None:
    vertices, faces = torch.zeros(1, 3, 3), torch.tensor([[0, 1, 3]])
    with pytest.raises(SamaeError, match="of the same head"):
        barycentric_at(vertices, faces, torch.zeros(1, 4, 4, dtype=torch.int32))


def test_interpolate_reproduces_linear_functions() -> None:
    """An attribute that is linear on the screen comes back as that function when depth is constant."""
    rng = np.random.default_rng(2)
    vertices, triangles = random_mesh(rng, 40, 30, 32, None, None)
    vertices[:, 2] = 800
    raster = rasterize(vertices[None], triangles, 32, 32)
    attributes = np.stack([vertices[:, 0], 2 * vertices[:, 1] - vertices[:, 0]], -1)
    values = interpolate(attributes, triangles, raster)[0]
    v, u = np.meshgrid(np.arange(32) + 0.5, np.arange(32) + 0.5, indexing="ij")
    expected = np.stack([u, 2 * v - u], -1) * (raster.triangle[0] >= 0)[..., None]
    np.testing.assert_allclose(values, expected, atol=0.02)
    both = interpolate(np.stack([attributes, attributes + 1]), triangles, rasterize(vertices[[[0] * 40, [0] * 40]] * 0
                       + vertices, triangles, 32, 32))  # fmt: skip
    np.testing.assert_allclose(both[1][raster.covered[0]], both[0][raster.covered[0]] + 1, atol=1e-3)


def test_interpolate_in_torch_equals_numpy_and_has_gradients() -> None:
    rng = np.random.default_rng(3)
    vertices, triangles = random_mesh(rng, 40, 30, 24, None, None)
    attributes = rng.normal(size=(2, 40, 3)).astype(np.float32)
    batch = np.stack([vertices, vertices[::-1]])
    arrays = interpolate(attributes, triangles, rasterize(batch, triangles, 24, 24))
    leaf = torch.from_numpy(attributes).requires_grad_()
    faces = torch.from_numpy(triangles)
    tensors = interpolate(leaf, faces, rasterize(torch.from_numpy(batch.copy()), faces, 24, 24))
    np.testing.assert_allclose(tensors.detach().numpy(), arrays, atol=1e-5)
    tensors.sum().backward()
    assert leaf.grad is not None
    assert float(leaf.grad.sum()) == pytest.approx(3 * (arrays != 0).any(-1).sum(), rel=1e-4)


def test_barycentric_at_equals_the_raster_and_has_right_gradients() -> None:
    rng = np.random.default_rng(4)
    vertices, triangles = random_mesh(rng, 12, 6, 12, None, 5.0)
    exact = torch.from_numpy(np.round(vertices.astype(np.float64) * 1024) / 1024)[None].requires_grad_()
    faces = torch.from_numpy(triangles)
    raster = rasterize(exact.detach().float(), faces, 12, 12)
    weights = barycentric_at(exact, faces, raster.triangle)
    np.testing.assert_allclose(weights.detach().numpy(), raster.barycentric.numpy(), atol=1e-4)
    assert torch.autograd.gradcheck(lambda v: barycentric_at(v, faces, raster.triangle), (exact,), atol=1e-4)


def test_over_faces_does_each_face_once_and_raises_what_workers_raise() -> None:
    done = np.zeros(11, int)

    def work(first: int, step: int) -> None:
        done[first::step] += 1

    over_faces(work, 11, threads=3)
    assert done.tolist() == [1] * 11

    def fail(first: int, step: int) -> None:
        raise ValueError("worker")

    with pytest.raises(ValueError, match="worker"):
        over_faces(fail, 4, threads=2)


@pytest.mark.gpu
@pytest.mark.skipif(available_backends()["triton"] != "ready", reason="Triton: " + available_backends()["triton"])
def test_triton_equals_the_reference() -> None:
    rng = np.random.default_rng(7)
    for edge_px in (None, 0.7, 3.0):
        assert_same(*_batch(random_mesh(rng, 60, 300, 40, None, edge_px)), 40, 33, "triton")
    assert_same(*_batch(random_mesh(rng, 60, 300, 40, 0.5, None)), 40, 33, "triton")


@pytest.mark.skipif(
    available_backends()["pytorch3d"] != "ready", reason="PyTorch3D: " + available_backends()["pytorch3d"]
)
def test_pytorch3d_agrees_inside_triangles() -> None:
    """Another fill rule and float32 edges: all but a few border pixels must show the same triangle."""
    vertices, triangles = random_mesh(np.random.default_rng(8), 40, 30, 48, None, None)
    ours, theirs = (rasterize(vertices[None], triangles, 48, 48, name) for name in ("numba", "pytorch3d"))
    assert (ours.triangle == theirs.triangle).mean() > 0.98
