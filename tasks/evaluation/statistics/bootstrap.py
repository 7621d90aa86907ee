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
#: No log loss, and no difference of two, is larger.
MOST = float(-np.log(FLOOR))


def losses(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Each row's log loss, nats, float64[n], of int[n] and float[n, classes]."""
    return -np.log(np.maximum(probabilities[np.arange(len(labels)), labels].astype(np.float64), FLOOR))


def interval(values: np.ndarray, confidence: float, seed: int, groups: np.ndarray | None = None) -> tuple[float, float]:
    """Bootstrap interval of the mean of float[n]; `confidence` is one-sided, for each end. `groups`: see `clusters`.

    Values are losses or their differences, so the interval of one row, or of one group, ends at `MOST`.
    """
    drawn = clusters.counts(groups, len(values), RESAMPLES, seed)
    means = drawn @ clusters.sums(values, groups) / (drawn @ clusters.sums(np.ones(len(values)), groups))
    low, high = clusters.quantiles(means, confidence, clusters.told(values, groups))
    return _ends(float(low), float(high))


def student(values: np.ndarray, confidence: float, groups: np.ndarray | None = None) -> tuple[float, float]:
    """As `interval`, by Student's distribution: for a `confidence` that resamples are too few for."""
    middle, told = float(values.mean()), clusters.told(values, groups)
    if not told.freedom:
        return -MOST, MOST
    error = float(np.sqrt(told.inflation * (clusters.sums(values - middle, groups) ** 2).sum())) / len(values)
    reach = told.reach(2 * (1 - confidence)) * error
    return _ends(middle - reach, middle + reach)


def _ends(low: float, high: float) -> tuple[float, float]:
    return max(low, -MOST), min(high, MOST)


#: One-sided, for each end, so that 95 % are inside.
CONFIDENCE = 0.975


def correct(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """1 for each row whose most probable class is its label, else 0: float64[n] of int[n] and float[n, classes]."""
    return (probabilities.argmax(axis=1) == labels).astype(np.float64)


def gain(ours: np.ndarray, theirs: np.ndarray, seed: int, groups: np.ndarray | None = None) -> Gain:
    """Mean of ours minus theirs, values of the same rows, float[n], with its 95 % interval."""
    return Gain(float((ours - theirs).mean()), *interval(ours - theirs, CONFIDENCE, seed, groups))
