"""`samae metrics`: the Prometheus metrics once on the terminal, or served until Ctrl-C."""

import threading

from faces.errors import SamaeError
from pipelines.commands.demo import quieten
from pipelines.settings import load_settings


def run(port: int | None, host: str) -> None:
    """Print the metrics in Prometheus' text format; with a port, serve them at http://host:port/metrics."""
    from prometheus_client import CollectorRegistry, generate_latest, start_http_server

    from pipelines.materialise import open_instance
    from pipelines.metrics import SamaeCollector

    quieten()
    settings = load_settings()
    registry = CollectorRegistry()
    with open_instance(settings) as instance:
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
