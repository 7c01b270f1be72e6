"""Make the graph in this process, asset by asset, and only what is out of date. The engine of `samae demo`.

An asset (or partition) is up to date when its folder is whole, its recorded provenance is today's, and the Dagster
instance knows of its materialisation. Every asset that is made is one run, visible on the Dagster page.
"""

import os
import re
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path
from types import SimpleNamespace

import dagster as dg

from assets.graph import STAGES, partitions_of, provenance
from assets.raw import register_folders
from faces.errors import SamaeError, causes
from faces.photographs import LISTING_NAME
from pipelines.settings import Settings

#: Tags of the runs that this module starts.
RUN_TAGS = {"samae/command": "demo"}
#: The line of a dagster.yaml that names our launcher of runs.
LAUNCHER = r"^\s*module:\s*[\"']?pipelines\.run_launcher\b"
QUIET_LOG = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True)
class Made:
    """One asset (or partition) that was considered.

    Attributes:
        fresh: it was up to date and nothing was done.  seconds: what it took.
        warnings: names of the asset's checks that failed as warnings.
    """

    stage: str
    partition: str | None
    fresh: bool
    seconds: float
    warnings: tuple[str, ...] = ()


def open_instance(settings: Settings) -> dg.DagsterInstance:
    """The persistent instance: a team's where DAGSTER_HOME names one, else $SAMAE_HOME/dagster."""
    home = prepare_dagster_home(settings)
    own = home == settings.home / "dagster"
    return instance_of(home, "mend it or move that folder away" if own else "mend it, or unset DAGSTER_HOME")


def instance_of(folder: Path, mend: str) -> dg.DagsterInstance:
    """The instance of a folder's dagster.yaml; where it cannot be opened, a SamaeError of one line that ends in `mend`,
    or names the environment variables that the file asks for and that are not set."""
    path = folder / "dagster.yaml"
    try:
        return dg.DagsterInstance.from_config(str(folder))
    except Exception as error:  # Dagster's, YAML's, the database's: whatever such a file can lead to
        if unset := unset_variables(path):
            raise SamaeError(f"{path} wants {', '.join(unset)} in the environment: set them, {mend}") from None
        raise SamaeError(f"{path} cannot be used ({reason_of(error)}): {mend}") from None


def unset_variables(path: Path) -> list[str]:
    """Names of environment variables that a dagster.yaml takes values from and that are not set."""
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    named = re.findall(r"^[^#\n]*\benv:\s*[\"']?(\w+)", text, re.M)
    return [name for name in dict.fromkeys(named) if name not in os.environ]


def reason_of(error: BaseException) -> str:
    """The first of the errors that Dagster lists, or what an error came from, in one line of at most 240 characters."""
    words = " ".join(str(error.__cause__ or error).split())
    return textwrap.shorten(words.partition("Error 1: ")[2] or words, 240, placeholder=" …")


def prepare_dagster_home(settings: Settings) -> Path:
    """The folder of Dagster's instance, named in the environment: a team's, as it is, which is said in one line, or
    $SAMAE_HOME/dagster with infra/dagster.yaml in it."""
    own = settings.home / "dagster"
    home = team_home()
    if home is None or home == own:
        home = own
        try:
            home.mkdir(parents=True, exist_ok=True)
            (home / "dagster.yaml").write_text(our_yaml(), encoding="utf-8")
        except OSError as error:
            raise SamaeError(
                f"{home} cannot be written ({error.strerror}); name another folder by SAMAE_HOME"
            ) from None
    else:
        print(f"samae: Dagster's instance is that of DAGSTER_HOME, {home}", file=sys.stderr, flush=True)
    os.environ["DAGSTER_HOME"] = str(home)
    os.environ["DAGSTER_DISABLE_TELEMETRY"] = "1"
    return home


def team_home() -> Path | None:
    """The folder that DAGSTER_HOME names when its dagster.yaml is one for Samae, with the launcher of
    pipelines.run_launcher, as infra/cluster/dagster.yaml; else None: it is of another project.

    A copy of infra/dagster.yaml is nobody's choice: a command of Samae (with this or another SAMAE_HOME) left it, and
    the variable with it.
    """
    named = Path(os.environ.get("DAGSTER_HOME", "")).expanduser().absolute()
    try:
        text = (named / "dagster.yaml").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    if not os.environ.get("DAGSTER_HOME") or text == our_yaml():
        return None
    return named if re.search(LAUNCHER, text, re.M) else None


