"""swap_model[recipe]: a trained swapper. Training runs in processes of its own; a restart goes on where it stopped."""

import contextlib
import math
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg

from assets.common import result
from assets.graph import STAGES, provenance
from assets.machine import cores
from assets.planned import recipe_overrides, require_own_size
from assets.ports import Launcher, Samae, Tracking
from assets.room import bytes_below, free_here, ranks_that_fit, require_room
from assets.store import Store
from assets.tracked import made_by, tracked
from faces.errors import SamaeError
from faces.files import digest_of, is_complete, make_folder, read_json, write_json

LAUNCH_NAME = "launch.json"
EXPORT = "export"


#: A lost host or a killed rank: the next attempt goes on from the last valid checkpoint. What the user must mend, and
#: numbers that blew up, are not tried again.
MAX_RETRIES, FIRST_DELAY_S = 2, 5.0


@contextlib.contextmanager
def retried(context: dg.AssetExecutionContext) -> Iterator[None]:
    """Ask Dagster to start the step again when the block fails, unless the failure forbids it.

    Not a dg.RetryPolicy: with one, Dagster 1.13 starts an interrupted step again as well, so that Terminate, a time
    limit and Ctrl-C would each restart the training that they ended.
    """
    try:
        yield
    except dg.DagsterError:
        raise
    except Exception as error:
        if isinstance(error, dg.Failure) and not error.allow_retries:
            raise
        raise dg.RetryRequested(MAX_RETRIES, FIRST_DELAY_S * 2**context.retry_number) from error


@dg.asset(**STAGES["swap_model"].spec(), pool="training")
def swap_model(
    context: dg.AssetExecutionContext,
    samae: dg.ResourceParam[Samae],
    launcher: dg.ResourceParam[Launcher],
    tracking: dg.ResourceParam[Tracking],
) -> dg.MaterializeResult:
    """Train one recipe on the shards, and keep its export."""
    with retried(context):
        return train(context, samae, launcher, tracking)


def train(
    context: dg.AssetExecutionContext, samae: Samae, launcher: Launcher, tracking: Tracking
) -> dg.MaterializeResult:
    """One attempt: train to the end as the only one in the run's folder, and keep the export."""
    recipe, plan, store = context.partition_key, samae.plan, samae.store
    made_from = provenance("swap_model", recipe, plan, store)
    begun = unfinished_run(store, made_from)
    try:
        require_own_size(plan, recipe)
        require_room(samae, "swap_model", partition=recipe, written=bytes_below(begun) if begun else 0)
    except SamaeError as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    ranks = ranks_of(samae, recipe)
    _require_batches(samae, recipe, ranks)
    run_dir = run_folder(store, recipe, ranks, made_from)
    with launcher.alone(context, run_dir):
        run_id = train_tracked(context, samae, launcher, tracking, run_dir, ranks)
    with store.write("swap_model", recipe, made_from) as (folder, metadata):
        shutil.copytree(run_dir / EXPORT, folder / EXPORT)
        metadata |= {"run": run_dir.name, "mlflow_run": run_id}
    return result(samae, "swap_model", recipe, _page(store, recipe, run_dir, tracking.page(run_id)))


def train_tracked(
    context: dg.AssetExecutionContext, samae: Samae, launcher: Launcher, tracking: Tracking, run_dir: Path, ranks: int
) -> str:
    """Train in the run's folder, below an MLflow run of its own, which is closed whatever happens; its id."""
    recipe, store = context.partition_key, samae.store
    cycle = store.digest("training_shards")
    tags = {"samae.kind": "training", "recipe": recipe, "shards": cycle, **made_by(context.run_id)}
    with tracked(tracking, run_dir.name, cycle, tags) as run:
        try:
            launcher.train(
                context,
                recipe,
                recipe_overrides(samae.plan, recipe),
                store.folder("training_shards"),
                run_dir,
                ranks,
                tracking.environment(run.run_id),
                samae.progress(context, "swap_model", on_page=False),
            )
        except SamaeError as error:
            raise dg.Failure(str(error), allow_retries=False) from error
    return run.run_id


def ranks_of(samae: Samae, recipe: str) -> int:
    """How many processes train a recipe: as asked for; else one a GPU, or without GPUs one a core as far as the batch
    and the memory go (ours: on two cores two processes of one thread are 1.4 times as fast as one of two). Launched
    elsewhere it is 1 unless asked for."""
    import torch

    from training.config import load_recipe
    from training.methods.base import PARTNER_GROUP

    if samae.plan.ranks or not samae.trains_here:
        return samae.plan.ranks or 1
    train = load_recipe(recipe, recipe_overrides(samae.plan, recipe)).train
    most = torch.cuda.device_count() or samae.workers or cores()
    multiple = math.lcm(PARTNER_GROUP, train.micro_batch or 1)
    return ranks_that_fit(most, train.batch_size, multiple, free_here(samae.store.home))


def _require_batches(samae: Samae, recipe: str, ranks: int) -> None:
    """dg.Failure before anything is started, where the shards cannot fill a batch, or ranks cannot share one."""
    from training.config import load_recipe
    from training.session import require_whole_groups
    from training.stream import require_batches

    try:
        count = training_samples(samae.store)
        train = load_recipe(recipe, recipe_overrides(samae.plan, recipe)).train
        require_batches(count, "train", train.batch_size, ranks)
        require_whole_groups(train.batch_size, ranks)
    except SamaeError as error:
        raise dg.Failure(str(error), allow_retries=False) from error


def training_samples(store: Store) -> int:
    """How many samples of the shards train."""
    from training.shards import ShardSet

    with contextlib.closing(ShardSet.open(store.folder("training_shards"))) as shards:
        return len(shards.keys("train"))


def unfinished_run(store: Store, made_from: dict[str, Any]) -> Path | None:
    """The folder of the first run of exactly this training that has no whole export; None: there is none."""
    for launch in sorted(store.runs.glob(f"*/{LAUNCH_NAME}")):
        if read_json(launch)["provenance"] == made_from and not is_complete(launch.parent / EXPORT):
            return launch.parent
    return None


def run_folder(store: Store, recipe: str, ranks: int, made_from: dict[str, Any]) -> Path:
    """The unfinished run of exactly this training, to go on with; else a new one, NNNNN-recipe-set-ranksN."""
    if begun := unfinished_run(store, made_from):
        return begun
    make_folder(store.runs)
    numbers = [0, *(int(match[1]) for path in store.runs.iterdir() if (match := re.match(r"(\d{5})-", path.name)))]
    folder = store.runs / f"{max(numbers) + 1:05d}-{recipe}-{store.set_name}-ranks{ranks}"
    folder.mkdir()
    write_json(folder / LAUNCH_NAME, {"recipe": recipe, "provenance": made_from, "digest": digest_of(made_from)})
    return folder


def _page(store: Store, recipe: str, run_dir: Path, address: str) -> dict[str, Any]:
    export = store.folder("swap_model", recipe) / EXPORT
    metadata: dict[str, Any] = {
        "run": dg.MetadataValue.path(str(run_dir)),
        "mlflow": dg.MetadataValue.url(address),
        "export_bytes": sum(path.stat().st_size for path in export.iterdir()),
    }
    samples = sorted((run_dir / "samples").glob("*.png"))
    if samples:
        metadata["samples"] = dg.MetadataValue.path(str(samples[-1]))
    return metadata
