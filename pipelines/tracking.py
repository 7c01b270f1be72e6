"""MLflow as the assets see it: runs below one parent a retraining cycle, and a registered model whose aliases move.

Only this module of pipelines/ imports mlflow. The store is SQLite below SAMAE_HOME unless SAMAE_MLFLOW_URI names a
server. Nothing is pickled: a model version points to safetensors and a configuration.
"""

import json
import os
import time
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import dagster as dg

from assets.promotion import CHAMPION, EXPORT_TAG, PREVIOUS, ROLLED_BACK_TAG
from faces.errors import SamaeError
from faces.files import make_folder
from pipelines.settings import without_user

EXPERIMENT = "samae"
CYCLE_TAG = "samae.cycle"
#: The model card among a version's artifacts.
CARD_NAME = "README.md"
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "DO_NOT_TRACK": "1",
    "GIT_PYTHON_REFRESH": "quiet",
}


class MlflowTracking(dg.ConfigurableResource):
    """`uri`: SQLite or a server; `home`: folder for the SQLite file and artifacts; `model_name`: registered model."""

    uri: str
    home: str
    model_name: str = "samae-face-swap"
    page_uri: str = "http://127.0.0.1:5000"

    @cached_property
    def client(self) -> Any:
        """A client of the store; the schema is made on first use."""
        os.environ.update(QUIET)
        make_folder(Path(self.home))
        import logging

        logging.getLogger("alembic").setLevel(logging.WARNING)
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient

        logging.getLogger("mlflow").setLevel(logging.ERROR)

        try:
            client = MlflowClient(tracking_uri=self.uri)
            client.search_experiments(max_results=1)
        except MlflowException as error:
            first = str(error).split("\n")[0]
            raise SamaeError(
                without_user(f"MLflow at {self.uri} does not answer ({first}): start it or unset SAMAE_MLFLOW_URI")
            ) from None
        return client

    @cached_property
    def experiment_id(self) -> str:
        """The experiment that holds every run; its artifacts lie below `home` when the store is SQLite."""
        found = self.client.get_experiment_by_name(EXPERIMENT)
        if found is not None:
            return found.experiment_id
        local = (Path(self.home) / "artifacts").as_uri() if self.uri.startswith("sqlite") else None
        return self.client.create_experiment(EXPERIMENT, artifact_location=local)

    def start(self, name: str, cycle: str, tags: dict[str, str]) -> str:
        """Open a run below the parent of `cycle`; its id."""
        parent = self._parent(cycle)
        run = self.client.create_run(
            self.experiment_id, run_name=name, tags={"mlflow.parentRunId": parent, CYCLE_TAG: cycle, **tags}
        )
        return run.info.run_id

    def _parent(self, cycle: str) -> str:
        found = self.client.search_runs(
            [self.experiment_id], f"tags.`{CYCLE_TAG}` = '{cycle}' AND tags.`samae.kind` = 'cycle'", max_results=1
        )
        if found:
            return found[0].info.run_id
        run = self.client.create_run(
            self.experiment_id, run_name=f"cycle-{cycle}", tags={CYCLE_TAG: cycle, "samae.kind": "cycle"}
        )
        self.client.set_terminated(run.info.run_id, "FINISHED")
        return run.info.run_id

    def finish(self, run_id: str, status: str, metrics: dict[str, float], artifacts: Path | None = None) -> None:
        """Log the last metrics, keep the artifacts and close the run with FINISHED, FAILED or KILLED.

        Where metrics or artifacts cannot be kept the run is closed as FAILED.
        """
        from mlflow.entities import Metric

        now_ms = int(time.time() * 1000)
        try:
            self.client.log_batch(run_id, [Metric(name, value, now_ms, 0) for name, value in metrics.items()])
            if artifacts is not None:
                self.client.log_artifacts(run_id, str(artifacts))
        except BaseException:
            self.client.set_terminated(run_id, "FAILED")
            raise
        self.client.set_terminated(run_id, status)

    def describe(self, run_id: str, params: dict[str, str], images: dict[str, Any], table: dict[str, Any]) -> None:
        """What the compare page shows beside metrics: parameters, (H, W, 3) uint8 pictures by name, a row a pair."""
        for name, value in params.items():
            self.client.log_param(run_id, name, value)
        for name, image in images.items():
            self.client.log_image(run_id, image, key=name, step=0, synchronous=True)
        if table:
            self.client.log_table(run_id, table, "pairs.json")

    def judged_on(self, run_id: str, name: str, digest: str, about: dict[str, str]) -> None:
        """Name the data that the run's metrics are of: a dataset of the run, found by `dataset.digest = '…'`.

        MLflow keeps a digest beside every single metric for its logged models alone, so it belongs to the whole run.
        """
        from mlflow.entities import Dataset, DatasetInput, InputTag

        dataset = Dataset(name, digest, source_type="samae", source=json.dumps(about))
        self.client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "evaluation")])])

    def environment(self, run_id: str) -> dict[str, str]:
        """What a training process needs to write into this run."""
        return {"MLFLOW_TRACKING_URI": self.uri, "MLFLOW_RUN_ID": run_id, **QUIET}

    def page(self, run_id: str) -> str:
        """Address of a run on the MLflow page."""
        base = without_user(self.uri) if self.uri.startswith("http") else self.page_uri
        return f"{base}/#/experiments/{self.experiment_id}/runs/{run_id}"

    def register(self, run_id: str, export: Path, tags: dict[str, str], card: str = "") -> str:
        """A model version whose artifacts are this export's; the same export (by its digest tag) is registered once.

        `card` (Markdown) becomes README.md among the artifacts; its title and first paragraph describe the version.
        """
        self._ensure_model()
        for version in self.versions():
            if tags.get(EXPORT_TAG) and version.tags.get(EXPORT_TAG) == tags[EXPORT_TAG]:
                return str(version.version)
        self.client.log_artifacts(run_id, str(export), "export")
        if card:
            self.client.log_text(run_id, card, f"export/{CARD_NAME}")
        uri = self.client.get_run(run_id).info.artifact_uri
        about = "\n\n".join(card.split("\n\n")[:2]).lstrip("# ")
        made = self.client.create_model_version(self.model_name, f"{uri}/export", run_id, tags=tags, description=about)
        return str(made.version)

    def _ensure_model(self) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self.client.create_registered_model(
                self.model_name, description="Face swappers trained and judged by Samae"
            )
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def versions(self) -> list[Any]:
        """All versions of the registered model, newest first."""
        found = self.client.search_model_versions(f"name = '{self.model_name}'")
        return sorted(found, key=lambda version: int(version.version), reverse=True)

    def aliases(self) -> dict[str, str]:
        """Alias -> version number; empty when nothing was registered."""
        from mlflow.exceptions import MlflowException

        try:
            model = self.client.get_registered_model(self.model_name)
        except MlflowException:
            return {}
        return {alias: str(version) for alias, version in model.aliases.items()}

    def version_at(self, alias: str) -> tuple[str, dict[str, str]] | None:
        """(number, tags) of the version with this alias; None when nobody has it."""
        number = self.aliases().get(alias)
        if number is None:
            return None
        return number, self.tags_of(number)

    def tags_of(self, version: str) -> dict[str, str]:
        """The tags of a version."""
        return dict(self.client.get_model_version(self.model_name, version).tags)

    def tag_version(self, version: str, key: str, value: str) -> None:
        """Set one tag of a version."""
        self.client.set_model_version_tag(self.model_name, version, key, value)

    def set_alias(self, alias: str, version: str) -> None:
        """Give the alias to a version (and take it from whoever had it)."""
        self.client.set_registered_model_alias(self.model_name, alias, version)

    def export_folder(self, version: str) -> Path:
        """A local folder with the artifacts of a version (downloaded when they are elsewhere).

        Raises:
            SamaeError: there is no such version, or its files cannot be read.
        """
        from mlflow.artifacts import download_artifacts
        from mlflow.exceptions import MlflowException

        source = "its artifacts"
        try:
            source = self.client.get_model_version(self.model_name, version).source
            return Path(download_artifacts(artifact_uri=source, tracking_uri=self.uri))
        except (MlflowException, OSError) as error:
            first = str(error).split("\n")[0]
            raise SamaeError(
                f"version {version} of {self.model_name} cannot be read ({first}): put {source} back or, where it is a "
                "champion, give its alias to another version (samae models rollback)"
            ) from None

    def card(self, version: str) -> str:
        """The model card of a version; "" where it has none (registered before there were cards)."""
        from mlflow.artifacts import load_text
        from mlflow.exceptions import MlflowException

        found = self.client.get_model_version(self.model_name, version)
        try:
            return str(load_text(f"{found.source}/{CARD_NAME}"))
        except (MlflowException, OSError):
            return ""

    def rollback(self) -> tuple[str, str]:
        """Give `champion` back to `previous` (and the other way round); (new champion, old champion).

        The old one is tagged, so that no later run promotes it by itself; the new one loses such a tag.
        """
        aliases = self.aliases()
        if PREVIOUS not in aliases:
            raise SamaeError(f"{self.model_name} has no previous champion: nothing to roll back to")
        champion, previous = aliases.get(CHAMPION, ""), aliases[PREVIOUS]
        if champion:
            today = f"{datetime.now(UTC):%Y-%m-%d}"
            self.tag_version(champion, ROLLED_BACK_TAG, today)
        self.set_alias(CHAMPION, previous)
        if champion:
            self.set_alias(PREVIOUS, champion)
        if ROLLED_BACK_TAG in self.tags_of(previous):
            self.client.delete_model_version_tag(self.model_name, previous, ROLLED_BACK_TAG)
        return previous, champion
