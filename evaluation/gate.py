"""The gate: may a challenger take the champion's place? Paired on the same pairs, and closed whenever in doubt.

A challenger is promoted when (1) both were judged alike: same pairs, same metrics, same encoders; (2) its primary
metric is better and the lower bound of the paired 95 % interval is above `min_gain`; (3) on every floor the bad end
of the interval is not worse than the champion's by more than an allowance; (4) it failed on no more pairs than
allowed; (5) every comparison stands on enough pairs, and the challenger lacks no figure that the other side has.
Without a champion, (2) and (3) are replaced by comparisons with the baselines: more identity than a copy of the
target, and attributes kept better than a pasted source. Frames of one video are drawn together, and intervals are
wider where people repeat. A missing metric, a NaN or another digest refuses. A champion that fails too many pairs to be
compared with is no measure (`why_no_measure`): promotion then asks as if there were none. All thresholds are ours.
"""

import math
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from evaluation.evaluation import Evaluation
from evaluation.rows import column, in_order, system_rows, systems_of
from evaluation.statistics import PairGroups, paired_difference
from faces.errors import SamaeError


@dataclass(frozen=True, kw_only=True)
class Floor:
    """A metric that must not fall: by at most `allowance`, in its own unit, against the champion.

    A floor that is not `required` is skipped when NEITHER side has a figure on any pair (no fit, no truth); one side
    alone refuses. Where some pairs alone can have a figure (eyes that are seen), `least_share` is of those.
    """

    metric: str
    allowance: float
    required: bool = True


@dataclass(frozen=True, kw_only=True)
class Beat:
    """A first champion must be better than `baseline` in `metric` (lower bound of the paired interval above 0)."""

    metric: str
    baseline: str
    required: bool = True


@dataclass(frozen=True, kw_only=True)
class GateSettings:
    """What promotion asks for.

    Attributes:
        primary: the metric that must be better.  min_gain: by more than this, in its unit.
        floors, first: what else is compared, against a champion and without one.
        max_failed_share: 0..1 of the list's pairs that may fail, and of those that worked and may all the same lack a
            figure that the other side has. Where the champion failed on more, as many as it did.
        least_pairs: a comparison on fewer pairs (fewer clips, where whole clips are drawn) refuses, and so does one
            whose sources, or targets, are fewer people. 4 is the shortest list that a plan allows: below it an
            interval says nothing.
        least_share: so does one on less than this share (0..1) of the list's pairs; for what is not required, of the
            pairs on which either side has a figure.
    """

    primary: str = "identity_similarity"
    min_gain: float = 0.0
    floors: tuple[Floor, ...] = (
        Floor(metric="background_psnr_db", allowance=1.0),
        Floor(metric="skin_delta_e", allowance=1.0),
        Floor(metric="identity_leak", allowance=0.03),
        Floor(metric="pose_degrees", allowance=1.0, required=False),
        Floor(metric="gaze_degrees", allowance=2.0, required=False),
        Floor(metric="truth_identity", allowance=0.03, required=False),
        Floor(metric="truth_face_psnr_db", allowance=0.5, required=False),
    )
    first: tuple[Beat, ...] = (
        Beat(metric="identity_similarity", baseline="copy-target"),
        Beat(metric="skin_delta_e", baseline="paste-source"),
        Beat(metric="pose_degrees", baseline="paste-source", required=False),
    )
    max_failed_share: float = 0.0
    least_pairs: int = 4
    least_share: float = 0.5


@dataclass(frozen=True)
class Delta:
    """A paired difference in the metric's unit, signed so that above 0 is BETTER, with its interval."""

    metric: str
    against: str
    gain: float
    low: float
    high: float
    needed: float
    passed: bool


