"""Heads on features: fitting one, and cross-fitting, where each image is answered by a head that has not seen it.

What is compared is the rung as it is trained: in each fold it is fitted anew on three fifths of the images and stopped
on another fifth, as on training and validation images. Answers of all folds together have the usual standard errors
where a single image changes a model little: Bayle et al. 2020, https://arxiv.org/abs/2007.12671.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from tasks.evaluation.statistics import cross_validation
from tasks.features.batches import Batches, subset
from tasks.networks import heads
from tasks.networks.heads import Examples
from tasks.runtime import plugins
from tasks.settings import HeadTraining
from tasks.training import fit, saving

if TYPE_CHECKING:
    import keras

#: With fewer folds, none is left to train on.
LEAST = 3


def built(
    settings: HeadTraining,
    shape: tuple[int, ...],
    classes: int,
    train: Batches,
    units: np.ndarray | None = None,
    parts: tuple[int, ...] = (),
) -> keras.Model:
    """The head to train on features of this shape, or one that was fitted at once on the training features.

    `units`: int[images], whose rows (views) follow each other; images of one are no independent evidence. `parts`: as
    in `heads.Examples`.
    """
    head = settings.head
    options = plugins.bind("heads", head.kind, head.options, "head.options")
    module = plugins.load("heads", head.kind)
    if heads.at_once(head):
        rows = len(train.labels)
        each = np.arange(rows) if units is None else np.repeat(units, rows // len(units))
        weights = np.ones(rows) if settings.loss.balance == "none" else fit.balanced(train.labels)[train.labels]
        examples = Examples(train.read, train.labels, each, parts, weights, settings.loss.label_smoothing)
        return module.learn(examples, classes, **options)
    return module.build(shape, classes, **options)


def fitted(
    model: keras.Model,
    settings: HeadTraining,
    train: Batches,
    validation: Batches | None,
    only: int = 0,
    address: str = "",
) -> fit.History:
    """Train a head in place, if it is one that is trained; the rest as in `fit.fit`."""
    if heads.at_once(settings.head):
        return fit.History()
    plan = fit.plan(settings.head, settings.head.learning_rate, settings.loss, settings.seed)
    return fit.fit(model, train.in_memory(), validation, plan, only=only, address=address)


def cross_fitted(
    settings: HeadTraining,
    classes: int,
    seen: Batches,
    plain: Batches,
    groups: np.ndarray,
    parts: tuple[int, ...] = (),
) -> np.ndarray | None:
    """Probabilities of n images in groups int[n], float[n, classes]; None if a class has too few groups.

    `seen` has every view of them, to train on, `plain` the unchanged images. `parts`: as in `heads.Examples`.
    """
    count = len(plain.labels)
    shape = plain.read(np.arange(1)).shape[1:]

    def answers(rest: np.ndarray, stopping: np.ndarray, judged: np.ndarray) -> np.ndarray:
        fit.seed_everything(settings.seed)
        train = subset(seen, rest, count)
        model = built(settings, shape, classes, train, groups[rest], parts)
        fitted(model, settings, train, subset(plain, stopping, count))
        return saving.softmax(fit.predict(model, subset(plain, judged, count)))

    return out_of_fold(plain.labels, groups, settings.folds, settings.seed, answers)


def out_of_fold(
    labels: np.ndarray,
    groups: np.ndarray,
    turns: int,
    seed: int,
    answers: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray],
) -> np.ndarray | None:
    """Probabilities, float[n, classes], of images int[n] in groups int[n]; None if a class has too few groups.

    `answers`: fits a model on the first images, stops it on the second, and answers the third, all positions.
    """
    folds = cross_validation.folds(labels, groups, turns, seed)
    if len(folds) < LEAST:
        return None
    found: np.ndarray | None = None
    for number, (_, judged) in enumerate(folds):
        stopping = folds[(number + 1) % len(folds)][1]
        rest = np.setdiff1d(np.arange(len(labels)), np.concatenate([judged, stopping]))
        given = answers(rest, stopping, judged)
        found = np.empty((len(labels), given.shape[1])) if found is None else found
        found[judged] = given
    return found
