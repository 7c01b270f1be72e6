"""`samae dev` for tests: the Dagster and MLflow pages of a home, on ports of their own."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from tests.browser import until
from tests.integration.conftest import environment


def free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


@dataclass
class Pages:
    dagster: str
    mlflow: str

    def graphql(self, query: str) -> Any:
        body = json.dumps({"query": query}).encode()
        request = Request(f"{self.dagster}/graphql", body, {"Content-Type": "application/json"})
        with urlopen(request, timeout=60) as answer:
            return json.load(answer)["data"]


def answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


@contextmanager
def serving(home: Path, page: str = "both", **settings: str) -> Iterator[Pages]:
    """The pages (or one: "dagster", "mlflow") of the smallest home, for as long as the block runs."""
    with serving_in(environment(home, **settings), page) as made:
        yield made


@contextmanager
def serving_in(surroundings: dict[str, str], page: str = "both") -> Iterator[Pages]:
    """The pages of the home that these variables name."""
    dagster_port, mlflow_port = free_ports(2)
    surroundings |= {"SAMAE_DAGSTER_PORT": str(dagster_port), "SAMAE_MLFLOW_PORT": str(mlflow_port)}
    surroundings["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{surroundings['PATH']}"
    command = [sys.executable, "-m", "pipelines.cli", "dev", "--page", page]
    process = subprocess.Popen(command, env=surroundings, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    made = Pages(f"http://127.0.0.1:{dagster_port}", f"http://127.0.0.1:{mlflow_port}")
    try:
        if page != "mlflow":
            until(lambda: answers(f"{made.dagster}/server_info"), "the Dagster page", 180)
        if page != "dagster":
            until(lambda: answers(f"{made.mlflow}/health"), "the MLflow page", 180)
        yield made
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(120)
