"""Paired bootstrap: models that predict the same rows are compared row by row.

Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapters 13 and 16.
"""

from __future__ import annotations

import numpy as np

from tasks.evaluation.statistics import clusters
from tasks.records import Gain

RESAMPLES = 2000
#: Smaller probabilities are raised to this one, so that the log loss is finite.
FLOOR = 1e-7


def losses(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Each row's log loss, nats, float64[n], of int[n] and float[n, classes]."""
    return -np.log(np.maximum(probabilities[np.arange(len(labels)), labels].astype(np.float64), FLOOR))


def interval(values: np.ndarray, confidence: float, seed: int, groups: np.ndarray | None = None) -> tuple[float, float]:
    """Bootstrap interval of the mean of float[n]; `confidence` is one-sided, for each end. `groups`: see `clusters`."""
    drawn = clusters.counts(groups, len(values), RESAMPLES, seed)
    means = drawn @ clusters.sums(values, groups) / (drawn @ clusters.sums(np.ones(len(values)), groups))
    low, high = clusters.quantiles(means, confidence, drawn.shape[1])
    return float(low), float(high)


def student(values: np.ndarray, confidence: float, groups: np.ndarray | None = None) -> tuple[float, float]:
    """As `interval`, by Student's distribution: for a `confidence` that resamples are too few for."""
    from scipy.stats import t

    units = clusters.number(groups, len(values))
    parts = clusters.sums(values - values.mean(), groups)
    error = np.sqrt(units / max(units - 1, 1) * (parts**2).sum()) / len(values)
    reach = float(t.ppf(confidence, max(units - 1, 1)) * error)
    return float(values.mean()) - reach, float(values.mean()) + reach


#: One-sided, for each end, so that 95 % are inside.
CONFIDENCE = 0.975


def correct(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """1 for each row whose most probable class is its label, else 0: float64[n] of int[n] and float[n, classes]."""
    return (probabilities.argmax(axis=1) == labels).astype(np.float64)


def gain(ours: np.ndarray, theirs: np.ndarray, seed: int, groups: np.ndarray | None = None) -> Gain:
    """Mean of ours minus theirs, values of the same rows, float[n], with its 95 % interval."""
    return Gain(float((ours - theirs).mean()), *interval(ours - theirs, CONFIDENCE, seed, groups))
