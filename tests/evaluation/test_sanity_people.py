"""The metric-sanity table on real generated people: baselines and graded corruptions move each metric as they must."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest
import torch

from evaluation.evaluation import Evaluation
from evaluation.judge import judge
from evaluation.pairs import choose_pairs
from faces.identity import load_encoder
from faces.morphable.registry import load_head
from tests.evaluation import people
from tests.evaluation.fakes import ColourEncoder
from training.batch import FaceBatch, SwapResult

PAIRS = choose_pairs(people.index(), 12, 0)


class Corrupted:
    """The true swap, made worse by a function of a uint8 picture."""

    size_px = people.SIZE_PX

    def __init__(self, name: str, worsen: Callable[[np.ndarray], np.ndarray]) -> None:
        self.name, self.worsen = name, worsen

    def swap(self, source: FaceBatch, target: FaceBatch) -> SwapResult:
        shots = [self.worsen(people.truth(s, t).image) for s, t in zip(source.keys, target.keys, strict=True)]
        return SwapResult(torch.from_numpy(np.stack(shots)).permute(0, 3, 1, 2).float() / 255, target.mask)


@pytest.fixture(scope="module")
def table() -> dict[str, dict[str, float]]:
    """Baseline -> metric -> mean, with the fit."""
    head = load_head("builtin")
    evaluation = judge("copy-target", PAIRS, people.load_faces, [ColourEncoder()], people.truth, head)
    figures = {"copy-target": evaluation.summary, **evaluation.baselines}
    return {name: {m: f["mean"] for m, f in summary.items()} for name, summary in figures.items()}


def test_attributes_belong_to_copies_and_true_swaps(table: dict[str, dict[str, float]]) -> None:
    copy, paste, true = (table[n] for n in ("copy-target", "paste-source", "true-swap"))
    for metric in ("pose_degrees", "light_distance", "skin_delta_e", "expression_mm", "gaze_degrees"):
        assert copy[metric] < true[metric] < paste[metric], metric
    assert copy["seam"] == true["seam"] == 0 < paste["seam"]
    assert true["pose_degrees"] < 3 < paste["pose_degrees"]
    assert copy["background_psnr_db"] == 60
    assert true["background_psnr_db"] > 40


def test_shape_belongs_to_the_source(table: dict[str, dict[str, float]]) -> None:
    assert table["true-swap"]["shape_mm"] < table["paste-source"]["shape_mm"] < table["copy-target"]["shape_mm"]


def test_only_the_truth_is_true(table: dict[str, dict[str, float]]) -> None:
    copy, paste, true = (table[n] for n in ("copy-target", "paste-source", "true-swap"))
    assert true["truth_face_psnr_db"] == 60
    for metric in ("truth_face_psnr_db", "truth_face_ssim"):
        assert true[metric] > max(copy[metric], paste[metric]), metric
    for metric in ("truth_face_delta_e", "truth_landmark_nme"):
        assert true[metric] < min(copy[metric], paste[metric]), metric
    assert true["truth_landmark_nme"] < 3


def graded(name: str, steps: list[Callable[[np.ndarray], np.ndarray]], fitted: bool = False) -> list[Evaluation]:
    head = load_head("builtin") if fitted else None
    return [
        judge(
            Corrupted(f"{name}-{n}", step), PAIRS, people.load_faces, [ColourEncoder()], people.truth, head,
            baselines=(),
        )
        for n, step in enumerate(steps)
    ]  # fmt: skip


def falling(evaluations: list[Evaluation], metric: str) -> bool:
    return bool(np.all(np.diff([e.summary[metric]["mean"] for e in evaluations]) < 0))


def rising(evaluations: list[Evaluation], metric: str) -> bool:
    return bool(np.all(np.diff([e.summary[metric]["mean"] for e in evaluations]) > 0))


def test_blur_lowers_ssim_step_by_step() -> None:
    steps = [lambda p, s=s: cv2.GaussianBlur(p, (0, 0), s) for s in (0.5, 1.0, 2.0, 4.0)]
    evaluations = graded("blur", steps)
    assert falling(evaluations, "truth_face_ssim")
    assert falling(evaluations, "truth_face_psnr_db")
    assert falling(evaluations, "background_psnr_db")


def test_a_tint_raises_the_colour_errors_step_by_step() -> None:
    steps = [lambda p, s=s: np.clip(p * np.array([1 + s, 1, 1 - s]), 0, 255).astype(np.uint8) for s in (0.02, 0.1, 0.3)]
    evaluations = graded("tint", steps)
    assert rising(evaluations, "skin_delta_e")
    assert rising(evaluations, "truth_face_delta_e")


def test_turning_the_picture_raises_the_pose_and_landmark_errors_step_by_step() -> None:
    def turned(picture: np.ndarray, degrees: float) -> np.ndarray:
        middle = (people.SIZE_PX / 2, people.SIZE_PX / 2)
        matrix = cv2.getRotationMatrix2D(middle, degrees, 1.0)
        return cv2.warpAffine(picture, matrix, picture.shape[:2], borderMode=cv2.BORDER_REPLICATE)

    steps = [lambda p, d=d: turned(p, d) for d in (0.0, 4.0, 8.0)]
    evaluations = graded("turn", steps, fitted=True)
    assert rising(evaluations, "pose_degrees")
    assert rising(evaluations, "truth_landmark_nme")
    assert evaluations[-1].summary["pose_degrees"]["mean"] == pytest.approx(8, abs=2.5)


@pytest.mark.parametrize("name", ["builtin", "judge-1", "judge-2", "judge-3"])
def test_identity_belongs_to_pastes_and_true_swaps(name: str) -> None:
    evaluation = judge("copy-target", PAIRS, people.load_faces, [load_encoder(name)], people.truth)
    copy, paste, true = evaluation.summary, evaluation.baselines["paste-source"], evaluation.baselines["true-swap"]
    assert paste["identity_similarity"]["low"] > copy["identity_similarity"]["high"]
    assert paste["retrieval_top5"]["mean"] > copy["retrieval_top5"]["mean"]
    assert true["identity_similarity"]["mean"] > copy["identity_similarity"]["mean"]
    assert max(paste["identity_leak"]["high"], true["identity_leak"]["high"]) < copy["identity_leak"]["low"]
