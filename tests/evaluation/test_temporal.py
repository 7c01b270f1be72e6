"""The metrics of video on motions that are known: neighbours found, explained motion free, flicker counted."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from evaluation.context import Gallery, Measured, PairContext, Pictures
from evaluation.frames import clips, of_steps, runs, steps
from evaluation.judge import judge
from evaluation.metrics import build_metrics, landmark_jitter, temporal_difference, warp_error
from evaluation.metrics.temporal_identity import temporal_identity
from evaluation.pairs import PairList
from evaluation.rows import column, in_order, system_rows
from evaluation.statistics import PairGroups, summarise
from faces.errors import SamaeError
from tests.evaluation.fakes import ColourEncoder, FakePortrait
from tests.faces.toy_head import toy_head
from training.batch import FaceBatch, SwapResult

SIZE_PX, FRAMES = 64, 6
KEYS = tuple(f"a/{n:05d}" for n in range(FRAMES))
RNG = np.random.default_rng(2)


def wall() -> np.ndarray:
    """A smooth, rich texture (160, 160, 3) to look at through a moving window."""
    v, u = np.mgrid[:160, :160]
    waves = [np.sin(u * a + v * b + c) for a, b, c in ((0.31, 0.07, 0), (-0.11, 0.23, 1), (0.05, -0.37, 2))]
    return np.stack([127 + 40 * (waves[c] + waves[(c + 1) % 3]) for c in range(3)], -1)


def panned(speed_px: int) -> np.ndarray:
    """(FRAMES, S, S, 3) uint8 of a camera that moves sideways."""
    starts = [20 + n * speed_px for n in range(FRAMES)]
    return np.stack([wall()[30 : 30 + SIZE_PX, x : x + SIZE_PX] for x in starts]).astype(np.uint8)


def context(
    target: np.ndarray, result: np.ndarray, truth: np.ndarray, keys: tuple[str, ...] = KEYS,
    face: np.ndarray | None = None,
) -> PairContext:  # fmt: skip
    mask = np.zeros(target.shape[:3], np.float32)
    mask[:, 12:52, 12:52] = 1
    mask = mask if face is None else face
    marks = np.tile(RNG.uniform(10, 50, (1, 68, 2)), (len(target), 1, 1)).astype(np.float32)
    shots = [Pictures(image, marks, mask) for image in (target, target, result, truth)]
    gallery = Gallery(keys, np.arange(len(keys)), {})
    return PairContext(shots[0], shots[1], shots[2], shots[3], gallery, ("s",) * len(keys), keys)


def test_neighbours_are_frames_of_one_clip_in_order() -> None:
    keys = ("a/00002", "a/00001", "b/00001", "a/00005", "b/source", "a/00003")
    assert [rows.tolist() for rows in clips(keys)] == [[1, 0, 5, 3], [4, 2]]
    assert [rows.tolist() for rows in runs(keys)] == [[1, 0, 5]]
    here, there = steps(keys)
    assert (here.tolist(), there.tolist()) == ([1, 0], [0, 5])
    spread = of_steps(np.array([7.0, 9.0]), keys)
    assert spread[[1, 0, 5]].tolist() == [7, 9, 9]
    assert np.isnan(spread[[2, 3, 4]]).all()
    assert len(steps(("x", "y"))[0]) == 0


def test_a_failed_frame_is_nobodys_neighbour() -> None:
    keys = tuple(f"a/{n}" for n in range(6))
    ok = np.array([True, True, False, True, True, True])
    assert [rows.tolist() for rows in runs(keys, ok)] == [[0, 1], [3, 4, 5]]
    spread = of_steps(np.array([7.0, 8.0, 9.0]), keys, ok)
    assert spread[[0, 1, 3, 4, 5]].tolist() == [7, 7, 8, 9, 9]
    assert np.isnan(spread[2])


def test_motion_of_the_target_is_no_flicker_and_changing_light_is() -> None:
    target = panned(2)
    still = warp_error.compute(context(target, target, target))
    assert still.tolist() == [0] * FRAMES
    shifted = np.clip(target.astype(int) + 20, 0, 255).astype(np.uint8)  # another colour, the same in every frame
    assert np.abs(warp_error.compute(context(target, shifted, target))).max() < 1
    found = []
    for strength in (2, 6, 18):
        wobble = strength * np.array([1, -1] * (FRAMES // 2))[:, None, None, None]
        flickering = np.clip(target.astype(int) + wobble, 0, 255).astype(np.uint8)
        found.append(warp_error.compute(context(target, flickering, target)).mean())
    assert np.all(np.diff(found) > 0)
    assert found[-1] == pytest.approx(36, abs=6)


def test_a_constant_error_is_no_flicker_against_the_truth() -> None:
    truth = panned(3)
    constant = np.clip(truth.astype(int) + 9, 0, 255).astype(np.uint8)
    assert temporal_difference.compute(context(truth, truth, truth)).tolist() == [0] * FRAMES
    assert temporal_difference.compute(context(truth, constant, truth)).max() == pytest.approx(0, abs=1e-5)
    once = truth.copy()
    once[2, 20:40, 20:40] = 0
    values = temporal_difference.compute(context(truth, once, truth))
    assert values[1] > 1
    assert values[2] > 1
    assert values[[0, 3, 4, 5]].max() == 0


def test_identity_of_a_clip_by_hand() -> None:
    pair = context(*[panned(0)] * 3)
    encoder = ColourEncoder()
    turned = np.zeros((FRAMES, 9), np.float32)
    angle = np.radians(10 * np.arange(FRAMES))
    turned[:, 0], turned[:, 1] = np.cos(angle), np.sin(angle)
    same = np.zeros((FRAMES, 9), np.float32)
    same[:, 0] = 1
    pair.result.remember("embedding.colours", turned)
    pair.target.remember("embedding.colours", same)
    local, everywhere = (metric.compute(pair) for metric in temporal_identity(encoder))
    assert local == pytest.approx([np.cos(np.radians(10))] * FRAMES, abs=1e-6)
    assert everywhere[0] == pytest.approx(np.mean([np.cos(np.radians(10 * k)) for k in range(1, FRAMES)]), abs=1e-6)


def test_stability_is_told_against_the_footage_and_not_against_strangers() -> None:
    pair, encoder = context(*[panned(0)] * 3), ColourEncoder()

    def turning(degrees: float) -> np.ndarray:
        angle = np.radians(degrees * np.arange(FRAMES))
        return np.stack([np.cos(angle), np.sin(angle), *[np.zeros(FRAMES)] * 7], 1)

    pair.result.remember("embedding.colours", turning(20))
    pair.target.remember("embedding.colours", turning(5))
    local, everywhere = (metric.compute(pair) for metric in temporal_identity(encoder))
    steps_away = np.abs(np.subtract.outer(np.arange(FRAMES), np.arange(FRAMES)))
    means = [(np.cos(np.radians(degrees * steps_away)).sum(1) - 1) / (FRAMES - 1) for degrees in (20, 5)]
    assert local == pytest.approx([np.cos(np.radians(20)) / np.cos(np.radians(5))] * FRAMES, abs=1e-5)
    assert everywhere == pytest.approx(means[0] / means[1], abs=1e-5)
    pair.target.remember("embedding.colours", turning(88))  # a cosine of 0.03: the footage holds no one person
    local, everywhere = (metric.compute(pair) for metric in temporal_identity(encoder))
    assert np.isnan(local).all()
    assert np.isnan(everywhere).all()


def test_steps_count_where_the_face_is_in_either_frame() -> None:
    truth = panned(0)
    result = truth.copy()
    result[3, 12:22, 12:52] = 0
    face = np.zeros(truth.shape[:3], np.float32)
    face[:, 22:52, 12:52] = 1
    face[3, 12:22, 12:52] = 1  # seen in this frame alone
    values = temporal_difference.compute(context(truth, result, truth, face=face))
    assert values[2] > 1
    assert values[3] > 1
    assert values[[0, 1, 4, 5]].max() == 0


def test_what_the_flow_says_is_hidden_makes_no_flicker() -> None:
    """A card slides over the wall; the result draws noise where the wall is about to be hidden."""
    target = panned(0)
    for n in range(FRAMES):
        target[n, 20:44, 4 + 6 * n : 16 + 6 * n] = np.random.default_rng(1).integers(0, 255, (24, 12, 1))
    _, seen = warp_error.flow_between(target[1], target[2])
    hidden = ~seen
    assert hidden[20:44, 22:28].mean() > 0.5
    assert hidden[48:].mean() < 0.1
    here, there = np.array([1]), np.array([2])
    flow = np.zeros((SIZE_PX, SIZE_PX, 2), np.float32)
    whole = np.ones((FRAMES, SIZE_PX, SIZE_PX), bool)
    noisy = np.zeros(target.shape, np.uint8)
    noisy[1][hidden] = 200
    assert warp_error.step_errors(noisy, here, there, [(flow, seen)], whole).tolist() == [0]
    assert warp_error.step_errors(noisy, here, there, [(flow, whole[0])], whole)[0] > 10
    assert np.isnan(warp_error.step_errors(noisy, here, there, [(flow, ~whole[0])], whole)).all()


def test_landmarks_that_move_evenly_do_not_tremble() -> None:
    head, target = toy_head(), panned(1)
    pair = context(target, target, target)
    known = pair.target.landmarks_px + np.arange(FRAMES)[:, None, None]
    pair.target.landmarks_px = known.astype(np.float32)
    nothing = head.layout.pack(rotation_rad=np.zeros((FRAMES, 3)))
    eyes_px = float(np.linalg.norm(known[0, 36] - known[0, 45]))

    def jitter(found: np.ndarray) -> np.ndarray:
        pair.measured = Measured(head, nothing, nothing, nothing, found)
        return landmark_jitter.compute(pair)

    drift = 0.5 * np.arange(FRAMES)[:, None, None]
    assert jitter(known + 3 + drift) == pytest.approx([0] * FRAMES, abs=1e-3)
    wobble = np.array([1.0, -1.0] * (FRAMES // 2))[:, None, None] * np.array([1.0, 0.0])
    assert jitter(known + wobble) == pytest.approx([100 * 4 / eyes_px] * FRAMES, rel=1e-3)
    pair.target.landmarks_px = (known + wobble).astype(np.float32)  # the footage itself trembles
    assert jitter(known + wobble) == pytest.approx([0] * FRAMES, abs=1e-3)
    assert jitter(known) == pytest.approx([100 * 4 / eyes_px] * FRAMES, rel=1e-3)
    pair.target.landmarks_px = known.astype(np.float32)
    lost = known + drift
    lost[1] = 0  # nothing was found where the frame failed
    pair.ok = np.arange(FRAMES) != 1
    assert jitter(lost)[2:] == pytest.approx([0] * (FRAMES - 2), abs=1e-3)
    assert np.isnan(jitter(lost)[:2]).all()


class Brighter:
    """The frame a little brighter, the more the later; nothing for the frames named."""

    name, size_px = "brighter", SIZE_PX

    def __init__(self, fails_on: tuple[str, ...] = ()) -> None:
        self.fails_on = fails_on

    def swap(self, source: FaceBatch, target: FaceBatch) -> SwapResult:
        bad = set(target.keys) & set(self.fails_on)
        if bad:
            raise SamaeError(f"cannot swap onto {sorted(bad)}")
        more = torch.tensor([0.01 * int(key[-1]) for key in target.keys])
        return SwapResult((target.image + more[:, None, None, None]).clamp(0, 1), target.mask)


def load_frames(keys: Sequence[str]) -> FaceBatch:
    """The panned frames; the source is the first."""
    shots = panned(2)[[int(key[-1]) if key in KEYS else 0 for key in keys]]
    mask = torch.zeros(len(keys), 1, SIZE_PX, SIZE_PX)
    mask[:, :, 12:52, 12:52] = 1
    return FaceBatch(
        image=torch.from_numpy(shots).permute(0, 3, 1, 2).float() / 255, mask=mask,
        coefficients=torch.zeros(len(keys), 35), embedding=torch.ones(len(keys), 4) / 2,
        skin=torch.full((len(keys), 3), 0.3), landmarks=torch.full((len(keys), 68, 2), 30.0),
        person=torch.zeros(len(keys), dtype=torch.int64), keys=tuple(keys),
    )  # fmt: skip


def true_frame(_: str, target_key: str) -> FakePortrait:
    face = np.zeros((SIZE_PX, SIZE_PX), np.uint8)
    face[12:52, 12:52] = 255
    return FakePortrait(panned(2)[int(target_key[-1])], np.full((68, 2), 30.0, np.float32), face)


def test_a_frame_that_fails_does_not_flicker_in_its_neighbours() -> None:
    """Its picture is black. What is left of the clip is a frame alone, and three that are as calm as before."""
    listed = PairList("clip", "video", 0, "", ("source",) * FRAMES, KEYS)

    def figures(swapper: Brighter) -> dict[str, np.ndarray]:
        judged = judge(swapper, listed, load_frames, [ColourEncoder()], true_frame, chunk_pairs=FRAMES)
        rows = in_order(system_rows(judged.rows, swapper.name), listed.ids)
        names = ("warp_error", "truth_temporal_difference", "temporal_identity_local", "temporal_identity_global")
        return {name: column(rows, name) for name in names}

    whole, broken = figures(Brighter()), figures(Brighter(fails_on=(KEYS[1],)))
    for name in ("warp_error", "truth_temporal_difference", "temporal_identity_local"):
        assert np.isnan(broken[name][:2]).all(), name
        assert broken[name][2:] == pytest.approx(whole[name][2:]), name
    assert np.isnan(broken["temporal_identity_global"]).tolist() == [False, True, *[False] * 4]
    kept = np.arange(FRAMES) != 1
    everywhere = [one["temporal_identity_global"][kept] for one in (whole, broken)]
    assert everywhere[1] == pytest.approx(everywhere[0], abs=0.05)


def test_metrics_of_time_belong_to_clips_alone() -> None:
    names = {m.name for m in build_metrics([ColourEncoder()], has_truth=True, has_fit=True)}
    timed = {m.name for m in build_metrics([ColourEncoder()], has_truth=True, has_fit=True, in_time=True)}
    assert timed - names == {
        "warp_error", "truth_temporal_difference", "landmark_jitter", "temporal_identity_local",
        "temporal_identity_global",
    }  # fmt: skip


def test_whole_clips_are_drawn_so_that_intervals_are_honest() -> None:
    """Eight clips of twenty equal frames hold eight draws, not 160."""
    per_clip = RNG.normal(size=8)
    values, numbers = np.repeat(per_clip, 20)[:, None], np.repeat(np.arange(8), 20)
    groups = PairGroups(numbers, numbers + 8, numbers)
    alone, clustered = summarise(values)[0], summarise(values, groups=groups)[0]
    eight = summarise(per_clip[:, None])[0]
    assert (clustered.low, clustered.high) == pytest.approx((eight.low, eight.high))
    assert clustered.mean == pytest.approx(alone.mean)
    assert clustered.high - clustered.low > 3 * (alone.high - alone.low)
