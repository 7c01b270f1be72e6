"""The shipped weights judged anew on a frozen set of generated people whom no training saw (docs/results.md).

    samae bench results --json                     the weights samae-people, at their own 128 px
    samae bench results --set size_px=64           the same at 64 px
    samae bench results --set model=RUN/export     other weights, on the same pairs at their own size
    samae bench results --set model=A/export,B/export --set page=FILE.html     several, and their leaderboard
    samae bench results --set keep=FOLDER          keep the set there, so that the next run only judges
    samae bench results --set picture=FILE.jpg     draw the first four pairs, the two best, median and worst

The protocol: 2,000 photographs of 500 people of a seed that nothing else uses, prepared by the project's own assets,
300 pairs of different people among those that the shards call `train` (the split means nothing here: nobody of this
seed was ever trained on), judged by judge-1, judge-2 and judge-3 with the true swaps. All of it follows from the seed
and the width of the pictures, by default that of the (first) weights; weights of another width work at it where their
trunk allows.
"""

import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._environment import clean_environment
from evaluation.grids import PAPER
from faces.errors import SamaeError
from faces.files import read_json

SUMMARY = "The shipped weights on a frozen set of generated people never seen, beside the baselines"
#: A seed that no training set, demo or test uses.
SEED = 240_207_370
#: Least width at which the set's faces are fitted, px; photographs are twice as wide as its pictures.
FIT_PX = 128
DEFAULTS: dict[str, Any] = {
    "model": "samae-people",
    "size_px": 0,
    "photographs": 2000,
    "pairs": 300,
    "keep": "",
    "picture": "",
    "page": "",
}
#: Our name of a figure -> the judge's.
FIGURES = {
    "identity_to_source": "identity_similarity",
    "identity_to_target": "identity_leak",
    "identity_to_truth": "truth_identity",
    "retrieval_top1": "retrieval_top1",
    "pose_degrees": "pose_degrees",
    "expression_mm": "expression_mm",
    "gaze_degrees": "gaze_degrees",
    "shape_mm": "shape_mm",
    "light_distance": "light_distance",
    "skin_delta_e": "skin_delta_e",
    "seam": "seam",
    "psnr_to_truth_db": "truth_face_psnr_db",
    "delta_e_to_truth": "truth_face_delta_e",
}


def run(settings: dict[str, Any]) -> dict[str, float | int | str]:
    """The figures of the weights, and of copy-target, paste-source and true-swap with their names in front.

    Of several weights every figure has their name in front; `page` also takes the losses from RUN/stats.jsonl.
    """
    from training.weights import find_weights

    chosen = DEFAULTS | settings
    models = [name.strip() for name in str(chosen["model"]).split(",")]
    configs = [read_json(find_weights(model).folder / "config.json") for model in models]
    refuse_equal_names([config["recipe"]["name"] for config in configs])
    chosen |= {"size_px": int(chosen["size_px"]) or configs[0]["size_px"]}
    with tempfile.TemporaryDirectory(prefix="samae-results-") as scratch:
        home = Path(str(chosen["keep"]) or scratch).absolute()
        found = {model: evaluate(chosen | {"model": model}, home) for model in models}
    first = found[models[0]]
    if chosen["picture"]:
        draw(first, Path(str(chosen["picture"])))
    if chosen["page"]:
        write_page(found, Path(str(chosen["page"])))
    if len(found) == 1:
        return figures(first)
    shared = baselines(first) | {"pairs": len(first.pairs), "protocol": first.pairs.digest}
    return {f"{e.name}_{key}": value for e in found.values() for key, value in system(e).items()} | shared


def refuse_equal_names(names: list[str]) -> None:
    """SamaeError, before any judging, where figures of two weights would go by the same recipe's name."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SamaeError(
            f"several of these weights are named {', '.join(twice)}; judge equal names in calls of their own"
        )


def write_page(found: dict[str, Any], path: Path) -> None:
    """The leaderboard of the evaluations (weights -> Evaluation), with the losses of those in a run's folder."""
    from assets.judging import loss_curves
    from evaluation.report import write_report

    curves = {evaluation.name: loss_curves(Path(model).parent) for model, evaluation in found.items()}
    write_report(list(found.values()), {name: losses for name, losses in curves.items() if losses}, None, path)


def draw(evaluation: Any, path: Path) -> None:
    """A JPEG of the evaluation's examples: a row a pair, with why it was chosen and its identity similarity."""
    from evaluation.grids import example_rows, pair_grid
    from faces.files import write_bytes
    from faces.records import encode_jpeg

    examples = [e for e in evaluation.examples if e.why == "fixed" or e.by == "identity_similarity"]
    half = (len(examples) + 1) // 2
    sheets = [pair_grid(*example_rows(part)) for part in (examples[:half], examples[half:])]
    height = max(sheet.shape[0] for sheet in sheets)
    padded = [np.pad(s, ((0, height - s.shape[0]), (0, 0), (0, 0)), constant_values=PAPER) for s in sheets]
    write_bytes(path, encode_jpeg(np.concatenate(padded, axis=1)))


