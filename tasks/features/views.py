"""Which views show other things: photos that are seen so are answered otherwise."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tasks.evaluation.statistics import bootstrap
from tasks.evaluation.statistics.cross_validation import Fold
from tasks.networks.heads import Examples, logistic

#: Principal axes that heads are fitted on.
AXES = 256
#: A view of held-out photos may raise their log loss by this share; by surely more, it shows other things.
HARMLESS = 0.1
#: Nats by which it may rise in any case: where heads are almost always right, a tenth is nothing.
LEAST = 0.02


def rise(plain: Examples, folds: tuple[Fold, ...], classes: int) -> Callable[[np.ndarray], tuple[float, bool]]:
    """A function from the features of the examples' photos in a view, float32[n, d], to what that changes.

    It returns by how much their log loss rises, nats, where each photo is answered by a head that was fitted on others,
    unchanged; and whether that is surely (95 %, units counted once) by more than is harmless.
    """
    scale, basis = logistic.prepared(plain, classes, AXES)
    values, targets = logistic.coordinates(plain, scale, basis), plain.targets(classes)
    strength, logs = logistic.held_out(values, targets, plain, folds)
    fitted = [logistic.fitted(values[train], targets[train], plain.weights[train], strength) for train, _ in folds]
    at, labels = np.arange(len(plain.labels)), plain.labels

    def changed(seen: np.ndarray) -> tuple[float, bool]:
        others, there = scale(seen) @ basis, np.full_like(logs, np.nan)
        for (_, judged), (weights, biases) in zip(folds, fitted, strict=True):
            there[judged] = logistic.said(others[judged], weights, biases)
        found = logs[at, labels] - there[at, labels]
        low = bootstrap.student(found, bootstrap.CONFIDENCE, plain.units)[0]
        return float(found.mean()), low > max(HARMLESS * float(-logs[at, labels].mean()), LEAST)

    return changed
