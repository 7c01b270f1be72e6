"""The main job in a process of its own, measured stage by stage: python -m benchmarks._stages_run.

Prints one JSON line a stage and partition: {"stage", "seconds", "cpu_s", "peak_bytes", "bytes", "units"}. Memory is the
sum of the proportional set sizes of this process and all below it (Ray's own included), looked at twice a second.
"""

import json
import os
import threading
from contextlib import suppress
from pathlib import Path

import psutil

from assets.graph import STAGES
from benchmarks.stages import PREPARING, folder_bytes
from pipelines.commands.demo import quieten
from pipelines.materialise import Made, materialise_all, open_instance
from pipelines.settings import Settings, load_settings

SECONDS_BETWEEN_LOOKS = 0.5
#: Four tasks: one would be done in this process and leave the workers cold.
WARM_PHOTOGRAPHS = "128"


class Meter:
    """CPU seconds and peak memory of this process and everything below it, since the last `take`."""

    def __init__(self) -> None:
        self._spent: dict[tuple[int, float], float] = {}
        self._peak = 0
        self._taken = 0.0
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while True:
            self.look()
            threading.Event().wait(SECONDS_BETWEEN_LOOKS)

    def look(self) -> None:
        """One look at all processes; one that has ended keeps the CPU time it was last seen with."""
        me, held = psutil.Process(), 0
        for process in [me, *me.children(recursive=True)]:
            with suppress(psutil.Error):
                times = process.cpu_times()
                self._spent[process.pid, process.create_time()] = times.user + times.system
                held += process.memory_full_info().pss
        self._peak = max(self._peak, held)

    def take(self) -> tuple[float, int]:
        """(CPU seconds, peak bytes) since the last take."""
        self.look()
        total, peak = sum(self._spent.values()), self._peak
        spent, self._taken, self._peak = total - self._taken, total, 0
        return spent, peak


def units(stage: str, settings: Settings, partition: str | None) -> float:
    """What a stage's cost grows with, in thousands: faces of the partition, pictures trained on, or pairs; 1 a run."""
    from assets.listing import photograph_counts

    if stage == "swap_model":
        from training.config import load_recipe

        plan, recipe = settings.plan, partition or ""
        return plan.kimg_of(recipe) or load_recipe(recipe).train.total_kimg
    if stage in ("leaderboard", "champion"):
        return 1.0
    if stage == "swap_evaluation":
        return settings.pairs / 1000
    counts = photograph_counts(settings.store)
    return (counts[partition] if STAGES[stage].cut == "folder" and partition else sum(counts.values())) / 1000


def measure() -> None:
    """Warm up, then make everything and tell what each stage took."""
    quieten()
    home, raw, meter = os.environ["SAMAE_HOME"], os.environ.pop("SAMAE_RAW", ""), Meter()
    photographs = os.environ["SAMAE_PHOTOGRAPHS"]
    os.environ |= {"SAMAE_PHOTOGRAPHS": WARM_PHOTOGRAPHS, "SAMAE_HOME": str(Path(home) / "warm")}
    warm = load_settings()
    with open_instance(warm) as instance:
        materialise_all(warm, instance, stages=("photographs", *PREPARING))
    os.environ |= {"SAMAE_PHOTOGRAPHS": photographs, "SAMAE_HOME": home} | ({"SAMAE_RAW": raw} if raw else {})
    settings = load_settings()
    meter.take()

    def tell(made: Made) -> None:
        cpu_s, peak = meter.take()
        store = settings.store
        folder = store.raw if made.stage == "photographs" else store.folder(made.stage, made.partition)
        print(json.dumps({
            "stage": made.stage, "seconds": made.seconds, "cpu_s": cpu_s, "peak_bytes": peak,
            "bytes": folder_bytes(folder), "units": units(made.stage, settings, made.partition),
        }), flush=True)  # fmt: skip

    with open_instance(settings) as instance:
        stages = tuple(stage for stage in STAGES if stage != "identity_encoder")
        materialise_all(settings, instance, ended=tell, stages=stages)


if __name__ == "__main__":
    measure()
