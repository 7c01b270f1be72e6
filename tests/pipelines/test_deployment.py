"""infra/: the files parse, Dagster accepts its own, and every name in them (settings, commands, files) exists.

No Docker engine and no cluster runs here: this is what can be said of a deployment without one.
"""

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager
from dagster._serdes import ConfigurableClassData

from assets import machine
from assets.plan import Plan
from faces.identity.registry import WEIGHTS_VARIABLE
from pipelines.ray_pool import QUIET_ENVIRONMENT
from pipelines.settings import Settings

ROOT = Path(__file__).parent.parent.parent
INFRA = ROOT / "infra"
YAML_FILES = sorted(path.relative_to(INFRA).as_posix() for path in INFRA.rglob("*.yaml"))
COMPOSE = yaml.safe_load((INFRA / "compose.yaml").read_text())
#: Commands of the services -> the package whose entry point they are.
COMMANDS = {"dagster", "dagster-webserver", "dagster-daemon", "mlflow", "ray", "python", "samae"}
#: Programs that other images bring, and one of every system.
FOREIGN_COMMANDS = {"mc", "pg_isready", "true"}
KUBERNETES = sorted((INFRA / "kubernetes").glob("*.yaml"))
VALUES: dict[str, Any] = yaml.safe_load((INFRA / "kubernetes/dagster-values.yaml").read_text())
SETTINGS = yaml.safe_load((INFRA / "kubernetes/settings.yaml").read_text())["data"]


def fields() -> set[str]:
    return {f"SAMAE_{name.upper()}" for name in Settings.model_fields}


@pytest.mark.parametrize("name", YAML_FILES)
def test_every_file_is_yaml_and_its_settings_exist(name: str) -> None:
    text = (INFRA / name).read_text()
    assert [document for document in yaml.safe_load_all(text) if document]
    no_fields = {"SAMAE_VARIANT", "SAMAE_COMMIT", WEIGHTS_VARIABLE}  # which image compose builds; faces/ reads the last
    assert set(re.findall(r"\bSAMAE_[A-Z_]+\b", text)) - no_fields <= fields()


def test_settings_of_the_services_are_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    for variables in (COMPOSE["x-samae"]["environment"], SETTINGS):
        with monkeypatch.context() as patch:
            for name, value in variables.items():
                if name.startswith("SAMAE_") and value is not None:
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
            source = re.sub(r"\$\{\w+:-([\w/]*)\}", r"\1", volume).split(":")[0]
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
            assert command[0] in COMMANDS | FOREIGN_COMMANDS, name
            assert command[0] in FOREIGN_COMMANDS or (bin_folder / command[0]).exists(), name
    code = COMPOSE["services"]["code"]["command"]
    assert importlib.util.find_spec(code[code.index("--module-name") + 1])
    assert code[:3] == ["dagster", "api", "grpc"]  # the launcher believes it (pipelines/run_launcher.py)


@pytest.mark.parametrize("name", [name for name, service in COMPOSE["services"].items() if "healthcheck" in service])
def test_a_health_check_asks_its_own_service(name: str) -> None:
    service = COMPOSE["services"][name]
    kind, *command = service["healthcheck"]["test"]
    assert kind in ("CMD", "CMD-SHELL")
    words = command if kind == "CMD" else command[0].split()
    assert words[0] in (FOREIGN_COMMANDS if "samae:" not in service["image"] else COMMANDS)
    if words[:2] == ["python", "-c"]:
        compile(words[2], name, "exec")
    for port in re.findall(r"(?:127\.0\.0\.1:|^)(\d{4,5})\b", "\n".join(words), re.M):
        assert port in re.findall(r"\d+", " ".join(service["command"])), f"{name} asks port {port}"


#: Every command and health check of our image: its words.
COMMAND_LINES = {
    f"{name}, {what}": words
    for name, service in COMPOSE["services"].items()
    for what, words in (
        ("command", service.get("command", [])),
        ("health", service.get("healthcheck", {}).get("test", [])[1:]),
    )
    if "samae:" in service["image"] and words and words[0] not in ("python", "true")
}


@pytest.mark.slow
@pytest.mark.parametrize("line", COMMAND_LINES)
def test_each_option_is_known_to_its_command(line: str) -> None:
    words = COMMAND_LINES[line]
    first = next((i for i, word in enumerate(words) if word.startswith("-")), len(words))
    program = str(Path(sys.executable).with_name(words[0]))
    shown = subprocess.run([program, *words[1:first], "--help"], capture_output=True, text=True, check=True).stdout
    for option in (word.split("=")[0] for word in words if word.startswith("--")):
        assert option in shown, f"{line}: {option}"


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
    chart = VALUES["concurrency"]
    assert chart["enabled"]
    assert "concurrency" not in VALUES.get("additionalInstanceConfig", {})
    assert {snake(name): value for name, value in chart["pools"].items()} == team["concurrency"]["pools"]
    assert {snake(name): value for name, value in chart["runs"].items()} == team["concurrency"]["runs"]
    monitoring = VALUES["dagsterDaemon"]["runMonitoring"]
    assert {snake(name): value for name, value in monitoring.items()} == team["run_monitoring"]
    retries = VALUES["dagsterDaemon"]["runRetries"]
    assert {snake(name): value for name, value in retries.items()} == team["run_retries"]


def snake(name: str) -> str:
    """A name of the Helm chart as dagster.yaml writes it: maxConcurrentRuns, max_concurrent_runs."""
    return re.sub(r"(?=[A-Z])", "_", name).lower()


