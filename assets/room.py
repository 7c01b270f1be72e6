"""Is there room? Before a stage starts: what it will need of disk and memory, compared with what is free here.

Coarse on purpose: bytes a picture, measured on generated people (1,000 at 128 px, shards at 64 px), plus a quarter.
What a half-done stage has written already is not subtracted, so a stage that goes on may ask for more than it needs.
A training's checkpoints are counted from its networks, and those that its unfinished run wrote are subtracted; so are
an encoder's crops where they are made. Memory is asked for the workers of this machine; a Ray cluster elsewhere looks
after its own. In a container, the memory that it may use is what counts (cgroup_free).
"""

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from assets.graph import STAGES
from assets.machine import cores
from assets.planned import encoder_overrides, recipe_overrides
from assets.ports import Samae
from faces.errors import SamaeError

GIB = 2**30
#: Room kept free beyond the estimate: logs, the databases of Dagster and MLflow, a checkpoint written beside the old.
SPARE_BYTES = GIB // 2
MARGIN = 1.25
#: Memory of a worker process with torch, numba and the head loaded, bytes (0.51 GiB were measured; rounded up).
WORKER_BYTES = 3 * GIB // 4
#: Memory of a training rank besides the renders it keeps, bytes: the doctor's 4 GiB for the main job on two cores, less
#: what the Dagster process takes (ours).
RANK_BYTES = 2 * GIB


@dataclass(frozen=True)
class Need:
    """What a stage writes: bytes a pixel of a picture's width squared, and bytes a picture whatever its size."""

    per_px: float
    per_picture: float


#: Measured, rounded up: PNG photographs of generated people 2.1 bytes a pixel, arrays of uint8 RGB 3, masks 1; rows
#: 0.6 kB; coefficients 1.4 kB, embeddings 1.5 kB, shards 3.8 bytes a pixel with coefficients and embeddings in them.
NEEDS: dict[str, Need] = {
    "photographs": Need(2.1, 0),
    "raw_faces": Need(0, 600),
    "aligned_faces": Need(3.0, 600),
    "face_coefficients": Need(0, 1400),
    "neutral_albedo": Need(3.0, 0),
    "face_masks": Need(1.0, 0),
    "identity_embeddings": Need(0, 1500),
    "training_shards": Need(3.8, 0),
}


@dataclass(frozen=True)
class Free:
    """What a machine has left: bytes of disk below the home folder, and of memory."""

    disk_bytes: int
    memory_bytes: int


def free_here(home: Path) -> Free:
    """What is free now on the disk of `home` (its nearest existing parent) and in memory."""
    import psutil

    while not home.exists():
        home = home.parent
    return Free(shutil.disk_usage(home).free, min([psutil.virtual_memory().available, *cgroup_free()]))


CGROUPS, OWN_CGROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
#: Version -> its files below a group: the limit, what is used, and the names in memory.stat of the parts of it that the
#: kernel gives back at once (pages of files, read lately or not).
CGROUP_FILES = {
    2: ("memory.max", "memory.current", ("inactive_file", "active_file")),
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", ("total_inactive_file", "total_active_file")),
}


def cgroup_free(root: Path = CGROUPS, own: Path = OWN_CGROUPS) -> Iterator[int]:
    """Bytes that each limited group of this process may still take, version 2 or 1; nothing where none is limited."""
    for line in own.read_text().splitlines() if own.is_file() else []:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        top, version = (root / "memory", 1) if controllers else (root, 2)
        group = top / path.lstrip("/")
        for folder in (group, *(parent for parent in group.parents if parent.is_relative_to(top))):
            if (free := _group_free(folder, *CGROUP_FILES[version])) is not None:
                yield free


def _group_free(folder: Path, limit_name: str, used_name: str, given_back_names: tuple[str, ...]) -> int | None:
    try:
        limit, used = ((folder / name).read_text().strip() for name in (limit_name, used_name))
        stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    except OSError:
        return None
    given_back = sum(int(stat.get(name, 0)) for name in given_back_names)
    return None if limit == "max" else max(int(limit) - int(used) + given_back, 0)


