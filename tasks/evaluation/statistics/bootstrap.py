"""Paired bootstrap: models that predict the same rows are compared row by row.

Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapters 13 and 16.
"""

from __future__ import annotations

import numpy as np

from tasks.records import Gain

RESAMPLES = 2000
#: Smaller probabilities are raised to this one, so that the log loss is finite.
FLOOR = 1e-7


def losses(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Each row's log loss, nats, float64[n], of int[n] and float[n, classes]."""
    return -np.log(np.maximum(probabilities[np.arange(len(labels)), labels].astype(np.float64), FLOOR))


def interval(values: np.ndarray, confidence: float, seed: int) -> tuple[float, float]:
    """Bootstrap percentile interval of the mean of float[n]; `confidence` is one-sided, for each end."""
    drawn = np.random.default_rng(seed).integers(0, len(values), (RESAMPLES, len(values)))
    low, high = np.quantile(values[drawn].mean(axis=1), [1 - confidence, confidence])
    return float(low), float(high)


#: One-sided, for each end, so that 95 % are inside.
CONFIDENCE = 0.975


def correct(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """1 for each row whose most probable class is its label, else 0: float64[n] of int[n] and float[n, classes]."""
    return (probabilities.argmax(axis=1) == labels).astype(np.float64)


def gain(ours: np.ndarray, theirs: np.ndarray, seed: int) -> Gain:
    """Mean of ours minus theirs, values of the same rows, float[n], with its 95 % interval."""
    return Gain(float((ours - theirs).mean()), *interval(ours - theirs, CONFIDENCE, seed))
