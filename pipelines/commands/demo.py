"""`samae demo`: the whole graph on this machine, with progress and time left, and what to look at when it is done."""

import dataclasses
import logging
import os
import sys
import warnings
from pathlib import Path
from typing import Any

from faces.files import read_json, write_json
from pipelines.settings import Settings, load_settings

#: Where the seconds of every stage of the last demo lie, below SAMAE_HOME. `samae bench demo` reads it.
TIMES_NAME = "reports/demo_times.json"


def run(pairs: list[str], plain: bool) -> None:
    """Materialise what is out of date, then say where the report is and what it says."""
    quieten()
    settings = settings_with(pairs)
    made = make(settings, plain)
    print(closing_words(settings, sum(part.seconds for part in made), all(part.fresh for part in made)))


def settings_with(pairs: list[str]) -> Settings:
    """The settings with `name=value` pairs on top; they also reach the resources, through the environment."""
    from faces.errors import SamaeError

    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or name.lower() not in Settings.model_fields:
            raise SamaeError(
                f"--set {pair!r} is not NAME=VALUE of a setting; the names are {', '.join(Settings.model_fields)}"
            )
        os.environ[f"SAMAE_{name.upper()}"] = value
    return load_settings()


def quieten() -> None:
    """No telemetry and no chatter of libraries on the terminal."""
    from pipelines.ray_pool import QUIET_ENVIRONMENT
    from pipelines.tracking import QUIET

    os.environ.update({"DAGSTER_DISABLE_TELEMETRY": "1", **QUIET, **QUIET_ENVIRONMENT})
    warnings.simplefilter("ignore")
    for name in ("alembic", "mlflow", "ray"):
        logging.getLogger(name).setLevel(logging.ERROR)


def make(settings: Settings, plain: bool = True) -> list[Any]:
    """Run the graph and keep the seconds of every stage; the list of what was made or found up to date.

    Before the first stage: SamaeError where the people are too few to be judged, a word where they give few pairs.
    """
    from assets.planned import require_own_size
    from assets.splits import expected
    from pipelines.materialise import materialise_all, open_instance
    from pipelines.terminal import Terminal

    for recipe in settings.recipes:
        require_own_size(settings.plan, recipe)
    if fewer := expected(settings.plan, settings.store):
        print(f"samae: {fewer}", flush=True)
    with open_instance(settings) as instance, Terminal(plain) as terminal:

        def ended(part: Any) -> None:
            """Show the end of a stage; keep how long it took."""
            terminal.ended(part)
            if not part.fresh:
                keep_time(settings.home / TIMES_NAME, dataclasses.asdict(part))

        return materialise_all(settings, instance, terminal.started, ended)


def keep_time(path: Path, part: dict[str, Any]) -> None:
    """Note what one stage took; a stage that was up to date keeps the time of when it was made."""
    stages = read_json(path)["stages"] if path.is_file() else []
    others = [old for old in stages if (old["stage"], old["partition"]) != (part["stage"], part["partition"])]
    write_json(path, {"stages": [*others, part]})


def closing_words(settings: Settings, seconds: float, nothing_new: bool) -> str:
    """Where the report is, three figures that matter, and the commands that open the pages."""
    from pipelines.summary import figures_that_matter, started_from

    took = "Nothing to do: every asset is up to date." if nothing_new else f"Done in {seconds / 60:.1f} minutes."
    report = settings.store.folder("leaderboard") / "report.html"
    said = [*figures_that_matter(settings), *started_from(settings)]
    return "\n".join(["", took, f"Report: {report}", "", *said, "", *pages(settings)])


def pages(settings: Settings) -> list[str]:
    """The two commands that open the pages."""
    default = settings.home == Settings.model_fields["home"].default.absolute()
    command = ("" if default else f"SAMAE_HOME={settings.home} ") + sys.argv[0]
    return [
        f"Dagster page: {command} dev --page dagster    http://127.0.0.1:{settings.dagster_port}",
        f"MLflow page:  {command} dev --page mlflow     http://127.0.0.1:{settings.mlflow_port}",
    ]
