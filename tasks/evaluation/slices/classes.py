"""Scores of a model on each class."""

import numpy as np

from tasks.evaluation.statistics import bootstrap, proportions
from tasks.records import ClassScore


def scores(
    labels: np.ndarray, probabilities: np.ndarray, classes: tuple[str, ...], groups: np.ndarray | None = None
) -> tuple[ClassScore, ...]:
    """Precision, recall with Wilson's 95 % interval, and F1 of each class; int[n] labels, float[n, classes].

    `groups` as in `statistics.clusters`: the rows of a group that are of one class count as far as they differ.
    """
    from sklearn.metrics import precision_recall_fscore_support

    numbers = list(range(len(classes)))
    predicted = probabilities.argmax(axis=1)
    found = precision_recall_fscore_support(labels, predicted, labels=numbers, zero_division=0.0)
    right = bootstrap.correct(labels, probabilities)
    recalls = [proportions.share(right, labels == number, groups) for number in numbers]
    return tuple(
        ClassScore(name, int(images), float(precision), float(recall), float(f1), (of_recall.low, of_recall.high))
        for name, precision, recall, f1, images, of_recall in zip(classes, *found, recalls, strict=True)
    )
