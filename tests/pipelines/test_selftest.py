"""`samae doctor --deep`: every component works here, and one that does not is a line with what to mend."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from faces.errors import SamaeError
from faces.occluders import NETWORKS
from pipelines import selftest
from pipelines.commands import doctor
from pipelines.selftest import COMPONENTS, Outcome, SelfTest, outcome_of, self_test


def test_every_component_has_a_part_and_a_mend() -> None:
    assert all(callable(getattr(SelfTest, name)) and mend for name, mend in COMPONENTS.items())


def test_a_failure_is_one_line_and_takes_no_other_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: SelfTest) -> None:
        raise SamaeError("the weights are gone")

    def crashed(self: SelfTest) -> None:
        raise ZeroDivisionError("first line\nsecond line")

    monkeypatch.setattr(SelfTest, "swap", broken)
    monkeypatch.setattr(SelfTest, "judge", crashed)
    monkeypatch.setattr(selftest, "COMPONENTS", {name: f"mend {name}" for name in ("swap", "judge", "head_decode")})
    told: list[Outcome] = []
    outcomes = self_test(told.append)
    assert outcomes == told
    assert [one.error for one in outcomes] == ["the weights are gone", "ZeroDivisionError: first line", ""]
    assert outcomes[0].line.endswith("failed: the weights are gone; mend swap")
    assert outcomes[2].line.endswith("ok")


@pytest.mark.parametrize("method", NETWORKS)
def test_damaged_weights_of_either_occluder_network_are_named(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(NETWORKS, method, tmp_path / "lost.safetensors")
    with pytest.raises(SamaeError, match=r"lost\.safetensors is missing"):
        SelfTest(tmp_path).masks()


def test_a_broken_component_ends_the_doctor_with_2(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "examine", lambda: {"problems": []})
    for error, code in (("it is broken", 2), ("", None)):
        outcome = outcome_of("ray", lambda error=error: selftest._require(not error, error), "set SAMAE_RAY=serial")  # type: ignore[misc]
        monkeypatch.setattr(doctor, "self_test", lambda told, outcome=outcome: [outcome])
        if code:
            with pytest.raises(SystemExit) as ended:
                doctor.run(as_json=True, deep=True)
            assert ended.value.code == code
        else:
            doctor.run(as_json=True, deep=True)
        assert json.loads(capsys.readouterr().out)["components"][0]["error"] == error


@pytest.mark.slow
def test_every_component_works_here(tmp_path: Path) -> None:
    bare = {name: value for name, value in os.environ.items() if not name.startswith("SAMAE_")}
    command = [sys.executable, "-m", "pipelines.cli", "doctor", "--deep", "--json"]
    with tempfile.TemporaryDirectory() as scratch:  # Ray's sockets want a shorter path than pytest's
        environment = bare | {"SAMAE_HOME": str(tmp_path / "home"), "TMPDIR": scratch}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert not list(Path(scratch).glob("samae-doctor-*"))
    found = json.loads(done.stdout)
    assert {part["name"]: part["error"] for part in found["components"]} == dict.fromkeys(COMPONENTS, "")
    assert done.returncode == (2 if found["problems"] else 0)
