"""Expected calibration error: how far confidence and accuracy are apart, without what chance adds to it.

Guo et al. 2017, On Calibration of Modern Neural Networks, https://arxiv.org/abs/1706.04599, with 15 equal bins. In few
rows, a network that is calibrated perfectly has a gap in each bin too: Kumar, Liang and Ma 2019,
https://arxiv.org/abs/1909.10155, subtract what the noise in the bins adds. Here the gaps are taken to be those seen,
times a number at which they are, with noise, as large as those seen; 0 where noise alone explains them. In simulations
it has less bias than subtracting the noise around the gaps as seen, which have noise in them already.
"""

from collections.abc import Callable

import numpy as np

from tasks.evaluation.statistics import bootstrap, clusters, proportions

BINS = 15
HIGHER_IS_BETTER = False
DRAWS, HALVINGS = 1000, 24


def score(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """0 to 1, lower is better."""
    from scipy.stats import norm

    gaps, noise, _ = _gaps(labels, probabilities, None)

    def expected(times: float) -> float:
        """The mean of the sum of normal variables' absolute values."""
        mean = times * np.abs(gaps)
        spread = noise * np.sqrt(2 / np.pi) * np.exp(-((mean / noise) ** 2) / 2)
        return float((spread + mean * (1 - 2 * norm.cdf(-mean / noise))).sum())

    return _multiple(expected, gaps)


def interval(
    labels: np.ndarray, probabilities: np.ndarray, groups: np.ndarray | None, level: float, seed: int
) -> tuple[float, float]:
    """The multiples of the gaps under which as large, or as small, a sum as that seen is not rarer than level / 2.

    The upper end also counts misses that few rows do not show: see `_unseen`.
    """
    gaps, noise, alike = _gaps(labels, probabilities, groups)
    random = np.random.default_rng(seed)
    right = bootstrap.correct(labels, probabilities)
    times = clusters.reach(level, right, groups) / clusters.reach(level, right, None)
    if not np.isfinite(times):
        return 0.0, 1.0
    noise = noise * times
    drawn = random.multivariate_normal(
        np.zeros(len(gaps)), alike * np.outer(noise, noise), DRAWS, check_valid="ignore", method="eigh"
    )

    def end(share: float) -> float:
        return _multiple(lambda times: float(np.quantile(np.abs(times * gaps + drawn).sum(axis=1), share)), gaps)

    low, high = end(1 - level / 2), end(level / 2)
    middle = score(labels, probabilities)
    hidden = _unseen(labels, probabilities, groups, level, np.maximum(alike, 0))
    return min(low, middle), min(max(high, middle + hidden), 1.0)


def bins(labels: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, mean confidence and accuracy in each of the bins of confidence, each float[15]; 0 if a bin is empty."""
    confidence, right, place = _placed(labels, probabilities)
    counts = np.bincount(place, minlength=BINS).astype(float)
    safe = np.maximum(counts, 1)
    return counts, np.bincount(place, confidence, BINS) / safe, np.bincount(place, right, BINS) / safe


def _placed(labels: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Confidence, float[n], whether it is right, float[n], and the number of its bin, int[n]."""
    confidence = probabilities.max(axis=1)
    right = (probabilities.argmax(axis=1) == labels).astype(float)
    return confidence, right, np.minimum((confidence * BINS).astype(int), BINS - 1)


def _gaps(
    labels: np.ndarray, probabilities: np.ndarray, groups: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each filled bin's share of the error, with its sign, its standard error, and the correlations.

    A standard error is at least that of calibrated confidences: a few rows that are all right seem to have none.
    """
    confidence, right, place = _placed(labels, probabilities)
    inside = place[:, None] == np.unique(place)
    counts = inside.sum(axis=0)
    gaps = (right - confidence) @ inside / len(labels)
    influence = ((right - confidence)[:, None] - gaps * len(labels) / counts) * inside / len(labels)
    seen = (influence**2).sum(axis=0) * counts / np.maximum(counts - 1, 1)
    calibrated = (confidence * (1 - confidence)) @ inside / len(labels) ** 2
    effect = np.array([clusters.design_effect(each, groups) for each in influence.T])
    sums = clusters.sums(influence, groups)
    size = np.sqrt((sums**2).sum(axis=0))
    unit = sums / np.where(size > 0, size, 1)
    alike = unit.T @ unit
    np.fill_diagonal(alike, 1.0)
    return gaps, np.sqrt(np.maximum(np.maximum(seen, calibrated) * effect, 1e-18)), alike


def _unseen(
    labels: np.ndarray, probabilities: np.ndarray, groups: np.ndarray | None, level: float, alike: np.ndarray
) -> float:
    """How much larger than it seems the error may be: five sure answers that are all right may be wrong half the time.

    The exact intervals of the bins' accuracies say so, whatever the confidence. Together by MOVER, as in
    `proportions.mean`.
    """
    _, right, place = _placed(labels, probabilities)
    reach = []
    for inside in place == np.unique(place)[:, None]:
        low, high = proportions.exact(right[inside], None if groups is None else groups[inside], level)
        accuracy = right[inside].mean()
        reach.append(inside.mean() * max(accuracy - low, high - accuracy))
    return float(np.sqrt(np.array(reach) @ alike @ np.array(reach)))


def _multiple(grown: Callable[[float], float], gaps: np.ndarray) -> float:
    """The sum of the gaps, multiplied so that `grown` of the multiple is the sum seen; 0 if it is larger even at 0."""
    seen = float(np.abs(gaps).sum())
    if grown(0.0) >= seen:
        return 0.0
    low, high = 0.0, 1.0
    while grown(high) < seen and high * seen < 1:
        low, high = high, 2 * high
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if grown(middle) < seen else (low, middle)
    return min(high * seen, 1.0)
