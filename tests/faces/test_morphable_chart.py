"""The planar layout that people's textures are painted in."""

import numpy as np
import pytest

from faces.morphable import load_head
from faces.morphable.builtin import Chart, chart, layout_to_uv, uv_to_layout
from faces.morphable.builtin_layout import flatten, skin_layout, unflatten
from faces.morphable.builtin_mesh import mesh
from faces.morphable.builtin_surface import surface, unroll


@pytest.fixture(scope="module")
def layout() -> Chart:
    return chart()


def test_every_promised_line_is_there_and_inside(layout: Chart) -> None:
    names = {"lip_outer", "lip_inner", "hairline", "jawline"}
    names |= {
        f"{line}_{side}"
        for line in ("eye_opening", "brow_upper", "brow_lower", "nostril", "ear", "lid_crease")
        for side in "LR"
    }
    assert names <= set(layout.lines)
    for name, line in layout.lines.items():
        assert line.ndim == 2, name
        assert line.shape[1] == 2, name
        assert line.min() >= 0, name
        assert line.max() <= 1, name


def test_uv_of_skin_is_the_unrolled_layout() -> None:
    head, m = load_head("builtin"), mesh()
    skin = m.is_piece("skin")
    np.testing.assert_allclose(uv_to_layout(head.uv[skin]), m.chart[skin], atol=1e-2)
    there_and_back = uv_to_layout(layout_to_uv(np.array([[10.0, -60.0]])))
    np.testing.assert_allclose(there_and_back, [[10.0, -60.0]])
    assert head.uv[skin][:, 0].max() <= 0.8 + 1e-6


def test_named_points_lie_on_the_mesh(layout: Chart) -> None:
    m = mesh()
    skin = m.points[m.is_piece("skin")]
    for name in (
        "pronasale",
        "labrale_superius",
        "pogonion",
        "glabella" if "glabella" in layout.points else "sellion",
        "ala",
        "ala_R",
    ):
        uv, rest = layout.points[name]
        assert np.linalg.norm(skin - rest, axis=1).min() < 3.0, name
        assert 0 <= uv.min() <= uv.max() <= 1


def test_lines_lie_where_their_names_say(layout: Chart) -> None:
    def at(name: str) -> np.ndarray:
        flat = uv_to_layout(layout.lines[name])
        half = flat * np.sign(np.where(flat[:, :1] == 0, 1, flat[:, :1])) ** [1, 0]
        return surface(np.abs(half) * [1, 0] + flat * [0, 1])

    assert at("brow_upper_L")[:, 1].mean() > at("brow_lower_L")[:, 1].mean() > at("lid_crease_L")[:, 1].mean()
    assert at("lid_crease_L")[:, 1].mean() > at("eye_opening_L")[:, 1].mean()
    assert at("lip_outer")[:, 1].min() < at("lip_inner")[:, 1].min()
    assert -50 < at("nostril_L")[:, 1].mean() < -35
    assert at("hairline")[:, 1].max() > 70


def test_flat_map_and_unrolling_have_inverses() -> None:
    rng = np.random.default_rng(0)
    points = np.stack([rng.uniform(1, 230, 500), rng.uniform(-250, 150, 500)], 1)
    np.testing.assert_allclose(unflatten(flatten(points)), points, atol=1e-6)
    from faces.morphable.builtin_surface import skull

    np.testing.assert_allclose(unroll(skull(points)), points, atol=1e-6)


def test_layout_has_no_overlapping_triangles() -> None:
    skin = skin_layout()
    flat = flatten(skin.chart)
    corner = flat[skin.triangles]
    first, second = corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]
    area = first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]
    assert (area < 0).all(), "all triangles turn the same way"
    edges = np.sort(
        np.concatenate([skin.triangles[:, [0, 1]], skin.triangles[:, [1, 2]], skin.triangles[:, [2, 0]]]), axis=1
    )
    _, uses = np.unique(edges, axis=0, return_counts=True)
    assert uses.max() <= 2
