"""How skin, eyes and mouths are lit: what is light must show in the picture and stay out of the albedo truth."""

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest

from faces.morphable.registry import load_head
from faces.render.shading import to_linear
from faces.synthetic import blocks, contact, pigment, shading
from faces.synthetic.anatomy import anatomy
from faces.synthetic.noise import packed_noise
from faces.synthetic.person import Person, person_from_seed
from faces.synthetic.portrait import Portrait, render_person
from faces.synthetic.scene import scene_from_seed


def frontal(owner: Person, size_px: int, **changes: object) -> Portrait:
    """A quiet picture: bald, frontal, no film, nothing before the face."""
    scene = scene_from_seed(8, 1, owner)
    quiet = {
        "yaw_rad": 0.0, "pitch_rad": 0.0, "gaze_yaw_rad": 0.0, "gaze_pitch_rad": 0.0, "expression": (), "noise": 0.0,
        "blur_px": 0.0, "jpeg_quality": 0, "glasses": "none", "occluder": "none", "hair_style": "bald",
    }  # fmt: skip
    return render_person(owner, replace(scene, **(quiet | changes)), size_px)


@pytest.fixture(scope="module")
def eye() -> np.ndarray:
    """(H, W, 3): an almond of 28 mm by 10 mm, 6 samples a millimetre, of light 1, after lids and tears; else 0."""
    ids = np.zeros((120, 240), np.uint8)
    cv2.ellipse(ids, (120, 60), (84, 30), 0, 0, 360, shading.ID_EYE, -1)
    colour = np.repeat((ids == shading.ID_EYE)[..., None], 3, 2).astype(np.float32)
    contact.shade_contacts(colour, ids, 6.0, np.ones(3, np.float32))
    return colour


def test_lids_shade_an_eye_from_above_and_in_its_corners(eye: np.ndarray) -> None:
    middle = eye[60, 120, 0]
    assert middle > 0.95
    assert eye[36, 120, 0] < 0.85 * middle < eye[84, 120, 0]
    assert eye[60, 45, 0] < 0.8 * middle
    assert eye[20, 120, 0] == 0


def test_tears_gleam_along_the_lower_lid_where_the_raster_can_hold_them(eye: np.ndarray) -> None:
    assert eye[89, 120, 0] > eye[84, 120, 0] * 0.5 + 0.05
    ids = np.full((40, 40), shading.ID_EYE, np.uint8)
    ids[20:] = 0
    fine, coarse = np.zeros((40, 40, 3), np.float32), np.zeros((40, 40, 3), np.float32)
    contact.shade_contacts(fine, ids, 6.0, np.ones(3, np.float32))
    contact.shade_contacts(coarse, ids, 1.0, np.ones(3, np.float32))
    assert fine[19, 20, 0] == pytest.approx(0.08, abs=0.01)
    assert fine[10, 20, 0] == 0
    assert coarse.max() == 0


def test_light_falls_off_into_the_mouth_and_faster_on_teeth() -> None:
    head = load_head()
    body = anatomy(head)
    wet = {kind: np.flatnonzero(body.material == kind)[0] for kind in (shading.TEETH, shading.CAVITY)}
    share = {}
    for kind, triangle in wet.items():
        rows = np.zeros((1, blocks.ROW))
        depth = np.linspace(22.0, -30.0, 27)
        at = (shading.REST + 2) * blocks.PITCH
        rows[0, at : at + 27] = depth
        listed = np.zeros(27, np.int32)
        pigment.colour_blocks(
            shading.WET_LIST, listed, np.array([triangle], np.int32), body.material, body.features, packed_noise(),
            np.zeros(shading.N_PARAMETERS), np.empty((0, 3)), 1000.0, rows,
        )  # fmt: skip
        share[kind] = rows[0, blocks.SHARE : blocks.SHARE + 27].copy()
        assert (np.diff(share[kind]) < 0).all()
    assert share[shading.TEETH][0] > 0.85
    assert share[shading.TEETH][-1] < 0.05
    assert share[shading.CAVITY][-1] < 0.2


def test_a_face_with_both_eyes_shut_has_no_eye_to_shade(monkeypatch: pytest.MonkeyPatch) -> None:
    owner, counts, shade_eyes = person_from_seed(0, 1), [], shading.shade_eyes

    def counted(listed: np.ndarray, *rest: Any) -> None:
        """Shade, and note how many samples are eye."""
        counts.append(len(listed))
        shade_eyes(listed, *rest)

    monkeypatch.setattr(shading, "shade_eyes", counted)
    frontal(owner, 64, expression=(("eyeBlink_L", 1.0), ("eyeBlink_R", 1.0)))
    frontal(owner, 64)
    assert counts[0] == 0
    assert counts[1] > 0


def test_pores_are_left_out_of_small_pictures_and_of_the_albedo_truth() -> None:
    owner = replace(person_from_seed(0, 3), freckles=0.0, blotchiness=0.5, lines=0.0, moles=(), beard_style="none")

    def grain(size_px: int) -> float:
        """Local contrast of the forehead within a millimetre."""
        shown = frontal(owner, size_px)
        brow, eye = shown.landmarks_px[19:25].mean(0), shown.landmarks_px[36:48].mean(0)
        x, y = (brow + 0.9 * (brow - eye)).astype(int)
        reach = size_px // 32
        part = to_linear(shown.image[y - reach : y + reach, x - reach : x + reach] / 255.0).mean(-1)
        return float((part - cv2.GaussianBlur(part, (0, 0), size_px / 256)).std() / part.mean())

    assert grain(768) > 2 * grain(192)
    small, large = (frontal(owner, size).coefficients for size in (64, 256))
    take = load_head().layout.take
    np.testing.assert_allclose(take(small, "albedo"), take(large, "albedo"), atol=1e-6)


def test_hollows_take_light_and_not_albedo() -> None:
    body = anatomy(load_head())
    chart = np.nan_to_num(body.mesh.chart, nan=1e3)
    on_skin = body.mesh.is_piece("skin")

    def near(a: float, b: float) -> int:
        return int(np.flatnonzero(on_skin)[np.argmin(((chart[on_skin] - [a, b]) ** 2).sum(1))])

    beside_nose, under_lip, cheek = near(19.5, -40), near(0, -83), near(44, -29)
    assert body.occlusion[beside_nose] < 0.7
    assert body.occlusion[under_lip] < 0.85
    assert body.occlusion[cheek] > 0.95
    table = np.zeros((2, shading.COLUMNS))
    table[:, shading.UV : shading.UV + 2], table[:, shading.ALBEDO : shading.ALBEDO + 3] = body.uv[beside_nose], 0.5
    table[:, shading.OCCLUSION] = 1.0, body.occlusion[beside_nose]
    lit, shaded = pigment.albedo_at(table, body.features, np.zeros(shading.N_PARAMETERS))
    np.testing.assert_array_equal(lit, shaded)
