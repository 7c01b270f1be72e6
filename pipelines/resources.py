"""The resources of the code location, from the settings: Samae (folders and plan), pool, launcher and MLflow."""

from functools import cached_property
from typing import Any

import dagster as dg

from assets.machine import cores
from assets.plan import Plan
from assets.ports import Progress
from assets.store import Store
from pipelines.launcher import Launcher
from pipelines.progress import reporter
from pipelines.ray_pool import RayPool
from pipelines.settings import Settings, load_settings
from pipelines.tracking import MlflowTracking


class Samae(dg.ConfigurableResource):
    """Folders and plan. `settings` replaces settings of the environment for one run, e.g. {"pairs": "40"}."""

    settings: dict[str, str] = {}

    @cached_property
    def resolved(self) -> Settings:
        """All settings, checked."""
        return load_settings(**self.settings)

    @property
    def plan(self) -> Plan:
        """What is made."""
        return self.resolved.plan

    @property
    def store(self) -> Store:
        """Where it lies."""
        return self.resolved.store

    @property
    def workers(self) -> int:
        """How many worker processes run on this machine; 0 when a Ray cluster elsewhere does the work."""
        settings = self.resolved
        return {"serial": 1, "local": settings.cores or cores()}.get(settings.ray, 0)

    @property
    def trains_here(self) -> bool:
        """Whether the ranks of a training run on this machine alone."""
        return self.resolved.launch == "local"

    def progress(self, context: dg.AssetExecutionContext, stage: str, on_page: bool = True) -> Progress:
        """A reporter for one stage."""
        return reporter(context, stage, on_page)


def all_resources(settings: Settings) -> dict[str, Any]:
    """Every resource by the name under which assets ask for it."""
    return {
        "samae": Samae(),
        "pool": RayPool(address=settings.ray, cores=settings.cores),
        "launcher": Launcher(
            grace_seconds=settings.grace_seconds,
            launch=settings.launch,
            remote_shell=settings.remote_shell,
            master_port=settings.master_port,
            gpus_per_rank=settings.launch_gpus,
        ),
        "tracking": MlflowTracking(
            uri=settings.tracking_uri, model_name=settings.model_name, home=str(settings.home / "mlflow")
        ),
    }
