"""infra/: the files parse, Dagster accepts its own, and every name in them (settings, commands, files) exists.

No Docker engine and no cluster runs here: this is what can be said of a deployment without one.
"""

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.settings import Settings

ROOT = Path(__file__).parent.parent.parent
INFRA = ROOT / "infra"
YAML_FILES = sorted(path.relative_to(INFRA).as_posix() for path in INFRA.rglob("*.yaml"))
COMPOSE = yaml.safe_load((INFRA / "compose.yaml").read_text())
#: Commands of the services -> the package whose entry point they are.
COMMANDS = {"dagster", "dagster-webserver", "dagster-daemon", "mlflow", "ray", "python"}


def fields() -> set[str]:
    return {f"SAMAE_{name.upper()}" for name in Settings.model_fields}


@pytest.mark.parametrize("name", YAML_FILES)
def test_every_file_is_yaml_and_its_settings_exist(name: str) -> None:
    text = (INFRA / name).read_text()
    assert [document for document in yaml.safe_load_all(text) if document]
    shell_only = {"SAMAE_VARIANT"}  # which image compose builds
    assert set(re.findall(r"\bSAMAE_[A-Z_]+\b", text)) - shell_only <= fields()


def test_settings_of_the_services_are_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    config_map = yaml.safe_load((INFRA / "kubernetes/settings.yaml").read_text())["data"]
    for variables in (COMPOSE["x-samae"]["environment"], config_map):
        with monkeypatch.context() as patch:
            for name, value in variables.items():
                if name.startswith("SAMAE_"):
                    patch.setenv(name, re.sub(r"\$\{\w+:-(.*)\}", r"\1", str(value)))
            settings = Settings()
        assert settings.launch.startswith("ray:http://")
        assert settings.mlflow_uri.startswith("http://")


def test_no_secret_is_written_down() -> None:
    for service in COMPOSE["services"].values():
        for name, value in (service.get("environment") or {}).items():
            if re.search("PASSWORD|SECRET|ACCESS_KEY", name):
                assert re.fullmatch(r"\$\{\w+:\?.+\}", value), name


def test_services_fit_together() -> None:
    services = COMPOSE["services"]
    for name, service in services.items():
        assert set(service.get("depends_on", {})) <= set(services), name
        for wanted, how in service.get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                assert "healthcheck" in services[wanted], f"{name} waits for {wanted}"
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source in COMPOSE["volumes"] or (INFRA / source).is_file(), volume
    for host, port in re.findall(r"//(?:\w+:[^@]+@)?([a-z-]+):(\d+)", (INFRA / "compose.yaml").read_text()):
        assert port in str(services[host]) or port in ("5432", "9000"), f"{host}:{port}"
    grpc = yaml.safe_load((INFRA / "cluster/workspace.yaml").read_text())["load_from"][0]["grpc_server"]
    assert str(grpc["port"]) in services[grpc["host"]]["command"]


def test_commands_and_their_options_exist() -> None:
    bin_folder = Path(shutil.which("dagster") or ROOT / ".venv/bin/dagster").parent
    for name, service in COMPOSE["services"].items():
        command = service.get("command", [])
        if "samae:" in service.get("image", ""):
            assert command[0] in COMMANDS, name
            assert (bin_folder / command[0]).exists(), name
    code = COMPOSE["services"]["code"]["command"]
    assert importlib.util.find_spec(code[code.index("--module-name") + 1])


@pytest.mark.slow
@pytest.mark.parametrize("service", ["code", "webserver", "daemon", "mlflow", "ray-head", "ray-worker"])
def test_each_option_is_known_to_its_command(service: str) -> None:
    command = COMPOSE["services"][service]["command"]
    words = [word for word in command if not word.startswith("-")]
    start = {"code": 3, "webserver": 1, "daemon": 2, "mlflow": 2, "ray-head": 2, "ray-worker": 2}[service]
    shown = subprocess.run(
        [str(ROOT / ".venv/bin" / words[0]), *words[1:start], "--help"], capture_output=True, text=True, check=True
    ).stdout
    for option in (word.split("=")[0] for word in command if word.startswith("--")):
        assert option in shown, f"{service}: {option}"


def test_the_image_has_every_folder_of_the_project() -> None:
    text = (INFRA / "Dockerfile").read_text()
    for line in re.findall(r"^COPY (?:--\S+ )*(.+)$", text, re.M):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists(), source
            top = source.split("/")[0]
            assert f"!{top}" in (INFRA / "Dockerfile.dockerignore").read_text(), top
    for package in ("faces", "training", "evaluation", "assets", "pipelines", "infra", "benchmarks"):
        assert f"COPY {package} {package}" in text
    assert re.search(r"^USER (?!0|root)", text, re.M)


@pytest.mark.parametrize("name", ["dagster.yaml", "cluster/dagster.yaml"])
def test_dagster_accepts_its_instance(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("dagster_postgres", reason="pip install -e '.[cluster]'")
    from dagster._core.instance.config import dagster_instance_config

    for variable in ("HOST", "USER", "PASSWORD", "DB"):
        monkeypatch.setenv(f"DAGSTER_POSTGRES_{variable}", "x")
    monkeypatch.setenv("DAGSTER_SHARED", str(tmp_path))
    shutil.copyfile(INFRA / name, tmp_path / "dagster.yaml")
    config, _ = dagster_instance_config(str(tmp_path))
    assert config["run_monitoring"]["free_slots_after_run_end_seconds"] == 60


def test_both_instances_have_the_same_pools() -> None:
    one, team = (yaml.safe_load((INFRA / name).read_text()) for name in ("dagster.yaml", "cluster/dagster.yaml"))
    assert one["concurrency"]["pools"] == team["concurrency"]["pools"]
    assert one["run_monitoring"] == team["run_monitoring"]
    values: dict[str, Any] = yaml.safe_load((INFRA / "kubernetes/dagster-values.yaml").read_text())
    assert values["additionalInstanceConfig"]["concurrency"]["pools"] == one["concurrency"]["pools"]


def test_the_cluster_runs_the_pinned_ray() -> None:
    cluster = yaml.safe_load((INFRA / "kubernetes/raycluster.yaml").read_text())
    assert f"ray=={cluster['spec']['rayVersion']}" in (ROOT / "constraints.txt").read_text().split()
