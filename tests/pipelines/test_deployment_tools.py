"""infra/ before the tools that read it in earnest: hadolint, kubernetes-validate, docker compose, helm.

Each is skipped by its name where it is absent. hadolint and kubernetes-validate come with `make setup`; they ask nobody
on the network. docs/operations.md has the commands.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.pipelines.test_deployment import INFRA, KUBERNETES, ROOT, pod_specs

VALUES_FILE = INFRA / "kubernetes/dagster-values.yaml"


def program(name: str) -> str:
    """The program beside this interpreter, else the one on PATH; the test is skipped without it."""
    beside = str(Path(sys.executable).parent)
    found = shutil.which(name, path=os.pathsep.join([beside, os.environ.get("PATH", "")]))
    if found is None:
        pytest.skip(f"{name} is not installed here")
    return found


def said_by(*command: str, **environment: str) -> tuple[int, str]:
    """(exit code, everything that was said) of a command in the project's root."""
    done = subprocess.run(command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_hadolint_passes_the_dockerfile(tmp_path: Path) -> None:
    hadolint = program("hadolint")
    assert said_by(hadolint, "infra/Dockerfile") == (0, "")
    bad = tmp_path / "Dockerfile"
    bad.write_text("FROM python\nRUN cd /tmp && pip install numpy\n")
    code, said = said_by(hadolint, str(bad))
    assert code != 0
    assert "DL3006" in said


@pytest.mark.parametrize("path", [path for path in KUBERNETES if path != VALUES_FILE], ids=lambda path: path.stem)
def test_kubernetes_knows_every_field_of_its_objects(path: Path, tmp_path: Path) -> None:
    """The strict schema; Ray's own kind is none of Kubernetes', so its pods are asked about one by one."""
    validate = program("kubernetes-validate")
    documents = [document for document in yaml.safe_load_all(path.read_text()) if document["kind"] != "RayCluster"]
    if len(documents) == 0:
        ray = {name: pod for name, pod in pod_specs().items() if name.startswith("ray ")}
        documents = [
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name.replace(" ", "-")}, "spec": pod}
            for name, pod in ray.items()
        ]
        assert len(documents) == 3
    asked = tmp_path / path.name
    asked.write_text(yaml.safe_dump_all(documents))
    code, said = said_by(validate, "--strict", str(asked))
    assert code == 0, said
    assert said.count("passed for resource") == len(documents)


def test_kubernetes_refuses_a_field_that_it_does_not_know(tmp_path: Path) -> None:
    validate = program("kubernetes-validate")
    wrong = tmp_path / "volume.yaml"
    wrong.write_text((INFRA / "kubernetes/volume.yaml").read_text().replace("accessModes", "accessMode"))
    assert said_by(validate, "--strict", str(wrong))[0] != 0


@pytest.mark.parametrize("files", [("compose.yaml",), ("compose.yaml", "compose.cuda.yaml")], ids=len)
def test_docker_compose_reads_its_files(files: tuple[str, ...]) -> None:
    docker = program("docker")
    if said_by(docker, "compose", "version")[0]:
        pytest.skip("docker has no compose here")
    options = [word for name in files for word in ("-f", f"infra/{name}")]
    secrets = dict.fromkeys(("POSTGRES_PASSWORD", "MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD"), "word-for-a-test")
    code, said = said_by(docker, "compose", *options, "config", "--quiet", **secrets)
    assert code == 0, said


def test_helm_renders_the_chart_with_our_values() -> None:
    helm = program("helm")
    (version,) = {word for word in VALUES_FILE.read_text().split() if word.startswith("1.13.")}
    if "dagster-io.github.io" not in said_by(helm, "repo", "list")[1]:
        pytest.skip("helm has no repository of Dagster's chart here: helm repo add dagster …")
    values = VALUES_FILE.relative_to(ROOT).as_posix()
    code, said = said_by(helm, "template", "samae", "dagster/dagster", "--version", version, "-f", values)
    assert code == 0, said
    assert "max_concurrent_runs: 8" in said
