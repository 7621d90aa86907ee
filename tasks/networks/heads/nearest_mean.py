"""Nearest class mean in a shrunken metric: every class is its mean, however many photos it has.

Distances are Mahalanobis distances: directions in which photos of one class differ anyway count less. How far that
covariance is drawn towards the identity is chosen by the log loss of held-out photos; so is the temperature that makes
probabilities of distances. With few photos a class it is hard to beat (Mensink et al. 2013,
https://doi.org/10.1109/TPAMI.2013.83), and unlike `lda` it does not favour classes with many.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tasks.evaluation import calibration
from tasks.evaluation.statistics import cross_validation
from tasks.networks import heads
from tasks.networks.heads import Examples
from tasks.networks.heads._within import within

if TYPE_CHECKING:
    import keras

#: Shares of the identity in the metric's covariance.
SHRINKAGE = (0.02, 0.1, 0.3, 0.6, 1.0)
FOLDS = 4
#: Rows that the covariance is estimated from, where the features are more.
SAMPLE = 1024


def build(feature_shape: tuple[int, ...], num_classes: int) -> keras.Model:
    """The graph before `learn`: every class is equally likely."""
    return heads.linear_graph(
        feature_shape, np.zeros((int(np.prod(feature_shape)), num_classes)), np.zeros(num_classes)
    )


def learn(examples: Examples, num_classes: int) -> keras.Model:
    """The head for the examples. A class without images is at the mean of all."""
    flat, labels = examples.everything(), examples.labels
    folds = cross_validation.folds(labels, examples.units, FOLDS, 0)
    shrinkage, temperature = SHRINKAGE[-1], 1.0
    if folds:
        held = np.concatenate([judged for _, judged in folds])
        logits: dict[float, list[np.ndarray]] = {share: [] for share in SHRINKAGE}
        for train, judged in folds:
            metric = within(flat[train], labels[train], num_classes, SAMPLE)
            for share, found in logits.items():
                weights, biases = metric.linear(share)
                found.append(flat[judged] @ weights.astype(np.float32) + biases)
        tried = {share: _judged(np.concatenate(found), labels[held]) for share, found in logits.items()}
        shrinkage = min(tried, key=lambda share: tried[share][0])
        temperature = tried[shrinkage][1]
    weights, biases = within(flat, labels, num_classes, SAMPLE).linear(shrinkage)
    return heads.linear_graph(examples.shape, weights / temperature, biases / temperature)


def _judged(logits: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """The log loss at the best temperature, and that temperature."""
    from scipy.special import log_softmax

    logs = log_softmax(logits.astype(np.float64), axis=1)
    temperature = calibration.temperature(labels, np.maximum(np.exp(logs), calibration.FLOOR))
    said = log_softmax(logits / temperature, axis=1)
    return float(-said[np.arange(len(labels)), labels].mean()), temperature
