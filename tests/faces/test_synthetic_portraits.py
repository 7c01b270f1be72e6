"""Rendered people: bytes, framing, landmarks, masks, true swaps."""

from dataclasses import replace
from functools import lru_cache

import cv2
import numpy as np
import pytest

from faces.camera import head_to_camera, project
from faces.errors import SamaeError
from faces.landmarks import ffhq_quad
from faces.morphable.registry import load_head
from faces.render.mesh_image import render_mesh
from faces.render.shading import to_linear
from faces.synthetic.anatomy import anatomy
from faces.synthetic.numerics import mesh_normals
from faces.synthetic.person import Person, person_from_seed
from faces.synthetic.pictures import person_and_scene, render_picture, true_swap
from faces.synthetic.portrait import Portrait, render_person
from faces.synthetic.scene import Scene, scene_from_seed
from faces.synthetic.truth import vertex_albedo

SIZE = 64
PEOPLE = 4


def plain_scene(owner: Person, **changes: object) -> Scene:
    """A quiet scene: frontal, neutral, no film effects, nothing in front of the face."""
    scene = scene_from_seed(8, 1, owner)
    quiet = {
        "yaw_rad": 0.0, "pitch_rad": 0.0, "expression": (), "noise": 0.0, "blur_px": 0.0, "jpeg_quality": 0,
        "glasses": "none", "occluder": "none", "hair_style": "bald", "lipstick": 0.0,
    }  # fmt: skip
    return replace(scene, **(quiet | changes))


@lru_cache(maxsize=32)
def picture(index: int) -> Portrait:
    return render_picture(0, index, PEOPLE, SIZE)


def test_the_same_seed_gives_the_same_bytes_and_another_one_another_person() -> None:
    np.testing.assert_array_equal(picture(2).image, render_picture(0, 2, PEOPLE, SIZE).image)
    assert (render_picture(1, 2, PEOPLE, SIZE).image != picture(2).image).any()


@pytest.mark.parametrize("index", range(4))
def test_the_picture_is_the_ffhq_crop_of_its_own_landmarks(index: int) -> None:
    quad = ffhq_quad(picture(index).landmarks_px.astype(np.float64))
    square = np.array([[0, 0], [0, SIZE], [SIZE, SIZE], [SIZE, 0]])
    assert np.abs(quad - square).max() < 0.02 * SIZE / 64


@pytest.mark.parametrize("index", range(4))
def test_landmarks_lie_on_the_head_that_the_coefficients_describe(index: int) -> None:
    shown = picture(index)
    mesh = render_mesh(load_head(), shown.coefficients, shown.camera)
    near = np.clip(np.round(shown.landmarks_px[17:] - 0.5).astype(int), 0, SIZE - 1)
    head_there = cv2.dilate(mesh.alpha[0], np.ones((5, 5)))
    assert head_there[near[:, 1], near[:, 0]].min() > 0.3
    # Hair, glasses and hands take away from the face; nothing adds to it but a pixel of antialiasing.
    assert (shown.mask / 255.0 - mesh.mask[0]).max() < 0.80
    assert ((shown.mask > 128) & (mesh.mask[0] < 0.05)).sum() < 0.02 * SIZE * SIZE


def test_coefficients_have_the_scene_and_the_person_in_their_places() -> None:
    head = load_head()
    person, scene = person_and_scene(0, 1, PEOPLE)
    coefficients = picture(1).coefficients
    np.testing.assert_allclose(
        head.layout.take(coefficients, "identity"), person.shape[: len(head.identity_mm)], rtol=1e-6
    )
    rotation = head.layout.take(coefficients, "rotation_rad")
    assert rotation[:2] == pytest.approx([scene.pitch_rad, scene.yaw_rad], abs=1e-6)
    smile = dict(scene.expression).get("mouthSmile_L", 0.0)
    place = head.expression_names.index("mouthSmile_L")
    assert head.layout.take(coefficients, "expression")[place] == pytest.approx(smile, abs=1e-6)


def test_lighter_skin_gives_a_lighter_face_and_albedo_truth() -> None:
    head, reds, modes = load_head(), [], []
    base = person_from_seed(0, 1)
    for lightness in (32.0, 66.0):
        person = replace(base, lightness=lightness, beard_style="none", grey=0.0)
        shown = render_person(person, plain_scene(base), SIZE)
        reds.append(to_linear(shown.image / 255.0)[shown.mask > 250].mean())
        own = head.albedo(head.layout.take(shown.coefficients, "albedo"))[0]
        modes.append(own[head.face_region].mean())
        assert shown.skin == pytest.approx(person.skin_linear)
    assert reds[1] > 2 * reds[0]
    assert modes[1] > 2 * modes[0]


