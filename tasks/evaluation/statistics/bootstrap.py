"""Which of several models to ship: the cheapest that is not significantly worse than the best on validation rows.

The models answer for the same rows, so that differences are compared row by row: a paired bootstrap, Efron and
Tibshirani, An Introduction to the Bootstrap (1993), chapters 13 and 16.
"""

from __future__ import annotations

import numpy as np

RESAMPLES = 2000
#: Probabilities below are taken for this one, so that a log loss is finite.
FLOOR = 1e-7


def losses(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Each row's log loss, nats, float64[n], of int[n] and float[n, classes]."""
    return -np.log(np.maximum(probabilities[np.arange(len(labels)), labels].astype(np.float64), FLOOR))


def interval(values: np.ndarray, confidence: float, seed: int) -> tuple[float, float]:
    """Bootstrap percentile interval of the mean of float[n]; one-sided each way it has the chance `confidence`."""
    drawn = np.random.default_rng(seed).integers(0, len(values), (RESAMPLES, len(values)))
    low, high = np.quantile(values[drawn].mean(axis=1), [1 - confidence, confidence])
    return float(low), float(high)


def cheapest(each: list[np.ndarray], confidence: float, seed: int) -> tuple[int, list[tuple[float, float]]]:
    """Position of the model to take, of models in the order of their cost given as each row's loss, float[n].

    Also each model's loss above the best one's, as an interval: above 0 where it is significantly worse.
    """
    best = each[int(np.argmin([values.mean() for values in each]))]
    gaps = [interval(values - best, confidence, seed) for values in each]
    return next(at for at, (low, _) in enumerate(gaps) if low <= 0), gaps
