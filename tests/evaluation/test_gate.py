"""The gate opens for a better model alone, and stays shut whenever something is missing."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from evaluation.evaluation import Evaluation
from evaluation.gate import Beat, Floor, GateSettings, decide
from evaluation.judge import judge
from evaluation.rows import column
from tests.evaluation.fakes import KEYS, ColourEncoder, FakeSwapper, load_faces, pairs, person_of, truth

LOOSE = GateSettings(floors=(Floor(metric="background_psnr_db", allowance=1.0),))


def judged(share: float, seed: int = 3, **options: tuple[str, ...]) -> Evaluation:
    return judge(FakeSwapper(share, **options), pairs(seed=seed), load_faces, [ColourEncoder()], truth)


def with_column(evaluation: Evaluation, name: str, values: np.ndarray) -> Evaluation:
    place = evaluation.rows.column_names.index(name)
    return replace(evaluation, rows=evaluation.rows.set_column(place, name, pa.array(values, from_pandas=True)))


@pytest.fixture(scope="module")
def weak() -> Evaluation:
    return judged(0.3)


@pytest.fixture(scope="module")
def strong() -> Evaluation:
    return judged(0.9)


def test_a_better_challenger_is_promoted_and_a_worse_one_is_not(weak: Evaluation, strong: Evaluation) -> None:
    up, down = decide(weak, strong, LOOSE), decide(strong, weak, LOOSE)
    assert up.promote
    assert up.deltas[0].low > 0
    assert not down.promote
    assert "identity_similarity" in down.reasons[0]


def test_an_equal_challenger_is_not_promoted(strong: Evaluation) -> None:
    assert not decide(strong, strong, LOOSE).promote


def test_the_gain_must_exceed_the_tolerance(weak: Evaluation, strong: Evaluation) -> None:
    gain = decide(weak, strong, LOOSE).deltas[0].low
    assert not decide(weak, strong, replace(LOOSE, min_gain=gain + 0.01)).promote
    assert decide(weak, strong, replace(LOOSE, min_gain=gain - 0.01)).promote


def test_a_floor_holds(weak: Evaluation, strong: Evaluation) -> None:
    ruined = with_column(strong, "background_psnr_db", np.full(strong.rows.num_rows, 12.0))
    verdict = decide(weak, ruined, LOOSE)
    assert not verdict.promote
    assert any("background_psnr_db" in reason for reason in verdict.reasons)
    assert verdict.deltas[0].passed


def test_a_floor_asks_the_bad_end_of_the_interval(weak: Evaluation, strong: Evaluation) -> None:
    """0.8 dB lost on average are within the 1 dB allowed, but 8 dB on one pair in ten are not surely so."""
    lost = column(weak.rows, "background_psnr_db").copy()
    lost[np.flatnonzero(np.array(strong.rows["system"].to_pylist()) == strong.name)[::10]] -= 8
    floor = decide(weak, with_column(strong, "background_psnr_db", lost), LOOSE).deltas[1]
    assert floor.gain == pytest.approx(-0.8)
    assert floor.low < -1
    assert not floor.passed


@pytest.mark.parametrize(
    ("metric", "worse_by"),
    [("background_psnr_db", -2.0), ("skin_delta_e", 2.0), ("identity_leak", 0.1), ("truth_identity", -0.1)],
)
def test_every_floor_holds_unless_told_otherwise(
    weak: Evaluation, strong: Evaluation, metric: str, worse_by: float
) -> None:
    floors = tuple(floor for floor in GateSettings().floors if floor.required or floor.metric == "truth_identity")
    rules = GateSettings(floors=floors)
    level = strong
    for floor in floors:
        level = with_column(level, floor.metric, column(weak.rows, floor.metric))
    assert decide(weak, level, rules).promote
    verdict = decide(weak, with_column(level, metric, column(weak.rows, metric) + worse_by), rules)
    assert [delta.metric for delta in verdict.deltas if not delta.passed] == [metric]


def test_pairs_are_compared_with_themselves_in_whatever_order_their_rows_lie(
    weak: Evaluation, strong: Evaluation
) -> None:
    order = np.random.default_rng(0).permutation(weak.rows.num_rows)
    assert decide(replace(weak, rows=weak.rows.take(pa.array(order))), strong, LOOSE) == decide(weak, strong, LOOSE)


def test_other_pairs_or_another_judge_refuse(weak: Evaluation, strong: Evaluation) -> None:
    assert "different pairs" in decide(judged(0.3, seed=4), strong, LOOSE).reasons[0]
    other = replace(weak, provenance={**weak.provenance, "judge_digest": "other"})
    assert "different code or encoders" in decide(other, strong, LOOSE).reasons[0]
    assert not decide(replace(weak, provenance={}), replace(strong, provenance={}), LOOSE).promote


def test_a_method_of_another_encoder_can_take_the_throne() -> None:
    """Neither of their encoders judges, so both headlines are by the same judges; with one among the judges not."""
    judges = [ColourEncoder("one", 10.0), ColourEncoder("two")]

    def by(share: float, trained_with: str) -> Evaluation:
        swapper = FakeSwapper(share)
        return judge(swapper, pairs(), load_faces, judges, truth, trained_with=(trained_with,))

    assert decide(by(0.3, "builtin"), by(0.9, "blendface"), LOOSE).promote
    unlike = decide(by(0.3, "builtin"), by(0.9, "two"), LOOSE)
    assert not unlike.promote
    assert "the champion's headline is by one, two, the challenger's by one" in unlike.reasons[0]
    assert "SAMAE_JUDGES" in unlike.reasons[0]


def test_what_is_missing_or_no_number_refuses(weak: Evaluation, strong: Evaluation) -> None:
    absent = GateSettings(floors=(Floor(metric="gaze", allowance=1.0),))
    assert "cannot be said" in decide(weak, strong, absent).reasons[0]
    assert decide(weak, strong, GateSettings(floors=(Floor(metric="gaze", allowance=1.0, required=False),))).promote
    blank = with_column(strong, "background_psnr_db", np.full(strong.rows.num_rows, np.nan))
    assert not decide(weak, blank, LOOSE).promote
    assert not decide(weak, replace(strong, summary={}), LOOSE).promote


def with_figures_on(evaluation: Evaluation, metric: str, positions: list[int]) -> Evaluation:
    """The evaluation with the system's figure on the pairs at these positions of the list alone."""
    systems, ids = (evaluation.rows[name].to_pylist() for name in ("system", "pair_id"))
    kept = {evaluation.pairs.ids[position] for position in positions}
    values = column(evaluation.rows, metric).copy()
    for row, (system, pair) in enumerate(zip(systems, ids, strict=True)):
        if system == evaluation.name and pair not in kept:
            values[row] = np.nan
    return with_column(evaluation, metric, values)


