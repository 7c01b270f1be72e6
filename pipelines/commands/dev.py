"""`samae dev`: the Dagster page on workspace.yaml and the MLflow page, both on localhost, until Ctrl-C."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from faces.errors import SamaeError
from pipelines.commands.demo import quieten
from pipelines.group import end_group
from pipelines.materialise import open_instance, prepare_dagster_home
from pipelines.settings import Settings, load_settings

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
    (settings.home / "mlflow").mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, _interrupt)
    processes = [
        subprocess.Popen(command, env=os.environ | environment(settings), start_new_session=True, cwd=WORKSPACE.parent)
        for command in commands.values()
    ]
    print("   ".join(commands) + "   (Ctrl-C ends)", flush=True)
    try:
        while all(process.poll() is None for process in processes):
            time.sleep(0.5)
        raise SamaeError("a page ended by itself; its last lines above say why")
    except KeyboardInterrupt:
        print("samae: closed")
    finally:
        for process in processes:
            end_group(process, grace_seconds=15)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


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
