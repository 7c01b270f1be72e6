"""Fine hair: who stands alone, who gets a tuft, and what a tuft is."""

from dataclasses import replace

import numpy as np
import pytest

from faces.morphable.base import vertex_normals
from faces.morphable.registry import load_head
from faces.synthetic.anatomy import anatomy
from faces.synthetic.hair import Strands, scalp_hair
from faces.synthetic.person import person_from_seed
from faces.synthetic.scene import Scene
from faces.synthetic.wisps import TUFT, split, tufts
from tests.faces.test_synthetic_portraits import plain_scene


def hair_of(style: str) -> tuple[Strands, Scene]:
    """A style's strands on the mean head."""
    body, scene = anatomy(load_head("builtin")), plain_scene(person_from_seed(0, 3), hair_style=style, hairline=0.0)
    points = body.mesh.points.astype(np.float32)
    normals = vertex_normals(points[None], body.mesh.triangles)[0]
    hair = scalp_hair(body, points, normals, scene, np.array([0.0, -1.0, 0.0]), 0.5)
    assert hair is not None
    return hair, scene


@pytest.mark.parametrize("style", ["buzz", "short", "long_wavy", "afro"])
def test_strands_taper_and_the_outer_ones_are_fine(style: str) -> None:
    hair, _ = hair_of(style)
    assert (hair.width_mm[:, -1] < 0.15 * hair.width_mm[:, 0]).all()
    solid = hair.alpha == 1
    assert solid.any() == (style != "buzz")
    if solid.any():
        assert hair.layer[solid].max() < hair.layer[~solid].max()
        assert hair.width_mm[hair.layer > 0.8, 0].mean() < 0.6 * hair.width_mm[solid, 0].mean()


@pytest.mark.parametrize("style", ["buzz", "long_wavy"])
def test_a_tuft_is_its_strand_and_narrow_copies_beside_it(style: str) -> None:
    hair, scene = hair_of(style)
    facing = hair.normals[:, 2]
    mass, fine = split(hair, facing)
    assert (fine.alpha < 1).all()
    assert (fine.normals[:, 2] > -0.5).all()
    assert len(mass.points) + len(fine.points) <= len(hair.points)
    made, again = tufts(fine, scene), tufts(fine, scene)
    np.testing.assert_array_equal(made.points, again.points)
    np.testing.assert_array_equal(made.points[::TUFT], fine.points)
    np.testing.assert_array_equal(made.width_mm[::TUFT], fine.width_mm)
    for k in range(1, TUFT):
        away = np.linalg.norm(made.points[k::TUFT] - fine.points, axis=-1)
        assert 0.2 < away.mean() < 8.0
        assert (made.width_mm[k::TUFT, -1] == 0).all()
        np.testing.assert_array_equal(made.colour[k::TUFT], fine.colour)


def test_another_scene_has_other_tufts() -> None:
    hair, scene = hair_of("short")
    _, fine = split(hair, hair.normals[:, 2])
    other = replace(scene, seed=scene.seed + 1)
    assert (tufts(fine, scene).points != tufts(fine, other).points).any()
