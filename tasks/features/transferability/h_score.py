"""H-score: how far apart the classes' mean features are, in units of the features' covariance.

Bao et al. 2019, https://ieeexplore.ieee.org/document/8803726. With the covariance shrunk as in Ibrahim et al. 2021,
https://arxiv.org/abs/2110.06893, it is also defined for fewer rows than features.
"""

import numpy as np


def score(features: np.ndarray, labels: np.ndarray) -> float:
    """trace(C⁻¹ (1 - a) B), 0 to the number of classes less 1.

    B is the covariance of the class means, C = (1 - a) S + a m I with S the covariance of all rows, m its mean
    variance and a the shrinkage of Ledoit and Wolf. In the basis of the singular vectors C is diagonal, and B needs no
    d x d matrix.
    """
    from sklearn.covariance import ledoit_wolf_shrinkage

    centred = features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)
    left, singular, _ = np.linalg.svd(centred, full_matrices=False)
    variances = singular**2 / len(labels)
    some = singular > singular[0] * max(centred.shape) * np.finfo(float).eps
    if not some.any():
        return 0.0
    shrinkage = ledoit_wolf_shrinkage(centred, assume_centered=True)
    mean = variances.sum() / centred.shape[1]
    between = variances * _spread(left, labels)
    shares = (1 - shrinkage) * between[some] / ((1 - shrinkage) * variances[some] + shrinkage * mean)
    return float(shares.sum())


def _spread(left: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """For each column of float[n, k], the sum over the classes of rows times squared mean: float[k]."""
    groups = [left[labels == label] for label in np.unique(labels)]
    return np.sum([len(group) * group.mean(axis=0) ** 2 for group in groups], axis=0)
