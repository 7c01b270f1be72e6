"""Do the servers answer that the settings name? `samae doctor --deep` asks each, for a few seconds, in one sentence.

Nothing is written anywhere, and the webhook gets no message: its host is only connected to. A user's name and password
in an address are neither sent nor printed.
"""

import socket
import urllib.error
import urllib.request
from collections.abc import Callable
from functools import partial
from http.client import HTTPException
from urllib.parse import urlsplit

from faces.errors import SamaeError
from pipelines.settings import Settings, without_user

WAIT_S = 5.0
#: Codes of a server that works: good, and one that wants a password (which this question does not bring).
ANSWERS = (200, 401)
PORTS = {"http": 80, "https": 443}


def servers(settings: Settings) -> dict[str, tuple[Callable[[], None], str]]:
    """Name -> (question, mend) of every server that is named; the question raises SamaeError where none answers."""
    asked: dict[str, tuple[Callable[[], None], str]] = {}
    if settings.mlflow_uri.startswith(("http://", "https://")):
        address = f"{without_user(settings.mlflow_uri).rstrip('/')}/health"
        asked["mlflow_server"] = (partial(require_page, address), "start it, or unset SAMAE_MLFLOW_URI")
    if ":" in settings.ray:
        place = settings.ray.removeprefix("join:").removeprefix("ray://")
        asked["ray_cluster"] = (partial(require_port, place), "start it, or set SAMAE_RAY=local")
    if settings.launch.startswith("ray:"):
        address = f"{without_user(settings.launch).removeprefix('ray:').rstrip('/')}/api/version"
        asked["ray_job_server"] = (partial(require_page, address), "start it, or set SAMAE_LAUNCH=local")
    if settings.webhook:
        parts = urlsplit(settings.webhook)
        place = f"{parts.hostname}:{parts.port or PORTS[parts.scheme]}"
        asked["webhook_host"] = (partial(require_port, place), "mend or unset SAMAE_WEBHOOK")
    return asked


def require_page(address: str) -> None:
    """SamaeError unless a page answers."""
    try:
        with urllib.request.urlopen(address, timeout=WAIT_S) as answer:
            code = answer.status
    except urllib.error.HTTPError as error:
        code = error.code
    except (OSError, HTTPException, ValueError) as error:
        raise SamaeError(f"{address} does not answer ({getattr(error, 'reason', error)})") from None
    if code not in ANSWERS:
        raise SamaeError(f"{address} answers with HTTP code {code}")


def require_port(place: str) -> None:
    """SamaeError unless somebody listens at host:port."""
    host, _, port = place.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=WAIT_S).close()
    except (OSError, ValueError) as error:
        raise SamaeError(f"nobody listens at {place} ({error})") from None
