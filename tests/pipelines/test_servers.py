"""The servers that settings name: those that answer, those that refuse, and those that nobody runs."""

import re
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from faces.errors import SamaeError
from pipelines.commands import doctor
from pipelines.selftest import Outcome
from pipelines.servers import servers
from pipelines.settings import load_settings, without_user


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The servers are on this machine, whatever proxy the environment names."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("no_proxy", "*")  # an opener made before keeps its proxies


class Pages(BaseHTTPRequestHandler):
    """/health and /api/version are there, what is below /closed is refused, below /secret it wants a password."""

    def do_GET(self) -> None:
        """Only the code matters."""
        codes = {"/health": 200, "/api/version": 200, "/closed/health": 403, "/secret/health": 401}
        self.send_response(codes.get(self.path, 404))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def place() -> Iterator[str]:
    """host:port of a server."""
    with HTTPServer(("127.0.0.1", 0), Pages) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def nobody() -> Iterator[str]:
    """host:port that is taken, but where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


def test_whoever_works_alone_asks_nobody() -> None:
    assert servers(load_settings()) == {}
    assert servers(load_settings(mlflow_uri="sqlite:///x.db", launch="hosts:file", ray="auto")) == {}


def named(place: str) -> dict[str, str]:
    """Settings that name every server at one place."""
    return {
        "mlflow_uri": f"http://{place}/", "ray": f"join:{place}", "launch": f"ray:http://{place}",
        "webhook": f"http://{place}/hook",
    }  # fmt: skip


def test_servers_that_answer(place: str) -> None:
    asked = servers(load_settings(**named(place)))
    assert list(asked) == ["mlflow_server", "ray_cluster", "ray_job_server", "webhook_host"]
    for question, _ in asked.values():
        question()


def test_servers_that_are_not_there_are_a_sentence_each(nobody: str) -> None:
    for name, (question, mend) in servers(load_settings(**named(nobody))).items():
        with pytest.raises(SamaeError, match=nobody) as caught:
            question()
        assert "\n" not in str(caught.value)
        assert "SAMAE_" in mend, name


def test_a_refusal_is_no_answer_and_a_password_is_one(place: str) -> None:
    closed, _ = servers(load_settings(mlflow_uri=f"http://{place}/closed"))["mlflow_server"]
    with pytest.raises(SamaeError, match=r"/closed/health answers with HTTP code 403"):
        closed()
    servers(load_settings(mlflow_uri=f"http://{place}/secret"))["mlflow_server"][0]()


def test_a_password_in_an_address_is_not_printed(place: str, nobody: str) -> None:
    servers(load_settings(mlflow_uri=f"http://ann:pass@word@{place}"))["mlflow_server"][0]()
    there = {"mlflow_uri": f"http://ann:pass@word@{nobody}", "launch": f"ray:http://ann:pass@word@{nobody}",
             "webhook": f"http://ann:pass@word@{nobody}/hook"}  # fmt: skip
    asked = servers(load_settings(**there))
    assert list(asked) == ["mlflow_server", "ray_job_server", "webhook_host"]
    for question, _ in asked.values():
        with pytest.raises(SamaeError, match=nobody) as caught:
            question()
        assert not {"ann", "pass", "word"} & set(re.findall(r"\w+", str(caught.value)))
    assert without_user("sqlite:////home/a@b/x.db http://a:b@c:1/d@e") == "sqlite:////home/a@b/x.db http://c:1/d@e"


def test_an_mlflow_address_without_a_port_behind_its_colon_is_a_sentence() -> None:
    with pytest.raises(SamaeError, match=r"http://127\.0\.0\.1:abc/health does not answer"):
        servers(load_settings(mlflow_uri="http://127.0.0.1:abc"))["mlflow_server"][0]()


def test_the_doctor_asks_them(nobody: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("SAMAE_RAY", nobody)
    monkeypatch.setattr(doctor, "self_test", lambda told: [])
    (outcome,) = doctor.work(quietly=False)
    assert isinstance(outcome, Outcome)
    assert outcome.name == "ray_cluster"
    assert outcome.error
    assert f"nobody listens at {nobody}" in capsys.readouterr().out
