"""What one model gains over another on the same rows: paired bootstrap intervals, as in `choice`."""

from __future__ import annotations

import numpy as np

from tasks.evaluation.statistics import bootstrap
from tasks.records import Gain

#: One-sided each way, so that 95 % lie inside.
CONFIDENCE = 0.975


def correct(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """1 for each row whose most probable class is its label, else 0: float64[n] of int[n] and float[n, classes]."""
    return (probabilities.argmax(axis=1) == labels).astype(np.float64)


def gain(ours: np.ndarray, theirs: np.ndarray, seed: int) -> Gain:
    """Mean of ours above theirs, values of the same rows, float[n], with its 95 % interval."""
    return Gain(float((ours - theirs).mean()), *bootstrap.interval(ours - theirs, CONFIDENCE, seed))