@dataclass(frozen=True)
class Verdict:
    """The decision with everything that led to it; `as_dict` is what an audit keeps."""

    promote: bool
    challenger: str
    champion: str | None
    reasons: tuple[str, ...]
    deltas: tuple[Delta, ...] = field(default=())
    pairs_digest: str = ""
    judge_digest: str = ""

    def as_dict(self) -> dict[str, Any]:
        """JSON of the verdict; numbers that are not finite become null."""
        raw = asdict(self)
        for delta in raw["deltas"]:
            for name in ("gain", "low", "high"):
                delta[name] = delta[name] if math.isfinite(delta[name]) else None
        return raw


def decide(champion: Evaluation | None, challenger: Evaluation, settings: GateSettings | None = None) -> Verdict:
    """Judge a challenger against the champion, or without one against the baselines. Bad figures refuse."""
    settings = settings or GateSettings()
    refusals = _unlike(champion, challenger) + _failures(champion, challenger, settings)
    deltas: list[Delta] = []
    if not refusals:
        deltas, refusals = _compare(champion, challenger, settings)
    promote = not refusals
    reasons = tuple(refusals) if refusals else tuple(_praise(delta) for delta in deltas)
    return Verdict(
        promote, challenger.name, champion.name if champion else None, reasons, tuple(deltas),
        challenger.pairs.digest, str(challenger.provenance.get("judge_digest", "")),
    )  # fmt: skip


def why_no_measure(champion: Evaluation, settings: GateSettings | None = None) -> str:
    """Why nobody can be compared with this champion, as it failed too many of the pairs; "" where somebody can."""
    if not champion.failed():
        return ""
    bad = _failed(champion, champion.name)
    try:
        _enough(~bad, champion.groups, settings or GateSettings(), len(bad))
    except SamaeError:
        first = int(np.flatnonzero(bad)[0])
        reason = in_order(system_rows(champion.rows, champion.name), champion.pairs.ids)["reason"][first].as_py()
        return f"it failed {bad.sum()} of {len(bad)} pairs, first {champion.pairs.ids[first]} ({reason})"
    return ""


def _unlike(champion: Evaluation | None, challenger: Evaluation) -> list[str]:
    """Why the two evaluations may not be compared."""
    if champion is None:
        return []
    unlike = []
    if champion.pairs.digest != challenger.pairs.digest:
        unlike.append("champion and challenger were judged on different pairs: evaluate both on the same frozen list")
    digests = [e.provenance.get("judge_digest") for e in (champion, challenger)]
    old, new = (", ".join(e.provenance.get("headline_encoders", ())) for e in (champion, challenger))
    if old and new and old != new:
        unlike.append(
            f"the champion's headline is by {old}, the challenger's by {new}, as a judge that trained a model is left "
            "out of its figures: choose judges that trained neither (SAMAE_JUDGES)"
        )
    elif digests[0] != digests[1] or not digests[0]:
        unlike.append("champion and challenger were judged by different code or encoders: evaluate the champion again")
    return unlike


def _failures(champion: Evaluation | None, challenger: Evaluation, settings: GateSettings) -> list[str]:
    if settings.primary not in challenger.summary:
        return [f"the primary metric {settings.primary} was not measured"]
    share, allowed = float(_failed(challenger, challenger.name).mean()), _allowed(champion, settings)
    return [f"{share:.1%} of the pairs failed, {allowed:.1%} are allowed"] if share > allowed else []


def _failed(evaluation: Evaluation, system: str) -> np.ndarray:
    """(N,) bool in the list's order: the pair's row says that it failed."""
    rows = in_order(system_rows(evaluation.rows, system), evaluation.pairs.ids)
    return np.array(rows["status"].to_pylist()) != "ok"


def _allowed(champion: Evaluation | None, settings: GateSettings) -> float:
    """The share of pairs, 0..1, that a challenger may fail."""
    own = 0.0 if champion is None else float(_failed(champion, champion.name).mean())
    return max(settings.max_failed_share, own)


