"""Lit head pictures: against the plain functions they fuse, analytic normals, coverage, and random mesh scaling."""

from dataclasses import replace

import numpy as np
import pytest

from faces.camera import Camera, head_to_camera, project
from faces.errors import SamaeError
from faces.morphable.base import MorphableHead, vertex_normals
from faces.render.mesh_image import (
    SRGB_TABLE,
    MeshImage,
    posed_vertices,
    render_mesh,
    scaled_translation,
    vertex_albedo,
)
from faces.render.rasterize import interpolate, rasterize
from faces.render.shading import constant_light, directional_light, shade, to_linear, to_srgb
from tests.faces.test_render_rasterize import sphere
from tests.faces.toy_head import toy_head


@pytest.fixture(scope="module")
def head() -> MorphableHead:
    return toy_head()


def faces_of(head: MorphableHead, count: int, seed: int = 0) -> np.ndarray:
    """Random coefficients in front of the camera under a lamp and some sky."""
    rng = np.random.default_rng(seed)
    layout = head.layout
    return layout.pack(
        identity=rng.normal(0, 1, (count, layout.n_identity)),
        expression=rng.uniform(0, 0.4, (count, layout.n_expression)),
        albedo=rng.normal(0, 1, (count, layout.n_albedo)),
        rotation_rad=rng.normal(0, 0.3, (count, 3)),
        translation_mm=rng.normal([0, 0, 1100], [15, 15, 60], (count, 3)),
        light=np.tile(directional_light([1, 2, 3], [0.8, 0.7, 0.6]) + constant_light(0.25), (count, 1)),
    )


def plain_render(head: MorphableHead, coefficients: np.ndarray, camera: Camera, antialias: int) -> np.ndarray:
    """The same picture from the separate functions: (N, S, S, 3) sRGB."""
    fine = camera.resized(camera.size_px * antialias)
    positions, normals = posed_vertices(head, coefficients, fine)
    lit = shade(vertex_albedo(head, coefficients, "own"), normals, head.layout.take(coefficients, "light"))
    raster = rasterize(positions, head.triangles, fine.size_px, fine.size_px)
    samples = interpolate(lit, head.triangles, raster)
    blocks = samples.reshape(len(samples), camera.size_px, antialias, camera.size_px, antialias, 3)
    return to_srgb(blocks.mean((2, 4)))


@pytest.mark.parametrize("antialias", [1, 2, 3])
def test_fused_loops_equal_the_plain_functions(head: MorphableHead, antialias: int) -> None:
    coefficients, camera = faces_of(head, 3), Camera.centred(48)
    drawn = render_mesh(head, coefficients, camera, "own", antialias)
    difference = np.abs(drawn.image - plain_render(head, coefficients, camera, antialias))
    assert np.quantile(difference, 0.995) < 1e-3
    assert difference.mean() < 1e-3
    assert drawn.alpha.max() == 1


def test_coverage_mask_and_depth(head: MorphableHead) -> None:
    coefficients, camera = faces_of(head, 2), Camera.centred(64)
    drawn = render_mesh(head, coefficients, camera, antialias=2)
    assert isinstance(drawn, MeshImage)
    assert drawn.image.shape == (2, 64, 64, 3)
    assert ((drawn.mask >= 0) & (drawn.mask <= drawn.alpha) & (drawn.alpha <= 1)).all()
    assert 0.05 < drawn.mask.mean() < drawn.alpha.mean() < 0.8
    assert set(np.unique(drawn.alpha * 4)) <= {0, 1, 2, 3, 4}
    np.testing.assert_array_equal(np.isinf(drawn.depth), drawn.alpha == 0)
    assert (np.abs(drawn.depth[drawn.alpha > 0] - 1100) < 300).all()
    assert not drawn.image[drawn.alpha == 0].any()
    positions, _ = posed_vertices(head, coefficients, camera.resized(128))
    raster = rasterize(positions, head.triangles, 128, 128)
    shown = head.face_triangles[raster.triangle] & raster.covered
    np.testing.assert_allclose(drawn.mask, shown.reshape(2, 64, 2, 64, 2).mean((2, 4)), atol=0.26)
    assert drawn.mask.mean() == pytest.approx(shown.mean(), rel=1e-3)


