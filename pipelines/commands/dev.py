"""`samae dev`: the Dagster page on workspace.yaml and the MLflow page, both on localhost, until Ctrl-C.

What the two servers print is in $SAMAE_HOME/dev.log.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from faces.errors import SamaeError
from faces.files import make_folder
from pipelines.commands.demo import quieten
from pipelines.group import end_groups
from pipelines.materialise import open_instance, prepare_dagster_home
from pipelines.settings import Settings, load_settings

#: What the servers print, below SAMAE_HOME.
LOG_NAME = "dev.log"
ENDING = (signal.SIGINT, signal.SIGTERM)
WORKSPACE = Path(__file__).parent.parent.parent / "workspace.yaml"


def run(port: int | None, mlflow_port: int | None, page: str = "both") -> None:
    """Start both (or one) of the pages, wait for Ctrl-C or for one to end, and end them."""
    quieten()
    settings = load_settings(**{k: v for k, v in (("dagster_port", port), ("mlflow_port", mlflow_port)) if v})
    commands: dict[str, list[str]] = {}
    if page != "mlflow":
        require_free(settings.dagster_port, "SAMAE_DAGSTER_PORT")
        commands[f"Dagster http://127.0.0.1:{settings.dagster_port}"] = dagster_command(settings)
    if page != "dagster" and not settings.mlflow_uri:
        require_free(settings.mlflow_port, "SAMAE_MLFLOW_PORT")
        commands[f"MLflow {mlflow_page(settings)}"] = mlflow_command(settings)
    if page == "mlflow":
        prepare_dagster_home(settings)
    else:
        open_instance(settings).dispose()  # what keeps it from opening is one sentence here, a traceback in the page
    make_folder(settings.home / "mlflow")
    print("   ".join(commands) + "   (Ctrl-C ends)", flush=True)
    serve(list(commands.values()), os.environ | environment(settings), settings.home / LOG_NAME)


def serve(commands: list[list[str]], surroundings: dict[str, str], log: Path, grace_seconds: float = 15.0) -> None:
    """Run commands in groups of their own until SIGINT or SIGTERM, then end all groups; more signals change nothing.

    log: where everything goes that they print.

    Raises:
        SamaeError: one of them ended by itself.
    """
    signals: list[int] = []
    before = {number: signal.signal(number, lambda got, _: signals.append(got)) for number in ENDING}
    processes: list[subprocess.Popen[bytes]] = []
    try:
        with log.open("wb") as stream:
            for command in commands:
                processes.append(
                    subprocess.Popen(
                        command,
                        env=surroundings,
                        start_new_session=True,
                        cwd=WORKSPACE.parent,
                        stdout=stream,
                        stderr=subprocess.STDOUT,
                    )
                )
        while not signals and all(process.poll() is None for process in processes):
            time.sleep(0.2)
    finally:
        end_groups(processes, grace_seconds)
        for number, handler in before.items():
            signal.signal(number, handler)
    if not signals:
        raise SamaeError(f"a page ended by itself; the last lines of {log} say why")
    print("samae: closed")


def require_free(port: int, variable: str) -> None:
    """SamaeError when something listens on the port already."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise SamaeError(f"port {port} is taken; name another by {variable}") from None


def environment(settings: Settings) -> dict[str, str]:
    """Settings of the started processes, absolute where the working directory changes; no telemetry."""
    return {
        "SAMAE_HOME": str(settings.home),
        **({"SAMAE_RAW": str(settings.raw)} if settings.raw else {}),
        "DAGSTER_DISABLE_TELEMETRY": "1",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }


def dagster_command(settings: Settings) -> list[str]:
    """`dagster dev` on the workspace."""
    if not WORKSPACE.is_file():
        raise SamaeError(f"{WORKSPACE} is missing: run `samae dev` from a checkout of the project")
    where = ["--host", "127.0.0.1", "--port", str(settings.dagster_port)]
    return [str(Path(sys.executable).parent / "dagster"), "dev", "-w", str(WORKSPACE), *where]


def mlflow_command(settings: Settings) -> list[str]:
    """MLflow's server with one worker on our SQLite file."""
    where = ["--host", "127.0.0.1", "--port", str(settings.mlflow_port), "--workers", "1"]
    artifacts = (settings.home / "mlflow" / "artifacts").as_uri()
    store = ["--backend-store-uri", settings.tracking_uri, "--default-artifact-root", artifacts]
    return [str(Path(sys.executable).parent / "mlflow"), "server", *where, *store]


def mlflow_page(settings: Settings) -> str:
    """Address of the MLflow page."""
    return settings.mlflow_uri or f"http://127.0.0.1:{settings.mlflow_port}"
