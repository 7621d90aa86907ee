"""Mean over the classes of the harmonic mean of precision and recall."""

import numpy as np

from tasks.evaluation.statistics import class_means

HIGHER_IS_BETTER = True
F1 = class_means.Curve(lambda share: 2 * share / (1 + share), lambda share: 2 / (1 + share) ** 2)


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
    """A score interval of the macro F1 of very many rows; a class that neither occurs nor is predicted may have any F1.

    In few rows of many classes the score is too low: F1 = 2J / (1 + J) bends down, where J is the share of rows of both
    kinds among rows of either. The interval counts that, and so may lie mostly above the score.
    """
    said, every = probabilities.argmax(axis=1), np.arange(len(labels))
    wrong = said != labels
    counted = class_means.Counted(
        probabilities.shape[1],
        np.r_[labels, said[wrong]],
        np.r_[every, every[wrong]],
        np.r_[~wrong, np.zeros(wrong.sum(), bool)].astype(np.float64),
        len(labels),
        sides=2,
    )
    return class_means.interval(counted, groups, level, F1)
