"""The landmark solve: known heads come back, wrong points are survived, bad input is named."""

from dataclasses import asdict, replace

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits
from toy_head import toy_head
from toy_pictures import toy_coefficients, toy_landmarks

from faces import compiled
from faces.camera import Camera, rotation_matrices
from faces.compiled import one_blas_thread
from faces.errors import SamaeError
from faces.fitting import FitSettings, fit
from faces.fitting.contour import contour_places, nearest_on_lines, outward_directions, points_at
from faces.fitting.landmarks import _Solver, angles_of, small_rotations, solve_landmarks, start_pose
from faces.fitting.tables import HOME, LINE_FRACTIONS, landmark_tables, ray_hits
from faces.morphable.registry import load_head
from faces.render.mesh_image import posed_vertices
from faces.treatment import PHOTOGRAPH_FIT

SIZE_PX = 256


@pytest.fixture(scope="module")
def faces():
    head = toy_head()
    coefficients = toy_coefficients(head, 24)
    return head, coefficients, toy_landmarks(head, coefficients, SIZE_PX)


def angles_apart_degrees(a_rad: np.ndarray, b_rad: np.ndarray) -> np.ndarray:
    turn = np.einsum("nij,nij->n", rotation_matrices(a_rad), rotation_matrices(b_rad))
    return np.degrees(np.arccos(np.clip((turn - 1) / 2, -1, 1)))


def interocular(points: np.ndarray) -> np.ndarray:
    return np.linalg.norm(points[:, 36] - points[:, 45], axis=-1)


def test_exact_landmarks_give_pose_and_shape_back(faces):
    head, truth, points = faces
    found = fit(None, points, head, SIZE_PX)
    assert found.ok.all(), found.reason
    assert found.landmark_nme_percent.max() < 0.3
    take = head.layout.take
    apart = angles_apart_degrees(take(found.coefficients, "rotation_rad"), take(truth, "rotation_rad"))
    assert apart.mean() < 0.75
    depth = take(found.coefficients, "translation_mm")[:, 2]
    assert np.abs(depth / take(truth, "translation_mm")[:, 2] - 1).max() < 0.02


def test_without_priors_the_solution_is_the_truth(faces):
    head, truth, points = faces
    free = {"identity_sigma": 1e3, "expression_sigma": 1e3, "noise_percent": 0.01}
    settings = FitSettings(contour="fixed", shape_steps=25, robust_percent=50.0, **free)
    found = fit(None, points, head, SIZE_PX, settings)
    assert found.landmark_nme_percent.max() < 1e-3
    for group, tolerance in (("rotation_rad", 1e-3), ("identity", 0.05), ("expression", 0.05), ("translation_mm", 1.0)):
        near = np.abs(head.layout.take(found.coefficients, group) - head.layout.take(truth, group))
        assert np.median(near.max(1)) < tolerance, group


def test_five_wrong_landmarks_do_not_spoil_the_fit(faces):
    head, truth, points = faces
    rng = np.random.default_rng(3)
    wrong = points.copy()
    for n, apart in enumerate(interocular(points)):
        picked = rng.choice(68, 5, replace=False)
        wrong[n, picked] += rng.choice([-1, 1], (5, 2)) * rng.uniform(0.15, 0.4, (5, 2)) * apart
    tables = landmark_tables(head, 80)
    found = solve_landmarks(tables, wrong, Camera.centred(SIZE_PX), FitSettings())
    honest = np.linalg.norm(found.fitted_px - points, axis=-1).mean(1) / interocular(points)
    assert 100 * honest.max() < 0.6
    apart = angles_apart_degrees(found.rotation_rad, head.layout.take(truth, "rotation_rad"))
    assert apart.mean() < 1.0


