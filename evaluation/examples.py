"""Which pairs a reader sees: the first ones of the list (the same in every report), and the best, median and worst.

"Best" is by headline identity similarity among the pairs that worked. The chosen pairs are swapped once more, so that
no pictures have to be kept beside the rows.
"""

import numpy as np

from evaluation.batch import JudgeContext, load_pair, load_truth, run_system
from evaluation.evaluation import Evaluation, Example
from evaluation.grids import failed_picture
from evaluation.rows import column, in_order, system_rows

FIXED = 4
RANKED_BY = "identity_similarity"


def choose_pairs(evaluation: Evaluation, fixed: int = FIXED) -> list[tuple[int, str]]:
    """Positions in the list and why: the first ones (`fixed`), then two best, two median and two worst."""
    rows = in_order(system_rows(evaluation.rows, evaluation.name), evaluation.pairs.ids)
    score = column(rows, RANKED_BY)
    order = [int(i) for i in np.argsort(-score, kind="stable") if np.isfinite(score[i])]
    middle = len(order) // 2
    chosen = [(i, "fixed") for i in range(min(fixed, len(evaluation.pairs)))]
    taken: set[int] = set()
    for why, some in (("best", order[:2]), ("median", order[middle : middle + 2]), ("worst", order[-2:])):
        fresh = [i for i in some if i not in taken]
        taken.update(fresh)
        chosen += [(i, why) for i in fresh]
    return chosen


def pick_examples(evaluation: Evaluation, context: JudgeContext) -> tuple[Example, ...]:
    """Swap the chosen pairs again and keep their pictures."""
    chosen = choose_pairs(evaluation)
    pairs = evaluation.pairs
    chunk = tuple((pairs.source_keys[i], pairs.target_keys[i]) for i, _ in chosen)
    source_keys, target_keys = zip(*chunk, strict=True)
    source_batch, target_batch, source, target = load_pair(source_keys, target_keys, context)
    truth = load_truth(chunk, context)
    swapper = context.systems[evaluation.name]
    images, reasons = run_system(evaluation.name, swapper, source_batch, target_batch, source, target, truth)
    rows = in_order(system_rows(evaluation.rows, evaluation.name), pairs.ids)
    score = column(rows, RANKED_BY)
    return tuple(
        Example(
            pair_id=pairs.ids[i],
            why=why,
            source=source.image[n],
            target=target.image[n],
            result=images[n] if not reasons[n] else failed_picture(images.shape[1]),
            truth=None if truth is None else truth.image[n],
            caption=f"identity {score[i]:+.2f}" if np.isfinite(score[i]) else "failed",
        )
        for n, (i, why) in enumerate(chosen)
    )
