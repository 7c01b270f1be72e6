"""Glasses, hands and clothes of generated people: what they cover, the shadows they throw, and whose they are."""

from dataclasses import replace
from functools import lru_cache

import cv2
import numpy as np
import pytest

from faces.morphable.registry import load_head
from faces.render.shading import to_linear
from faces.synthetic.anatomy import Anatomy, anatomy
from faces.synthetic.garments import AXIS_Z, garment_of, worn_mm
from faces.synthetic.glasses import draw as draw_glasses
from faces.synthetic.glasses import glasses_of
from faces.synthetic.hands import THUMB, Hand, hand_of
from faces.synthetic.lighting import rig_of
from faces.synthetic.outfit import C_PATTERN, cloth_numbers
from faces.synthetic.person import Person, person_from_seed
from faces.synthetic.portrait import Portrait, render_person, render_swaps
from faces.synthetic.posing import Posed, pose, to_pixels
from faces.synthetic.scene import CLOTHES, Scene, scene_from_seed
from faces.synthetic.shading import ALBEDO, ID_GLASSES, ID_HAIR, REST
from faces.synthetic.solids import SIDES, joined, soft_shadow, tube

SIZE = 96


def scene_with(**changes: object) -> tuple[Person, Scene]:
    """A bald person before the camera, without film effects."""
    person = person_from_seed(0, 3)
    quiet = {
        "yaw_rad": 0.0, "pitch_rad": 0.0, "expression": (), "noise": 0.0, "blur_px": 0.0, "jpeg_quality": 0,
        "glasses": "none", "occluder": "none", "hair_style": "bald", "clothes": "tee",
    }  # fmt: skip
    return person, replace(scene_from_seed(8, 1, person), **(quiet | changes))


@lru_cache(maxsize=16)
def shown(**changes: object) -> Portrait:
    person, scene = scene_with(**changes)
    return render_person(person, scene, SIZE)


def posed_with(number: int = 3, **changes: object) -> tuple[Posed, Scene, Anatomy]:
    head = load_head("builtin")
    scene, person = scene_with(**changes)[1], person_from_seed(0, number)
    return pose(head, anatomy(head), person, person, scene, SIZE), scene, anatomy(head)


def hand_with(seed: int) -> tuple[Hand, Posed, Anatomy]:
    posed, scene, body = posed_with(occluder="hand", seed=seed)
    hand = hand_of(posed, scene, body)
    assert hand is not None
    return hand, posed, body


@pytest.mark.parametrize("change", [{"glasses": "square"}, {"glasses": "round"}, {"occluder": "hand"}])
def test_things_darken_the_face_round_them_and_no_mask_counts_the_shadow(change: dict[str, str]) -> None:
    free, worn = shown(), shown(**change)
    still_face = (worn.mask > 250) & (free.mask > 250)
    before, after = (to_linear(picture.image / 255.0).mean(-1)[still_face] for picture in (free, worn))
    darker = after < 0.9 * before
    assert darker.sum() > 8
    assert darker.mean() < 0.5
    np.testing.assert_allclose(worn.coefficients, free.coefficients, atol=1e-6)
    np.testing.assert_array_equal(worn.mask[worn.occluder == 0], free.mask[worn.occluder == 0])


@pytest.mark.parametrize("reading", ["face", "full"])
def test_a_true_swap_keeps_the_targets_things_and_differs_nowhere_else(reading: str) -> None:
    owner, scene = scene_with(glasses="square", occluder="hand", clothes="hoodie")
    plain, swaps = render_swaps(owner, person_from_seed(0, 5), scene, SIZE, (reading,))
    swap = swaps[reading]
    assert not (swap.image != plain.image).any(-1)[swap.changed == 0].any()
    assert (swap.image != plain.image).any(-1)[(plain.mask > 250)].mean() > 0.5
    both = (plain.occluder > 250) & (swap.occluder > 250)
    assert both.sum() > 0.9 * (plain.occluder > 250).sum()


def test_clothes_of_every_kind_look_different_and_are_neither_face_nor_occluder() -> None:
    pictures = {clothes: shown(clothes=clothes) for clothes in CLOTHES}
    for clothes, picture in pictures.items():
        assert picture.occluder.max() == 0, clothes
        others = [other.image for name, other in pictures.items() if name != clothes]
        assert all((picture.image != other).any(-1).mean() > 0.01 for other in others), clothes
    # A hood stands before the neck and behind the chin: it hides no face.
    assert (pictures["hoodie"].mask > 128).sum() > 0.97 * (pictures["tee"].mask > 128).sum()


