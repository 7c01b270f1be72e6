"""Identity consistency: mean cosine among the results of one source person on several targets, averaged over persons.

A person's results may come from several pictures of that person; where persons are unknown, every source picture is a
person of its own. Range -1..1 (cosine), higher is better; NaN when no person is a source twice. Read
it against the true swap's row: one person in several scenes is not seen alike even there. One number a set, not a
pair. Source: the idea is that of WSC-swap (arXiv 2307.07928) and SelfSwapper, whose formula is not public; this form
is ours.
"""

from collections.abc import Hashable, Sequence

import numpy as np


def identity_consistency(embeddings: np.ndarray, persons: Sequence[Hashable]) -> float:
    """(N, D) unit embeddings of the results, N labels of their source persons -> mean pairwise cosine in a person."""
    groups: dict[Hashable, list[int]] = {}
    for row, person in enumerate(persons):
        groups.setdefault(person, []).append(row)
    means = []
    for rows in groups.values():
        if len(rows) > 1:
            vectors = embeddings[rows].astype(np.float64)
            total = (vectors.sum(axis=0) ** 2).sum() - (vectors**2).sum()
            means.append(total / (len(rows) * (len(rows) - 1)))
    return float(np.mean(means)) if means else float("nan")
