"""Who becomes champion, with a gate that is told what to say; and where a training goes on."""

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from assets.checks import does_not_copy_the_target, gate_verdict
from assets.evaluation import promotion, training_curves
from assets.models import EXPORT, run_folder
from assets.plan import Plan
from assets.promotion import (
    CHALLENGER,
    CHAMPION,
    PREVIOUS,
    ROLLED_BACK_TAG,
    carry_out,
    kept_verdicts,
    move_aliases,
    unfinished,
)
from assets.store import Store
from evaluation.judge import judge
from evaluation.leaderboard import best_first
from faces.errors import SamaeError
from faces.files import atomic_folder, read_json, write_json
from tests.evaluation.fakes import ColourEncoder, FakeSwapper, load_faces, pairs, truth


@dataclass
class Judged:
    """An evaluation, as far as promotion looks."""

    name: str
    similarity: float
    leak: float = 0.1
    lost: int = 0

    def failed(self) -> int:
        return self.lost

    @property
    def summary(self) -> dict[str, dict[str, float]]:
        return {"identity_similarity": {"mean": self.similarity}, "identity_leak": {"mean": self.leak}}

    @property
    def baselines(self) -> dict[str, dict[str, dict[str, float]]]:
        return {"copy-target": {"identity_similarity": {"mean": 0.2}, "identity_leak": {"mean": 1.0}}}


@dataclass
class Registry:
    """Aliases, in the order in which they were set, and the versions' tag of the last verdict."""

    moved: list[tuple[str, str]] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)
    rolled_back: tuple[str, ...] = ()

    def tag_version(self, version: str, key: str, value: str) -> None:
        self.tags[version] = value

    def set_alias(self, alias: str, version: str) -> None:
        self.moved.append((alias, version))

    def version_at(self, alias: str) -> tuple[str, dict[str, str]] | None:
        held = dict(self.moved).get(alias)
        return (held, {}) if held else None

    def tags_of(self, version: str) -> dict[str, str]:
        return {ROLLED_BACK_TAG: "2026-11-27"} if version in self.rolled_back else {}

    def export_folder(self, version: str) -> Path:
        return Path(f"export-{version}")


@dataclass
class Verdict:
    promote: bool
    reasons: tuple[str, ...] = ("because",)

    def as_dict(self) -> dict[str, Any]:
        return {"promote": self.promote, "reasons": list(self.reasons)}


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> dict[str, bool]:
    """Recipe -> whether the gate lets it through; what it was asked is under "asked"."""
    import evaluation.gate

    says: dict[str, Any] = {"asked": []}

    def decide(champion: Any, challenger: Any, settings: Any = None) -> Verdict:
        says["asked"].append((champion.name if champion else None, challenger.name))
        return Verdict(says[challenger.name])

    monkeypatch.setattr(evaluation.gate, "decide", decide)
    return says


EVALUATIONS = {"samae": Judged("samae", 0.4), "simswap": Judged("simswap", 0.6)}
NAN = float("nan")
VERSIONS = {"samae": "1", "simswap": "2"}


def never(export: Path) -> Any:
    raise AssertionError("the champion is one of today's models: nobody judges it again")


def test_the_best_comes_first_and_what_cannot_be_said_last() -> None:
    """What failed a pair comes after whoever failed none, whatever the mean over the others is."""
    unsaid, some, all_lost = Judged("unsaid", NAN), Judged("some", 0.9, lost=1), Judged("lost", NAN, lost=20)
    listed: list[Any] = [all_lost, EVALUATIONS["samae"], unsaid, some, EVALUATIONS["simswap"]]
    assert [one.name for one in best_first(listed)] == ["simswap", "samae", "unsaid", "some", "lost"]


def test_the_first_champion_is_the_best_that_passes(gate: dict[str, Any]) -> None:
    gate |= {"simswap": False, "samae": True}
    outcome = promotion(Registry(), EVALUATIONS, VERSIONS, None, never)  # type: ignore[arg-type]
    assert outcome["promoted"] == "samae"
    assert gate["asked"] == [(None, "simswap"), (None, "samae")]
    assert [verdict["promote"] for verdict in outcome["verdicts"]] == [False, True]