def test_every_setting_of_what_is_made_can_be_passed_to_the_services() -> None:
    passed = set(COMPOSE["x-samae"]["environment"])
    assert {f"SAMAE_{name.upper()}" for name in Plan.model_fields} | {WEIGHTS_VARIABLE} <= passed
    assert "${SAMAE_RAW:-raw}:${SAMAE_RAW:-/raw}:ro" in COMPOSE["x-samae"]["volumes"]


def test_ray_workers_are_not_starved_and_have_shared_memory() -> None:
    for variables in (COMPOSE["x-samae"]["environment"], SETTINGS):
        assert variables["RAY_worker_niceness"] == QUIET_ENVIRONMENT["RAY_worker_niceness"]
    for name in ("code", "ray-head", "ray-worker"):
        assert "shm_size" in COMPOSE["services"][name], name
    launcher = VALUES["runLauncher"]["config"]["k8sRunLauncher"]
    assert {mount["mountPath"] for mount in launcher["volumeMounts"]} == {"/data", "/dev/shm"}
    groups = yaml.safe_load((INFRA / "kubernetes/raycluster.yaml").read_text())["spec"]["workerGroupSpecs"]
    for group in groups:  # without an autoscaler, other limits would promise what nobody does
        assert group["minReplicas"] == group["replicas"] == group["maxReplicas"]


def pod_specs() -> dict[str, dict[str, Any]]:
    """Every pod of ours in the Kubernetes files, by a name to tell it by."""
    pods: dict[str, dict[str, Any]] = {}
    for path in KUBERNETES:
        for document in yaml.safe_load_all(path.read_text()):
            spec = document.get("spec", {})
            if document.get("kind") == "Deployment":
                pods[document["metadata"]["name"]] = spec["template"]["spec"]
            if document.get("kind") == "RayCluster":
                pods["ray head"] = spec["headGroupSpec"]["template"]["spec"]
                pods |= {f"ray {one['groupName']}": one["template"]["spec"] for one in spec["workerGroupSpecs"]}
    code = VALUES["dagster-user-deployments"]["deployments"][0]
    launcher = VALUES["runLauncher"]["config"]["k8sRunLauncher"]
    pods["run"] = launcher["runK8sConfig"]["podSpecConfig"] | {"containers": [launcher]}
    for name, values in (("code", code), ("webserver", VALUES["dagsterWebserver"])):
        pods[name] = {"securityContext": values["podSecurityContext"], "containers": [values]}
    return pods


@pytest.mark.parametrize("name", pod_specs())
def test_whoever_mounts_the_shared_folder_may_write_it(name: str) -> None:
    pod = pod_specs()[name]
    uid = int(re.findall(r"--uid (\d+)", (INFRA / "Dockerfile").read_text())[0])
    if any(mount["mountPath"] == "/data" for one in pod["containers"] for mount in one.get("volumeMounts", [])):
        assert pod["securityContext"] == {"runAsNonRoot": True, "runAsUser": uid, "fsGroup": uid}
    else:
        assert name == "samae-mlflow"


def test_the_page_reads_what_the_runs_wrote(tmp_path: Path) -> None:
    log = VALUES["computeLogManager"]["config"]["customComputeLogManager"]
    assert log["config"]["base_dir"].startswith("/data/")
    data = ConfigurableClassData(log["module"], log["class"], yaml.safe_dump({"base_dir": str(tmp_path)}))
    assert data.rehydrate(LocalComputeLogManager)
    page = VALUES["dagsterWebserver"]
    assert page["service"]["port"] == page["readinessProbe"]["httpGet"]["port"] > 1024


def test_every_service_of_compose_is_somewhere_in_kubernetes_too() -> None:
    for service in ("mlflow", "metrics"):
        assert (INFRA / "kubernetes" / f"{service}.yaml").is_file()
        command = COMPOSE["services"][service]["command"]
        (container,) = pod_specs()[f"samae-{service}"]["containers"]
        ports = {port["containerPort"] for port in container["ports"]}
        assert {int(command[command.index("--port") + 1])} == ports


def test_nobody_runs_as_root() -> None:
    for name, service in COMPOSE["services"].items():
        ours = "samae:" in service["image"]  # the Dockerfile's USER
        assert ours or name == "postgres" or not service["user"].startswith("0"), name


def test_the_image_knows_its_commit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machine, "ROOT", tmp_path)  # no checkout
    for told, said in (("0123456789ab", "0123456789ab"), ("", "unknown")):
        monkeypatch.setenv("SAMAE_COMMIT", told)
        assert machine.commit.__wrapped__() == said
    assert "SAMAE_COMMIT=$COMMIT" in (INFRA / "Dockerfile").read_text()
    assert COMPOSE["x-samae"]["build"]["args"]["COMMIT"] == "${SAMAE_COMMIT:-}"


def test_what_the_image_installs_is_pinned() -> None:
    pinned = {line.partition("==")[0] for line in (ROOT / "constraints.txt").read_text().split()}
    assert {"dagster-k8s", "kubernetes"} <= pinned


def test_the_cluster_runs_the_pinned_ray() -> None:
    cluster = yaml.safe_load((INFRA / "kubernetes/raycluster.yaml").read_text())
    assert f"ray=={cluster['spec']['rayVersion']}" in (ROOT / "constraints.txt").read_text().split()