def test_landmarks_that_a_network_read_are_believed_less(faces):
    """Points that are off by 2.5 % of the eye distance: with the defaults the error goes into pose and shape."""
    head, truth, points = (faces[0], *(np.tile(part, (4, *[1] * (part.ndim - 1))) for part in faces[1:]))
    rng = np.random.default_rng(5)
    read = points + rng.normal(0, 0.025, points.shape) * interocular(points)[:, None, None]
    take, wrong = head.layout.take, []
    for settings in (FitSettings(), PHOTOGRAPH_FIT):
        found = fit(None, read, head, SIZE_PX, settings)
        assert found.ok.all()
        shapes = [head.vertices(take(c, "identity"), take(c, "expression")) for c in (found.coefficients, truth)]
        apart = angles_apart_degrees(take(found.coefficients, "rotation_rad"), take(truth, "rotation_rad"))
        wrong.append([np.linalg.norm(shapes[0] - shapes[1], axis=-1).mean(), apart.mean()])
    assert (np.array(wrong[1]) < 0.9 * np.array(wrong[0])).all()


def test_sliding_contour_follows_the_visible_outline():
    """Jaw points on the outline of a strongly turned head fit when they may slide, and pull the pose when fixed."""
    head = toy_head()
    truth = toy_coefficients(head, 8, seed=5)
    truth[:, head.layout.slices["rotation_rad"]] = np.array([[0.05, y, 0.0] for y in np.linspace(-0.7, 0.7, 8)])
    tables, camera, points = landmark_tables(head, 80), Camera.centred(SIZE_PX), toy_landmarks(head, truth, SIZE_PX)
    shape = np.concatenate([head.layout.take(truth, g) for g in ("identity", "expression")], 1).astype(np.float64)
    solver = _Solver(tables, points, camera, FitSettings(contour="sliding"))
    solver.rotation = rotation_matrices(head.layout.take(truth, "rotation_rad"))
    solver.translation = head.layout.take(truth, "translation_mm").astype(np.float64)
    solver.coefficients = shape
    outline = solver.project(solver.points()[0])[0]
    moved = np.linalg.norm(outline[:, :17] - points[:, :17], axis=-1)
    assert moved[[0, 7]].max() > 8.0
    assert moved[[3, 4]].max() < 8.0
    slid = solve_landmarks(tables, outline, camera, FitSettings(contour="auto"))
    fixed = solve_landmarks(tables, outline, camera, FitSettings(contour="fixed", contour_weight=1.0))
    truth_rad = head.layout.take(truth, "rotation_rad")
    apart = [angles_apart_degrees(one.rotation_rad, truth_rad).mean() for one in (slid, fixed)]
    assert apart[0] < 1.5
    assert apart[0] < apart[1]


def test_the_same_landmarks_give_the_same_bytes_in_any_batch(faces):
    head, _, points = faces
    whole = fit(None, points, head, SIZE_PX).coefficients
    again = fit(None, points, head, SIZE_PX).coefficients
    assert whole.tobytes() == again.tobytes()
    alone = fit(None, points[5:6], head, SIZE_PX).coefficients
    np.testing.assert_allclose(alone[0], whole[5], atol=2e-3)


