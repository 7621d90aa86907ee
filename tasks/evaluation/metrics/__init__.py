"""Metrics of predicted probabilities.

A metric has `score(labels, probabilities) -> float` with labels int[n] and probabilities float[n, classes]; every class
must occur among the labels. `HIGHER_IS_BETTER` is its direction.
"""

import numpy as np

from tasks.runtime import plugins


def evaluate(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Every metric by name."""
    return {name: float(plugins.entry("metrics", name)(labels, probabilities)) for name in plugins.names("metrics")}


def intervals(
    labels: np.ndarray,
    probabilities: np.ndarray,
    seed: int,
    groups: np.ndarray | None = None,
    resamples: int = 1000,
) -> dict[str, tuple[float, float]]:
    """95 % bootstrap percentile intervals of every metric.

    Rows are drawn with replacement within each class (stratified), so that every metric is defined on every resample.
    Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
    """
    random = np.random.default_rng(seed)
    by_class = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    drawn: dict[str, list[float]] = {name: [] for name in plugins.names("metrics")}
    for _ in range(resamples):
        rows = np.concatenate([random.choice(group, len(group)) for group in by_class])
        for name, value in evaluate(labels[rows], probabilities[rows]).items():
            drawn[name].append(value)
    bounds = {name: np.percentile(values, [2.5, 97.5]) for name, values in drawn.items()}
    return {name: (float(low), float(high)) for name, (low, high) in bounds.items()}
