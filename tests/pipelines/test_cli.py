"""The command line: its frozen help, and that every mistake is one sentence, exit code 2, and nothing half-written."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from faces.errors import SamaeError
from faces.photographs import LISTING_NAME
from pipelines.cli import app, main, models_app
from pipelines.commands import models
from tests.browser import until
from tests.processes import kill_family
from training import weights

#: Command -> its options and arguments. A change here is a change of the interface: say so in the commit.
COMMANDS = {
    "demo": ["--no-plain", "--plain", "--set"],
    "dev": ["--mlflow-port", "--page", "--port"],
    "doctor": ["--deep", "--json"],
    "bench": ["--json", "--list", "--set", "name"],
    "train": ["--dry-run", "--ranks", "--set", "--recipe"],
    "evaluate": ["--json", "--pairs", "--protocol", "--recipe", "--report"],
    "swap": ["--landmarks", "--model", "--out", "-o", "source", "target"],
    "synth": ["--count", "--people", "--seed", "--size-px", "--video", "folder"],
    "ingest": ["--landmarks", "--licence", "--size-px", "folder", "photographs"],
    "metrics": ["--host", "--instance", "--port"],
    "pictures": [],
}
MODELS = {"list": ["--json"], "show": ["--json", "version"], "rollback": []}


def interface(typer_app: object) -> dict[str, list[str]]:
    import typer

    group = typer.main.get_group(typer_app)  # type: ignore[arg-type]
    found = {}
    for name, command in group.commands.items():
        if name == "models":
            continue
        words = [w for p in command.params for w in (*p.opts, *p.secondary_opts)]
        found[name] = sorted(word for word in words if word != "--help")
    return found


def test_the_interface_is_frozen() -> None:
    assert interface(app) == {name: sorted(words) for name, words in COMMANDS.items()}
    assert interface(models_app) == {name: sorted(words) for name, words in MODELS.items()}


@pytest.mark.parametrize("name", [*COMMANDS, "models"])
def test_every_command_explains_itself(name: str) -> None:
    shown = CliRunner().invoke(app, [name, "--help"])
    assert shown.exit_code == 0
    assert "Usage" in shown.stdout
    assert len(shown.stdout.splitlines()) > 4


@pytest.mark.parametrize(
    ("arguments", "texts"),
    [
        (["swap"], ["Picture with the source face, or a key", "Picture, folder of pictures, or a key"]),
        (["synth"], ["Where to write."]),
        (["ingest"], ["Folder of photographs: PNG, JPEG or WebP", "Where to write the set in FFHQ layout."]),
        (["bench"], ["Which benchmark."]),
        (["models", "show"], ["A number, an alias, or the name of weights"]),
        (["demo"], ["A setting SAMAE_NAME as name=value"]),
        (["train"], ["A key of the recipe"]),
        (["bench"], ["A setting of this benchmark"]),
        (["swap"], ["champion, another alias, a version, a recipe trained here"]),
    ],
)
def test_arguments_and_settings_are_explained(arguments: list[str], texts: list[str]) -> None:
    shown = CliRunner().invoke(app, [*arguments, "--help"]).stdout
    for text in texts:
        assert shown.count(text) == 1


def test_the_help_of_train_tells_of_encoders() -> None:
    shown = CliRunner().invoke(app, ["train", "--help"])
    assert "identity_encoder" in shown.stdout


@dataclass
class Done:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def samae(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., Done]]:
    """Run `samae` in this process with a bare environment; what the command sets is taken back afterwards."""
    before = dict(os.environ)

    def call(*arguments: str, home: Path, **variables: str) -> Done:
        bare = {name: value for name, value in before.items() if not name.startswith("SAMAE_")}
        os.environ.clear()
        os.environ.update(bare | {"SAMAE_HOME": str(home), "SAMAE_RAY": "serial"} | variables)
        monkeypatch.setattr(sys, "argv", ["samae", *arguments])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        shown = capsys.readouterr()
        return Done(code, shown.out, shown.err)

    yield call
    os.environ.clear()
    os.environ.update(before)


def test_the_exit_code_reaches_the_shell(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pipelines.cli", "bench", "speed"]
    done = subprocess.run(command, env=os.environ | {"SAMAE_HOME": str(tmp_path)}, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("samae: no benchmark is called 'speed'")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "variables", "mentions"),
    [
        (["demo"], {"SAMAE_PHOTOGRAPHS": "some"}, "SAMAE_PHOTOGRAPHS is 'some'"),
        (["demo"], {"SAMAE_RAW": "/nowhere/faces"}, "`samae ingest PHOTOGRAPHS SET` makes one"),
        (["demo", "--set", "photos=3"], {}, "is not NAME=VALUE of a setting"),
        (["demo", "--set", "photographs=8"], {}, "8 photographs of 2 people are too few to train on some"),
        (["train", "--recipe", "sameo"], {}, "no recipe is called 'sameo'"),
        (["train", "--recipe", "samae"], {}, "is missing or unfinished): run `samae demo`"),
        (["evaluate", "--recipe", "samae"], {}, "swap_model [samae] has not been made yet"),
        (["evaluate", "--recipe", "samae-people"], {}, "`samae bench results --set model=samae-people` judges them"),
        (["bench", "raster", "--set", "foo=1"], {}, "bench raster knows no foo; its settings are size_px, batch"),
        (["bench", "speed"], {}, "no benchmark is called 'speed'"),
        (["swap", "00001", "00002"], {}, "training_shards has not been made yet"),
        (["ingest", "/nowhere", "set"], {}, "/nowhere does not exist: name a folder of photographs"),
        (["synth", "set", "--size-px", "100000"], {}, "is not in the range 64<=x<=4096"),
        (["models", "list"], {"SAMAE_HOME": "/dev/null/home"}, "/dev/null is no folder; name another"),
        (["swap", "a.png", "b.png", "--model", "/dev"], {}, "/dev holds no weights of a swapper"),
        (["ingest", "/n", "set", "--landmarks", "insightface"], {"HOME": "/nowhere"}, "needs its det_10g.onnx"),
        (["ingest", "/n", "set"], {"SAMAE_LANDMARKS": "dlib"}, "SAMAE_LANDMARKS is 'dlib'"),
    ],
)
def test_a_mistake_is_one_sentence(
    samae: Callable[..., Done], tmp_path: Path, arguments: list[str], variables: dict[str, str], mentions: str
) -> None:
    home = tmp_path / "home"
    done = samae(*arguments, home=home, **variables)
    assert done.returncode == 2, done.stderr
    assert mentions in done.stderr
    assert "Traceback" not in done.stderr
    left = {path.name for path in home.rglob("*") if path.suffix in (".parquet", ".npy", ".tar", ".html")}
    assert not left
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_home_that_cannot_be_written(samae: Callable[..., Done], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    done = samae("demo", home=tmp_path / "file" / "home")
    assert done.returncode == 2
    assert "name another folder by SAMAE_HOME" in done.stderr


def test_doctor_without_a_gpu(samae: Callable[..., Done], tmp_path: Path) -> None:
    done = samae("doctor", "--json", home=tmp_path, CUDA_VISIBLE_DEVICES="")
    found = json.loads(done.stdout)
    assert found["gpus"] == []
    assert found["rasteriser_backends"]["numba"] == "ready"
    optional = {weights["name"] for weights in found["optional_weights"]}
    assert optional >= {"ArcFace w600k_r50", "VGG16", "AlexNet", "LPIPS heads (vgg)", "Inception v3 (FID)"}
    assert "EfficientNet-lite0" in optional
    assert all(weights["licence"] and weights["where"] for weights in found["optional_weights"])
    assert done.returncode == (2 if found["problems"] else 0)


def test_doctor_finds_weights_and_names_problems(samae: Callable[..., Done], tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    weights.mkdir()
    for name in ("vgg.pth", "vgg16-397923af.pth"):
        (weights / name).write_bytes(b"not really")
    done = samae("doctor", "--json", home=tmp_path, SAMAE_WEIGHTS=str(weights), SAMAE_RAW=str(tmp_path))
    found = json.loads(done.stdout)
    told = {w["name"]: w for w in found["optional_weights"]}
    assert told["LPIPS heads (vgg)"]["found"] == str(weights / "vgg.pth")
    assert "not the published file" in told["VGG16"]["doubt"]
    assert any(f"or make one by `samae ingest {tmp_path} SET`" in problem for problem in found["problems"])
    assert done.returncode == 2


def test_bench_lists_its_benchmarks(samae: Callable[..., Done], tmp_path: Path) -> None:
    done = samae("bench", "--list", "--json", home=tmp_path)
    listed = json.loads(done.stdout)
    assert "demo" in listed
    assert all(listed.values())


def test_models_of_an_empty_registry(samae: Callable[..., Done], tmp_path: Path) -> None:
    done = samae("models", "list", "--json", home=tmp_path)
    listed = json.loads(done.stdout)
    assert {one["tags"]["samae.kind"] for one in listed} == {"shipped"}
    said = samae("models", "list", home=tmp_path).stdout
    assert "samae-people" in {one["version"] for one in listed}
    assert [one["version"] for one in listed if one["version"] not in said] == []
    shown = samae("models", "show", "champion", home=tmp_path)
    assert shown.returncode == 2
    assert "no version or alias is called 'champion'" in shown.stderr
    assert "samae-people comes with Samae" in shown.stderr
    about = json.loads(samae("models", "show", "samae-people", "--json", home=tmp_path).stdout)
    assert about["version"] == "samae-people"
    assert "Apache-2.0" in about["card"]
    back = samae("models", "rollback", home=tmp_path)
    assert back.returncode == 2
    assert "nothing to roll back to" in back.stderr


def test_damaged_weights_do_not_hide_the_others_from_the_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = tmp_path / "weights"
    shutil.copytree(weights.SHIPPED_FOLDER, shipped)
    monkeypatch.setattr(weights, "SHIPPED_FOLDER", shipped)
    with (shipped / "samae-people" / weights.WEIGHTS).open("ab") as stream:
        stream.write(b"more")
    assert [one["version"] for one in models.shipped()] == weights.shipped_names()
    with pytest.raises(SamaeError, match="samae-people"):
        models.shipped_export("samae-people")


def test_shipped_weights_in_the_champions_place_do_not_say_that_nothing_was_trained(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Something may have been trained and refused by the gate."""
    assert models.shipped_export("champion").name == "samae-people"
    said = capsys.readouterr().out
    assert said == "champion: the weights samae-people that come with Samae (no other model of that name is here)\n"


