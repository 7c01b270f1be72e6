"""Prometheus metrics, read when they are asked for: photographs made and rejected, training's speed, runs that wait.

Everything comes from the folders below SAMAE_HOME and from Dagster's instance, so nothing has to be pushed, a killed
run leaves no stale series, and one exporter (`samae metrics --port 9400`) serves all hosts that share the home.
Throughput of a data stage is `deriv(samae_photographs_made[10m])`; of a training, its own samae_training_images_per_s.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import dagster as dg
from prometheus_client.core import GaugeMetricFamily as Gauge
from prometheus_client.registry import Collector

from assets.graph import STAGES, partitions_of
from assets.listing import photograph_counts
from faces.errors import SamaeError
from faces.files import is_complete, read_json
from pipelines.settings import Settings

#: Pools of the graph (docs/operations.md).
POOLS = ("training", "registry")
#: Statuses of runs that are not over, and of those that failed.
WATCHED = ("QUEUED", "STARTING", "STARTED", "CANCELING", "FAILURE", "CANCELED", "SUCCESS")
#: The end of a progress file that holds its last lines, bytes.
TAIL_BYTES = 16384


class SamaeCollector(Collector):
    """Collects from the settings' home and an open instance, anew at every scrape."""

    def __init__(self, settings: Settings, instance: dg.DagsterInstance) -> None:
        self._settings, self._instance = settings, instance

    def collect(self) -> Iterator[Gauge]:
        """All families."""
        yield from photograph_metrics(self._settings)
        yield from training_metrics(self._settings.store.runs)
        yield from run_metrics(self._instance)


def photograph_metrics(settings: Settings) -> Iterator[Gauge]:
    """Photographs and folders that every stage has made, and the photographs by reason of rejection."""
    made = Gauge("samae_photographs_made", "Photographs in finished folders of a stage", labels=["stage"])
    waiting = Gauge("samae_folders_waiting", "Folders a stage has not made yet", labels=["stage"])
    verdicts = Gauge("samae_photographs", "Photographs by verdict; ok or the reason", labels=["verdict"])
    plan, store = settings.plan, settings.store
    try:
        counts = photograph_counts(store)
        folders = partitions_of("raw_faces", plan, store)
    except SamaeError:  # no listing yet: nothing was made
        counts, folders = {}, []
    for stage in (name for name, stage in STAGES.items() if stage.cut == "folder"):
        done = [folder for folder in folders if folder and is_complete(store.folder(stage, folder))]
        made.add_metric([stage], sum(counts.get(folder, 0) for folder in done))
        waiting.add_metric([stage], len(folders) - len(done))
    found: Counter[str] = Counter()
    for folder in folders:
        rows = store.folder("raw_faces", folder) / "rows.parquet"
        if rows.is_file():
            found.update(dict(reasons(rows, rows.stat().st_mtime_ns)))
    for reason, count in sorted(found.items()):
        verdicts.add_metric([reason or "ok"], count)
    yield from (made, waiting, verdicts)


@lru_cache(maxsize=100_000)
def reasons(rows: Path, _written_ns: int) -> tuple[tuple[str, int], ...]:
    """(reason, how many) of one folder's photographs; "" is accepted. Read again when the file was written anew."""
    import pyarrow.parquet as pq

    return tuple(Counter(pq.read_table(rows, columns=["reason"])["reason"].to_pylist()).items())


#: Field of a progress line -> (metric, help).
TRAINING = {
    "kimg": ("samae_training_kimg", "Thousands of pictures trained on"),
    "total_kimg": ("samae_training_total_kimg", "Thousands of pictures asked for"),
    "images_per_s": ("samae_training_images_per_s", "Speed of training"),
    "seconds_left": ("samae_training_seconds_left", "Time a training still needs"),
}


def training_metrics(runs: Path) -> Iterator[Gauge]:
    """The newest progress of every training that has not left its export yet."""
    families = {key: Gauge(name, about, labels=["run", "recipe"]) for key, (name, about) in TRAINING.items()}
    losses = Gauge("samae_training_loss", "Mean loss since the last line", labels=["run", "recipe", "loss"])
    for folder in sorted(runs.glob("*-*")):
        if is_complete(folder / "export") or not (folder / "launch.json").is_file():
            continue
        labels = [folder.name, str(read_json(folder / "launch.json")["recipe"])]
        line = last_progress(folder / "progress.jsonl")
        for key, family in families.items():
            if isinstance(line.get(key), (int, float)):
                family.add_metric(labels, line[key])
        for name, value in (line.get("losses") or {}).items():
            losses.add_metric([*labels, name], value)
    yield from (*families.values(), losses)


def last_progress(path: Path) -> dict[str, Any]:
    """The last "progress" line of a file of events; empty where there is none."""
    if not path.is_file():
        return {}
    with path.open("rb") as stream:
        stream.seek(max(path.stat().st_size - TAIL_BYTES, 0))
        lines = stream.read().decode(errors="replace").splitlines()
    for line in reversed(lines):
        try:
            event = json.loads(line)
        except json.JSONDecodeError:  # cut at the start of the tail, or not finished
            continue
        if event.get("event") == "progress":
            return dict(event)
    return {}


def run_metrics(instance: dg.DagsterInstance) -> Iterable[Gauge]:
    """Dagster's runs by status, and the places taken and steps waiting in every pool."""
    runs = Gauge("samae_runs", "Dagster runs by status", labels=["status"])
    for status in WATCHED:
        wanted = dg.RunsFilter(statuses=[dg.DagsterRunStatus(status)])
        runs.add_metric([status.lower()], instance.get_runs_count(wanted))
    taken = Gauge("samae_pool_places_taken", "Steps that hold a place in a pool", labels=["pool"])
    queue = Gauge("samae_pool_queue", "Steps that wait for a place in a pool", labels=["pool"])
    for pool in POOLS:
        info = instance.event_log_storage.get_concurrency_info(pool)
        taken.add_metric([pool], info.active_slot_count)
        queue.add_metric([pool], info.pending_step_count)
    return runs, taken, queue
