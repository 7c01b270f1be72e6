"""Metrics against independent arithmetic: scikit-image, scipy, and values worked out by hand."""

import importlib
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import torch
from skimage.color import deltaE_ciede2000, rgb2lab
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from evaluation import metrics as metrics_package
from evaluation.colour import delta_e_2000, picture_to_lab
from evaluation.context import Gallery, Measured, PairContext, Pictures, grow
from evaluation.metrics import METRIC_VERSION, background, build_metrics, expression, light, pose, seam, shape, skin
from evaluation.metrics.consistency import identity_consistency
from evaluation.metrics.frechet import frechet_distance
from evaluation.metrics.identity import truth_identity
from evaluation.metrics.kernel import kernel_distance
from evaluation.metrics.retrieval import retrieval, source_rank
from evaluation.metrics.truth_landmarks import nme_percent
from evaluation.metrics.truth_psnr import FACE_METRIC
from evaluation.metrics.truth_ssim import METRIC as SSIM
from evaluation.metrics.truth_ssim import ssim_map
from tests.evaluation.fakes import SIZE_PX, ColourEncoder, disc
from tests.faces.toy_head import toy_head

RNG = np.random.default_rng(5)


def noise(count: int = 2, size_px: int = SIZE_PX) -> np.ndarray:
    return RNG.integers(0, 256, (count, size_px, size_px, 3), dtype=np.uint8)


def context(
    target: np.ndarray, result: np.ndarray, truth: np.ndarray | None = None, measured: Measured | None = None
) -> PairContext:
    mask = np.repeat(disc((24, 24), 14)[None], len(target), 0).astype(np.float32)
    marks = np.zeros((len(target), 68, 2), np.float32)
    shots = [Pictures(image, marks, mask) if image is not None else None for image in (target, target, result, truth)]
    source, goal, given, true = shots
    assert source is not None
    assert goal is not None
    assert given is not None
    keys = tuple(str(i) for i in range(len(target)))
    return PairContext(source, goal, given, true, Gallery(keys, np.arange(len(keys)), {}), keys, keys, measured)


def test_lab_agrees_with_scikit_image() -> None:
    picture = noise(1)[0]
    assert np.allclose(picture_to_lab(picture), rgb2lab(picture), atol=1e-4)


def test_colour_differences_agree_with_scikit_image() -> None:
    a, b = picture_to_lab(noise(1)[0]), picture_to_lab(noise(1)[0])
    assert np.allclose(delta_e_2000(a, b), deltaE_ciede2000(a, b), atol=1e-4)


def test_ciede2000_of_the_published_test_pairs() -> None:
    """Sharma, Wu and Dalal 2005, table 1: pairs 1, 7, 10 and 25."""
    a = np.array([[50, 2.6772, -79.7751], [50, 0, 0], [50, 2.49, -0.001], [60.2574, -34.0099, 36.2677]])
    b = np.array([[50, 0, -82.7485], [50, -1, 2], [50, -2.49, 0.0011], [60.4626, -34.1751, 39.4387]])
    assert np.allclose(delta_e_2000(a, b), [2.0425, 2.3669, 7.2195, 1.2644], atol=1e-4)
    assert np.allclose(delta_e_2000(a, b), delta_e_2000(b, a), atol=1e-9)


def test_psnr_agrees_with_scikit_image() -> None:
    a, b = noise(), noise()
    ours = background.psnr_db(a, b, np.ones(a.shape[:3], bool))
    assert np.allclose(ours, [peak_signal_noise_ratio(x, y) for x, y in zip(a, b, strict=True)], atol=1e-4)
    assert background.psnr_db(a, a, np.ones(a.shape[:3], bool)).tolist() == [60, 60]


