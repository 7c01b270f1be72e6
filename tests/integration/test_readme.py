"""Every command of README.md is run: the quick ones here, the long ones by the test that is named beside them."""

import re
import shlex
from pathlib import Path

import pytest

from tests.integration.conftest import Whole, samae
from training.shards import ShardSet

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parent.parent.parent

#: Commands that cannot run inside this test, and what proves them.
PROVEN_ELSEWHERE = {
    "make demo": "tests/integration/conftest.py runs `samae demo`, which is all that `make demo` does",
    "make test": "is what runs this",
    "make dev": "tests/integration/test_pages.py runs `samae dev`, which is all that `make dev` does",
    "samae demo --set recipes=samae --set photographs=1000": "tests/integration/conftest.py",
    "samae swap me.jpg you.jpg --out swap.png": "tests/pipelines/test_swap.py swaps photographs of a folder",
    "SAMAE_RAW=/data/ffhq SAMAE_PICTURE_PX=256 samae demo": "tests/assets/test_raw.py reads a folder in FFHQ layout",
}


def commands() -> list[str]:
    """The command lines of the README's sh blocks, without their comments."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = [line for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    return [bare for line in lines if (bare := line.split("  #")[0].split(" # ")[0].strip())]


def test_the_readme_has_commands_and_every_exception_is_one_of_them() -> None:
    assert len(commands()) > 8
    assert set(PROVEN_ELSEWHERE) <= set(commands())


def test_make_demo_and_make_dev_only_call_samae() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for name in ("demo", "dev"):
        assert re.search(rf"^{name}: .*\n\t\$\(BIN\)/samae {name}\n", makefile, re.MULTILINE)


@pytest.mark.parametrize("line", [line for line in commands() if line not in PROVEN_ELSEWHERE])
def test_a_command_of_the_readme_runs(line: str, whole: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, *arguments = shlex.split(line)
    assert program == "samae"
    monkeypatch.chdir(tmp_path)
    shards = ShardSet.open(whole.home / "shards" / "people-32x64")
    faces = iter(shards.keys("train"))
    arguments = [next(faces) if re.fullmatch(r"\d{5}", word) else word for word in arguments]
    # Another length would train another model than the one that the other tests look at.
    arguments = [word.replace("total_kimg=0.1", "total_kimg=0.048") for word in arguments]
    printed = samae(*arguments, home=whole.home, SAMAE_RECIPES="samae", SAMAE_RANKS="1")
    assert printed.strip()
