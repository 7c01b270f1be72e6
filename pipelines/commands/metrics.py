"""`samae metrics`: the Prometheus metrics once on the terminal, or served until Ctrl-C."""

import threading
from pathlib import Path
from typing import Any

from faces.errors import SamaeError
from pipelines.commands.demo import quieten
from pipelines.settings import load_settings


def run(port: int | None, host: str, folder: Path | None = None) -> None:
    """Print the metrics in Prometheus' text format; with a port, serve them at http://host:port/metrics.

    folder: that of another dagster.yaml than SAMAE_HOME's.
    """
    from prometheus_client import CollectorRegistry, generate_latest, start_http_server

    from pipelines.materialise import open_instance
    from pipelines.metrics import SamaeCollector

    quieten()
    settings = load_settings()
    registry = CollectorRegistry()
    with existing_instance(folder) if folder else open_instance(settings) as instance:
        registry.register(SamaeCollector(settings, instance))
        if port is None:
            print(generate_latest(registry).decode(), end="")
            return
        try:
            server, _ = start_http_server(port, host, registry)
        except OSError as error:
            raise SamaeError(f"{host}:{port} cannot be served ({error.strerror}): name another --port") from None
        print(f"Metrics http://{host}:{server.server_port}/metrics   (Ctrl-C ends)", flush=True)
        try:
            threading.Event().wait()
        finally:
            server.shutdown()


def existing_instance(folder: Path) -> Any:
    """The Dagster instance of a folder's dagster.yaml; SamaeError when there is none or it cannot be opened."""
    from pipelines.materialise import instance_of

    if not (folder / "dagster.yaml").is_file():
        raise SamaeError(f"{folder} holds no dagster.yaml: name the folder that does by --instance")
    return instance_of(folder, "mend it, or name another folder by --instance")
