"""Is there room? Before a stage starts: what it will need of disk and memory, compared with what is free here.

Coarse on purpose: bytes a picture, measured on generated people (1,000 at 128 px, shards at 64 px), plus a quarter.
What a half-done stage has written already is not subtracted, so a stage that goes on may ask for more than it needs.
Memory is asked for the workers of this machine; a Ray cluster elsewhere looks after its own.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

from assets.graph import STAGES
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
    return Free(shutil.disk_usage(home).free, psutil.virtual_memory().available)


def ranks_that_fit(most: int, batch: int, multiple: int, free: Free) -> int:
    """The most training processes of at most `most` that share a batch in multiples and have memory; at least 1."""
    fitting = min(most, max(free.memory_bytes // RANK_BYTES, 1))
    return next(ranks for ranks in range(fitting, 0, -1) if ranks == 1 or batch % (ranks * multiple) == 0)


def disk_needed(samae: Samae, stage: str, pictures: int) -> int:
    """Bytes that a stage writes for so many pictures, with margin and spare."""
    plan, need = samae.plan, NEEDS.get(stage, Need(0, 0))
    width = {"photographs": plan.photo_px, "training_shards": plan.picture_px}.get(stage, plan.working_px)
    copies = 2 if STAGES[stage].cut == "folder" else 1  # finished parts lie beside the whole until it is written
    return int(pictures * (need.per_px * width**2 + need.per_picture) * copies * MARGIN) + SPARE_BYTES


def memory_needed(samae: Samae, stage: str) -> int:
    """Bytes that a stage holds at once on this machine."""
    if stage == "swap_model":
        return max(samae.plan.ranks, 1) * RANK_BYTES if samae.trains_here else 0
    return samae.workers * WORKER_BYTES


def require_room(samae: Samae, stage: str, pictures: int = 0, free: Free | None = None) -> None:
    """Nothing when a stage has room for so many pictures; else a SamaeError that names what to set."""
    home = samae.store.home
    free = free or free_here(home)
    disk, memory = disk_needed(samae, stage, pictures), memory_needed(samae, stage)
    about = f" for {pictures:,} pictures" if pictures else ""
    if disk > free.disk_bytes:
        raise SamaeError(
            f"{stage} needs about {_gib(disk)} of disk{about}, but {_gib(free.disk_bytes)} are free at {home}: "
            f"free some, or name a larger disk by SAMAE_HOME; nothing was started"
        )
    if memory > free.memory_bytes:
        mend = "SAMAE_RANKS" if stage == "swap_model" else "SAMAE_CORES"
        count = max(samae.plan.ranks, 1) if stage == "swap_model" else samae.workers
        raise SamaeError(
            f"{stage} needs about {_gib(memory)} of memory for {count} processes, but {_gib(free.memory_bytes)} are "
            f"free: end something, or set {mend} lower; nothing was started"
        )


def _gib(count: int) -> str:
    return f"{count / GIB:.1f} GiB"
