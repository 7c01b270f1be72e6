"""How well an encoder tells people apart: similarities of genuine and impostor pairs, TAR at a FAR, best accuracy."""

from dataclasses import dataclass

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
    similarity = np.einsum("nd,nd->n", embeddings[rows], embeddings[columns], optimize=True)
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