def test_hair_covers_the_head_and_is_left_out_of_the_mask() -> None:
    person = person_from_seed(0, 3)
    bald = render_person(person, plain_scene(person), SIZE)
    haired = render_person(person, plain_scene(person, hair_style="fringe"), SIZE)
    assert bald.hair.max() == 0
    assert (haired.hair > 128).mean() > 0.15
    overlap = (haired.hair.astype(int) + haired.mask) > 255 + 3
    assert not overlap.any()
    assert haired.mask.sum() < bald.mask.sum()


@pytest.mark.parametrize("style", ["curly", "long_wavy", "fringe"])
def test_hair_before_the_backdrop_is_covered_as_its_mask_says(style: str) -> None:
    person = person_from_seed(0, 3)
    dark, fair = (
        render_person(person, plain_scene(person, hair_style=style, hair_grey=0.0, hair_linear=(grey,) * 3), SIZE)
        for grey in (0.02, 0.3)
    )
    np.testing.assert_array_equal(dark.hair, fair.hair)
    share, body = fair.hair / 255.0, render_mesh(load_head(), fair.coefficients, fair.camera).alpha[0]
    backdrop = cv2.dilate(body, np.ones((5, 5))) == 0
    brighter = (to_linear(fair.image / 255.0) - to_linear(dark.image / 255.0)).mean(-1)
    seen = brighter / brighter[backdrop & (share == 1)].mean()
    edge = backdrop & (cv2.dilate(share, np.ones((3, 3))) > 0) & (cv2.erode(share, np.ones((3, 3))) < 1)
    assert seen[edge].sum() == pytest.approx(share[edge].sum(), rel=0.12)
    assert np.corrcoef(seen[edge], share[edge])[0, 1] > 0.88
    assert seen[backdrop & (cv2.dilate(share, np.ones((3, 3))) == 0)].max() < 0.15


@pytest.mark.parametrize("change", [{"glasses": "square"}, {"glasses": "sunglasses"}, {"occluder": "hand"}])
def test_glasses_and_hands_are_left_out_of_the_mask(change: dict[str, str]) -> None:
    person = person_from_seed(0, 3)
    free = render_person(person, plain_scene(person), SIZE)
    hidden = render_person(person, plain_scene(person, **change), SIZE)
    assert free.occluder.max() == 0
    assert (hidden.occluder > 128).sum() > 30
    assert not ((hidden.occluder.astype(int) + hidden.mask) > 255 + 3).any()
    assert hidden.mask.sum() < free.mask.sum()


def test_a_swap_of_a_person_onto_their_own_picture_is_that_picture() -> None:
    _, target = 0, 5
    same = next(i for i in range(8, 30) if person_and_scene(0, i, PEOPLE)[0] == person_and_scene(0, target, PEOPLE)[0])
    swapped = true_swap(0, same, target, PEOPLE, SIZE)
    np.testing.assert_array_equal(swapped.image, picture(target).image)
    assert swapped.changed.max() == 0


@pytest.mark.parametrize("reading", ["face", "full"])
@pytest.mark.parametrize(("source", "target"), [(0, 5), (1, 6), (3, 4), (33, 32)])
def test_a_true_swap_changes_the_face_and_nothing_outside_its_map(source: int, target: int, reading: str) -> None:
    if person_and_scene(0, source, PEOPLE)[0] == person_and_scene(0, target, PEOPLE)[0]:
        source += 1
    swapped, own = true_swap(0, f"{source:05d}", f"{target:05d}", PEOPLE, SIZE, reading), picture(target)
    differs = (swapped.image != own.image).any(-1)
    assert differs[own.mask > 250].mean() > 0.5
    assert not differs[swapped.changed == 0].any()
    for name in ("mask", "hair", "occluder"):
        shown, plain = getattr(swapped, name), getattr(own, name)
        np.testing.assert_array_equal(shown[swapped.changed == 0], plain[swapped.changed == 0])
    assert (swapped.changed == 0).mean() > 0.04
    np.testing.assert_array_equal(swapped.landmarks_px.shape, (68, 2))