def test_the_best_stays_champion_without_a_question(gate: dict[str, Any]) -> None:
    outcome = promotion(Registry(), EVALUATIONS, VERSIONS, ("2", {}), never)  # type: ignore[arg-type]
    assert outcome == {"promoted": None, "champion_before": "2", "verdicts": []}


def test_an_older_champion_is_judged_again(gate: dict[str, Any]) -> None:
    gate |= {"simswap": True}
    outcome = promotion(Registry(), EVALUATIONS, VERSIONS, ("9", {}), lambda export: Judged(str(export), 0.5))  # type: ignore[arg-type]
    assert outcome["promoted"] == "simswap"
    assert gate["asked"] == [("export-9", "simswap")]


def test_a_version_that_was_rolled_back_is_passed_over(gate: dict[str, Any]) -> None:
    gate |= {"samae": True}
    registry: Any = Registry(rolled_back=("2",))
    outcome = promotion(registry, EVALUATIONS, VERSIONS, ("9", {}), lambda _: Judged("old", 0.1))
    assert outcome["promoted"] == "samae"
    assert gate["asked"] == [("old", "samae")]
    assert "version 2 was rolled back on 2026-11-27" in outcome["verdicts"][0]["reasons"][0]


def test_the_gate_stays_shut_when_the_champion_cannot_be_judged(gate: dict[str, Any], tmp_path: Path) -> None:
    """And every version that was not weighed says why."""

    def fail(export: Path) -> Any:
        raise SamaeError("another head")

    outcome = promotion(Registry(), EVALUATIONS, VERSIONS, ("9", {}), fail)  # type: ignore[arg-type]
    assert outcome["promoted"] is None
    assert "cannot be judged on today's data (another head)" in outcome["verdicts"][0]["reasons"][0]
    registry: Any = Registry([(CHAMPION, "9")])
    carry_out(registry, Store(tmp_path, "people"), outcome, VERSIONS, {})
    assert all("refused: version 9, the champion, cannot be judged" in registry.tags[v] for v in VERSIONS.values())


def test_a_champion_that_fails_most_pairs_can_be_replaced(tmp_path: Path) -> None:
    """As one that was trained at another size fails them all: its challenger must beat the baselines instead."""
    listed = pairs()

    def judged(share: float, failing: int = 0) -> Any:
        swapper = FakeSwapper(share, fails_on=tuple(dict.fromkeys(listed.target_keys))[:failing])
        return judge(swapper, listed, load_faces, [ColourEncoder()], truth)

    def weighed(failing: int, share: float = 0.9) -> dict[str, Any]:
        old = judged(0.3, failing)
        return promotion(Registry(), {"fake": judged(share)}, {"fake": "1"}, ("9", {}), lambda _: old)  # type: ignore[arg-type]

    outcome = weighed(len(listed))
    verdict = outcome["verdicts"][0]
    assert (outcome["promoted"], outcome["champion_before"], verdict["champion"]) == ("fake", "9", None)
    assert "version 9, the champion, is no measure: it failed 20 of 20 pairs, first " in verdict["reasons"][-1]
    assert "cannot swap onto" in verdict["reasons"][-1]
    assert weighed(len(listed), share=0.0)["promoted"] is None
    assert weighed(1)["verdicts"][0]["champion"] == "fake"
    registry: Any = Registry([(CHAMPION, "9")])
    carry_out(registry, Store(tmp_path, "people"), outcome, {"fake": "1"}, {})
    assert registry.tags["1"].endswith("promoted: better than the baselines")


def decided(promoted: str | None = "simswap", before: str | None = "9") -> dict[str, Any]:
    """An outcome as `promotion` gives it."""
    verdicts = [{"promote": bool(promoted), "challenger": promoted or "samae", "reasons": ["it is worse"]}]
    return {"promoted": promoted, "champion_before": before, "verdicts": verdicts}


def test_of_two_promotions_at_once_the_second_is_refused(tmp_path: Path) -> None:
    """Its verdict is kept, the run fails, and the asset is not: the next run weighs anew."""
    registry, store = Registry([(CHAMPION, "9")]), Store(tmp_path, "people")
    carry_out(registry, store, decided(), VERSIONS, {})  # type: ignore[arg-type]
    moved = [*registry.moved]
    with pytest.raises(SamaeError, match=r"version 2 became champion meanwhile; run champion again"):
        carry_out(registry, store, decided("samae"), VERSIONS, {})  # type: ignore[arg-type]
    assert registry.moved == moved
    assert [read_json(path)["refused"] is None for path in kept_verdicts(store)] == [True, False]