def test_constant_light_shows_the_albedo(head: MorphableHead) -> None:
    coefficients = faces_of(head, 1)
    coefficients[:, head.layout.slices["light"]] = constant_light()
    grey = render_mesh(head, coefficients, Camera.centred(48), np.float32([0.2, 0.4, 0.6]))
    whole = grey.image[grey.alpha == 1]
    np.testing.assert_allclose(whole, np.broadcast_to(to_srgb(np.array([0.2, 0.4, 0.6])), whole.shape), atol=1e-4)
    half = grey.image[grey.alpha == 0.5]
    np.testing.assert_allclose(half, np.broadcast_to(to_srgb(np.array([0.1, 0.2, 0.3])), half.shape), atol=1e-4)


def test_albedo_readings(head: MorphableHead) -> None:
    coefficients = faces_of(head, 2)
    own = vertex_albedo(head, coefficients, "own")
    flat = vertex_albedo(head, coefficients, "flat")
    np.testing.assert_allclose(vertex_albedo(head, coefficients, "mean")[1], head.albedo_mean)
    np.testing.assert_allclose(flat[1, 7], own[1, head.face_region].mean(0), rtol=1e-5)
    assert np.abs(own[0] - own[1]).max() > 1e-3
    with pytest.raises(SamaeError, match="'bright'"):
        vertex_albedo(head, coefficients, "bright")
    with pytest.raises(SamaeError, match="antialias"):
        render_mesh(head, coefficients, Camera.centred(16), antialias=0)


def test_mesh_scaling_keeps_the_centroid_and_rotation(head: MorphableHead) -> None:
    coefficients, camera = faces_of(head, 4, seed=3), Camera.centred(200)
    scale = np.array([0.8, 1.0, 1.1, 1.3])
    moved = coefficients.copy()
    moved[:, head.layout.slices["translation_mm"]] = scaled_translation(head, coefficients, scale)
    before, after = (region_in_camera(head, c) for c in (coefficients, moved))
    centre = [project(points.mean(1, keepdims=True), camera)[:, 0] for points in (before, after)]
    np.testing.assert_allclose(centre[0][:, :2], centre[1][:, :2], atol=1e-3)
    np.testing.assert_allclose(centre[0][:, 2] / scale, centre[1][:, 2], rtol=1e-5)
    spread = [project(points, camera)[..., :2].std(1) for points in (before, after)]
    np.testing.assert_allclose(spread[1] / spread[0], np.repeat(scale[:, None], 2, 1), rtol=0.03)
    np.testing.assert_allclose(moved[1], coefficients[1], atol=1e-4)


def region_in_camera(head: MorphableHead, coefficients: np.ndarray) -> np.ndarray:
    take = head.layout.take
    vertices = head.vertices(take(coefficients, "identity"), take(coefficients, "expression"))[:, head.face_region]
    return head_to_camera(vertices, take(coefficients, "rotation_rad"), take(coefficients, "translation_mm"))


def test_scaled_pictures_grow_about_their_middle(head: MorphableHead) -> None:
    coefficients = faces_of(head, 2, seed=5)
    coefficients[:, head.layout.slices["rotation_rad"]] = 0
    camera = Camera.centred(96)
    plain = render_mesh(head, coefficients, camera)
    larger = render_mesh(head, coefficients, camera, scale=np.array([1.1, 1.1]))
    assert larger.mask.sum() / plain.mask.sum() == pytest.approx(1.21, rel=0.05)
    with pytest.raises(SamaeError, match="positive"):
        render_mesh(head, coefficients, camera, scale=np.array([1.0, 0.0]))


def test_sphere_normals_are_its_directions() -> None:
    points, triangles = sphere(60, 80)
    normals = vertex_normals(np.stack([points * 50, points * 3 + 7]).astype(np.float32), triangles)
    assert normals.dtype == np.float32
    inner = np.abs(points[:, 1]) < 0.98
    for n in range(2):
        assert (normals[n][inner] * points[inner]).sum(-1).min() > 0.998
    np.testing.assert_allclose(np.linalg.norm(normals, axis=-1), 1, atol=1e-6)