def _compare(
    champion: Evaluation | None, challenger: Evaluation, settings: GateSettings
) -> tuple[list[Delta], list[str]]:
    wanted: list[tuple[str, str, float, bool]]
    if champion is None:
        wanted = [(beat.metric, beat.baseline, 0.0, beat.required) for beat in settings.first]
    else:
        wanted = [(settings.primary, champion.name, settings.min_gain, True)]
        wanted += [(floor.metric, champion.name, -floor.allowance, floor.required) for floor in settings.floors]
    deltas, refusals = [], []
    for metric, against, needed, required in wanted:
        other = challenger if champion is None else champion
        theirs = challenger.baselines.get(against, {}) if champion is None else champion.summary
        if not required and not any(figures.get(metric, {}).get("n", 0) for figures in (challenger.summary, theirs)):
            continue
        try:
            delta = _delta(metric, challenger, other, against, needed, settings, required)
        except SamaeError as error:
            refusals.append(f"{metric} against {against} cannot be said: {error}")
            continue
        deltas.append(delta)
        if not delta.passed:
            refusals.append(_blame(delta))
    return deltas, refusals


def _delta(
    metric: str, challenger: Evaluation, other: Evaluation, against: str, needed: float, settings: GateSettings,
    required: bool,
) -> Delta:  # fmt: skip
    info = next((m for m in challenger.metrics if m.name == metric), None)
    if info is None or against not in systems_of(other.rows) or metric not in other.rows.column_names:
        raise SamaeError("it was not measured")
    values = np.stack(
        [
            column(in_order(system_rows(rows, name), challenger.pairs.ids), metric)
            for rows, name in ((challenger.rows, challenger.name), (other.rows, against))
        ]
    )
    groups, there = challenger.groups, np.isfinite(values)
    compared = there[0] & there[1]
    lost = there[1] & ~there[0] & ~_failed(challenger, challenger.name)
    if lost.mean() > _allowed(None if other is challenger else other, settings):
        raise SamaeError(f"the challenger has no figure on {lost.sum()} of {len(lost)} pairs, where {against} has one")
    _enough(compared, groups, settings, len(compared) if required else int((there[0] | there[1]).sum()))
    sign = -1.0 if info.direction == "lower" else 1.0
    figure = paired_difference(sign * values[0], sign * values[1], seed=challenger.pairs.seed, groups=groups)
    # `>` and `>=` are False for NaN: what cannot be said does not pass
    passed = figure.low > needed if needed >= 0 else figure.low >= needed
    return Delta(metric, against, figure.mean, figure.low, figure.high, needed, bool(passed))


def _enough(compared: np.ndarray, groups: PairGroups, settings: GateSettings, of: int) -> None:
    """(N,) bool, the pairs that both sides have a figure on, and what they have in common: SamaeError where few.

    of: how many pairs could have one.
    """
    count, asked, chosen = int(compared.sum()), settings.least_share * of, groups.at(compared)
    drawn = len(np.unique(chosen.unit))
    if drawn < settings.least_pairs:
        what = "pairs" if chosen.clip is None else "clips"
        raise SamaeError(f"both have it on {drawn} {what}, {settings.least_pairs} are the least")
    if chosen.people < settings.least_pairs:
        raise SamaeError(
            f"both have it on pairs whose sources or targets are {chosen.people} people, {settings.least_pairs} are "
            "the least"
        )
    if count < asked:
        raise SamaeError(f"both have it on {count} of {of} pairs, {math.ceil(asked)} are the least")


def _numbers(delta: Delta) -> str:
    span = f"95 %: {delta.low:+.3f} … {delta.high:+.3f}"
    return f"{delta.metric} better by {delta.gain:+.3f} than {delta.against} ({span})"


def _praise(delta: Delta) -> str:
    return f"{_numbers(delta)}, needed {'>' if delta.needed >= 0 else '≥'} {delta.needed:+.3f}"


def _blame(delta: Delta) -> str:
    bound = "above" if delta.needed >= 0 else "at least"
    return f"{_numbers(delta)} falls short: the lower bound must be {bound} {delta.needed:+.3f}"