@pytest.mark.parametrize("metric", ["identity_similarity", "background_psnr_db"])
def test_figures_that_the_challenger_lacks_are_not_passed_over(
    weak: Evaluation, strong: Evaluation, metric: str
) -> None:
    one, most = with_figures_on(strong, metric, [5]), with_figures_on(strong, metric, list(range(1, 20)))
    assert [r for r in decide(weak, one, LOOSE).reasons if "no figure on 19 of 20 pairs" in r and metric in r]
    assert "no figure on 1 of 20 pairs" in decide(weak, most, LOOSE).reasons[0]
    assert decide(weak, most, replace(LOOSE, max_failed_share=0.05)).promote
    assert not decide(None, one, GateSettings(first=(Beat(metric=metric, baseline="copy-target"),))).promote


def test_a_comparison_needs_enough_pairs(weak: Evaluation, strong: Evaluation) -> None:
    """The champion lacks them, or both do: nobody is to blame, and it says too little all the same."""
    few = [with_figures_on(one, "background_psnr_db", [0, 1, 2]) for one in (weak, strong)]
    for verdict in (decide(few[0], strong, LOOSE), decide(few[0], few[1], LOOSE)):
        assert verdict.reasons == (
            "background_psnr_db against fake cannot be said: both have it on 3 pairs, 4 are the least",
        )
    half = with_figures_on(weak, "background_psnr_db", list(range(9)))
    assert "both have it on 9 of 20 pairs, 10 are the least" in decide(half, strong, LOOSE).reasons[0]
    assert decide(half, strong, replace(LOOSE, least_share=0.4)).promote


def test_a_floor_that_is_not_required_is_asked_where_it_was_measured(weak: Evaluation, strong: Evaluation) -> None:
    """Measured by nobody it is passed over; by both on the same few pairs those count; by one side alone it refuses."""
    rules = replace(LOOSE, floors=(Floor(metric="background_psnr_db", allowance=1.0, required=False),))

    def having(evaluation: Evaluation, positions: range) -> Evaluation:
        figure = evaluation.summary["background_psnr_db"] | {"n": len(positions)}
        summary = evaluation.summary | {"background_psnr_db": figure}
        return replace(with_figures_on(evaluation, "background_psnr_db", list(positions)), summary=summary)

    nobody = decide(having(weak, range(0)), having(strong, range(0)), rules)
    assert nobody.promote
    assert [delta.metric for delta in nobody.deltas] == ["identity_similarity"]
    some = decide(having(weak, range(6)), having(strong, range(6)), rules)
    assert some.promote
    assert [delta.metric for delta in some.deltas] == ["identity_similarity", "background_psnr_db"]
    assert "no figure on 20 of 20 pairs" in decide(weak, having(strong, range(0)), rules).reasons[0]
    alone = decide(having(weak, range(6)), strong, rules)
    assert "both have it on 6 of 20 pairs, 10 are the least" in alone.reasons[0]
    assert not decide(having(weak, range(6)), having(strong, range(6)), LOOSE).promote