def test_scale_of_the_picture_does_not_matter(faces):
    head, _, points = faces
    small = fit(None, points / 4, head, SIZE_PX // 4).coefficients
    np.testing.assert_allclose(small, fit(None, points, head, SIZE_PX).coefficients, atol=2e-3)


def test_expressions_stay_in_their_box(faces):
    head, _, points = faces
    noisy = points + np.random.default_rng(0).normal(size=points.shape) * 3
    expression = head.layout.take(fit(None, noisy, head, SIZE_PX).coefficients, "expression")
    assert expression.min() >= 0.0
    assert expression.max() <= 1.0


def test_photographs_may_lie_further_from_their_landmarks_before_they_are_refused(faces):
    """Their fit follows the points less; what the defaults accept must not be lost by that."""
    head, _, points = faces
    rng = np.random.default_rng(6)
    read = points + rng.normal(0, 0.045, points.shape) * interocular(points)[:, None, None]
    exact, photographs = (fit(None, read, head, SIZE_PX, settings) for settings in (FitSettings(), PHOTOGRAPH_FIT))
    assert photographs.landmark_nme_percent.mean() > exact.landmark_nme_percent.mean()
    assert (photographs.landmark_nme_percent > FitSettings().max_nme_percent).any()
    assert photographs.ok.sum() >= exact.ok.sum() > 0


def test_a_bad_face_is_a_reason_and_not_an_exception(faces):
    head, _, points = faces
    bad = points[:4].copy()
    bad[0, 40] = np.nan
    bad[1] = 100.0
    bad[2] = np.random.default_rng(1).uniform(0, SIZE_PX, (68, 2))
    found = fit(None, bad, head, SIZE_PX)
    assert found.ok.tolist() == [False, False, False, True]
    assert "1 of 68 landmarks are not finite" in found.reason[0]
    assert "one spot" in found.reason[1]
    assert found.reason[2].startswith("bad fit: NME")
    assert found.reason[3] == ""
    assert np.isfinite(found.coefficients).all()


def test_a_face_far_out_is_refused_alone(faces):
    """Its system is singular: the batch must not fall with it."""
    head, _, points = faces
    bad = points[:3].copy()
    bad[1] *= 1e80
    found = fit(None, bad, head, SIZE_PX)
    assert found.ok.tolist() == [True, False, True]
    assert found.reason[1].startswith("a landmark lies ")
    assert found.reason[1].endswith(" px out, where no picture is")
    assert not found.coefficients[1].any()


def posed_landmarks(head, pitch_yaw_roll_degrees: tuple[float, float, float]) -> np.ndarray:
    """Four heads of one pose: (4, 68, 2)."""
    rng = np.random.default_rng(0)
    coefficients = head.layout.pack(
        identity=rng.normal(0, 0.7, (4, head.layout.n_identity)),
        rotation_rad=np.tile(np.radians(pitch_yaw_roll_degrees), (4, 1)),
        translation_mm=np.tile([0.0, 0.0, 1100.0], (4, 1)),
    )
    return posed_vertices(head, coefficients, Camera.centred(SIZE_PX))[0][:, head.landmarks, :2].astype(np.float64)


@pytest.mark.parametrize("yaw", [0.0, 30.0, -60.0])
@pytest.mark.parametrize("mistake", ["mirrored", "swapped", "flipped"])
def test_landmarks_in_another_order_are_refused_and_the_order_is_named(yaw, mistake):
    head = load_head("builtin")
    points = posed_landmarks(head, (5.0, yaw, 0.0))
    wrong = {
        "mirrored": points * [-1, 1] + [SIZE_PX, 0], "swapped": points[..., ::-1],
        "flipped": points * [1, -1] + [0, SIZE_PX],
    }[mistake]  # fmt: skip
    found = fit(None, np.ascontiguousarray(wrong), head, SIZE_PX)
    assert not found.ok.any()
    assert all("in another order than iBUG-68's" in reason for reason in found.reason), found.reason


@pytest.mark.parametrize("pose", [(5, 20, 90), (5, 20, 180), (5, -20, -135), (0, 85, 0), (-60, 0, 0), (60, 0, 170)])
def test_real_poses_are_no_wrong_order(pose):
    found = fit(None, posed_landmarks(load_head("builtin"), pose), load_head("builtin"), SIZE_PX)
    assert found.ok.all(), found.reason


@pytest.mark.parametrize(
    ("images", "shape", "size_px", "sentence"),
    [
        (None, (2, 67, 2), 64, "iBUG-68"),
        (None, (68, 2), 64, "iBUG-68"),
        (np.zeros((2, 64, 64), np.uint8), (2, 68, 2), 64, "uint8"),
        (np.zeros((2, 64, 64, 3), np.float32), (2, 68, 2), 64, "uint8"),
        (np.zeros((3, 64, 64, 3), np.uint8), (2, 68, 2), 64, "one picture a face"),
        (np.zeros((2, 32, 32, 3), np.uint8), (2, 68, 2), 64, "must agree"),
    ],
)
def test_wrong_shapes_are_errors_that_name_the_mend(images, shape, size_px, sentence):
    with pytest.raises(SamaeError, match=sentence):
        fit(images, np.ones(shape), toy_head(), size_px)


def test_settings_refuse_nonsense_and_their_digest_follows_them():
    with pytest.raises(SamaeError, match="contour"):
        FitSettings(contour="wobbly")
    with pytest.raises(SamaeError, match="working_px"):
        FitSettings(working_px=4)
    for noise in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(SamaeError, match="noise_percent is"):
            FitSettings(noise_percent=noise)
    assert FitSettings().digest == FitSettings().digest
    for name, value in asdict(FitSettings()).items():
        other = "fixed" if name == "contour" else value + 1
        assert FitSettings(**{name: other}).digest != FitSettings().digest, name


def test_an_empty_batch_is_empty():
    found = fit(None, np.zeros((0, 68, 2)), toy_head(), SIZE_PX)
    assert len(found) == 0
    assert found.coefficients.shape == (0, toy_head().layout.size)


def test_angles_and_small_rotations_invert_each_other():
    angles = np.random.default_rng(0).uniform(-1, 1, (50, 3))
    np.testing.assert_allclose(angles_of(rotation_matrices(angles)), angles, atol=1e-12)
    omega = np.random.default_rng(1).normal(size=(20, 3))
    turns = small_rotations(omega)
    np.testing.assert_allclose(turns @ turns.transpose(0, 2, 1), np.broadcast_to(np.eye(3), turns.shape), atol=1e-12)
    np.testing.assert_allclose((turns @ omega[..., None])[..., 0], omega, atol=1e-12)


def test_start_pose_is_exact_for_a_far_camera():
    """Seen from far away perspective is weak, and the closed form is right."""
    head = toy_head()
    mean = head.mean_mm[head.landmarks[17:]].astype(np.float64)
    angles = np.array([[0.2, -0.4, 0.1], [-0.1, 0.5, -0.3]])
    camera = Camera(256, 1e6, 128, 128)
    turn = rotation_matrices(angles)
    moved = mean @ turn.transpose(0, 2, 1) * [1, -1, -1] + np.array([10.0, -20.0, 1e6])
    points = moved[..., :2] * (camera.focal_px / moved[..., 2:]) + 128
    rotation, translation = start_pose(mean, points, camera)
    np.testing.assert_allclose(rotation, turn, atol=1e-3)
    np.testing.assert_allclose(translation[:, :2], [[10, -20]] * 2, atol=0.1)


def test_start_pose_survives_wrong_points() -> None:
    head = toy_head()
    mean = head.mean_mm[head.landmarks[17:]].astype(np.float64)
    turn = rotation_matrices(np.array([[0.1, -0.3, 0.1]]))
    camera = Camera(256, 1e6, 128, 128)
    moved = mean @ turn.transpose(0, 2, 1) * [1, -1, -1] + np.array([10.0, -20.0, 1e6])
    points = moved[..., :2] * (camera.focal_px / moved[..., 2:]) + 128
    points[:, [3, 20, 33, 47]] += [[30.0, -25.0], [-40.0, 10.0], [25.0, 35.0], [0.0, 40.0]]
    rotation, translation = start_pose(mean, points, camera)
    np.testing.assert_allclose(rotation, turn, atol=1e-3)
    np.testing.assert_allclose(translation[:, :2], [[10, -20]], atol=0.1)


def test_kinds_of_landmarks_weigh_what_the_settings_say(faces) -> None:
    head, _, points = faces
    settings = FitSettings(contour_weight=0.25, ridge_weight=5.0, lip_weight=7.0)
    solver = _Solver(landmark_tables(head, 80), points[:1], Camera.centred(SIZE_PX), settings)
    weights = solver.weights(np.zeros((1, 68, 2)), 1.0)[0]
    weights /= weights[40]
    np.testing.assert_allclose(weights[:17], 0.25)
    np.testing.assert_allclose(weights[28:31], 5.0)
    np.testing.assert_allclose(weights[60:], 7.0)
    np.testing.assert_allclose(weights[np.r_[17:27, 31:60]], 1.0)
    noise_px = settings.noise_percent / 100 * interocular(points[:1])[0]
    plain = solver.weights(np.zeros((1, 68, 2)), 1.0)[0, 40]
    assert plain == pytest.approx(1 / noise_px**2, rel=0.25)
    doubted = solver.weights(np.full((1, 68, 2), 0.5**0.5 * 8 * noise_px), 1.0)[0, 40]
    assert doubted == pytest.approx(plain / 4, rel=0.3)


def test_a_step_is_bounded(faces) -> None:
    head, _, points = faces
    solver = _Solver(landmark_tables(head, 80), points[:2], Camera.centred(SIZE_PX), FitSettings())
    before, depth = solver.rotation, solver.translation[:, 2]
    delta = np.zeros((2, 6))
    delta[0, :3], delta[1, 5] = [0.0, 3.0, 0.0], -5 * depth[1]
    solver.apply(delta)
    turned = np.einsum("nij,nij->n", solver.rotation, before)
    np.testing.assert_allclose(np.arccos(np.clip((turned - 1) / 2, -1, 1)), [0.5, 0.0], atol=1e-6)
    np.testing.assert_allclose(solver.translation[:, 2] / depth, [1.0, 2 / 3])


@pytest.mark.parametrize("bound", [0.0, 1.0])
def test_expressions_at_a_limit_that_want_to_pass_it_stay_out_of_the_step(faces, bound) -> None:
    head, _, points = faces
    tables = landmark_tables(head, 80)
    solver = _Solver(tables, points, Camera.centred(SIZE_PX), FitSettings())
    solver.coefficients[:, tables.n_identity :] = bound
    steps: list[np.ndarray] = []
    solver.apply = steps.append
    solver.step(True, 1.0)
    moved = steps[0][:, 6 + tables.n_identity :]
    assert 0.05 < (moved == 0).mean() < 0.95
    assert (steps[0][:, : 6 + tables.n_identity] != 0).all()


def test_the_heads_own_spread_of_expressions_is_kept(faces) -> None:
    head, _, points = faces
    shy = replace(head, expression_sigma=np.array([1e-4, *[1.0] * 7]))
    plain, held = (one.layout.take(fit(None, points, one, SIZE_PX).coefficients, "expression") for one in (head, shy))
    assert plain[:, 0].max() > 0.05
    assert held[:, 0].max() < 0.01
    assert held[:, 1:].max() > 0.05


def test_fewer_identity_modes_are_the_first_ones(faces) -> None:
    head, _, points = faces
    identity = head.layout.take(fit(None, points, head, SIZE_PX, FitSettings(n_identity=6)).coefficients, "identity")
    assert np.abs(identity[:, :6]).max() > 0.1
    assert not identity[:, 6:].any()


def test_the_error_is_a_share_of_the_outer_eye_corners(faces) -> None:
    head, _, points = faces
    found = fit(None, points, head, SIZE_PX, FitSettings(contour="fixed"))
    vertices = posed_vertices(head, found.coefficients, Camera.centred(SIZE_PX))[0][:, head.landmarks, :2]
    away = np.linalg.norm(vertices - points, axis=-1).mean(1) / interocular(points)
    np.testing.assert_allclose(found.landmark_nme_percent, 100 * away, atol=0.02)


def test_jacobian_is_the_derivative():
    head = toy_head()
    tables = landmark_tables(head, 80)
    points = toy_landmarks(head, toy_coefficients(head, 3), SIZE_PX)
    settings = FitSettings(contour="fixed")
    solver = _Solver(tables, points, Camera.centred(SIZE_PX), settings)
    solver.coefficients = np.random.default_rng(0).uniform(0, 0.5, solver.coefficients.shape)
    points_mm, jaw = solver.points()
    pixels, moved = solver.project(points_mm)
    jacobian = solver.jacobian(points_mm, moved, jaw)
    rotation, translation, coefficients = solver.rotation, solver.translation, solver.coefficients
    for k in (0, 1, 2, 3, 4, 5, 6, 20, 6 + tables.n_identity + 2):
        delta = np.zeros((3, jacobian.shape[-1]))
        delta[:, k] = 1e-5
        solver.rotation = small_rotations(delta[:, :3]) @ rotation
        solver.translation = translation + delta[:, 3:6]
        solver.coefficients = coefficients + delta[:, 6:]
        numeric = (solver.project(solver.points()[0])[0] - pixels) / 1e-5
        np.testing.assert_allclose(numeric, jacobian[..., k], atol=2e-2, rtol=1e-3)


def test_ray_hits_finds_the_outermost_triangle():
    near = np.array([[-1, -1, 1], [1, -1, 1], [0, 1, 1]], float)
    corners = np.stack([near, near * [1, 1, 3], near * [1, 1, -1]])
    hit, weights = ray_hits(np.zeros((2, 3)), np.array([[0, 0, 1.0], [1.0, 0, 0]]), corners)
    assert hit.tolist() == [1, -1]
    np.testing.assert_allclose(weights[0] @ corners[1], [0, 0, 3], atol=1e-12)


def test_line_tables_agree_with_the_whole_head():
    """A point of a line, decoded by its own basis, lies where the whole decoded head has its vertex."""
    head = toy_head()
    tables = landmark_tables(head, 80)
    coefficients = toy_coefficients(head, 3)
    both = np.concatenate([head.layout.take(coefficients, g) for g in ("identity", "expression")], 1)
    vertices = head.vertices(*(head.layout.take(coefficients, g) for g in ("identity", "expression")))
    mean, basis = points_at(tables, np.full((3, 17), float(HOME)))
    here = mean + (basis @ both.astype(np.float64)[:, None, :, None])[..., 0]
    np.testing.assert_allclose(here, vertices[:, head.landmarks[:17]], atol=1e-3)


def test_only_lines_of_the_lower_jaw_go_on_behind_it() -> None:
    beyond = landmark_tables(toy_head(), 80).line_mean[:, HOME:]
    for j, line in enumerate(beyond):
        assert (np.ptp(line, axis=0).max() > 1.0) == (5 <= j <= 11), j


def test_nearest_on_lines_matches_dense_sampling():
    rng = np.random.default_rng(0)
    lines = np.cumsum(rng.normal(size=(4, 17, len(LINE_FRACTIONS), 2)), axis=2)
    observed = rng.normal(size=(4, 17, 2)) * 3
    first, last = rng.integers(0, 4, (4, 17)), rng.integers(6, len(LINE_FRACTIONS), (4, 17))
    place = nearest_on_lines(lines, observed, first, last)
    assert ((place >= first) & (place <= last)).all()
    for n, j in ((0, 0), (1, 5), (3, 16)):
        dense = np.linspace(first[n, j], last[n, j], 4001)
        low = np.minimum(dense.astype(int), len(LINE_FRACTIONS) - 2)
        at = lines[n, j, low] * (1 - dense + low)[:, None] + lines[n, j, low + 1] * (dense - low)[:, None]
        best = np.linalg.norm(at - observed[n, j], axis=-1).min()
        low = min(int(place[n, j]), len(LINE_FRACTIONS) - 2)
        mine = lines[n, j, low] * (1 - place[n, j] + low) + lines[n, j, low + 1] * (place[n, j] - low)
        assert np.linalg.norm(mine - observed[n, j]) <= best + 1e-3


def test_a_frontal_contour_stays_at_home():
    head = toy_head()
    tables = landmark_tables(head, 80)
    turn = np.array([1, -1, -1.0])[:, None] * np.eye(3)[None]
    outward = outward_directions(tables, turn)
    line_px = (tables.line_mean[None] * [1, -1, 1])[..., :2]
    places = contour_places("sliding", line_px, outward, line_px[:, :, HOME])
    assert np.abs(places[0, [0, 1, 2, 14, 15, 16]] - HOME).max() <= 2
    assert (contour_places("fixed", line_px, outward, line_px[:, :, HOME]) == HOME).all()
    assert outward[0, 8, 1] > 0.99
    assert outward[0, 0, 0] < -0.9


def test_linear_algebra_keeps_to_one_thread_inside_and_is_left_as_it_was() -> None:
    """OpenBLAS's spinning threads cost a busy machine many times the work; fitting spreads faces over cores itself."""

    def threads() -> list[int]:
        return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

    compiled._blas.cache_clear()  # libraries that other tests loaded since (scipy brings its own) count too
    with threadpool_limits(limits=3, user_api="blas"):
        before = threads()
        with one_blas_thread():
            assert set(threads()) == {1}
        assert threads() == before