def test_there_is_a_champion_at_every_moment() -> None:
    registry = Registry()
    move_aliases(registry, "2", "1")  # type: ignore[arg-type]
    assert registry.moved[0] == (PREVIOUS, "1")
    assert registry.moved[-1] == (CHAMPION, "2")


def test_a_champion_that_did_not_stay_is_told() -> None:
    """A home elsewhere, which cannot see this one's lock, moves the alias in the same moment."""

    class Shared(Registry):
        def set_alias(self, alias: str, version: str) -> None:
            super().set_alias(alias, version)
            if alias == CHAMPION:
                super().set_alias(alias, "7")

    with pytest.raises(SamaeError, match="version 7 in the same moment from elsewhere"):
        move_aliases(Shared(), "2", "1")  # type: ignore[arg-type]


def test_every_verdict_is_kept_and_tagged(tmp_path: Path) -> None:
    registry, store = Registry([(CHAMPION, "9")]), Store(tmp_path, "people")
    carry_out(registry, store, decided(None), VERSIONS, {})  # type: ignore[arg-type]
    assert registry.tags["1"].endswith("refused: it is worse")
    carry_out(registry, store, decided(), VERSIONS, {})  # type: ignore[arg-type]
    assert registry.tags["2"].endswith("promoted: better than version 9")
    kept = kept_verdicts(store)
    assert [path.name[:6] for path in kept] == ["00001-", "00002-"]
    assert [read_json(path)["promoted"] for path in kept] == [None, "simswap"]


def test_a_verdict_is_kept_before_any_alias_moves(tmp_path: Path) -> None:
    store = Store(tmp_path, "people")
    seen: list[int] = []

    class Watched(Registry):
        def set_alias(self, alias: str, version: str) -> None:
            seen.append(len(kept_verdicts(store)))
            super().set_alias(alias, version)

    carry_out(Watched([(CHAMPION, "9")]), store, decided(), VERSIONS, {})  # type: ignore[arg-type]
    assert seen == [1, 1, 1]


def test_no_verdict_is_written_over_when_an_older_one_was_removed(tmp_path: Path) -> None:
    registry, store = Registry([(CHAMPION, "9")]), Store(tmp_path, "people")
    for _ in range(2):
        carry_out(registry, store, decided(None), VERSIONS, {})  # type: ignore[arg-type]
    kept_verdicts(store)[0].unlink()
    carry_out(registry, store, decided(), VERSIONS, {})  # type: ignore[arg-type]
    assert [path.name[:6] for path in kept_verdicts(store)] == ["00002-", "00003-"]


def test_a_killed_run_is_finished_by_the_last_verdict(tmp_path: Path) -> None:
    registry, store = Registry([(CHAMPION, "9")]), Store(tmp_path, "people")
    for outcome in (decided(None), decided()):
        carry_out(registry, store, outcome, VERSIONS, {"settings": 1})  # type: ignore[arg-type]
    found = unfinished(store, {"settings": 1}, registry.version_at(CHAMPION))
    assert found is not None
    assert (found["promoted"], found["champion_before"]) == ("simswap", "9")
    assert unfinished(store, {"settings": 2}, registry.version_at(CHAMPION)) is None
    assert unfinished(store, {"settings": 1}, ("9", {})) is None


