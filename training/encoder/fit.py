"""From a recipe to an encoder's file: crops, training, verification on people never seen."""

from dataclasses import asdict
from pathlib import Path

from faces.files import atomic_file
from faces.identity.encoder import save_encoder
from training.encoder.crops import Report, open_crops
from training.encoder.loop import check, train_encoder
from training.encoder.recipe import EncoderRecipe
from training.verification import Verification


def fit(
    recipe: EncoderRecipe,
    out: Path,
    cache: Path,
    workers: int,
    report: Report,
    run_dir: Path | None = None,
    device: str = "cpu",
) -> Verification:
    """Make the crops, train, verify on people never seen, and write the encoder to `out`.

    Whoever gives a `run_dir` holds it as its only writer (faces/lock.py).
    """
    crops = open_crops(recipe, cache, workers, report)
    network = train_encoder(recipe, crops, report, run_dir, device)
    figures = check(network, crops)
    metadata = {"licence": "Apache-2.0"} | {key: f"{value:.4f}" for key, value in asdict(figures).items()}
    with atomic_file(out) as scratch:
        save_encoder(network.cpu(), scratch, recipe.as_dict() | metadata)
    report(f"wrote {out} ({out.stat().st_size / 1e6:.2f} MB): {figures}")
    return figures