def test_the_face_reading_keeps_the_targets_tone_and_the_full_one_takes_the_sources() -> None:
    people = {p: person_from_seed(0, p) for p in range(PEOPLE)}
    source = max(range(PEOPLE), key=lambda i: person_and_scene(0, i, PEOPLE)[0].lightness)
    target = min(range(PEOPLE), key=lambda i: person_and_scene(0, i, PEOPLE)[0].lightness)
    assert len(people) == PEOPLE
    owner, _ = person_and_scene(0, target, PEOPLE)
    wearer, _ = person_and_scene(0, source, PEOPLE)
    face, full = (true_swap(0, source, target, PEOPLE, SIZE, reading) for reading in ("face", "full"))
    assert face.skin == pytest.approx(owner.skin_linear)
    assert full.skin == pytest.approx(wearer.skin_linear)
    area = (face.mask > 250) & (full.mask > 250)
    assert full.image[area].mean() > face.image[area].mean() + 10


@pytest.mark.parametrize(
    "marks",
    [
        {"iris": "blue"},
        {"moles": ((22.0, -36.0, 5.0), (-25.0, -30.0, 5.0))},
        {"brow_thickness": 1.4, "brow_density": 1.0, "brow_tilt": 0.8},
        {"beard_style": "moustache", "beard_mm": 9.0, "beard_density": 1.0},
        {"lip_pigment": 0.9, "freckles": 1.0},
    ],
)
def test_marks_of_the_sources_face_come_along(marks: dict[str, object]) -> None:
    """Two people of one shape and tone: the true swap is the picture that the source would have had."""
    base = {"beard_style": "none", "moles": (), "iris": "dark_brown", "freckles": 0.0, "lip_pigment": -0.5}
    owner = replace(person_from_seed(0, 3), **base)
    wearer = replace(owner, **marks)
    scene = plain_scene(owner)
    own, theirs = (render_person(person, scene, SIZE) for person in (owner, wearer))
    swapped = render_person(owner, scene, SIZE, wearer)
    differs = np.abs(theirs.image.astype(int) - own.image).max(-1)
    assert differs.max() > 8
    left = np.abs(theirs.image.astype(int) - swapped.image).max(-1)
    assert left[own.mask > 128].max() <= 1
    np.testing.assert_allclose(swapped.landmarks_px, own.landmarks_px, atol=1e-4)


@pytest.mark.parametrize("reading", ["face", "full"])
def test_a_hand_before_the_face_stays_the_targets(reading: str) -> None:
    owner = replace(person_from_seed(0, 3), lightness=66.0)
    wearer = replace(owner, lightness=34.0)
    scene = plain_scene(owner, occluder="hand")
    own, swapped = render_person(owner, scene, SIZE), render_person(owner, scene, SIZE, wearer, reading)
    hand = (own.occluder == 255) & (swapped.occluder == 255)
    assert hand.sum() > 30
    assert np.abs(own.image[hand].astype(int) - swapped.image[hand]).max() <= 1


def test_a_swaps_landmarks_are_the_sources_under_the_targets_pose() -> None:
    head = load_head()
    (source, _), (owner, scene) = person_and_scene(0, 3, PEOPLE), person_and_scene(0, 4, PEOPLE)
    assert source.person_id != owner.person_id
    swapped, own = true_swap(0, 3, 4, PEOPLE, SIZE), picture(4)
    take = head.layout.take
    for shown in (swapped, own):
        points = head.decode(shown.coefficients[None]).landmarks
        pose = (take(shown.coefficients, name)[None] for name in ("rotation_rad", "translation_mm"))
        seen = project(head_to_camera(points, *pose), shown.camera)[0, :, :2]
        assert np.abs(seen - shown.landmarks_px)[17:].max() < 0.05
    assert np.abs(swapped.landmarks_px - own.landmarks_px)[17:].max() > 0.3
    np.testing.assert_allclose(
        take(swapped.coefficients, "identity"), source.shape[: head.layout.n_identity], rtol=1e-6
    )
    for name in ("expression", "rotation_rad", "translation_mm", "gaze_rad"):
        np.testing.assert_allclose(take(swapped.coefficients, name), take(own.coefficients, name), atol=1e-5)
    gaze = [scene.gaze_yaw_rad - scene.yaw_rad, scene.gaze_pitch_rad - scene.pitch_rad]
    np.testing.assert_allclose(take(own.coefficients, "gaze_rad"), np.clip(gaze, -0.55, 0.55), atol=1e-6)


