"""Mean over the classes of the harmonic mean of precision and recall."""

import numpy as np

from tasks.evaluation.statistics import proportions
from tasks.evaluation.statistics.proportions import Estimate

HIGHER_IS_BETTER = True


def score(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """0 to 1, higher is better; a class that is never predicted counts 0.

    scikit-learn's `f1_score`, macro averaged over the classes that occur or are predicted, at least 200 times as
    fast: a bootstrap needs thousands of scores.
    """
    classes, predicted = probabilities.shape[1], probabilities.argmax(axis=1)
    right = np.bincount(labels[predicted == labels], minlength=classes)
    either = np.bincount(labels, minlength=classes) + np.bincount(predicted, minlength=classes)
    present = either > 0
    return float((2 * right[present] / either[present]).mean())


def interval(
    labels: np.ndarray, probabilities: np.ndarray, groups: np.ndarray | None, level: float, seed: int
) -> tuple[float, float]:
    """From an interval of each class' F1; a class that neither occurs nor is predicted may have any."""
    said = probabilities.argmax(axis=1)
    return proportions.mean(
        [_f1(labels == one, said == one, groups, level) for one in range(probabilities.shape[1])], groups
    )


def _f1(own: np.ndarray, said: np.ndarray, groups: np.ndarray | None, level: float) -> Estimate:
    """F1 = 2J / (1 + J) grows with J, the share of rows of both kinds among rows of either, which is a proportion."""
    found = proportions.share((own & said).astype(np.float64), own | said, groups, level)
    value, low, high = (2 * end / (1 + end) for end in (found.value, found.low, found.high))
    return Estimate(value, low, high, found.influence)