def evaluate(chosen: dict[str, Any], home: Path) -> Any:
    """The Evaluation of the chosen weights on the frozen set, which is made below `home` unless it lies there."""
    from assets.judging import load_faces_of
    from assets.truth import true_swaps
    from evaluation.judge import judge
    from evaluation.pairs import make_pairs
    from faces.identity.registry import load_encoder
    from faces.morphable.registry import load_head
    from pipelines.settings import Settings
    from training.export import load_swapper
    from training.shards import ShardSet
    from training.weights import find_weights

    weights, size_px = find_weights(str(chosen["model"])), int(chosen["size_px"])
    environment = protocol_environment(home, int(chosen["photographs"]), size_px)
    make_set(environment)
    # All settings are given, so that this process's own SAMAE_* count as little as in the process that made the set.
    given = {name: entry.get_default(call_default_factory=True) for name, entry in Settings.model_fields.items()}
    given |= {name.removeprefix("SAMAE_").lower(): value for name, value in environment.items()}
    settings = Settings(**given)
    plan, shards = settings.plan, settings.store.folder("training_shards")
    shard_set = ShardSet.open(shards)
    pairs = make_pairs(shard_set, "train", int(chosen["pairs"]), SEED)
    shard_set.close()
    head = load_head(plan.head)
    swapper: Any = load_swapper(weights.folder, head=head, size_px=size_px)
    return judge(
        swapper, pairs, partial(load_faces_of, shards, encoder=(swapper.encoder_source, swapper.encoder_digest)),
        [load_encoder(name) for name in plan.judges], true_swaps(plan, home / "cache" / "true_swaps"), head,
        trained_with=swapper.trained_with, system_digest=weights.sha256,
    )  # fmt: skip


def protocol_environment(home: Path, photographs: int, size_px: int) -> dict[str, str]:
    """Every setting that the set depends on, so that nobody's own SAMAE_* change it. size_px: of its pictures."""
    return {
        "SAMAE_HOME": str(home), "SAMAE_SEED": str(SEED), "SAMAE_PHOTOGRAPHS": str(photographs),
        "SAMAE_PHOTO_PX": str(2 * size_px), "SAMAE_ALIGNED_PX": str(max(FIT_PX, size_px)),
        "SAMAE_PICTURE_PX": str(size_px),
        "SAMAE_HEAD": "builtin", "SAMAE_ENCODER": "builtin", "SAMAE_JUDGES": "judge-1,judge-2,judge-3",
        "SAMAE_RAY": "serial",
    }  # fmt: skip


def make_set(environment: dict[str, str]) -> None:
    """Photographs to shards in a process of its own (Dagster's definitions read their settings once a process)."""
    command = [sys.executable, "-m", "benchmarks.results"]
    done = subprocess.run(command, env=clean_environment(**environment), capture_output=True, text=True)
    if done.returncode:
        raise SamaeError(f"the frozen set could not be made: {(done.stderr or done.stdout).strip().splitlines()[-1]}")


def figures(evaluation: Any) -> dict[str, float | int | str]:
    """Mean and 95 % interval of the system, means of the baselines, digests and counts."""
    counts = {"pairs": len(evaluation.pairs), "protocol": evaluation.pairs.digest}
    return system(evaluation) | baselines(evaluation) | counts


def system(evaluation: Any) -> dict[str, float | int | str]:
    """Mean and 95 % interval of the system."""
    found: dict[str, float | int | str] = {}
    for ours, name in FIGURES.items():
        if name in evaluation.summary:
            figure = evaluation.summary[name]
            found[ours] = round(float(figure["mean"]), 4)
            found |= {f"{ours}_{end}": round(float(figure[end]), 4) for end in ("low", "high")}
    return found


def baselines(evaluation: Any) -> dict[str, float | int | str]:
    """Means of the baselines, with their names in front."""
    return {
        f"{baseline.replace('-', '_')}_{ours}": round(float(summary[name]["mean"]), 4)
        for baseline, summary in evaluation.baselines.items()
        for ours, name in FIGURES.items()
        if name in summary
    }


def main() -> None:
    """Make what is missing of the set, with the settings of the environment."""
    from assets.shards import DATA_STAGES
    from pipelines.commands.demo import quieten
    from pipelines.materialise import materialise_all, open_instance
    from pipelines.settings import load_settings

    quieten()
    settings = load_settings()
    with open_instance(settings) as instance:
        materialise_all(settings, instance, stages=DATA_STAGES)


if __name__ == "__main__":
    main()
