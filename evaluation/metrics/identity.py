"""Identity similarity: cosine between face embeddings of result and source, of result and target, of result and truth.

Range -1..1. Towards the source higher is better; towards the target (the leak) lower is better: a copy of the target
has leak 1, and a true swap has about the similarity of two strangers in one scene. One pair of numbers an encoder,
and their mean over the independent encoders (those that did not train the model) as the headline. Source: definitions
of CASIA FaceSwapping (arXiv 2605.00883) and of MobileSwap's README (leak); the mean is ours. Crop: every encoder
crops by the TARGET's landmarks, for every system alike.

Towards the source a perfect swap is far from 1, since light, hair and pose stay the target's, and a picture painted for
encoders can pass it. Towards the true swap 1 is a perfect swap and nothing passes it (ours, as true swaps are).
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


def truth_identity(encoders: Sequence[EncoderLike], suffix: str = "") -> Metric:
    """Mean cosine of result and true swap over `encoders`; "cosine", higher is better, 1 for the true swap itself."""

    def compute(context: PairContext) -> np.ndarray:
        """(N,) cosine with the true swap, -1..1."""
        truth = context.truth
        assert truth is not None, "needs_truth metrics are only computed where there is a true swap"
        both = [(context.result.embedding(encoder), _cropped_alike(truth, context, encoder)) for encoder in encoders]
        return np.mean([_cosine(found, true) for found, true in both], axis=0)

    about = f"Cosine between face embeddings of result and true swap ({_names(encoders)}); 1 is a perfect swap."
    title = f"Identity to the truth{_label(suffix)}"
    return Metric(f"truth_identity{suffix}", title, "cosine", "higher", compute, about, needs_truth=True)


def _cropped_alike(truth: Pictures, context: PairContext, encoder: EncoderLike) -> np.ndarray:
    """(N, dim) embeddings of the true swaps by the landmarks that crop every result, once for all systems."""
    name = f"embedding by target.{encoder.name}"
    known = truth.recall(name)
    if known is None:
        known = np.asarray(encoder.embed(truth.image, context.target.landmarks_px), np.float32)
        truth.remember(name, known)
    return np.asarray(known)


def _names(encoders: Sequence[EncoderLike]) -> str:
    return ", ".join(e.name for e in encoders)


def _label(suffix: str) -> str:
    return f" · {suffix[1:]}" if suffix else ""