@pytest.mark.parametrize("moment", [PREVIOUS, CHALLENGER, CHAMPION, "the asset is kept"])
def test_a_promotion_that_is_killed_is_finished_by_the_next_run(
    gate: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Killed before an alias moves, or after all moved: aliases and the kept verdict end as if nothing had been."""
    import assets.evaluation

    class Killed(Registry):
        at = moment

        def set_alias(self, alias: str, version: str) -> None:
            if alias == self.at:
                raise KeyboardInterrupt
            super().set_alias(alias, version)

    registry, house = Killed([(PREVIOUS, "8"), (CHAMPION, "1")]), House(tmp_path)
    gate |= {"simswap": True}
    monkeypatch.setattr(assets.evaluation, "require_room", lambda *given: None)
    monkeypatch.setattr(assets.evaluation, "read_kept", lambda store, recipe: EVALUATIONS[recipe])
    monkeypatch.setattr(assets.evaluation, "register", lambda *given: VERSIONS[given[3]])
    monkeypatch.setattr(assets.evaluation, "provenance", lambda *given: {"settings": 1})
    monkeypatch.setattr(assets.evaluation, "result", lambda *given: given[3]["promoted"])
    run = assets.evaluation.champion.op.compute_fn.decorated_fn  # type: ignore[union-attr]
    with monkeypatch.context() as patch:
        if moment == "the asset is kept":
            patch.setattr(assets.evaluation, "write_json", kill)
        with pytest.raises(KeyboardInterrupt):
            run(None, house, None, registry)
    assert not house.store.is_current("champion", None, {"settings": 1})
    registry.at = "never"
    assert run(None, house, None, registry) == "simswap"
    aliases = dict(registry.moved)
    assert aliases == {PREVIOUS: "1", CHALLENGER: "2", CHAMPION: "2"}
    verdict = read_json(house.store.folder("champion") / "verdict.json")
    assert (verdict["promoted"], verdict["champion_before"]) == ("simswap", "1")
    assert run(None, house, None, registry) == "nobody"
    assert dict(registry.moved) == aliases


def kill(*_: Any) -> None:
    raise KeyboardInterrupt


@dataclass
class House:
    """The resource `samae`, as far as the champion looks."""

    home: Path
    plan: Plan = field(default_factory=lambda: Plan(recipes=tuple(VERSIONS)))
    workers: int = 1

    @property
    def store(self) -> Store:
        return Store(self.home, "people")


def test_the_check_shows_the_verdict(tmp_path: Path) -> None:
    samae = SimpleNamespace(store=Store(tmp_path, "people"))
    for promoted, verdicts, passed in (
        ("samae", [{"reasons": ["better"]}], True),
        (None, [{"reasons": ["worse"]}], False),
        (None, [], True),
    ):
        with samae.store.write("champion", None, {}) as (folder, _):
            write_json(folder / "verdict.json", {"promoted": promoted, "verdicts": verdicts})
        shown = gate_verdict(samae=samae)
        assert isinstance(shown, dg.AssetCheckResult)
        assert shown.passed is passed


@pytest.mark.parametrize(("leak", "passed"), [(0.5, True), (1.0, False)])
def test_a_copy_of_the_target_is_called_one(monkeypatch: pytest.MonkeyPatch, leak: float, passed: bool) -> None:
    import assets.checks

    monkeypatch.setattr(assets.checks, "read_kept", lambda store, recipe: Judged(recipe, 0.4, leak))
    context: Any = SimpleNamespace(partition_keys=["samae"])
    body = does_not_copy_the_target.op.compute_fn.decorated_fn  # type: ignore[union-attr]
    shown = body(context, SimpleNamespace(store=None))
    assert shown.passed is passed
    assert shown.metadata["samae.identity_leak_gain"].value == pytest.approx(1.0 - leak)


def test_an_unfinished_run_goes_on_and_a_finished_one_does_not(tmp_path: Path) -> None:
    store = Store(tmp_path, "people")
    first = run_folder(store, "samae", 1, {"settings": 1})
    assert first.name == "00001-samae-people-ranks1"
    assert run_folder(store, "samae", 1, {"settings": 1}) == first
    assert run_folder(store, "samae", 1, {"settings": 2}).name == "00002-samae-people-ranks1"
    with atomic_folder(first / EXPORT) as folder:
        (folder / "model.safetensors").write_bytes(b"weights")
    assert run_folder(store, "samae", 1, {"settings": 1}).name == "00003-samae-people-ranks1"


def test_curves_are_the_losses_alone(tmp_path: Path) -> None:
    store = Store(tmp_path, "people")
    with store.write("swap_model", "samae", {}) as (folder, metadata):
        (folder / "x").write_text("")
        metadata["run"] = "00001-samae"
    assert training_curves(store, "samae") == {}
    (store.runs / "00001-samae").mkdir(parents=True)
    lines = ['{"kimg": 1.0, "samples_seen": 1000, "generator/total": 0.5, "perf/images_per_s": 9.0}'] * 2
    (store.runs / "00001-samae" / "stats.jsonl").write_text("\n".join(lines) + "\n")
    assert training_curves(store, "samae") == {"generator/total": [(1.0, 0.5), (1.0, 0.5)]}