def test_light_and_albedo_of_the_coefficients_explain_the_picture() -> None:
    owner = replace(person_from_seed(0, 3), beard_style="none")
    shown = render_person(owner, plain_scene(owner), SIZE)
    mesh = render_mesh(load_head(), shown.coefficients, shown.camera, "own")
    bare = (shown.mask > 250) & (mesh.mask[0] > 0.99)
    ratio = to_linear(shown.image[bare] / 255.0) / np.maximum(to_linear(mesh.image[0][bare]), 1e-3)
    assert np.abs(np.log(np.median(ratio, axis=0))).max() < 0.35


def test_the_full_reading_changes_skin_beyond_the_face() -> None:
    owner = replace(person_from_seed(0, 3), lightness=66.0)
    wearer = replace(owner, lightness=34.0)
    scene = plain_scene(owner)
    own = render_person(owner, scene, SIZE)
    face, full = (render_person(owner, scene, SIZE, wearer, reading) for reading in ("face", "full"))
    assert (full.changed >= face.changed).all()
    beyond = (full.image != own.image).any(-1) & (face.changed == 0)
    assert beyond.mean() > 0.03


@pytest.mark.parametrize("reading", ["face", "full"])
def test_a_blurred_true_swap_differs_inside_its_map_alone(reading: str) -> None:
    owner = replace(person_from_seed(0, 3), lightness=66.0)
    scene = plain_scene(owner, blur_px=4.0)
    own = render_person(owner, scene, SIZE)
    swapped = render_person(owner, scene, SIZE, replace(owner, lightness=34.0, iris="blue"), reading)
    differs = (swapped.image != own.image).any(-1)
    assert differs.any()
    assert not differs[swapped.changed == 0].any()


def test_the_mouth_keeps_its_colours_and_the_eyes_have_their_owners() -> None:
    head, owner = load_head(), person_from_seed(0, 3)
    colours = vertex_albedo(head, owner, owner, "face")
    wet = np.unique(head.triangles[np.isin(np.array(head.part_names)[head.parts], ("teeth", "mouth", "tongue"))])
    np.testing.assert_array_equal(colours[wet], head.albedo_mean[wet])
    skin = np.setdiff1d(np.flatnonzero(head.face_region), wet)
    np.testing.assert_allclose(colours[skin], np.tile(owner.skin_linear, (len(skin), 1)))
    eyes = []
    for iris in ("dark_brown", "blue"):
        person = replace(owner, iris=iris)
        shown = render_person(person, plain_scene(owner), 32)
        eyes.append(head.albedo(head.layout.take(shown.coefficients, "albedo"))[0][head.eye_left])
    assert (eyes[1] - eyes[0])[:, 2].max() > 0.03


def test_an_unknown_reading_is_refused_by_name() -> None:
    with pytest.raises(SamaeError, match="half"):
        true_swap(0, 1, 2, PEOPLE, SIZE, "half")


@pytest.mark.parametrize("size_px", [-3, 0, 1, 31])
def test_a_picture_too_narrow_for_a_face_is_refused_and_not_drawn(size_px: int) -> None:
    """At 1 px the backdrop has no half, its mean is not a number, and the film read outside its curve."""
    for draw in (render_picture, lambda *given: true_swap(0, 1, *given[1:])):
        with pytest.raises(SamaeError, match="at least 32 px wide"):
            draw(0, 0, PEOPLE, size_px)


@pytest.mark.parametrize("keys", [("abc", "00001"), ("00001", "")])
def test_a_key_that_is_no_number_is_one_sentence(keys: tuple[str, str]) -> None:
    with pytest.raises(SamaeError, match="its key is the picture's number, such as 00042"):
        true_swap(0, *keys, PEOPLE, SIZE)


def test_the_two_halves_of_the_crown_are_lit_as_one():
    body = anatomy(load_head("builtin"))
    twins = np.flatnonzero(body.first != np.arange(len(body.first)))
    points = body.mesh.points.astype(np.float32)
    assert len(twins) > 0
    assert np.abs(points[twins, 0]).max() < 0.01  # on the middle, each with a vertex of the other half
    lit = body.normals(points, 5)
    np.testing.assert_array_equal(lit[twins], lit[body.first[twins]])
    np.testing.assert_array_equal(body.occlusion[twins], body.occlusion[body.first[twins]])
    assert np.abs(lit[twins, 0]).max() < 0.01  # each half alone leans to its side
    assert np.abs(mesh_normals(points, body.mesh.triangles)[twins, 0]).max() > 0.02
