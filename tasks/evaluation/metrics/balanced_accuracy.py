"""Mean recall over the classes."""

import numpy as np

HIGHER_IS_BETTER = True


def score(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """0 to 1, higher is better; each class counts the same, however rare.

    scikit-learn's `balanced_accuracy_score`, at least 70 times as fast: an interval needs a thousand scores.
    """
    right = probabilities.argmax(axis=1) == labels
    rows = np.bincount(labels)
    present = rows > 0
    return float((np.bincount(labels, right)[present] / rows[present]).mean())
