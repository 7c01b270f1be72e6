"""What identity encoders look at: verification, same / different / swapped similarities, saliency."""

import os
from dataclasses import asdict
from pathlib import Path

import numpy as np

from faces.identity.encoder import Encoder, TorchEncoder
from faces.identity.registry import KNOWN_ENCODERS, find_weights, load_encoder
from training.encoder.figures import draw_saliency, draw_similarities
from training.encoder.folders import as_square, landmark_finder
from training.encoder.probe import probe_saliency, render_probe, similarities
from training.pictures import read_picture
from training.verification import read_pairs, ten_fold, verify

SUMMARY = "Identity encoders on people none saw: verification, same / different / swapped similarity, saliency"
#: What `--set` may name.
SETTINGS: tuple[str, ...] = ("encoders", "people", "pictures", "workers", "seed", "pairs", "data", "figures")


def run(settings: dict) -> dict[str, float | int | str]:
    """Settings: encoders (builtin, and blendface where its weights are), people (24), pictures (3), seed (909), figures
    (a folder; none).

    With pairs=pairs.txt and data=FOLDER also LFW's ten-fold accuracy (landmarks: training/encoder/folders).
    """
    names = [name.strip() for name in str(settings.get("encoders") or ",".join(found_encoders())).split(",")]
    encoders = {Path(name).stem: load_encoder(name) for name in names}
    people, pictures = int(settings.get("people", 24)), int(settings.get("pictures", 3))
    workers = int(settings.get("workers", len(os.sched_getaffinity(0))))
    probe = render_probe(people, pictures, int(settings.get("seed", 909)), workers=workers)
    plain = probe.wearer == probe.owner
    figures: dict[str, float | int | str] = {"people": people, "plain_pictures": int(plain.sum())}
    distributions, maps = {}, {}
    for label, encoder in encoders.items():
        distributions[label] = found = similarities(encoder, probe)
        vectors = encoder.embed(probe.images[plain], probe.landmarks[plain])
        checked = asdict(verify(vectors, probe.wearer[plain]))
        for kind in ("same", "different", "swapped"):
            figures[f"{label}_{kind}_mean"] = round(float(getattr(found, kind).mean()), 4)
            figures[f"{label}_{kind}_peak"] = round(found.peaks()[kind], 4)
        accuracy = ten_fold(*_balanced(found.same, found.different))[0]
        figures[f"{label}_tar_at_far_1e3"] = round(checked["tar_at_far_1e3"], 4)
        figures[f"{label}_ten_fold_accuracy"] = round(accuracy, 4)
        if settings.get("pairs"):
            figures[f"{label}_list_accuracy"] = round(_on_list(encoder, settings), 4)
        if isinstance(encoder, TorchEncoder):
            maps[label] = probe_saliency(encoder, probe, min(people, 8))
            figures[f"{label}_saliency_outside_face_share"] = round(maps[label][2], 4)
    if settings.get("figures"):
        folder = Path(str(settings["figures"]))
        draw_similarities(distributions, folder / "identity_similarity.png")
        draw_saliency(maps, folder / "identity_saliency.png")
    return figures


def found_encoders() -> list[str]:
    """Of builtin and blendface those whose weights are here."""
    return [name for name in ("builtin", "blendface") if find_weights(KNOWN_ENCODERS[name])]


def _on_list(encoder: Encoder, settings: dict) -> float:
    """LFW's ten-fold accuracy on the pair list of the settings, 0..1."""
    root = Path(str(settings.get("data", ".")))
    pairs, find = read_pairs(Path(str(settings["pairs"])), root), landmark_finder(root)
    vectors: dict[Path, np.ndarray] = {}
    for path in sorted({path for a, b, _ in pairs for path in (a, b)}):
        image = read_picture(path)
        square, _, points = as_square(image, np.zeros(image.shape[:2], np.uint8), find(path, image))
        vectors[path] = encoder.embed(square, points)[0]
    cosines = np.array([vectors[a] @ vectors[b] for a, b, _ in pairs])
    return ten_fold(cosines, np.array([same for *_, same in pairs]))[0]


def _balanced(same: np.ndarray, different: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cosines and labels of all pairs of one person and as many of different people, by turns (every fold balanced)."""
    chosen = np.random.Generator(np.random.Philox(1)).choice(different, len(same), replace=False)
    return np.stack([same, chosen], 1).ravel(), np.tile([True, False], len(same))
