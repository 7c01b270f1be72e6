"""Identity similarity: cosine between face embeddings of result and source, and of result and target.

Range -1..1. Towards the source higher is better; towards the target (the leak) lower is better: a copy of the target
has leak 1, and a true swap has about the similarity of two strangers in one scene. One pair of numbers an encoder,
and their mean over the independent encoders (those that did not train the model) as the headline. Source: definitions
of CASIA FaceSwapping (arXiv 2605.00883) and of MobileSwap's README (leak); the mean is ours. Crop: every encoder
crops by the TARGET's landmarks, for every system alike.
"""

from collections.abc import Sequence

import numpy as np

from evaluation.context import EncoderLike, PairContext, Pictures
from evaluation.metrics.base import Metric


def _cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.einsum("nd,nd->n", a.astype(np.float64), b.astype(np.float64))


def _mean_cosine(result: Pictures, other: Pictures, encoders: Sequence[EncoderLike]) -> np.ndarray:
    return np.mean([_cosine(result.embedding(e), other.embedding(e)) for e in encoders], axis=0)


def identity_similarity(encoders: Sequence[EncoderLike], suffix: str = "") -> Metric:
    """Mean cosine of result and source over `encoders`; "cosine", higher is better."""

    def compute(context: PairContext) -> np.ndarray:
        """(N,) cosine with the source, -1..1."""
        return _mean_cosine(context.result, context.source, encoders)

    about = f"Cosine between face embeddings of result and source ({_names(encoders)})."
    return Metric(f"identity_similarity{suffix}", f"Identity{_label(suffix)}", "cosine", "higher", compute, about)


def identity_leak(encoders: Sequence[EncoderLike], suffix: str = "") -> Metric:
    """Mean cosine of result and target over `encoders`; "cosine", lower is better."""

    def compute(context: PairContext) -> np.ndarray:
        """(N,) cosine with the target, -1..1."""
        return _mean_cosine(context.result, context.target, encoders)

    about = f"Cosine between face embeddings of result and target: the target's person left over ({_names(encoders)})."
    return Metric(f"identity_leak{suffix}", f"Target leak{_label(suffix)}", "cosine", "lower", compute, about)


def _names(encoders: Sequence[EncoderLike]) -> str:
    return ", ".join(e.name for e in encoders)


def _label(suffix: str) -> str:
    return f" · {suffix[1:]}" if suffix else ""
