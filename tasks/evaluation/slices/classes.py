"""Scores of a model on each class."""

import numpy as np

from tasks.records import ClassScore


def scores(
    labels: np.ndarray, probabilities: np.ndarray, classes: tuple[str, ...], groups: np.ndarray | None = None
) -> tuple[ClassScore, ...]:
    """Precision, recall with Wilson's 95 % interval, and F1 of each class; int[n] labels, float[n, classes].

    Wilson 1927, Journal of the American Statistical Association 22:209-212: it stays within 0 to 1 for small classes.
    """
    from sklearn.metrics import precision_recall_fscore_support
    from statsmodels.stats.proportion import proportion_confint

    numbers = list(range(len(classes)))
    predicted = probabilities.argmax(axis=1)
    found = precision_recall_fscore_support(labels, predicted, labels=numbers, zero_division=0.0)
    right = np.bincount(labels[predicted == labels], minlength=len(classes))
    counts = np.bincount(labels, minlength=len(classes))
    low, high = proportion_confint(right, np.maximum(counts, 1), method="wilson")
    return tuple(
        ClassScore(name, int(images), float(precision), float(recall), float(f1), (float(start), float(end)))
        for name, precision, recall, f1, images, start, end in zip(classes, *found, low, high, strict=True)
    )
