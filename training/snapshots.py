"""Snapshots: a fixed grid of swaps to look at, and three early warnings of what people lose days to.

The pairs are chosen once (by the seed, from the validation split, or from the training split when that is too small)
and stay the same for the whole run. Measured with the training encoder: a hint while training, never a judgement
(evaluation/ judges with encoders that no method trained on). All thresholds are ours.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import torch

from faces.errors import SamaeError
from faces.files import write_bytes
from training.batch import FaceBatch, SwapResult
from training.shards import ShardSet
from training.stream import load_faces

#: Pairs in the grid, and pairs that are measured.
GRID_PAIRS, MEASURED_PAIRS = 8, 32
#: White between the grid's pictures, and the width of the strip with a row's name.
GAP_PX, LABEL_PX, PAPER = 4, 22, (255, 255, 255)
#: Pictures of one generator pass.
CHUNK = 16
#: Before so many pictures a method may still copy the target without meaning anything.
FIRST_WARNING_SAMPLES = 1000
#: Before so many pictures all results are fog, and fog is alike.
FIRST_COLLAPSE_SAMPLES = 5000
#: Results that differ less than this share of what their sources differ have collapsed.
COLLAPSE_RATIO = 0.25
#: A discriminator that is right with so little loss has won; the chance level is 2 (hinge) or 1.39 (non-saturating).
WON_LOSS = 0.05


class Embedder(Protocol):
    """The part of an identity encoder that is used here."""

    def embed_tensor(self, images: torch.Tensor, landmarks_px: torch.Tensor) -> torch.Tensor:
        """(N, 3, S, S) 0..1 and (N, 68, 2) px -> (N, M) unit vectors."""
        ...


class Swaps(Protocol):
    """The part of a method that is used here."""

    def swap(self, source: FaceBatch, target: FaceBatch) -> SwapResult:
        """Source's identity in target's pictures."""
        ...


@dataclass(frozen=True)
class FixedPairs:
    """The run's pairs: row i of `source` goes into row i of `target`."""

    source: FaceBatch
    target: FaceBatch


def choose_pairs(shard_set: ShardSet, seed: int, count: int = MEASURED_PAIRS) -> FixedPairs:
    """Pairs of different pictures (of different persons where known), the same for the same seed and data."""
    keys = shard_set.keys("validation")
    keys = keys if len(keys) >= 2 else shard_set.keys("train")
    if len(keys) < 2:
        raise SamaeError(f"{shard_set.folder} has {len(keys)} samples to make pairs of; two are the least")
    rng = np.random.Generator(np.random.Philox(key=[seed, int(shard_set.digest[:16], 16)]))
    persons = shard_set.persons(keys)
    targets = np.resize(rng.permutation(len(keys)), min(count, 4 * len(keys)))
    sources = []
    for target in targets:
        others = np.flatnonzero((persons != persons[target]) | (persons < 0))
        others = others[others != target]
        if not len(others):
            others = np.flatnonzero(np.arange(len(keys)) != target)
        sources.append(int(rng.choice(others)))
    return FixedPairs(
        load_faces(shard_set, [keys[i] for i in sources]), load_faces(shard_set, [keys[i] for i in targets])
    )


def swap_all(method: Swaps, pairs: FixedPairs, device: torch.device) -> torch.Tensor:
    """(N, 3, S, S) float32 0..1 on the CPU: the swaps of all pairs, a few at a time."""
    parts = []
    for start in range(0, len(pairs.source), CHUNK):
        rows = list(range(start, min(start + CHUNK, len(pairs.source))))
        result = method.swap(pairs.source.select(rows).to(device), pairs.target.select(rows).to(device))
        parts.append(result.image.detach().float().cpu().clamp(0, 1))
    return torch.cat(parts)


