"""Retrieval: is the source's person among the k nearest faces of the gallery? 1 or 0 a pair; the mean is a rate.

Range 0..1 (shown in per cent), higher is better. The gallery holds EVERY face of the pair list, sources and targets,
the pair's own target included, so a result that still looks like its target is caught (ours: published evaluations
rank the sources alone and saturate at 97-99 %). A picture whose face could not be found is left out. A hit is any
picture of the source's person; where persons are unknown, the source picture itself. Ties are ranked against the
result. Source: FaceShifter and followers, with CASIA's nearest-face form.
"""

import numpy as np

from evaluation.context import EncoderLike, PairContext
from evaluation.metrics.base import Metric


def source_rank(context: PairContext, encoder: EncoderLike) -> np.ndarray:
    """(N,) float: gallery faces of other persons that are at least as near as the source's person."""
    gallery = context.gallery
    scores = context.result.embedding(encoder) @ gallery.embeddings[encoder.name].T
    source = gallery.rows_of(context.source_keys)
    known = gallery.person[source] >= 0
    hit = gallery.person[None] == gallery.person[source][:, None]
    hit = np.where(known[:, None], hit, np.arange(len(gallery.keys))[None] == source[:, None])
    there = np.ones(len(gallery.keys), bool) if gallery.there is None else gallery.there
    best = np.where(hit & there, scores, -np.inf).max(axis=1)
    return ((scores >= best[:, None]) & ~hit & there).sum(axis=1).astype(np.float64)


def retrieval(encoder: EncoderLike, k: int, suffix: str = "") -> Metric:
    """Whether the source's person ranks among the first k; higher is better."""

    def compute(context: PairContext) -> np.ndarray:
        """(N,) bool as float; NaN where the result has no embedding."""
        broken = ~np.isfinite(context.result.embedding(encoder)).all(axis=1)
        return np.where(broken, np.nan, source_rank(context, encoder) < k)

    about = f"Share of results whose source person is among the {k} nearest of all faces of the list ({encoder.name})."
    name, title = f"retrieval_top{k}{suffix}", f"Retrieval top-{k}" + (f" · {suffix[1:]}" if suffix else "")
    return Metric(name, title, "%", "higher", compute, about, scale=100.0)