def test_normals_of_lonely_and_flat_vertices() -> None:
    vertices = np.array([[[0, 0, 0], [1, 0, 0], [0, 1, 0], [5, 5, 5]]], np.float32)
    normals = vertex_normals(vertices, np.array([[0, 2, 1]], np.int32))
    np.testing.assert_allclose(normals[0], [[0, 0, -1]] * 3 + [[0, 0, 1]])


def test_a_lit_sphere_is_lit_as_the_formula_says(head: MorphableHead) -> None:
    """A ball as a head: each pixel's light must be that of the normal at the point which the pixel sees."""
    points, triangles = sphere(80, 120)
    ball = replace(
        head, mean_mm=(points * 60).astype(np.float32), identity_mm=np.zeros((1, len(points), 3), np.float32),
        expression_mm=np.zeros((1, len(points), 3), np.float32), expression_names=("none",),
        albedo_mean=np.full((len(points), 3), 0.5, np.float32), albedo_modes=np.zeros((1, len(points), 3), np.float32),
        triangles=triangles, eye_left=np.zeros(0, np.int32), eye_right=np.zeros(0, np.int32),
        face_region=np.ones(len(points), bool), _torch={},
    )  # fmt: skip
    light = directional_light([1, 1, 1], [0.6, 0.6, 0.6]) + constant_light(0.3)
    coefficients = ball.layout.pack(
        rotation_rad=[[0.3, -0.2, 0.5]], translation_mm=[[0, 0, 900]], light=light[None], identity=[[0.0]]
    )
    camera = Camera.centred(64)
    drawn = render_mesh(ball, coefficients, camera, antialias=1)
    v, u = np.mgrid[:64, :64] + 0.5
    ray = np.stack([(u - 32) / camera.focal_px, (v - 32) / camera.focal_px, np.ones_like(u)], -1)
    ray /= np.linalg.norm(ray, axis=-1, keepdims=True)
    along = ray[..., 2] * 900
    inside = 60**2 - (900**2 - along**2)
    seen = inside > 60
    point = ray * (along - np.sqrt(np.maximum(inside, 0)))[..., None] - [0, 0, 900]
    normals = point / 60 * [1, -1, -1]
    expected = to_srgb(shade(np.full((64, 64, 3), 0.5), normals, light.astype(np.float64)))
    np.testing.assert_allclose(drawn.image[0][seen], expected[seen], atol=0.02)
    assert np.abs(drawn.image[0][seen] - expected[seen]).mean() < 0.004


def test_the_srgb_table_is_close_to_the_formula() -> None:
    linear = np.linspace(0, 1, 100_003)
    spot = linear * (len(SRGB_TABLE) - 1)
    low = np.minimum(spot.astype(int), len(SRGB_TABLE) - 2)
    looked_up = SRGB_TABLE[low] + (SRGB_TABLE[low + 1] - SRGB_TABLE[low]) * (spot - low)
    assert np.abs(looked_up - to_srgb(linear)).max() < 3e-5
    np.testing.assert_allclose(to_linear(looked_up), linear, atol=1e-4)


@pytest.mark.parametrize("index", [4, 99_999_999, -1])
def test_normals_refuse_another_heads_triangles(index: int) -> None:
    with pytest.raises(SamaeError, match="of the same head"):
        vertex_normals(np.zeros((1, 4, 3), np.float32), np.array([[0, 2, index]], np.int32))


def test_no_faces_give_no_pictures_and_broken_coefficients_are_refused(head: MorphableHead) -> None:
    none = render_mesh(head, np.zeros((0, head.layout.size), np.float32), Camera.centred(16))
    assert none.image.shape == (0, 16, 16, 3)
    assert none.mask.shape == (0, 16, 16)
    for broken in (np.nan, np.inf):
        with pytest.raises(SamaeError, match="not finite"):
            render_mesh(head, np.full((1, head.layout.size), broken, np.float32), Camera.centred(16))