@torch.no_grad()
def measure(results: torch.Tensor, pairs: FixedPairs, encoder: Embedder, device: torch.device) -> dict[str, float]:
    """Figures of the fixed pairs.

    identity_to_source and identity_to_target are mean cosines of the results' embeddings (at the target's landmarks);
    change is the mean absolute difference from the target inside its mask (0..1); diversity is the spread of the
    results' embeddings over that of the sources' (1 - mean cosine over all pairs of rows).
    """
    made = _embed(encoder, results, pairs.target.landmarks, device)
    mask = pairs.target.mask
    return {
        "identity_to_source": float((made * pairs.source.embedding).sum(1).mean()),
        "identity_to_target": float((made * pairs.target.embedding).sum(1).mean()),
        "change": float(((results - pairs.target.image).abs() * mask).sum() / (3 * mask.sum()).clamp_min(1)),
        "diversity": _spread(made) / max(_spread(pairs.source.embedding), 1e-6),
    }


def _embed(encoder: Embedder, images: torch.Tensor, landmarks: torch.Tensor, device: torch.device) -> torch.Tensor:
    parts = zip(images.split(CHUNK), landmarks.split(CHUNK), strict=True)
    return torch.cat([encoder.embed_tensor(i.to(device), p.to(device)).float().cpu() for i, p in parts])


def _spread(embeddings: torch.Tensor) -> float:
    count = len(embeddings)
    total = float((embeddings @ embeddings.T).sum()) - float(embeddings.square().sum())
    return 1 - total / max(count * (count - 1), 1)


def warnings(figures: dict[str, float], losses: dict[str, float], samples_seen: int) -> dict[str, str]:
    """Name of a warning -> a sentence; empty when all is well.

    copies_target: results look more like the target than like the source. mode_collapse: results of different sources
    look the same. discriminator_won: its loss is nearly nothing, so the generator learns nothing from it.
    """
    found: dict[str, str] = {}
    if samples_seen < FIRST_WARNING_SAMPLES:
        return found
    source, target = figures["identity_to_source"], figures["identity_to_target"]
    if target > source:
        found["copies_target"] = (
            f"identity similarity to the target ({target:.2f}) is above that to the source ({source:.2f}): "
            "the method reconstructs instead of swapping"
        )
    if samples_seen >= FIRST_COLLAPSE_SAMPLES and figures["diversity"] < COLLAPSE_RATIO:
        found["mode_collapse"] = f"results differ {100 * figures['diversity']:.0f} % as much as their sources do"
    judged = losses.get("discriminator/discriminator")
    if judged is not None and judged < WON_LOSS:
        found["discriminator_won"] = f"the discriminator's loss is {judged:.3f}: the generator learns nothing from it"
    return found


def write_grid(path: Path, results: torch.Tensor, pairs: FixedPairs, scale: int = 1) -> None:
    """A PNG: a column a pair, named rows source, target, result; small pictures enlarged `scale` times."""
    count = min(GRID_PAIRS, len(results))
    rows = {"source": pairs.source.image[:count], "target": pairs.target.image[:count], "result": results[:count]}
    lines = []
    for name, images in rows.items():
        tiles = [cv2.resize(tile, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC) for tile in _pixels(images)]
        framed = [cv2.copyMakeBorder(tile, 0, GAP_PX, 0, GAP_PX, cv2.BORDER_CONSTANT, value=PAPER) for tile in tiles]
        lines.append(np.concatenate([_label(name, framed[0].shape[0]), *framed], axis=1))
    ok, data = cv2.imencode(".png", np.ascontiguousarray(np.concatenate(lines, axis=0)[..., ::-1]))
    if not ok:
        raise SamaeError(f"the grid {path} cannot be written as PNG")
    write_bytes(path, data.tobytes())


def _label(name: str, height_px: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A row's name, written upwards on a narrow strip."""
    strip = np.full((LABEL_PX, height_px, 3), PAPER[0], np.uint8)
    (width_px, _), _ = cv2.getTextSize(name, cv2.FONT_HERSHEY_SIMPLEX, 0.45, 1)
    place = ((height_px - width_px) // 2, LABEL_PX - 7)
    cv2.putText(strip, name, place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (60, 60, 60), 1, cv2.LINE_AA)
    return np.rot90(strip)


def _pixels(images: torch.Tensor) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return (images.permute(0, 2, 3, 1).clamp(0, 1) * 255).round().to(torch.uint8).numpy()
