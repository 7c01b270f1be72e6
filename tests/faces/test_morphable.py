"""The built-in head keeps the promises of MorphableHead and looks like a person where that can be measured."""

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_limits

from faces.errors import SamaeError
from faces.morphable import load_head, registry
from faces.morphable.base import MorphableHead, vertex_normals
from faces.morphable.builtin import code_digest
from faces.morphable.builtin_albedo import albedo_names
from faces.morphable.builtin_expressions import NAMES
from faces.morphable.builtin_identity import identity_names
from faces.morphable.builtin_mesh import mesh
from faces.morphable.registry import require_same_edition

#: vertices per part that a rotation of the jaw or a smile may legitimately fold.
FOLDABLE = ("mouth", "teeth", "tongue", "ear")


@pytest.fixture(scope="module")
def head() -> MorphableHead:
    return load_head("builtin")


def expressed(head: MorphableHead, **activations: float) -> np.ndarray:
    """(V, 3) mean head with these expressions; a name without a side means both sides."""
    expression = np.zeros((1, head.layout.n_expression), np.float32)
    for name, value in activations.items():
        for i, known in enumerate(head.expression_names):
            if known == name or known.rpartition("_")[0] == name:
                expression[0, i] = value
    return head.vertices(np.zeros((1, 1)), expression)[0]


def lid_gap_mm(head: MorphableHead, vertices: np.ndarray) -> float:
    """Mean height of the left eye's opening at its two inner landmark pairs, mm."""
    points = vertices[head.landmarks]
    return float(np.mean([points[43, 1] - points[47, 1], points[44, 1] - points[46, 1]]))