def in_clips(evaluation: Evaluation, clips: int) -> Evaluation:
    """The same rows as if the targets were frames of so many videos."""
    count, old = len(evaluation.pairs), evaluation.pairs
    targets = tuple(f"{n * clips // count:03d}/{n:05d}" for n in range(count))
    named = replace(old, protocol="faceforensics", target_keys=targets, digest="")
    new_ids = dict(zip(old.ids, named.ids, strict=True))
    renamed = pa.array([new_ids[pair] for pair in evaluation.rows["pair_id"].to_pylist()])
    place = evaluation.rows.column_names.index("pair_id")
    return replace(evaluation, pairs=named, rows=evaluation.rows.set_column(place, "pair_id", renamed))


def test_frames_of_one_video_are_no_draws_of_their_own(weak: Evaluation, strong: Evaluation) -> None:
    """Better on average, but by one video of five alone: pairs would say yes, whole clips do not."""
    champion, better = in_clips(weak, 5), column(strong.rows, "identity_similarity").copy()
    own = np.array(strong.rows["system"].to_pylist()) == strong.name
    before = column(weak.rows, "identity_similarity")
    where = {pair: place for place, pair in enumerate(strong.pairs.ids)}
    for row in np.flatnonzero(own):
        first = where[strong.rows["pair_id"].to_pylist()[row]] < 4
        better[row] = before[row] + (0.4 if first else 0.0)
    lucky = with_column(strong, "identity_similarity", better)
    assert decide(weak, lucky, LOOSE).promote
    assert not decide(champion, in_clips(lucky, 5), LOOSE).promote
    assert "on 3 clips, 4 are the least" in decide(in_clips(weak, 3), in_clips(strong, 3), LOOSE).reasons[0]


def with_targets_of(evaluation: Evaluation, people: int) -> Evaluation:
    """The same rows as if the targets showed so many people."""
    targets = {key: place % people for place, key in enumerate(dict.fromkeys(evaluation.pairs.target_keys))}
    sources = {key: 1000 + person_of(key) for key in evaluation.pairs.source_keys if key not in targets}
    return replace(evaluation, persons=sources | targets)


def test_pairs_of_few_people_say_too_little(weak: Evaluation, strong: Evaluation) -> None:
    """Twenty pairs of two people are not twenty draws, and better on one of five people is not better."""
    verdict = decide(with_targets_of(weak, 2), with_targets_of(strong, 2), LOOSE)
    assert verdict.reasons[0].endswith("on pairs whose sources or targets are 2 people, 4 are the least")
    assert decide(with_targets_of(weak, 2), with_targets_of(strong, 2), replace(LOOSE, least_pairs=2)).deltas
    few = with_targets_of(strong, 5)
    lucky = column(weak.rows, "identity_similarity").copy()
    systems, targets = (strong.rows[name].to_pylist() for name in ("system", "target_key"))
    for row, (system, key) in enumerate(zip(systems, targets, strict=True)):
        lucky[row] += 0.4 * (system == strong.name and few.persons[key] == 0)
    better = with_column(few, "identity_similarity", lucky)
    unknown = {key: place for place, key in enumerate(KEYS)}
    assert decide(replace(weak, persons=unknown), replace(better, persons=unknown), LOOSE).deltas[0].passed
    assert not decide(with_targets_of(weak, 5), better, LOOSE).deltas[0].passed


def test_failing_more_often_than_the_champion_refuses(weak: Evaluation) -> None:
    failing = judged(0.9, fails_on=(pairs().target_keys[0],))
    verdict = decide(weak, failing, LOOSE)
    assert not verdict.promote
    assert "of the pairs failed" in verdict.reasons[0]
    assert decide(weak, failing, replace(LOOSE, max_failed_share=0.5)).promote


def test_as_many_pairs_may_fail_as_the_champion_failed() -> None:
    first, second = dict.fromkeys(pairs().target_keys[:2])
    champion, alike = judged(0.3, fails_on=(first,)), judged(0.9, fails_on=(first,))
    assert decide(champion, alike, LOOSE).promote
    assert "of the pairs failed" in decide(champion, judged(0.9, fails_on=(first, second)), LOOSE).reasons[0]


def test_the_first_champion_must_beat_the_baselines(strong: Evaluation) -> None:
    rules = GateSettings(first=(Beat(metric="identity_similarity", baseline="copy-target"),
                                Beat(metric="truth_face_psnr_db", baseline="paste-source")))  # fmt: skip
    assert decide(None, strong, rules).promote
    copy = judge("copy-target", pairs(), load_faces, [ColourEncoder()], truth)
    assert not decide(None, copy, rules).promote
    paste = judge("paste-source", pairs(), load_faces, [ColourEncoder()], truth)
    assert not decide(None, paste, rules).promote
    alone = judge(FakeSwapper(0.9), pairs(), load_faces, [ColourEncoder()], truth, baselines=())
    assert "cannot be said" in decide(None, alone, rules).reasons[0]


def test_a_verdict_says_why_in_json(weak: Evaluation, strong: Evaluation) -> None:
    raw = decide(weak, strong, LOOSE).as_dict()
    assert raw["promote"] is True
    assert raw["pairs_digest"] == strong.pairs.digest
    assert len(raw["reasons"]) == len(raw["deltas"]) == 2
    assert np.isfinite(column(strong.rows, "identity_similarity")).all()
