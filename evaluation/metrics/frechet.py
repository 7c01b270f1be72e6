"""`frechet_identity_features`: Fréchet distance between the identity embeddings of results and real targets.

|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)) with population means and sample covariances. The features are OUR face
encoder's, not Inception's: it is NOT the FID, must not stand beside one, and is strongly biased for few pairs (compare
equal N only). Range 0 upwards, lower is better, no unit. The mean of unit vectors makes its scale small (0..2). One
number a set, not a pair. Source: Dowson and Landau 1982; the arithmetic of Heusel et al. 2017.
"""

import numpy as np


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """(N, D), (M, D) features -> squared Fréchet distance of the Gaussians fitted to them; NaN below two rows each."""
    if min(len(a), len(b)) < 2:
        return float("nan")
    x, y = a.astype(np.float64), b.astype(np.float64)
    if min(len(a), len(b)) < a.shape[1]:
        return _few_rows(x, y)
    cov_x, cov_y = np.atleast_2d(np.cov(x, rowvar=False)), np.atleast_2d(np.cov(y, rowvar=False))
    apart = ((x.mean(axis=0) - y.mean(axis=0)) ** 2).sum()
    root_x = _symmetric_root(cov_x)
    cross = np.linalg.eigvalsh(root_x @ cov_y @ root_x)
    distance = apart + np.trace(cov_x) + np.trace(cov_y) - 2 * np.sqrt(np.maximum(cross, 0)).sum()
    return max(float(distance), 0.0)  # rounding alone can take it below


def _few_rows(x: np.ndarray, y: np.ndarray) -> float:
    """The same for fewer rows than features, without their large matrices.

    With centred rows X and Y, tr((C1 C2)^(1/2)) is the sum of the singular values of X Y' over sqrt((n - 1)(m - 1)):
    the eigenvalues of C1 C2 other than 0 are those of (X Y')(X Y')' up to that factor.
    """
    apart = ((x.mean(axis=0) - y.mean(axis=0)) ** 2).sum()
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    n, m = len(x) - 1, len(y) - 1
    cross = np.linalg.svd(x @ y.T, compute_uv=False).sum() / np.sqrt(n * m)
    return max(float(apart + (x**2).sum() / n + (y**2).sum() / m - 2 * cross), 0.0)


def _symmetric_root(matrix: np.ndarray) -> np.ndarray:
    """Square root of a positive semi-definite matrix: tr((C1 C2)^1/2) = tr((C1^1/2 C2 C1^1/2)^1/2), all symmetric."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
