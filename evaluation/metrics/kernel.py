"""`kernel_identity_features`: kernel distance between the identity embeddings of results and real targets.

The unbiased squared MMD with KID's kernel (x.y / D + 1)^3 of D numbers, over all pictures at once instead of random
subsets. Unbiased: unlike a Fréchet distance it may be read for few pairs. The features are OUR face encoder's, not
Inception's: it is NOT the KID and must not stand beside one. Range about 0 upwards (a little below 0 is possible),
lower is better, no unit; unit vectors make its scale small (thousandths). One number a set, not a pair. Source:
Binkowski et al. 2018 (arXiv 1801.01401).
"""

import numpy as np


def kernel_distance(a: np.ndarray, b: np.ndarray) -> float:
    """(N, D), (M, D) features -> unbiased squared MMD; NaN below two rows each."""
    if min(len(a), len(b)) < 2:
        return float("nan")
    x, y = a.astype(np.float64), b.astype(np.float64)
    return float(_within(x) + _within(y) - 2 * _kernel(x, y).mean())


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (x @ y.T / x.shape[1] + 1.0) ** 3


def _within(x: np.ndarray) -> float:
    """Mean kernel of different rows."""
    values = _kernel(x, x)
    return float((values.sum() - np.trace(values)) / (len(x) * (len(x) - 1)))
