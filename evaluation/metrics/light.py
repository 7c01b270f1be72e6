"""Light error: relative L2 distance between the fitted second-order light of the result and of the target.

|gamma_result - gamma_target| / |gamma_target| over all 27 coefficients, after each light is divided by its own mean DC
term, so that a change of overall brightness or skin tone (which a picture cannot tell apart) does not count. Range 0
upwards, lower is better, a ratio of no unit. Source: ours (in metrics of the field: L2 of 27 gamma with DC removed).
"""

import numpy as np

from evaluation.context import PairContext
from evaluation.metrics.base import Metric


def normalised_light(light: np.ndarray) -> np.ndarray:
    """(N, 27) channel-major -> (N, 27) divided by the mean of the three DC terms."""
    mean_dc = light.reshape(-1, 3, 9)[:, :, 0].mean(axis=1)
    return light / np.where(np.abs(mean_dc) > 1e-6, mean_dc, np.nan)[:, None]


def compute(context: PairContext) -> np.ndarray:
    """(N,) relative distance."""
    measured = context.measured
    assert measured is not None, "needs_fit metrics are only computed where there is a fit"
    result, target = (
        normalised_light(measured.head.layout.take(v, "light").astype(np.float64))
        for v in (measured.result, measured.target)
    )
    return np.linalg.norm(result - target, axis=1) / np.linalg.norm(target, axis=1)


METRIC = Metric(
    "light_distance", "Light error", "", "lower", compute,
    "Relative distance between the fitted light of result and target, overall brightness left out.", needs_fit=True,
)  # fmt: skip