@pytest.mark.parametrize("clothes", [name for name in CLOTHES if name != "vneck"])
def test_collars_stand_off_the_neck_and_follow_the_body(clothes: str) -> None:
    posed, scene, body = posed_with(clothes=clothes, yaw_rad=0.3)
    garment = garment_of(body, clothes)
    world, normals = worn_mm(garment, posed, scene)
    assert len(world) == len(garment.rows) > 100
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1.0, atol=1e-4)
    turned, _ = worn_mm(garment, posed, replace(scene, shoulder_yaw_rad=scene.shoulder_yaw_rad + 0.2))
    assert np.linalg.norm(turned - world, axis=1).max() > 5.0
    middle = world.mean(0)
    outer = np.linalg.norm((world - middle)[:, [0, 2]], axis=1)
    assert 35.0 < np.percentile(outer, 5) < np.percentile(outer, 95) < 130.0


@pytest.mark.parametrize("clothes", [name for name in CLOTHES if name != "vneck"])
def test_collars_are_hemmed_at_their_edges_and_seamless_where_they_are_closed(clothes: str) -> None:
    posed, scene, body = posed_with(clothes=clothes, yaw_rad=0.3)
    garment = garment_of(body, clothes)
    world, normals = worn_mm(garment, posed, scene)
    across, edge = garment.rows[:, REST], garment.rows[:, ALBEDO + 2]
    ends = garment.first[garment.first != np.arange(len(world))]
    if clothes in ("shirt", "jacket"):
        assert len(ends) == 0
        starts = np.flatnonzero(np.diff(across, prepend=np.inf) < 0)
        np.testing.assert_allclose(edge[starts], 0.0, atol=1e-3)
        assert edge[starts + 36].max() > 5.0
    else:
        twins = np.flatnonzero(garment.first != np.arange(len(world)))
        np.testing.assert_array_equal(normals[twins], normals[ends])
        np.testing.assert_array_equal(world[twins], world[ends])
        # The twins are at the back, and no edge but the upper and the lower one is near the front.
        assert (garment.offset + posed.owner_mm[garment.near].mean(1))[twins, 2].max() < AXIS_Z
        assert edge[np.abs(across) < 5.0].max() > 3.0


def test_vneck_is_the_heads_own_mesh_alone() -> None:
    posed, scene, body = posed_with(clothes="vneck")
    garment = garment_of(body, "vneck")
    assert worn_mm(garment, posed, scene)[0].shape == (0, 3)
    np.testing.assert_array_equal(garment.triangles, body.mesh.triangles)


def test_fabric_is_a_pure_function_of_the_scene_and_varies() -> None:
    patterns = set()
    for seed in range(40):
        _, scene = scene_with(clothes="shirt", seed=seed)
        np.testing.assert_array_equal(cloth_numbers(scene), cloth_numbers(scene))
        patterns.add(cloth_numbers(scene)[C_PATTERN])
    assert len(patterns) >= 3


@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5, 6])
def test_a_hand_has_five_digits_of_a_hands_size_that_touch_the_face(seed: int) -> None:
    hand, posed, body = hand_with(seed)
    skin = posed.owner_mm[body.mesh.is_piece("skin")]
    for digit in range(THUMB + 1):
        own = hand.balls[hand.part == digit]
        length = np.linalg.norm(np.diff(own, axis=0), axis=1).sum()
        assert 45.0 < length < 110.0, digit
        assert 2.5 < hand.radius[hand.part == digit].min() < hand.radius[hand.part == digit].max() < 15.0
    tips = np.stack([hand.balls[hand.part == digit][0] for digit in range(THUMB)])
    gap = np.linalg.norm(skin[None] - tips[:, None], axis=2).min(1)
    assert gap.min() < 14.0


def test_hands_take_several_poses_and_repeat_them() -> None:
    places = []
    for seed in range(1, 13):
        first, again = hand_with(seed)[0], hand_with(seed)[0]
        np.testing.assert_array_equal(first.balls, again.balls)
        places.append(first.balls[first.part == 2][0])
    assert np.ptp(np.array(places), axis=0).max() > 40.0


def test_temples_end_at_the_ears_and_dark_lenses_are_dark() -> None:
    posed, scene, body = posed_with(glasses="sunglasses")
    worn = glasses_of(posed, scene, body)
    assert worn is not None
    assert worn.dark
    assert worn.tint.max() < 0.1
    ears = posed.owner_mm[body.mesh.is_piece("ear")]
    for line in worn.lines[1:]:
        assert np.linalg.norm(ears - line[-1], axis=1).min() < 25.0
    assert glasses_of(*posed_with()) is None


