"""The judge's metrics: one file each, and the list of those that a run can compute.

METRIC_VERSION is part of every row's key: raise it when any definition changes, and old rows are no longer reused.
LPIPS, VGG-16, FID and KID need network weights that may not be shipped: they are there when the user has the files
(evaluation/networks.py), and nothing stands in under their names when not.
"""

from collections.abc import Sequence

from evaluation.context import EncoderLike
from evaluation.metrics import (
    background,
    expression,
    gaze,
    landmark_jitter,
    light,
    pose,
    seam,
    shape,
    skin,
    temporal_difference,
    truth_colour,
    truth_landmarks,
    truth_psnr,
    truth_ssim,
    warp_error,
)
from evaluation.metrics.base import Metric
from evaluation.metrics.identity import identity_leak, identity_similarity, truth_identity
from evaluation.metrics.lpips import lpips_metrics
from evaluation.metrics.retrieval import retrieval
from evaluation.metrics.temporal_identity import temporal_identity
from evaluation.metrics.truth_vgg import vgg_metric
from evaluation.networks import NONE, JudgeNetworks

METRIC_VERSION = 6

PLAIN_METRICS: tuple[Metric, ...] = (
    pose.METRIC,
    expression.METRIC,
    gaze.METRIC,
    shape.METRIC,
    light.METRIC,
    skin.METRIC,
    background.METRIC,
    seam.METRIC,
    truth_psnr.METRIC,
    truth_psnr.FACE_METRIC,
    truth_ssim.METRIC,
    truth_ssim.FACE_METRIC,
    truth_colour.METRIC,
    truth_landmarks.METRIC,
)
#: Of clips whose frames follow each other.
METRICS_IN_TIME: tuple[Metric, ...] = (warp_error.METRIC, temporal_difference.METRIC, landmark_jitter.METRIC)


def independent(encoders: Sequence[EncoderLike], trained_with: tuple[str, ...]) -> list[EncoderLike]:
    """The encoders that may judge: all but those (by digest or name) that trained the model; all if none is left."""
    others = [e for e in encoders if not has_trained(e, trained_with)]
    return others or list(encoders)


def has_trained(encoder: EncoderLike, trained_with: tuple[str, ...]) -> bool:
    """Whether names and digests of what trained a model name this encoder; a renamed file is known by its digest."""
    return bool({encoder.name, encoder.digest} & set(trained_with))


def build_metrics(
    encoders: Sequence[EncoderLike], *, has_truth: bool, has_fit: bool, trained_with: tuple[str, ...] = (),
    networks: JudgeNetworks | None = None, in_time: bool = False,
) -> list[Metric]:  # fmt: skip
    """The metrics that these encoders, truth, fit and networks allow, headline first; `in_time` for clips.

    Headline identity figures use the independent encoders; with more than one encoder each also gets its own columns.
    """
    judges = independent(encoders, trained_with)
    metrics = [identity_similarity(judges), identity_leak(judges), retrieval(judges[0], 1), retrieval(judges[0], 5)]
    plain = [truth_identity(judges), *PLAIN_METRICS, *network_metrics(networks or NONE)]
    plain += [*METRICS_IN_TIME, *temporal_identity(judges[0])] if in_time else []
    metrics += [m for m in plain if (has_truth or not m.needs_truth) and (has_fit or not m.needs_fit)]
    if len(encoders) > 1:
        for encoder in encoders:
            suffix = f".{encoder.name}"
            metrics += [identity_similarity([encoder], suffix), identity_leak([encoder], suffix)]
            metrics += [retrieval(encoder, k, suffix) for k in (1, 5)]
            metrics += [truth_identity([encoder], suffix)] if has_truth else []
    return metrics


def network_metrics(networks: JudgeNetworks) -> list[Metric]:
    """The pairs' metrics that these networks give."""
    found: list[Metric] = []
    for files in networks.found:
        if files.name.startswith("lpips-"):
            found += lpips_metrics(files)
        elif files.name == "vgg16":
            found.append(vgg_metric(files))
    return found
