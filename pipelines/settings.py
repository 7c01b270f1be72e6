"""All settings, read from the environment (SAMAE_*). A wrong value is one sentence and exit code 2, never a traceback.

SAMAE_HOME=/data/samae SAMAE_RAW=/data/ffhq SAMAE_RANKS=8 samae demo

One variable is Dagster's own: where DAGSTER_HOME holds a dagster.yaml for Samae (its run launcher is that of
pipelines.run_launcher, as in infra/cluster/dagster.yaml), every command uses that instance and says so; else
$SAMAE_HOME/dagster.
"""

import difflib
import os
import re
import sys
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from assets.plan import Plan
from assets.store import Store
from faces.detection import READERS
from faces.errors import SamaeError

PREFIX = "SAMAE_"
#: Read elsewhere: weights and caches by faces, progress and kernels of started processes, the commit of an image.
OTHER_NAMES = ("CACHE", "COMMIT", "PROGRESS", "WARM", "WEIGHTS")


class Settings(BaseSettings, Plan):
    """The plan (what is made) and the place (where it runs)."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore", validate_default=True)

    home: Path = Field(Path(".samae"), description="folder of everything that is made")
    ray: str = Field("local", description="serial, local (a cluster of our own), HOST:PORT, or join:HOST:PORT")
    cores: int = Field(0, ge=0, le=4096, description="cores of the local Ray cluster, 0 for all")
    mlflow_uri: str = Field("", description="MLflow server, e.g. http://host:5000; empty for SQLite below SAMAE_HOME")
    model_name: str = Field("samae-face-swap", min_length=1, description="name of the registered model")
    dagster_port: int = Field(3000, ge=1, le=65535, description="port of the Dagster page")
    mlflow_port: int = Field(5000, ge=1, le=65535, description="port of the MLflow page")
    grace_seconds: float = Field(60.0, gt=0, description="time between SIGTERM and SIGKILL when training is cancelled")

    faceforensics: Path | None = Field(None, description="folder of FaceForensics++, for samae evaluate --protocol")
    celeba_hq: Path | None = Field(None, description="folder of CelebAMask-HQ, for samae evaluate --protocol")

    launch: str = Field("local", description="where training runs: local, hosts:HOSTFILE, or ray:http://HEAD:8265")
    launch_gpus: int = Field(0, ge=0, le=1, description="GPUs a rank that a Ray job asks for")
    remote_shell: str = Field(
        "ssh -o BatchMode=yes -o ServerAliveInterval=15 -o ServerAliveCountMax=3",
        description="what starts a command on a host of the hostfile; host and command follow",
    )
    master_port: int = Field(29400, ge=1, le=65535, description="port on the hostfile's first host where ranks meet")
    landmarks: str = Field(
        "auto", description="who reads landmarks of plain photographs: own, insightface, auto (it where it can)"
    )
    webhook: str = Field("", description="address that gets a JSON message when a run fails, http(s)://…; empty: none")
    log_json: bool = Field(False, description="console logs of runs as one JSON object a line, with run ids")
    weekly: bool = Field(False, description="switch on the weekly retraining and the sensors when Dagster starts")

    @field_validator("raw", "deny_list", "faceforensics", "celeba_hq", mode="before")
    @classmethod
    def _no_raw(cls, value: Any) -> Any:
        return value or None

    @field_validator("home", "raw", "deny_list", "faceforensics", "celeba_hq")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return None if value is None else value.expanduser().absolute()

    @field_validator("home")
    @classmethod
    def _is_folder(cls, value: Path) -> Path:
        there = next(path for path in (value, *value.parents) if path.exists())
        if not there.is_dir():
            raise ValueError(f"{there} is no folder; name another folder by SAMAE_HOME")
        return value

    @field_validator("launch")
    @classmethod
    def _launch(cls, value: str) -> str:
        if value != "local" and not value.startswith(("hosts:", "ray:http://", "ray:https://")):
            raise ValueError(f"{value!r} is neither local, hosts:HOSTFILE nor ray:http://HEAD:8265")
        return value

    @field_validator("landmarks")
    @classmethod
    def _landmarks(cls, value: str) -> str:
        if value and value not in READERS:
            raise ValueError(f"{value!r} is none of {', '.join(READERS)}")
        return value or READERS[0]

    @field_validator("webhook")
    @classmethod
    def _webhook(cls, value: str) -> str:
        if value and not value.startswith(("http://", "https://")):
            raise ValueError(f"{without_user(value)!r} is no http(s) address")
        if value and not is_whole(value):
            raise ValueError(f"{without_user(value)!r} has no host, or no port of 1 to 65535 behind its colon")
        return value

    @field_validator("ray")
    @classmethod
    def _ray(cls, value: str) -> str:
        if value not in ("serial", "local", "auto") and ":" not in value:
            raise ValueError(f"{value!r} is neither serial, local, auto nor an address such as join:10.0.0.1:6379")
        return value

    @property
    def plan(self) -> Plan:
        """The part that changes what is made."""
        return Plan(**{name: getattr(self, name) for name in Plan.model_fields})

    @property
    def store(self) -> Store:
        """Where it lies."""
        return Store(self.home, self.set_name, self.raw)

    @property
    def tracking_uri(self) -> str:
        """MLflow's address: the server asked for, or SQLite below the home folder."""
        return self.mlflow_uri or f"sqlite:///{self.home / 'mlflow' / 'mlflow.db'}"


def load_settings(**overrides: Any) -> Settings:
    """The settings of the environment with `overrides` on top; SamaeError naming the variable that is wrong.

    A variable that looks like a misspelt setting is told on stderr, once a process.
    """
    for name in sorted(os.environ):
        if meant := meant_setting(name):
            _tell(f"samae: no setting is called {name}, it changes nothing; did you mean {meant}?")
    try:
        return Settings(**overrides)
    except ValidationError as error:
        raise SamaeError(_sentence(error)) from None


def meant_setting(name: str) -> str:
    """The setting that a variable SAMAE_* was probably meant for; "" for a setting, and for what resembles none."""
    known = [*Settings.model_fields, *(other.lower() for other in OTHER_NAMES)]
    asked = name.removeprefix(PREFIX).lower()
    if not name.startswith(PREFIX) or asked in known:
        return ""
    return "".join(f"{PREFIX}{near.upper()}" for near in difflib.get_close_matches(asked, known, n=1))


@cache
def _tell(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def _sentence(error: ValidationError) -> str:
    wrong = []
    for entry in error.errors():
        name = str(entry["loc"][0]) if entry["loc"] else "settings"
        reason = str(entry["msg"]).removeprefix("Value error, ")
        about = Settings.model_fields[name].description if name in Settings.model_fields else ""
        wrong.append(f"{PREFIX}{name.upper()} is {without_user(repr(entry.get('input')))}: {reason} ({about})")
    return "wrong setting: " + "; ".join(wrong)


def without_user(text: str) -> str:
    """A text without the user names and passwords of the addresses in it: http://user:password@host -> http://host."""
    return re.sub(r"(?<=://)[^/?#\s]*@", "", text)


def is_whole(address: str) -> bool:
    """Whether an address names a host and, where it names a port, one that there is."""
    try:
        parts = urlsplit(address)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