def ranks_that_fit(most: int, batch: int, multiple: int, free: Free) -> int:
    """The most training processes of at most `most` that share a batch in multiples and have memory; at least 1."""
    fitting = min(most, max(free.memory_bytes // RANK_BYTES, 1))
    return next(ranks for ranks in range(fitting, 0, -1) if ranks == 1 or batch % (ranks * multiple) == 0)


def disk_needed(samae: Samae, stage: str, pictures: int, partition: str = "") -> int:
    """Bytes that a stage writes for so many pictures, or for its recipe (`partition`), with margin and spare."""
    if partition and stage in RECIPE_BYTES:
        return int(RECIPE_BYTES[stage](samae, partition) * MARGIN) + SPARE_BYTES
    plan, need = samae.plan, NEEDS.get(stage, Need(0, 0))
    width = {"photographs": plan.photo_px, "training_shards": plan.picture_px}.get(stage, plan.working_px)
    copies = 2 if STAGES[stage].cut == "folder" else 1  # finished parts lie beside the whole until it is written
    return int(pictures * (need.per_px * width**2 + need.per_picture) * copies * MARGIN) + SPARE_BYTES


def training_bytes(samae: Samae, recipe: str) -> int:
    """Bytes of what one training of a swapper keeps: checkpoints and exports.

    Head and encoder give the networks their widths. Where a training runs elsewhere and their weights are only there,
    those of the built-in ones stand in.
    """
    import torch

    from faces.identity.registry import load_encoder
    from faces.morphable.registry import load_head
    from training.config import load_recipe
    from training.footprint import disk_bytes
    from training.methods.base import build_method

    settings = load_recipe(recipe, recipe_overrides(samae.plan, recipe))
    with torch.random.fork_rng():
        try:
            method = build_method(settings, load_head(samae.plan.head), load_encoder(settings.identity.encoder), "meta")
        except SamaeError:
            if samae.trains_here:
                raise
            method = build_method(settings, load_head("builtin"), load_encoder("builtin"), "meta")
    return disk_bytes(method, settings)


def encoder_bytes(samae: Samae, recipe: str) -> int:
    """Bytes of what one training of an encoder keeps: its crops, checkpoints and file."""
    from training.encoder.recipe import load_encoder_recipe
    from training.footprint import encoder_disk_bytes

    return encoder_disk_bytes(load_encoder_recipe(recipe, encoder_overrides(samae.plan, recipe)))


#: Stages that are cut by recipe -> bytes that one recipe writes.
RECIPE_BYTES = {"swap_model": training_bytes, "identity_encoder": encoder_bytes}


def memory_needed(samae: Samae, stage: str) -> int:
    """Bytes that a stage holds at once on this machine."""
    if stage == "identity_encoder":
        return encoder_workers(samae) * WORKER_BYTES
    if stage == "swap_model":
        return max(samae.plan.ranks, 1) * RANK_BYTES if samae.trains_here else 0
    return samae.workers * WORKER_BYTES


def encoder_workers(samae: Samae) -> int:
    """How many processes make an encoder's pictures: this machine's, as it trains here wherever Ray is."""
    return samae.workers or cores()


def bytes_below(folder: Path) -> int:
    """Bytes of all files below a folder; what is removed meanwhile counts nothing."""
    count = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            count += path.stat().st_size if path.is_file() else 0
    return count


def require_room(
    samae: Samae,
    stage: str,
    pictures: int = 0,
    free: Free | None = None,
    *,
    partition: str = "",
    written: int = 0,
) -> None:
    """Nothing when a stage has room for so many pictures, or for its recipe (`partition`), of which `written` bytes lie
    there already; else a SamaeError that names what to set."""
    home = samae.store.home
    free = free or free_here(home)
    disk = max(disk_needed(samae, stage, pictures, partition) - written, SPARE_BYTES)
    memory = memory_needed(samae, stage)
    about = f" for {pictures:,} pictures" if pictures else ""
    if disk > free.disk_bytes:
        raise SamaeError(
            f"{stage} needs about {_gib(disk)} of disk{about}, but {_gib(free.disk_bytes)} are free at {home}: "
            f"free some, or name a larger disk by SAMAE_HOME; nothing was started"
        )
    if memory > free.memory_bytes:
        if stage == "swap_model":
            mend, count = "set SAMAE_RANKS lower", max(samae.plan.ranks, 1)
        else:  # with Ray elsewhere SAMAE_CORES is not read
            mend = "set SAMAE_CORES lower" + ("" if samae.workers else " and SAMAE_RAY=local")
            count = encoder_workers(samae)
        raise SamaeError(
            f"{stage} needs about {_gib(memory)} of memory for {count} processes, but {_gib(free.memory_bytes)} are "
            f"free: end something, or {mend}; nothing was started"
        )


def _gib(count: int) -> str:
    return f"{count / GIB:.1f} GiB"