def our_yaml() -> str:
    """The text of infra/dagster.yaml."""
    return resources.files("infra").joinpath("dagster.yaml").read_text(encoding="utf-8")


def materialise_all(
    settings: Settings,
    instance: dg.DagsterInstance,
    started: Callable[[str, str | None], None] = lambda stage, partition: None,
    ended: Callable[[Made], None] = lambda made: None,
    stages: tuple[str, ...] = tuple(STAGES),
) -> list[Made]:
    """Every stage in the order of the graph; what is up to date is only reported."""
    made: list[Made] = []
    for stage in stages:
        for partition in partitions_of(stage, settings.plan, settings.store):
            made.append(materialise(settings, instance, stage, partition, started))
            ended(made[-1])
    return made


def materialise(
    settings: Settings,
    instance: dg.DagsterInstance,
    stage: str,
    partition: str | None,
    started: Callable[[str, str | None], None] = lambda stage, partition: None,
    force: bool = False,
) -> Made:
    """Make one asset (or partition) unless it is up to date."""
    if not force and is_fresh(settings, instance, stage, partition):
        return Made(stage, partition, fresh=True, seconds=0.0)
    started(stage, partition)
    begin = time.perf_counter()
    warnings = run(instance, stage, partition)
    return Made(stage, partition, fresh=False, seconds=time.perf_counter() - begin, warnings=warnings)


def is_fresh(settings: Settings, instance: dg.DagsterInstance, stage: str, partition: str | None) -> bool:
    """True when nothing would change by making it again, and Dagster knows of it."""
    plan, store = settings.plan, settings.store
    if stage == "photographs" and not (store.raw / LISTING_NAME).is_file():
        return False
    if not store.is_current(stage, partition, provenance(stage, partition, plan, store)):
        return False
    known = dg.AssetRecordsFilter(dg.AssetKey(stage), asset_partitions=[partition] if partition else None)
    return bool(instance.fetch_materializations(known, limit=1).records)


def run(instance: dg.DagsterInstance, stage: str, partition: str | None) -> tuple[str, ...]:
    """One run of one asset with its checks, in this process; its own exception comes out.

    Returns the names of checks that failed as warnings; a check that failed as an error is a SamaeError.
    """
    from pipelines.definitions import defs

    set_helpers_apart()
    job = defs.resolve_implicit_global_asset_job_def()
    try:
        result = job.execute_in_process(
            instance=instance,
            asset_selection=[dg.AssetKey(stage)],
            partition_key=partition,
            run_config=QUIET_LOG,
            tags=RUN_TAGS,
            raise_on_error=True,
        )
    except dg.Failure as failure:
        raise SamaeError(failure.description or f"{stage} failed; its run on the Dagster page says why") from None
    except dg.DagsterError as error:
        if sentence := sentence_of(error):
            raise SamaeError(sentence) from None
        raise
    failed = [check for check in result.get_asset_check_evaluations() if not check.passed]
    errors = [check for check in failed if check.severity == dg.AssetCheckSeverity.ERROR]
    if errors:
        found = ", ".join(f"{name}: {value.value}" for name, value in errors[0].metadata.items())
        raise SamaeError(f"the check {errors[0].check_name} of {stage} failed ({found}); nothing further was made")
    return tuple(check.check_name for check in failed)


def set_helpers_apart() -> None:
    """Give Dagster's helpers, which copy a run's output into its log, a process group of their own.

    Ctrl-C at a terminal does not reach them then (each would answer with a traceback). They end with the run, or when
    this process is gone.
    """
    from dagster._core.execution import compute_logs

    own_group = partial(subprocess.Popen, process_group=0)
    compute_logs.subprocess = SimpleNamespace(Popen=own_group)  # type: ignore[assignment]


def sentence_of(error: BaseException | None) -> str | None:
    """What the failure behind an error says (Dagster hides that of a last attempt behind its own); None: nothing."""
    for one in causes(error):
        if isinstance(one, dg.Failure):
            return one.description
        if isinstance(one, SamaeError):
            return str(one)
    return None


def register_partitions(settings: Settings, instance: dg.DagsterInstance) -> None:
    """Tell a new instance which folders there are."""
    from assets.listing import folder_names

    register_folders(instance, folder_names(settings.store))
