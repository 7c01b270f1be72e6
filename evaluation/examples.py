"""Which pairs a reader sees: the first ones of the list (the same in every report), and the best, median and worst.

Best, median and worst are by each of a few metrics, among the pairs that worked. The chosen pairs are swapped once
more, so that no pictures have to be kept beside the rows.
"""

from dataclasses import dataclass

import numpy as np

from evaluation.batch import JudgeContext, load_pair, load_truth, run_system
from evaluation.evaluation import Evaluation, Example, MetricInfo
from evaluation.grids import failed_picture
from evaluation.rows import column, in_order, system_rows

FIXED = 4
#: Metric -> how many best, median and worst pairs are shown; metrics that were not measured are passed over.
RANKED = {
    "identity_similarity": 2,
    **dict.fromkeys(
        ("identity_leak", "pose_degrees", "expression_mm", "gaze_degrees", "shape_mm", "light_distance", "skin_delta_e",
         "background_psnr_db", "seam", "truth_face_psnr_db", "truth_landmark_nme", "warp_error"), 1
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Choice:
    """A pair's position in the list, and why it is shown: "fixed", or "best", "median" or "worst" by a metric."""

    position: int
    why: str
    by: str = "identity_similarity"


def choose_pairs(evaluation: Evaluation, fixed: int = FIXED) -> list[Choice]:
    """The first pairs (`fixed`), then best, median and worst by every metric of RANKED that tells the pairs apart."""
    rows = in_order(system_rows(evaluation.rows, evaluation.name), evaluation.pairs.ids)
    chosen = [Choice(i, "fixed") for i in range(min(fixed, len(evaluation.pairs)))]
    for info in evaluation.metrics:
        if info.name in RANKED:
            score = column(rows, info.name) * (1 if info.direction == "lower" else -1)
            order = [int(i) for i in np.argsort(score, kind="stable") if np.isfinite(score[i])]
            if order and score[order[0]] < score[order[-1]]:
                chosen += [Choice(i, why, info.name) for i, why in _ends(order, RANKED[info.name])]
    return chosen


def _ends(order: list[int], count: int) -> list[tuple[int, str]]:
    """`count` first, middle and last of an order, none twice."""
    middle = len(order) // 2
    ends = (("best", order[:count]), ("median", order[middle : middle + count]), ("worst", order[-count:]))
    why = {i: name for name, some in reversed(ends) for i in some}
    return [(i, why[i]) for i in dict.fromkeys(i for _, some in ends for i in some)]


def pick_examples(evaluation: Evaluation, context: JudgeContext) -> tuple[Example, ...]:
    """Swap the chosen pairs again, each once, and keep their pictures."""
    chosen = choose_pairs(evaluation)
    pairs = evaluation.pairs
    places = {position: n for n, position in enumerate(dict.fromkeys(one.position for one in chosen))}
    chunk = tuple((pairs.source_keys[position], pairs.target_keys[position]) for position in places)
    source_keys, target_keys = zip(*chunk, strict=True)
    source_batch, target_batch, source, target = load_pair(source_keys, target_keys, context)
    truth = load_truth(chunk, context)
    swapper = context.systems[evaluation.name]
    images, reasons = run_system(evaluation.name, swapper, source_batch, target_batch, source, target, truth)
    rows = in_order(system_rows(evaluation.rows, evaluation.name), pairs.ids)
    infos = {info.name: info for info in evaluation.metrics}
    return tuple(
        Example(
            pair_id=pairs.ids[one.position],
            why=one.why,
            source=source.image[n],
            target=target.image[n],
            result=images[n] if not reasons[n] else failed_picture(images.shape[1]),
            truth=None if truth is None else truth.image[n],
            caption=_caption(infos[one.by], float(column(rows, one.by)[one.position])),
            by=one.by,
        )
        for one, n in ((one, places[one.position]) for one in chosen)
    )


def _caption(info: MetricInfo, value: float) -> str:
    if not np.isfinite(value):
        return "failed"
    return f"identity {value:+.2f}" if info.name == "identity_similarity" else f"{value * info.scale:.2f} {info.unit}"
