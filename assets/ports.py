"""What assets need from the floor above, as interfaces (in `dg.ResourceParam`): assets never import pipelines."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import dagster as dg

from assets.plan import Plan
from assets.store import Store

#: Called as (done, total, note): how far a stage has come.
Progress = Callable[[float, float, str], None]


class Samae(Protocol):
    """Where everything lies and what was asked for."""

    @property
    def plan(self) -> Plan:
        """What is made."""
        ...

    @property
    def store(self) -> Store:
        """Where it lies."""
        ...

    @property
    def workers(self) -> int:
        """How many worker processes run on this machine; 0 when a Ray cluster elsewhere does the work."""
        ...

    @property
    def trains_here(self) -> bool:
        """Whether the ranks of a training run on this machine alone."""
        ...

    def progress(self, context: dg.AssetExecutionContext, stage: str, on_page: bool = True) -> Progress:
        """A reporter for one stage: to the terminal in `samae demo`, and (`on_page`) to the run's page in Dagster."""
        ...


class Pool(Protocol):
    """Maps a function over items, on Ray or in this process, with the same answers in the same order."""

    def map(self, function: Callable[[Any], Any], items: Sequence[Any], progress: Progress | None = None) -> list[Any]:
        """`[function(item) for item in items]`; a worker's SamaeError comes out as it is."""
        ...


class Launcher(Protocol):
    """Trains a recipe in processes of its own."""

    def alone(self, context: dg.AssetExecutionContext, run_dir: Path) -> AbstractContextManager[None]:
        """Hold the run's folder while nobody else launches or trains there; dg.Failure when somebody does."""
        ...

    def train(
        self,
        context: dg.AssetExecutionContext,
        recipe: str,
        overrides: list[str],
        shards: Path,
        run_dir: Path,
        ranks: int,
        environment: dict[str, str],
        progress: Progress,
    ) -> None:
        """Train to the end in run_dir, held by `alone`. SamaeError when the user can mend what stopped it; dg.Failure
        else."""
        ...


class Tracking(Protocol):
    """MLflow, as far as assets see it: runs below one parent, and model versions with aliases."""

    def start(self, name: str, cycle: str, tags: dict[str, str]) -> str:
        """Open a run below the parent of `cycle` (a retraining cycle); its id."""
        ...

    def finish(self, run_id: str, status: str, metrics: dict[str, float], artifacts: Path | None = None) -> None:
        """Log the last metrics, keep the artifacts, close the run with FINISHED, FAILED or KILLED."""
        ...

    def describe(self, run_id: str, params: dict[str, str], images: dict[str, Any], table: dict[str, Any]) -> None:
        """What the compare page shows beside metrics: parameters, pictures by name, and a table with a row a pair."""
        ...

    def judged_on(self, run_id: str, name: str, digest: str, about: dict[str, str]) -> None:
        """Name the data that the run's metrics are of: a dataset that is searched and compared by its digest."""
        ...

    def environment(self, run_id: str) -> dict[str, str]:
        """Environment variables that make a training process write into this run."""
        ...

    def page(self, run_id: str) -> str:
        """Address of a run's page."""
        ...

    def register(self, run_id: str, export: Path, tags: dict[str, str], card: str = "") -> str:
        """Make a model version of an export with its card; its number. The same export twice is one version."""
        ...

    def version_at(self, alias: str) -> tuple[str, dict[str, str]] | None:
        """(number, tags) of the model version that has an alias; None when nobody has it."""
        ...

    def tags_of(self, version: str) -> dict[str, str]:
        """The tags of a model version."""
        ...

    def tag_version(self, version: str, key: str, value: str) -> None:
        """Set one tag of a model version."""
        ...

    def set_alias(self, alias: str, version: str) -> None:
        """Give the alias to a version, and take it from whoever had it."""
        ...

    def export_folder(self, version: str) -> Path:
        """A local folder with the artifacts of a version."""
        ...
