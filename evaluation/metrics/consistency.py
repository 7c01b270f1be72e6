"""Identity consistency: mean cosine among the results of one source on different targets, averaged over the sources.

Range -1..1, higher is better; NaN when no source is used twice. One number a set, not a pair. Source: the idea is
that of WSC-swap (arXiv 2307.07928) and SelfSwapper, whose formula is not public; this form is ours.
"""

from collections.abc import Sequence

import numpy as np


def identity_consistency(embeddings: np.ndarray, source_keys: Sequence[str]) -> float:
    """(N, D) unit embeddings of the results and their N source keys -> mean pairwise cosine within a source."""
    groups: dict[str, list[int]] = {}
    for row, key in enumerate(source_keys):
        groups.setdefault(key, []).append(row)
    means = []
    for rows in groups.values():
        if len(rows) > 1:
            vectors = embeddings[rows].astype(np.float64)
            total = (vectors.sum(axis=0) ** 2).sum() - (vectors**2).sum()
            means.append(total / (len(rows) * (len(rows) - 1)))
    return float(np.mean(means)) if means else float("nan")