def test_ssim_agrees_with_scikit_image() -> None:
    a = noise()
    for b in (noise(), np.clip(a.astype(int) + RNG.integers(-20, 20, a.shape), 0, 255).astype(np.uint8), a // 2):
        ours = SSIM.compute(context(a, b, a))
        theirs = [
            structural_similarity(
                x, y, channel_axis=-1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255
            )
            for x, y in zip(a, b, strict=True)
        ]
        assert np.allclose(ours, theirs, atol=1e-4)
    assert np.allclose(ssim_map(a[0], a[0]), 1)


def test_frechet_distance_agrees_with_the_matrix_square_root() -> None:
    a, b = RNG.normal(size=(80, 6)), RNG.normal(0.3, 1.4, size=(90, 6))
    cov_a, cov_b = np.cov(a.T), np.cov(b.T)
    root = scipy.linalg.sqrtm(cov_a @ cov_b).real
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(cov_a + cov_b - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(expected, abs=1e-8)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-8)
    assert np.isnan(frechet_distance(a[:1], b))


def test_frechet_distance_survives_fewer_rows_than_features() -> None:
    a = RNG.normal(size=(5, 20))
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(a, a + 1) == pytest.approx(20, abs=1e-6)


def test_set_distances_agree_with_torchmetrics() -> None:
    reason = "torchmetrics is in the extra 'dev'"
    fids = pytest.importorskip("torchmetrics.image.fid", reason=reason)
    kids = pytest.importorskip("torchmetrics.image.kid", reason=reason)

    class Identity(torch.nn.Module):
        num_features = 12

        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            return rows.flatten(1)

    a, b = RNG.normal(size=(60, 12)), RNG.normal(0.4, 1.3, size=(60, 12))
    fid = fids.FrechetInceptionDistance(Identity(), input_img_size=(12, 1, 1)).set_dtype(torch.float64)
    kid = kids.KernelInceptionDistance(Identity(), subsets=1, subset_size=60).set_dtype(torch.float64)
    for measured_by in (fid, kid):
        for rows, real in ((b, True), (a, False)):
            measured_by.update(torch.from_numpy(rows)[:, :, None, None], real=real)
    assert frechet_distance(a, b) == pytest.approx(float(fid.compute()), abs=1e-4)
    assert kernel_distance(a, b) == pytest.approx(float(kid.compute()[0]), abs=1e-4)
    assert np.isnan(kernel_distance(a[:1], b))


def test_consistency_by_hand() -> None:
    vectors = np.array([[1, 0], [0, 1], [1, 0], [-1, 0]], np.float32)
    assert identity_consistency(vectors, ["a", "a", "b", "b"]) == pytest.approx((0 - 1) / 2)
    assert np.isnan(identity_consistency(vectors, list("abcd")))


HEAD = toy_head()


def measured(**groups: tuple[np.ndarray, np.ndarray, np.ndarray]) -> Measured:
    packed = [HEAD.layout.pack(**{name: values[side] for name, values in groups.items()}) for side in range(3)]
    return Measured(HEAD, *packed, np.zeros((len(packed[0]), 68, 2)))


def test_pose_is_the_angle_between_rotations() -> None:
    nothing = np.zeros((3, 3))
    turned = np.radians([[10.0, 0, 0], [0, -25, 0], [0, 0, 179]])
    shots = noise(3)
    found = pose.compute(context(shots, shots, None, measured(rotation_rad=(nothing, nothing, turned))))
    assert np.allclose(found, [10, 25, 179], atol=1e-4)
    same = measured(rotation_rad=(nothing, turned, turned))
    assert np.allclose(pose.compute(context(shots, shots, None, same)), 0, atol=1e-4)


def test_expression_is_to_the_target_and_shape_to_the_source() -> None:
    shots = noise(1)
    shy, wide = np.zeros((1, len(HEAD.expression_mm))), np.zeros((1, len(HEAD.expression_mm)))
    plain, other = np.zeros((1, len(HEAD.identity_mm))), np.zeros((1, len(HEAD.identity_mm)))
    wide[0, 0], other[0, 0] = 1, 2
    given = measured(identity=(other, plain, plain), expression=(shy, wide, shy))
    moved = HEAD.expression_mm[0, HEAD.landmarks[17:]]
    by_hand = np.sqrt((moved.astype(float) ** 2).sum(-1).mean())
    assert expression.compute(context(shots, shots, None, given))[0] == pytest.approx(by_hand, rel=1e-5)
    assert shape.compute(context(shots, shots, None, given))[0] > 0.1
    alike = measured(identity=(other, plain, other), expression=(shy, wide, wide))
    assert expression.compute(context(shots, shots, None, alike))[0] == 0
    assert shape.compute(context(shots, shots, None, alike))[0] == 0


def test_shape_forgives_size() -> None:
    basis = HEAD.mean_mm[None].copy()
    faces = shape.neutral_faces(np.array([[0.0], [0.3]]), HEAD.mean_mm, basis)
    assert np.allclose(faces[0], faces[1], atol=1e-3)


def test_light_forgives_brightness_alone() -> None:
    lamp = RNG.normal(size=(1, 27)).astype(np.float32)
    lamp[:, [0, 9, 18]] = 3.0
    other = lamp.copy()
    other[:, 2] += 1.0
    shots = noise(1)
    brighter = measured(light=(lamp, lamp, 2 * lamp))
    assert light.compute(context(shots, shots, None, brighter))[0] == pytest.approx(0, abs=1e-6)
    turned = measured(light=(lamp, lamp, other))
    assert light.compute(context(shots, shots, None, turned))[0] > 0.05


def test_landmark_error_is_in_per_cent_of_the_eye_distance() -> None:
    true = RNG.uniform(0, 64, (1, 68, 2))
    true[0, 36], true[0, 45] = (10, 10), (60, 10)
    assert nme_percent(true + np.array([0, 5]), true)[0] == pytest.approx(10)


def test_graded_corruptions_move_each_metric_the_way_they_must() -> None:
    """More noise, more shift of colour, more of a ring: every metric must worsen from step to step."""
    target = np.full((1, SIZE_PX, SIZE_PX, 3), 120, np.uint8)
    inside, grain = disc((24, 24), 14)[None, ..., None], RNG.normal(size=target.shape)
    tints, noises, rings = [], [], []
    for strength in (0, 10, 30, 60):
        tinted = np.where(inside, target + np.array([strength, 0, 0]), target).astype(np.uint8)
        tints.append(skin.compute(context(target, tinted))[0])
        noisy = np.clip(target + strength * grain, 0, 255).astype(np.uint8)
        noises.append([background.compute(context(target, noisy))[0], -SSIM.compute(context(target, noisy, target))[0]])
        rings.append(seam.compute(context(target, tinted))[0])
    assert np.all(np.diff(tints) > 0)
    assert np.all(np.diff(np.array(noises)[:, 0]) < 0)
    assert np.all(np.diff(np.array(noises)[:, 1]) > 0)
    assert np.all(np.diff(rings) > 0)


def test_background_ignores_the_face_and_sees_everything_else() -> None:
    target = noise(1)
    face, corner = target.copy(), target.copy()
    face[0][disc((24, 24), 13)] = 0
    corner[0, :6, :6] = 0
    assert background.compute(context(target, face))[0] == 60
    assert background.compute(context(target, corner))[0] < 30


def test_retrieval_counts_a_tie_against_the_result() -> None:
    encoder = ColourEncoder()
    pictures = noise(1)
    pair = context(pictures, pictures)
    vector = np.zeros((1, 9), np.float32)
    vector[0, 0] = 1
    pair.result.remember("embedding.colours", vector)
    pair.gallery = Gallery(("0", "other"), np.array([0, 1]), {"colours": np.repeat(vector, 2, 0)})
    assert retrieval(encoder, 1).compute(pair).tolist() == [0]
    assert retrieval(encoder, 2).compute(pair).tolist() == [1]


def test_a_stand_in_for_a_missing_face_is_not_ranked() -> None:
    """It lies nearer than the source, once as a stranger's picture, once as another picture of the source's person."""
    encoder = ColourEncoder()
    pair = context(noise(1), noise(1))
    pair.result.remember("embedding.colours", np.eye(9, dtype=np.float32)[:1])
    faces = {"colours": np.array([0.6, 1.0, 0.7], np.float32)[:, None] * np.eye(9, dtype=np.float32)[:1]}
    for person, ranks in ((1, [2, 1]), (0, [0, 1])):
        gallery = Gallery(("0", "lost", "other"), np.array([0, person, 2]), faces)
        found = []
        for there in (None, np.array([True, False, True])):
            pair.gallery = replace(gallery, there=there)
            found.append(source_rank(pair, encoder)[0])
        assert found == ranks


def test_identity_to_the_truth_by_hand_with_truth_and_result_cropped_alike() -> None:
    """By the target's landmarks, wherever the truth's own lie; each encoder looks at the truth once."""
    pair, asked = context(noise(1), noise(1)), []
    angle = np.radians(40)

    class Turned:
        name, digest, dim, licence = "turned", "turned", 2, ""

        def embed(self, images: np.ndarray, landmarks_px: np.ndarray) -> np.ndarray:
            asked.append(landmarks_px)
            return np.array([[np.cos(angle), np.sin(angle)]], np.float32)

    pair.result.remember("embedding.turned", np.array([[1.0, 0.0]], np.float32))
    pair.truth = Pictures(noise(2), pair.target.landmarks_px + 5, pair.target.mask)
    both = truth_identity([Turned(), ColourEncoder()])
    pair.result.remember("embedding.colours", np.eye(9, dtype=np.float32)[:1])
    pair.truth.remember("embedding by target.colours", np.eye(9, dtype=np.float32)[:1])
    for _ in range(2):
        assert both.compute(pair) == pytest.approx([(np.cos(angle) + 1) / 2])
    assert len(asked) == 1
    np.testing.assert_array_equal(asked[0], pair.target.landmarks_px)


def test_growing_and_shrinking_a_region() -> None:
    region = disc((24, 24), 10)[None]
    assert grow(region, 0.05).sum() > region.sum() > grow(region, -0.05).sum()
    everything = np.ones((1, 20, 20), bool)
    assert not grow(everything, -0.1)[0, 0].any()


def test_the_registry_is_complete_and_told_apart() -> None:
    metrics = build_metrics([ColourEncoder(), ColourEncoder("b")], has_truth=True, has_fit=True)
    names = [m.name for m in metrics]
    assert len(set(names)) == len(names)
    assert all(m.about.endswith((".", ").")) and m.direction in ("higher", "lower") for m in metrics)
    bare = build_metrics([ColourEncoder()], has_truth=False, has_fit=False)
    assert not any(m.needs_truth or m.needs_fit for m in bare)
    assert METRIC_VERSION >= 1


#: Every docstring of a metric says in which unit it counts, by one of these words.
UNITS = ("cosine", "dB", "degrees", "millimetres", "CIEDE2000", "per cent", "L* a px", "grey levels", "no unit")
MODULES = sorted(
    path.stem for path in Path(metrics_package.__path__[0]).glob("*.py") if path.stem not in ("__init__", "base")
)


@pytest.mark.parametrize("name", MODULES)
def test_a_metric_says_definition_range_direction_unit_and_source(name: str) -> None:
    said = " ".join((importlib.import_module(f"evaluation.metrics.{name}").__doc__ or "").split())
    assert re.match(r"\S.*?[.:?] ", said), "a definition in its first sentence"
    assert re.search(r"\bRange\b:? \S+", said)
    assert re.search(r"\b(higher|lower) is better\b", said)
    assert any(unit in said for unit in UNITS)
    assert re.search(r"\bSource: \S+", said)


def test_the_headlines_are_all_by_judges_that_trained_nobody() -> None:
    encoders = [ColourEncoder("own"), ColourEncoder("other")]
    metrics = {m.name: m for m in build_metrics(encoders, has_truth=True, has_fit=True, trained_with=("own",))}
    for name in ("identity_similarity", "identity_leak", "truth_identity", "retrieval_top1", "retrieval_top5"):
        assert "(other)" in metrics[name].about, name
        assert "(own)" in metrics[f"{name}.own"].about, name


def test_the_background_begins_beyond_the_true_swaps_face_too() -> None:
    target = np.full((1, SIZE_PX, SIZE_PX, 3), 120, np.uint8)
    wide = disc((24, 24), 19)  # the target's face has the radius 14
    changed = np.where((wide & ~disc((24, 24), 18))[None, ..., None], np.uint8(0), target)
    pair = context(target, changed, target)
    assert background.compute(pair)[0] < 30
    assert FACE_METRIC.compute(pair)[0] == 60
    pair.truth = Pictures(target, pair.target.landmarks_px, wide[None].astype(np.float32))
    assert background.compute(pair)[0] == 60
    assert FACE_METRIC.compute(pair)[0] < 30


def test_without_persons_the_source_picture_itself_is_the_hit() -> None:
    pair = context(noise(1), noise(1))
    pair.result.remember("embedding.colours", np.eye(9, dtype=np.float32)[:1])
    faces = np.array([0.5, 0.9, 0.7], np.float32)[:, None] * np.eye(9, dtype=np.float32)[:1]
    pair.gallery = Gallery(("0", "near", "other"), np.full(3, -1), {"colours": faces})
    assert source_rank(pair, ColourEncoder()).tolist() == [2]


def test_the_seam_forgives_the_edges_of_the_true_swap() -> None:
    target = np.full((1, SIZE_PX, SIZE_PX, 3), 120, np.uint8)
    true = np.where(disc((24, 24), 14)[None, ..., None], np.uint8(180), target)
    assert seam.compute(context(target, true, true))[0] == 0 < seam.compute(context(target, true))[0]
    moved = np.roll(true, 1, axis=2)  # within 2 % of the picture of the true edge
    assert seam.compute(context(target, moved, true))[0] == 0


def test_the_light_is_compared_with_the_targets() -> None:
    lamps = np.random.default_rng(0).normal(size=(2, 1, 27)).astype(np.float32)
    lamps[..., [0, 9, 18]] = 3.0
    shots = noise(1)
    assert light.compute(context(shots, shots, None, measured(light=(lamps[0], lamps[1], lamps[1]))))[0] == 0
    assert light.compute(context(shots, shots, None, measured(light=(lamps[0], lamps[1], lamps[0]))))[0] > 0.1
