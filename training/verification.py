"""How well an encoder tells people apart: similarities of genuine and impostor pairs, TAR at a FAR, accuracies.

`verify` takes all pairs of a labelled set. `ten_fold` is LFW's protocol on a list of pairs (`read_pairs`): for each of
ten consecutive folds the threshold is chosen on the other nine.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from faces.errors import SamaeError


@dataclass(frozen=True)
class Verification:
    """Figures over all pairs of a labelled set (cosine similarity; rates in 0..1).

    Attributes:
        genuine_mean, genuine_std, impostor_mean, impostor_std: of the two distributions of similarity.
        tar_at_far_1e3: share of genuine pairs above the similarity that 1 impostor pair in 1,000 exceeds.
        accuracy: best accuracy of one threshold when genuine and impostor pairs weigh the same (LFW's balance).
    """

    genuine_mean: float
    genuine_std: float
    impostor_mean: float
    impostor_std: float
    tar_at_far_1e3: float
    accuracy: float


def verify(embeddings: np.ndarray, people: np.ndarray) -> Verification:
    """(N, dim) unit embeddings and (N,) labels -> figures over all N (N - 1) / 2 pairs.

    Raises:
        SamaeError: no person has two pictures, or there is only one person.
    """
    rows, columns = np.triu_indices(len(embeddings), 1)
    similarity = (embeddings @ embeddings.T)[rows, columns]
    same = people[rows] == people[columns]
    genuine, impostor = similarity[same], similarity[~same]
    if not len(genuine) or not len(impostor):
        raise SamaeError("verification needs two people at least, and one person with two pictures at least")
    threshold = np.quantile(impostor, 0.999)
    cuts = np.quantile(similarity, np.linspace(0, 1, 1001))
    kept = 1 - np.searchsorted(np.sort(genuine), cuts) / len(genuine)
    refused = np.searchsorted(np.sort(impostor), cuts) / len(impostor)
    return Verification(
        genuine_mean=float(genuine.mean()),
        genuine_std=float(genuine.std()),
        impostor_mean=float(impostor.mean()),
        impostor_std=float(impostor.std()),
        tar_at_far_1e3=float((genuine > threshold).mean()),
        accuracy=float(((kept + refused) / 2).max()),
    )


def ten_fold(similarity: np.ndarray, same: np.ndarray, folds: int = 10) -> tuple[float, float]:
    """(P,) cosines and (P,) bool -> mean and standard deviation over the folds of the accuracy, 0..1.

    Raises:
        SamaeError: fewer pairs than folds.
    """
    if len(similarity) < folds:
        raise SamaeError(f"{len(similarity)} pairs cannot be cut into {folds} folds: give a longer list")
    cuts = np.unique(np.concatenate([[-1.0], similarity, [1.0 + 1e-6]]))
    if len(cuts) > 801:
        cuts = np.linspace(-1, 1, 801)
    right = (similarity[None] >= cuts[:, None]) == same[None]
    found = []
    for fold in np.array_split(np.arange(len(similarity)), folds):
        rest = np.setdiff1d(np.arange(len(similarity)), fold)
        found.append(right[right[:, rest].mean(1).argmax()][fold].mean())
    return float(np.mean(found)), float(np.std(found))


def read_pairs(path: Path, root: Path) -> list[tuple[Path, Path, bool]]:
    """LFW's pairs.txt: "NAME n m" (same) or "NAME n OTHER m"; picture n of NAME is root/NAME/NAME_000n.jpg.

    Raises:
        SamaeError: a line of another form, or a picture that is not there.
    """

    def picture(name: str, number: str) -> Path:
        """LFW's NAME/NAME_0001.jpg."""
        found = root / name / f"{name}_{int(number):04d}.jpg"
        if not found.is_file():
            raise SamaeError(f"{path} names {found}, which is missing: unpack LFW's pictures into {root}")
        return found

    pairs = []
    for line in path.read_text(encoding="utf-8").splitlines():
        parts = line.split()
        if len(parts) == 3 and parts[1].isdigit():
            pairs.append((picture(parts[0], parts[1]), picture(parts[0], parts[2]), True))
        elif len(parts) == 4 and parts[1].isdigit():
            pairs.append((picture(parts[0], parts[1]), picture(parts[2], parts[3]), False))
        elif pairs or len(parts) > 2:
            raise SamaeError(f"{path}: the line {line!r} is no pair; LFW's form is NAME n m, or NAME n OTHER m")
    return pairs