@pytest.mark.parametrize("number", [3, 7, 9])
@pytest.mark.parametrize("kind", ["round", "square", "thin", "sunglasses"])
def test_temples_lie_outside_the_skin_all_the_way_to_the_ear(kind: str, number: int) -> None:
    posed, scene, body = posed_with(number, glasses=kind)
    worn = glasses_of(posed, scene, body)
    assert worn is not None
    skin = np.flatnonzero(body.mesh.is_piece("skin"))
    for line in worn.lines[1:]:
        nearest = skin[np.linalg.norm(posed.owner_mm[skin][None] - line[:, None], axis=2).argmin(1)]
        above = ((line - posed.owner_mm[nearest]) * posed.owner_normals[nearest]).sum(1)
        assert above.min() > 1.0
        assert above[-6:].max() < 14.0


def test_a_dark_lens_hides_the_temple_behind_it() -> None:
    posed, scene, body = posed_with(glasses="sunglasses", yaw_rad=0.7)
    worn = glasses_of(posed, scene, body)
    assert worn is not None
    rig = rig_of(scene, np.full((8, 8, 3), 0.5, np.float32))
    drawn = []
    for albedo in (0.0, 1.0):
        pale = replace(worn.temples, albedo=np.full_like(worn.temples.albedo, albedo))
        colour, depth = np.full((192, 192, 3), 0.5, np.float32), np.full((192, 192), np.inf, np.float32)
        draw_glasses(replace(worn, temples=pale), colour, depth, np.ones((192, 192), np.uint8), posed, rig)
        drawn.append(colour)
    told = np.abs(drawn[1] - drawn[0]).max(-1)
    assert told.max() > 0.1
    behind = np.zeros((192, 192), np.uint8)
    for rim in worn.rims:
        outline = to_pixels(posed.to_world(rim.astype(np.float32)), posed.camera.resized(192))[:, :2]
        cv2.fillPoly(behind, [np.round(outline).astype(np.int32)], 1)
    assert told[cv2.erode(behind, np.ones((5, 5))) > 0].max() < 0.1 * told.max()


@pytest.mark.parametrize(("hair_mm", "hidden"), [(-200.0, False), (200.0, True)])
def test_a_dark_lens_hides_hair_behind_it_and_none_before_it(hair_mm: float, hidden: bool) -> None:
    posed, scene, body = posed_with(glasses="sunglasses", yaw_rad=0.4)
    worn = glasses_of(posed, scene, body)
    assert worn is not None
    distance = float(posed.translation_mm[2])
    ids, colour = np.full((192, 192), ID_HAIR, np.uint8), np.ones((192, 192, 3), np.float32)
    depth = np.full((192, 192), distance + hair_mm, np.float32)
    draw_glasses(worn, colour, depth, ids, posed, rig_of(scene, np.full((8, 8, 3), 0.5, np.float32)))
    centres = [np.append(rim.mean(0)[:2], rim[:, 2].max()).astype(np.float32) for rim in worn.rims]
    for centre in centres:
        u, v, _ = to_pixels(posed.to_world(centre[None]), posed.camera.resized(192))[0]
        assert (ids[int(v), int(u)] == ID_GLASSES) == hidden
        assert (depth[int(v), int(u)] < distance + hair_mm) == hidden


@pytest.mark.parametrize("closed", [False, True])
def test_a_tube_has_its_width_and_its_normals_point_outwards(closed: bool) -> None:
    turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)[: 24 if closed else 12]
    path = np.stack([20 * np.cos(turn), 20 * np.sin(turn), 0 * turn], 1)
    bar = tube(path, np.array([0.0, 0.0, 1.0]), np.array([1.5, 1.5]), closed=closed)
    solid = joined([bar], np.array([0.1, 0.2, 0.3]), 0.5)
    away = solid.points.reshape(-1, SIDES, 3) - path[:, None]
    np.testing.assert_allclose(np.linalg.norm(away, axis=2), 1.5, atol=1e-4)
    assert (solid.normals * away.reshape(-1, 3)).sum(1).min() > 0
    assert solid.triangles.max() == len(solid.points) - 1


def test_a_soft_shadow_falls_beside_the_thing_and_spares_what_it_should() -> None:
    light, cover = np.ones((40, 40, 3), np.float32), np.zeros((40, 40), np.uint8)
    cover[10:20, 10:20] = 1
    spared = np.zeros((40, 40), bool)
    spared[:, :5] = True
    soft_shadow(light, cover, spared, 3.0, (0.0, 4.0), 0.5)
    assert light[22, 15, 0] < 0.9 < light[5, 15, 0]
    assert (light[:, :5] == 1).all()
    assert 0.5 <= light.min() < 0.7