def triangle_areas(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    a, b, c = (vertices[triangles[:, k]] for k in range(3))
    return np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2


def test_tables_have_the_promised_shapes(head: MorphableHead) -> None:
    count = len(head.mean_mm)
    assert 6_000 <= count <= 14_000
    assert head.identity_mm.shape[0] >= 80
    assert head.identity_mm.shape[1:] == (count, 3)
    assert head.expression_mm.shape == (len(head.expression_names), count, 3)
    assert head.albedo_modes.shape[0] >= 40
    assert head.albedo_mean.shape == (count, 3)
    assert head.landmarks.shape == (68,)
    assert len(set(head.landmarks.tolist())) == 68
    assert head.parts.shape == (len(head.triangles),)
    assert head.triangles.min() >= 0
    assert head.triangles.max() < count
    assert head.uv.min() >= 0
    assert head.uv.max() <= 1
    for name in ("mean_mm", "identity_mm", "expression_mm", "albedo_mean", "albedo_modes", "uv"):
        table = getattr(head, name)
        assert table.dtype == np.float32
        assert np.isfinite(table).all()


def test_names_go_with_the_tables(head: MorphableHead) -> None:
    assert len(identity_names()) == len(head.identity_mm)
    assert len(albedo_names()) == len(head.albedo_modes)
    assert len(set(identity_names())) == len(identity_names())
    assert head.expression_names == NAMES
    assert len(set(NAMES)) == 52
    for name in ("jawOpen", "eyeBlink_L", "eyeBlink_R", "mouthSmile_L", "browInnerUp", "tongueOut"):
        assert name in NAMES


def test_loading_twice_gives_the_same_object_and_on_any_number_of_threads_the_same_numbers(head: MorphableHead) -> None:
    assert load_head("builtin") is head
    with threadpool_limits(3, user_api="blas"):
        again = registry._load.__wrapped__("builtin", "")
    assert again.digest == head.digest == code_digest()
    assert len(head.digest) == 16
    np.testing.assert_array_equal(again.mean_mm, head.mean_mm)
    np.testing.assert_array_equal(again.identity_mm, head.identity_mm)
    np.testing.assert_array_equal(again.expression_mm, head.expression_mm)
    np.testing.assert_array_equal(again.albedo_modes, head.albedo_modes)


def test_decoding_is_linear_and_torch_agrees(head: MorphableHead) -> None:
    rng = np.random.default_rng(1)
    one, two = rng.standard_normal((2, 1, head.layout.n_identity)).astype(np.float32)
    zero = np.zeros((1, head.layout.n_expression), np.float32)
    smile = zero.copy()
    smile[0, NAMES.index("mouthSmile_L")] = 0.7
    both = head.vertices(one + two, smile) - head.mean_mm
    apart = head.vertices(one, zero) + head.vertices(two, zero) + head.vertices(0 * one, smile) - 3 * head.mean_mm
    np.testing.assert_allclose(both, apart, atol=2e-3)
    decoded = head.vertices_torch(torch.from_numpy(one), torch.from_numpy(smile)).numpy()
    np.testing.assert_allclose(decoded, head.vertices(one, smile), atol=2e-3)


def test_one_call_decodes_everything_and_tensors_agree_with_gradients(head: MorphableHead) -> None:
    rng, layout = np.random.default_rng(2), head.layout
    coefficients = layout.pack(
        identity=rng.standard_normal((2, layout.n_identity)), expression=rng.uniform(0, 0.5, (2, layout.n_expression)),
        albedo=0.3 * rng.standard_normal((2, layout.n_albedo)), gaze_rad=np.array([[0.2, -0.1], [0.0, 0.15]]),
        rotation_rad=rng.standard_normal((2, 3)), light=rng.standard_normal((2, 27)),
    )  # fmt: skip
    take, made = layout.take, head.decode(coefficients)
    wanted = head.vertices(*(take(coefficients, name) for name in ("identity", "expression", "gaze_rad")))
    np.testing.assert_array_equal(made.vertices, wanted)
    np.testing.assert_array_equal(made.landmarks, wanted[:, head.landmarks])
    np.testing.assert_array_equal(made.normals, vertex_normals(wanted, head.triangles))
    np.testing.assert_array_equal(made.albedo, head.albedo(take(coefficients, "albedo")))
    leaf = torch.from_numpy(coefficients).requires_grad_(True)
    same = head.decode(leaf)
    for name, atol in (("vertices", 2e-3), ("landmarks", 2e-3), ("normals", 2e-3), ("albedo", 1e-5)):
        np.testing.assert_allclose(getattr(same, name).detach().numpy(), getattr(made, name), atol=atol)
    (
        same.normals.square()[..., 0].sum()
        + same.landmarks.sum()
        + same.vertices[..., 2].square().sum()
        + same.albedo.sum()
    ).backward()
    gradient = leaf.grad
    assert gradient is not None
    assert gradient.isfinite().all()
    for name in ("identity", "expression", "albedo", "gaze_rad"):
        assert take(gradient, name).abs().amax(0).gt(0).float().mean() > 0.9, name  # type: ignore[union-attr]
    for name in ("rotation_rad", "translation_mm", "light"):
        assert not take(gradient, name).any()
    with pytest.raises(SamaeError, match=r"not the head builtin.*takes \(faces, "):
        head.decode(coefficients[:, 1:])


def test_the_mean_head_is_symmetric_and_centred_on_the_eyes(head: MorphableHead) -> None:
    mirror = mesh().mirror
    np.testing.assert_allclose(head.mean_mm[mirror] * [-1, 1, 1], head.mean_mm, atol=1e-4)
    for eye, sign in ((head.eye_left, 1), (head.eye_right, -1)):
        ball = head.mean_mm[eye]
        centre = (ball.max(0) + ball.min(0)) / 2
        np.testing.assert_allclose(centre, [sign * 31.5, 0, 0], atol=1e-3)
        np.testing.assert_allclose(np.linalg.norm(ball - centre, axis=1), 12.2, atol=1e-3)
        assert 250 <= len(eye) <= 520


def test_landmarks_follow_ibug(head: MorphableHead) -> None:
    points = head.mean_mm[head.landmarks]
    pairs = [*zip(range(8), range(16, 8, -1), strict=True), *zip(range(17, 22), range(26, 21, -1), strict=True)]
    pairs += [
        (36, 45),
        (37, 44),
        (38, 43),
        (39, 42),
        (40, 47),
        (41, 46),
        (31, 35),
        (32, 34),
        (48, 54),
        (49, 53),
        (60, 64),
    ]
    for right, left in pairs:
        np.testing.assert_allclose(points[right] * [-1, 1, 1], points[left], atol=1e-4)
        assert points[right, 0] < 0, "iBUG's first points are the subject's right, at the left of the picture"
    for middle in (8, 27, 28, 29, 30, 33, 51, 57, 62, 66):
        assert abs(points[middle, 0]) < 1e-4
    heights = points[[19, 37, 27, 30, 33, 51, 62, 66, 57, 8], 1]
    assert (np.diff(heights[[0, 1]]) < 0).all()
    assert (np.diff(heights[2:]) < 0.2).all(), "nose, lips and chin follow from top to bottom"
    assert points[30, 2] == points[:, 2].max(), "the tip of the nose is the foremost landmark"


def test_proportions_are_human(head: MorphableHead) -> None:
    points = head.mean_mm[head.landmarks]
    skin = head.mean_mm[head.face_region]

    def distance(a: int, b: int) -> float:
        return float(np.linalg.norm(points[a] - points[b]))

    assert 12.5 < distance(33, 51) < 17, "the philtrum: the nose must not sit on the lip"
    assert 46 < distance(48, 54) < 56
    assert 105 < distance(27, 8) < 122
    assert 46 < distance(27, 33) < 56
    assert 28 < distance(42, 45) < 33
    assert 8 < distance(43, 47) < 12
    assert 128 < distance(1, 15) < 145
    top, chin = head.mean_mm[:, 1].max(), points[8, 1]
    assert 210 < top - chin < 240
    assert abs((top + chin) / 2) < 12, "the eyes lie at half the height of the head"
    mouth = (points[33, 1] - points[62, 1]) / (points[33, 1] - points[8, 1])
    assert 0.26 < mouth < 0.37, "the mouth lies at a third from the nose to the chin"
    assert np.isfinite(skin).all()


def test_no_degenerate_triangles_and_the_face_looks_forward(head: MorphableHead) -> None:
    assert triangle_areas(head.mean_mm, head.triangles).min() > 1e-5
    normals = vertex_normals(head.mean_mm[None], head.triangles)[0]
    forward = normals[head.landmarks[[27, 28, 29, 30, 8, 19, 24, 51, 57]], 2]
    assert (forward > 0.2).all()
    outward = ((head.mean_mm - [0, -20, -70]) * normals).sum(1)
    skull = head.mean_mm[:, 1] > 60
    assert (outward[skull] > 0).all()


def test_random_people_have_no_turned_triangles_in_the_face(head: MorphableHead) -> None:
    part = np.array([head.part_names[i] for i in head.parts])
    face = head.triangles[head.face_triangles & np.isin(part, ("skin", "lips"))]
    rng = np.random.default_rng(5)
    people = head.vertices(rng.standard_normal((16, head.layout.n_identity)), np.zeros((16, head.layout.n_expression)))

    def turn(vertices: np.ndarray) -> np.ndarray:
        a, b, c = (vertices[face[:, k]] for k in range(3))
        normal = np.cross(b - a, c - a)
        return normal / np.linalg.norm(normal, axis=1, keepdims=True)

    mean = turn(head.mean_mm)
    for person in people:
        assert ((turn(person) * mean).sum(1) < 0).mean() < 0.004


@pytest.mark.parametrize("name", ["eyeBlink"])
def test_blinking_closes_the_lids_over_the_ball(head: MorphableHead, name: str) -> None:
    assert lid_gap_mm(head, head.mean_mm) > 8
    closed = expressed(head, **{name: 1.0})
    assert -1.6 < lid_gap_mm(head, closed) < 0.0
    lids = mesh().is_piece("skin", "lid") & (mesh().points[:, 2] > 2)
    from_ball = np.linalg.norm(closed - np.array([31.5, 0, 0]), axis=1)[lids & (mesh().points[:, 0] > 0)]
    skin_only = mesh().is_piece("skin") & (mesh().points[:, 0] > 0)
    assert np.linalg.norm(closed - np.array([31.5, 0, 0]), axis=1)[skin_only].min() > 12.2, (
        "the lid stays before the ball"
    )
    assert from_ball.min() > 10


def test_blinking_closes_everybodys_eyes(head: MorphableHead) -> None:
    rng = np.random.default_rng(3)
    expression = np.zeros((40, 52), np.float32)
    expression[:, [NAMES.index("eyeBlink_L"), NAMES.index("eyeBlink_R")]] = 1
    people = head.vertices(rng.standard_normal((40, head.layout.n_identity)), expression)
    gaps = np.array([lid_gap_mm(head, person) for person in people])
    assert (gaps < 0.4).mean() > 0.9
    assert gaps.max() < 1.6


def test_blinking_one_eye_leaves_the_other(head: MorphableHead) -> None:
    expression = np.zeros((1, 52), np.float32)
    expression[0, NAMES.index("eyeBlink_L")] = 1
    points = head.vertices(np.zeros((1, 1)), expression)[0][head.landmarks]
    assert points[44, 1] - points[46, 1] < 1
    assert points[37, 1] - points[41, 1] > 8


def test_the_jaw_opens_the_mouth_with_the_lower_teeth(head: MorphableHead) -> None:
    opened = expressed(head, jawOpen=1.0)
    points, rest = opened[head.landmarks], head.mean_mm[head.landmarks]
    assert rest[62, 1] - rest[66, 1] < 1
    assert 20 < points[62, 1] - points[66, 1] < 45
    assert points[8, 1] < rest[8, 1] - 15
    np.testing.assert_allclose(points[[27, 36, 45]], rest[[27, 36, 45]], atol=0.1)
    lower, upper = mesh().is_piece("teeth_lower"), mesh().is_piece("teeth_upper")
    assert (head.mean_mm[lower] - opened[lower])[:, 1].mean() > 8
    np.testing.assert_allclose(opened[upper], head.mean_mm[upper], atol=0.5)


def test_the_mouth_is_shut_at_rest_for_everybody(head: MorphableHead) -> None:
    rng = np.random.default_rng(8)
    people = head.vertices(rng.standard_normal((24, head.layout.n_identity)), np.zeros((24, head.layout.n_expression)))
    points = people[:, head.landmarks]
    for upper, lower in ((61, 67), (62, 66), (63, 65)):
        assert (np.abs(points[:, upper, 1] - points[:, lower, 1]) < 1.6).all()


def test_smiling_widens_and_lifts_the_mouth(head: MorphableHead) -> None:
    points, rest = expressed(head, mouthSmile=1.0)[head.landmarks], head.mean_mm[head.landmarks]
    assert points[54, 0] > rest[54, 0] + 3
    assert points[54, 1] > rest[54, 1] + 3


def test_every_expression_moves_something_and_no_expression_tears_eyes(head: MorphableHead) -> None:
    for name, field in zip(head.expression_names, head.expression_mm, strict=True):
        assert np.abs(field).max() > 0.25, name
        assert np.abs(field).max() < 60, name
        assert np.abs(field[np.concatenate([head.eye_left, head.eye_right])]).max() == 0, name


def test_identity_keeps_eyeballs_round(head: MorphableHead) -> None:
    rng = np.random.default_rng(2)
    person = head.vertices(rng.standard_normal((1, head.layout.n_identity)), np.zeros((1, 52)))[0]
    ball = person[head.eye_left]
    centre = (ball.max(0) + ball.min(0)) / 2
    np.testing.assert_allclose(np.linalg.norm(ball - centre, axis=1), 12.2, atol=1e-3)


def test_people_differ_as_people_do(head: MorphableHead) -> None:
    from faces.morphable.compare import DISTANCES, distances_mm

    for name, (mean, spread) in distances_mm(head, count=200).items():
        published_mean, published_spread = DISTANCES[name][2:]
        if published_mean is not None and published_spread is not None:
            assert abs(mean - published_mean) < 2 * published_spread, name
            assert 0.5 * published_spread < spread < 2.0 * published_spread, name


def test_albedo_is_linear_rgb_and_parts_have_their_colours(head: MorphableHead) -> None:
    colours = head.albedo(np.zeros((1, head.layout.n_albedo)))[0]
    assert colours.min() >= 0
    assert colours.max() <= 1
    skin, lip = colours[head.landmarks[29]], colours[mesh().layout.lip_lower[2][3]]
    assert skin[0] > skin[1] > skin[2]
    assert lip[1] < 0.8 * skin[1], "lips are darker and redder than skin"
    angle = np.degrees(mesh().local[head.eye_left, 0])
    eye = colours[head.eye_left]
    assert eye[angle < 9].max() < 0.05, "pupil"
    assert eye[(angle > 32) & (angle < 60)].min() > 0.3, "white of the eye"
    light, dark = (head.albedo(np.array([[z]]))[0][head.landmarks[29]] for z in (2.0, -2.0))
    assert light.mean() > 3 * dark.mean()


def test_colour_modes_stay_on_their_part(head: MorphableHead) -> None:
    ball = np.zeros(len(head.mean_mm), bool)
    ball[np.concatenate([head.eye_left, head.eye_right])] = True
    for name, mode in zip(albedo_names(), head.albedo_modes, strict=True):
        where = np.abs(mode).max(1) > 1e-6
        if name.startswith(("iris", "sclera")):
            assert not where[~ball].any(), name
        else:
            assert not where[ball].any(), name


def test_gaze_turns_the_balls_only(head: MorphableHead) -> None:
    zero = np.zeros((1, 1)), np.zeros((1, head.layout.n_expression))
    turned = head.vertices(*zero, gaze_rad=np.array([[0.3, 0.0]]))[0]
    still = np.ones(len(turned), bool)
    still[np.concatenate([head.eye_left, head.eye_right])] = False
    np.testing.assert_array_equal(turned[still], head.mean_mm[still])
    pupil = head.eye_left[0]
    assert turned[pupil, 0] > head.mean_mm[pupil, 0] + 2


def test_face_region_is_the_face(head: MorphableHead) -> None:
    region = head.mean_mm[head.face_region]
    assert region[:, 1].max() < 85
    assert region[:, 1].min() > -118
    part = np.array([head.part_names[i] for i in head.parts])
    assert set(part[head.face_triangles]) >= {"skin", "lips", "eye_left", "eye_right"}
    assert not set(part[head.face_triangles]) & {"ear", "shoulders"}
    assert head.face_region[head.landmarks[17:]].all()


def test_unknown_heads_and_other_editions_are_refused(head: MorphableHead) -> None:
    with pytest.raises(SamaeError, match="no head is called 'bert'"):
        load_head("bert")
    with pytest.raises(SamaeError, match="takes no path"):
        load_head("builtin", "somewhere.npz")
    require_same_edition(head, head.edition, head.digest, "the swapper")
    with pytest.raises(SamaeError, match=r"the swapper came from another head, builtin-0 .* make it anew"):
        require_same_edition(head, "builtin-0", head.digest, "the swapper")
    with pytest.raises(SamaeError, match="another edition"):
        head.layout.take(np.zeros((2, 257)), "identity")
