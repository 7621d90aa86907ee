"""Expected calibration error: how far confidence and accuracy are apart.

Guo et al. 2017, On Calibration of Modern Neural Networks, https://arxiv.org/abs/1706.04599, with 15 equal bins.
"""

import numpy as np

BINS = 15
HIGHER_IS_BETTER = False


def score(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """0 to 1, lower is better."""
    counts, confidence, accuracy = bins(labels, probabilities)
    return float((counts * np.abs(confidence - accuracy)).sum() / counts.sum())


def bins(labels: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, mean confidence and accuracy in each of the bins of confidence, each float[15]; 0 if a bin is empty."""
    confidence = probabilities.max(axis=1)
    right = (probabilities.argmax(axis=1) == labels).astype(float)
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    counts = np.bincount(place, minlength=BINS).astype(float)
    safe = np.maximum(counts, 1)
    return counts, np.bincount(place, confidence, BINS) / safe, np.bincount(place, right, BINS) / safe