def test_a_dry_run_hides_no_setting(samae: Callable[..., Done], tmp_path: Path) -> None:
    from training.config import load_recipe

    shown = json.loads(samae("train", "--recipe", "samae", "--dry-run", home=tmp_path).stdout)
    recipe = load_recipe("samae")
    for name in ("generator", "discriminator", "losses", "mask", "mesh", "identity", "optimiser", "train"):
        assert set(shown[name]) == set(vars(getattr(recipe, name))), name
    assert shown["train"]["patience_s"] == recipe.train.patience_s
    assert len(shown["digest"]) == 16


@pytest.mark.slow
def test_a_terminated_synth_says_one_sentence_and_leaves_the_rest_undrawn(tmp_path: Path) -> None:
    """Workers and what they share are put away before the process ends, or Python's resource tracker complains."""
    command = [sys.executable, "-m", "pipelines.cli", "synth", str(tmp_path / "set"), "--count", "100000"]
    drawing = subprocess.Popen([*command, "--size-px", "64"], stderr=subprocess.PIPE, text=True)
    records = tmp_path / "set" / ".records"
    try:
        until(lambda: drawing.poll() is not None or any(records.glob("*.json")), "the first pictures", 300)
        drawing.send_signal(signal.SIGTERM)
        _, said = drawing.communicate()
    finally:
        kill_family(drawing)
    assert drawing.returncode == 143, said
    assert "samae: stopped; what was finished is kept" in said
    assert "resource_tracker" not in said
    assert "Traceback" not in said
    assert list(records.glob("*.json"))
    assert not (tmp_path / "set" / LISTING_NAME).exists()


#: A Dagster run in which a signal comes, to the whole group as at a terminal: the handler is then Dagster's.
SIGNALLED_RUN = """
import os, sys, time
import dagster as dg
from pipelines import cli
from pipelines.materialise import our_yaml, set_helpers_apart

@dg.asset
def waits() -> None:
    os.killpg(0, int(sys.argv[1]))
    time.sleep(600)

def app():
    with open("dagster.yaml", "w") as file:
        file.write(our_yaml())
    os.environ["DAGSTER_HOME"] = os.getcwd()
    with dg.DagsterInstance.from_config(".") as instance:
        set_helpers_apart()
        dg.materialize([waits], instance=instance)

cli.app = app
cli.main()
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_a_dagster_run_has_the_exit_code_that_it_has_elsewhere(number: int, tmp_path: Path) -> None:
    command = [sys.executable, "-c", SIGNALLED_RUN, str(int(number))]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, start_new_session=True)
    assert done.returncode == 128 + number, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("samae: stopped; what was finished is kept"), done.stderr
