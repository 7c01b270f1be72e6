"""Run as a script: the weights that ship, judged on the shards of SAMAE_HOME; one JSON line of every metric's mean."""

import json

from assets.judging import judge_export
from pipelines.ray_pool import RayPool
from pipelines.settings import load_settings
from training.weights import find_weights


def main() -> None:
    """Judge on the pool of the settings, so many pairs a task."""
    settings = load_settings()
    pool = RayPool(address=settings.ray, cores=settings.cores)
    progress = lambda done, total, note="": print(f"judged {done:g} of {total:g}", flush=True)  # noqa: E731
    evaluation = judge_export(settings.plan, settings.store, find_weights("samae-people").folder, pool, progress)
    pool.stop()
    print(json.dumps({name: figure["mean"] for name, figure in sorted(evaluation.summary.items())}))


if __name__ == "__main__":
    main()
