"""LogME: log evidence per row of a Bayesian linear regression from the features to each class.

You et al. 2021, https://arxiv.org/abs/2102.11005; the fixed point in the ratio of the two precisions is that of You et
al. 2021b, https://arxiv.org/abs/2110.10545.
"""

import numpy as np

ITERATIONS, TOLERANCE = 200, 1e-6
#: The ratio of the precisions stays within these multiples of the features' largest squared singular value.
LOWEST, HIGHEST = 1e-12, 1e12


def score(features: np.ndarray, labels: np.ndarray) -> float:
    """Mean over the classes of the largest log evidence per row, nats; may be above 0, as for densities."""
    values = features.astype(np.float64)
    left, singular, _ = np.linalg.svd(values, full_matrices=False)
    some = singular > singular[0] * max(values.shape) * np.finfo(float).eps
    left, squares = left[:, some], singular[some] ** 2
    targets = (labels == np.unique(labels)[:, None]).astype(np.float64)
    return float(np.mean([_evidence(squares, left.T @ target, target) for target in targets])) / len(labels)


def _evidence(squares: np.ndarray, projected: np.ndarray, target: np.ndarray) -> float:
    """Largest log evidence of target = features · w + noise over the precisions of w and of the noise.

    `squares`: squared singular values of the features, float[k]; `projected`: the target, float[n], on their left
    singular vectors. The ratio of the precisions is a fixed point; given it, that of the noise has a closed form.
    """
    rows, energy = len(target), projected**2
    rest = max(float(target @ target - energy.sum()), 0.0)
    ratio = _ratio(squares, energy, rest, rows)
    kept = ratio / (ratio + squares)
    error = rest + float((energy * kept).sum())
    return float(np.log(kept).sum() - rows * (np.log(2 * np.pi * error / rows) + 1)) / 2


def _ratio(squares: np.ndarray, energy: np.ndarray, rest: float, rows: int) -> float:
    """Precision of the weights over that of the noise, at which the evidence is largest."""
    largest = float(squares.max(initial=1e-300))
    ratio = largest * 1e-3
    for _ in range(ITERATIONS):
        kept = ratio / (ratio + squares)
        known = len(squares) - kept.sum()
        size = (squares * energy / (ratio + squares) ** 2).sum()
        residual = rest + (kept**2 * energy).sum()
        wanted = known * residual / ((rows - known) * size) if size > 0 and rows > known else HIGHEST * largest
        last, ratio = ratio, float(np.clip(wanted, LOWEST * largest, HIGHEST * largest))
        if abs(ratio - last) <= TOLERANCE * last:
            break
    return ratio
