"""Stability of the person over a clip: `temporal_identity_local` and `temporal_identity_global`.

Mean cosine of the embeddings of neighbouring frames (local), and of a frame with every other frame of its clip
(global), each divided by the same of the target's own frames: 1 is as stable as the footage. Range about 0..1.2 (a
ratio, no unit), higher is better; a little above 1 is possible, since a swap may look more alike from frame to frame
than its target. Source: TL-ID and TG-ID of Tzaban et al. 2022 (Stitch it in Time); they divide means, we divide frame
by frame, so that every pair has its figure. Encoder: the first that did not train the model.
"""

import numpy as np

from evaluation.context import EncoderLike, PairContext
from evaluation.frames import clips, of_steps, steps
from evaluation.metrics.base import Metric

#: Below this the target's own frames are strangers to each other and a ratio says nothing.
LEAST = 0.05


def _ratio(result: np.ndarray, target: np.ndarray) -> np.ndarray:
    return np.where(target > LEAST, result / np.maximum(target, LEAST), np.nan)


def temporal_identity(encoder: EncoderLike) -> tuple[Metric, Metric]:
    """Both metrics by one encoder."""

    def local(context: PairContext) -> np.ndarray:
        """(N,) ratio of the cosines with the next frame; the last frame of a clip has that with its previous one."""
        here, there = steps(context.target_keys, context.ok)
        cosines = [
            (vectors[here] * vectors[there]).sum(axis=1)
            for vectors in (context.result.embedding(encoder), context.target.embedding(encoder))
        ]
        return of_steps(_ratio(cosines[0], cosines[1]), context.target_keys, context.ok)

    def everywhere(context: PairContext) -> np.ndarray:
        """(N,) ratio of the mean cosines with all other frames of the clip; NaN for a clip of one."""
        values = np.full(len(context), np.nan)
        for rows in (rows for rows in clips(context.target_keys, context.ok) if len(rows) > 1):
            means = [
                (vectors[rows] @ vectors[rows].T).sum(axis=1) - (vectors[rows] ** 2).sum(axis=1)
                for vectors in (context.result.embedding(encoder), context.target.embedding(encoder))
            ]
            others = len(rows) - 1
            values[rows] = _ratio(means[0] / others, means[1] / others)
        return values

    about = "of a clip look alike as one person, over the same of the target's frames ({}).".format
    return (
        Metric("temporal_identity_local", "Identity, frame to frame", "ratio", "higher", local,
               f"How much neighbouring frames {about(encoder.name)}"),
        Metric("temporal_identity_global", "Identity, whole clip", "ratio", "higher", everywhere,
               f"How much all frames {about(encoder.name)}"),
    )  # fmt: skip
