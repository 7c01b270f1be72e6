"""The judge against the usual way: all metrics of one system over the same pairs, and how it scales to two workers."""

import os
import tempfile
import time
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import _evaluate_set as sets
from evaluation.evaluation import Evaluation
from evaluation.pairs import PairList
from faces.errors import SamaeError

SUMMARY = "The judge: all metrics in one pass against one script a metric (scikit-image, one encoder each)"
#: What `--set` may name.
SETTINGS: tuple[str, ...] = ("pairs", "rounds", "faces", "size_px", "folder")
ENCODERS = ["judge-1", "judge-2", "judge-3"]


def run(settings: dict) -> dict[str, float | int | str]:
    """Settings: pairs (192; 1000 is the aim's size), size_px (256), faces (a third of the pairs), rounds (1),
    folder (kept between runs; a scratch folder without it).

    Both ways run in Ray workers of one thread each: the judge with one and with two workers, the scripts two at a time
    with two workers. Drawing the pictures and starting the workers are not timed.
    """
    pairs_n, rounds = int(settings.get("pairs", 192)), int(settings.get("rounds", 1))
    faces = int(settings.get("faces", max(8, pairs_n // 3)))
    size_px = int(settings.get("size_px", 256))
    _need_libraries()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(str(settings.get("folder", scratch)))
        pictures = sets.PictureSet(folder, faces, max(4, faces // 2), size_px)
        pairs = pictures.pairs(pairs_n)
        timed = [_round(pictures, pairs) for _ in range(rounds)]
    return _figures(timed, len(pairs), size_px)


def _need_libraries() -> None:
    try:
        import skimage  # noqa: F401
    except ImportError as error:
        raise SamaeError(f"the usual way needs {error.name}; install the extra 'dev'") from None


def _round(pictures: sets.PictureSet, pairs: PairList) -> dict[str, Any]:
    """Seconds of the judge by workers and of every script, and the largest disagreement of their figures."""
    seconds: dict[str, Any] = {}
    for workers in (2, 1):
        pool = _pool(workers)
        try:
            if workers == 2:
                sets.prepare(pictures, pairs, pool)
                _judged(pictures, pictures.pairs(2))  # heads and encoders are loaded in this process too
            pool.map(partial(_judged, pictures), [pictures.pairs(2)] * (4 * workers))  # imports and kernels are warm
            started = time.perf_counter()
            evaluation = judged(pictures, pairs, lambda f, items, pool=pool: pool.map(f, items))
            seconds[f"judge_{workers}"] = time.perf_counter() - started
            if workers == 2:
                seconds |= _usual(pictures, pairs, pool, evaluation)
        finally:
            pool.stop()
    return seconds


def _pool(workers: int) -> Any:
    from pipelines.ray_pool import RayPool

    return RayPool(address="local", cores=workers)


def judged(pictures: sets.PictureSet, pairs: PairList, map_chunks: Any) -> Evaluation:
    """The judge's answer, results read from files."""
    from evaluation.judge import judge
    from evaluation.networks import NONE
    from faces.identity.registry import load_encoder
    from faces.morphable.registry import load_head

    results: Any = sets.Results(pictures)
    return judge(
        results, pairs, sets.Loader(pictures), [load_encoder(name) for name in ENCODERS],
        sets.Truths(pictures), load_head("builtin"), baselines=(), map_chunks=map_chunks, chunk_pairs=8,
        networks=NONE,  # what a user's weight files would add has no script here
    )  # fmt: skip


def _judged(pictures: sets.PictureSet, pairs: PairList) -> None:
    judged(pictures, pairs, map)


def _script(name: str, pictures: sets.PictureSet, pairs: PairList) -> tuple[float, float]:
    """Value and seconds of one script. Runs in a worker."""
    from benchmarks._evaluate_usual import scripts

    started = time.perf_counter()
    value = scripts(ENCODERS)[name](pictures, pairs)
    return value, time.perf_counter() - started


def _by_name(pictures: sets.PictureSet, pairs: PairList, name: str) -> tuple[float, float]:
    return _script(name, pictures, pairs)


def _usual(pictures: sets.PictureSet, pairs: PairList, pool: Any, evaluation: Evaluation) -> dict[str, Any]:
    from benchmarks._evaluate_usual import fit_scripts, scripts

    names = list(scripts(ENCODERS))
    names.sort(key=lambda name: name not in fit_scripts())  # the long ones first: no worker waits at the end
    pool.map(partial(_by_name, pictures, pictures.pairs(2)), names)
    started = time.perf_counter()
    answers = dict(zip(names, pool.map(partial(_by_name, pictures, pairs), names), strict=True))
    whole = time.perf_counter() - started
    gaps = {name: _gap(value, evaluation.summary[name]["mean"]) for name, (value, _) in answers.items()}
    return {
        "usual_2": whole,
        "usual_fit_share": sum(answers[n][1] for n in fit_scripts()) / sum(took for _, took in answers.values()),
        "scripts": len(names),
        "disagreement": max(gaps.values()),
        "disagrees_most": max(gaps, key=lambda name: gaps[name]),
    }


def _gap(a: float, b: float) -> float:
    """Relative difference of two figures, of 0.01 at least."""
    return abs(a - b) / max(abs(a), abs(b), 0.01)


def _figures(timed: list[dict[str, Any]], pairs: int, size_px: int) -> dict[str, float | int | str]:
    one, two, usual = (median(t[key] for t in timed) for key in ("judge_1", "judge_2", "usual_2"))
    ratio = median(t["usual_2"] / t["judge_2"] for t in timed)
    share = median(t["usual_fit_share"] for t in timed)
    return {
        "speedup": round(ratio, 2),
        "speedup_scripts_without_fit": round(ratio * (1 - share), 2),
        "efficiency_2_workers": round(median(t["judge_1"] / (2 * t["judge_2"]) for t in timed), 3),
        "judge_2_workers_s": round(two, 2),
        "judge_1_worker_s": round(one, 2),
        "usual_2_workers_s": round(usual, 2),
        "judge_pairs_per_s": round(pairs / two, 2),
        "scripts": timed[0]["scripts"],
        "largest_disagreement": round(max(t["disagreement"] for t in timed), 5),
        "disagrees_most": timed[0]["disagrees_most"],
        "pairs": pairs,
        "size_px": size_px,
        "cores": len(os.sched_getaffinity(0)),
    }
