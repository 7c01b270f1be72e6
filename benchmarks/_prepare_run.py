"""Photographs to shards in a process of its own, settings from the environment: python -m benchmarks._prepare_run.

Prints one JSON line a stage: {"stage", "partition", "seconds", "fresh"}. `samae bench hostile` kills it at random
moments and starts it again; `samae bench prepare` times it, after a first set in SAMAE_WARM has warmed the workers.
"""

import json
import os
from pathlib import Path

from assets.shards import DATA_STAGES
from pipelines.materialise import Made, materialise_all, open_instance
from pipelines.settings import load_settings


def _say(made: Made) -> None:
    fields = {"stage": made.stage, "partition": made.partition, "seconds": made.seconds, "fresh": made.fresh}
    print(json.dumps(fields), flush=True)


def prepare() -> None:
    """Make what is missing, and say what each stage took."""
    settings = load_settings()
    materialise_all(settings, open_instance(settings), ended=_say, stages=DATA_STAGES)


if __name__ == "__main__":
    measured = os.environ.get("SAMAE_HOME", ""), os.environ.get("SAMAE_RAW", "")
    if warm := os.environ.get("SAMAE_WARM"):
        os.environ |= {"SAMAE_RAW": warm, "SAMAE_HOME": str(Path(measured[0]) / "warm")}
        prepare()
        os.environ |= {"SAMAE_HOME": measured[0], "SAMAE_RAW": measured[1]}
        print(json.dumps({"stage": "measured"}), flush=True)
    prepare()
