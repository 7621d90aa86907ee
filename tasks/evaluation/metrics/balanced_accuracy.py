"""Mean recall over the classes."""

import numpy as np

from tasks.evaluation.statistics import bootstrap, proportions

HIGHER_IS_BETTER = True


def score(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """0 to 1, higher is better; each class counts the same, however rare.

    scikit-learn's `balanced_accuracy_score`, at least 70 times as fast: a bootstrap needs thousands of scores.
    """
    right = probabilities.argmax(axis=1) == labels
    rows = np.bincount(labels)
    present = rows > 0
    return float((np.bincount(labels, right)[present] / rows[present]).mean())


def interval(
    labels: np.ndarray, probabilities: np.ndarray, groups: np.ndarray | None, level: float, seed: int
) -> tuple[float, float]:
    """From Wilson's intervals of the recalls; a class without a row may have any recall."""
    right = bootstrap.correct(labels, probabilities)
    recalls = [proportions.share(right, labels == one, groups, level) for one in range(probabilities.shape[1])]
    return proportions.mean(recalls, groups)
