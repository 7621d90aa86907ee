"""Heads on features: fitting one, and cross-fitting, where each image is answered by a head that has not seen it.

What is compared is the rung as it is trained: in each fold it is fitted anew on three fifths of the images and stopped
on another fifth, as on training and validation images. Answers of all folds together have the usual standard errors
where a single image changes a model little: Bayle et al. 2020, https://arxiv.org/abs/2007.12671.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
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
#: Penalties for corrections of a head's weights, of inputs whose mean square distance from their mean is 1.
PENALTIES = tuple(10.0**-exponent for exponent in range(1, 7))
STOP = {"maxiter": 60, "gtol": 1e-4, "ftol": 1e-6}
#: Directions of the inputs that such a correction may have.
AXES = 256
#: Where some class has one unit, so that none can be held out.
PENALTY = 1e-3


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
    on_epoch: Callable[[fit.History], None] = lambda history: None,
    only: int = 0,
    address: str = "",
) -> fit.History:
    """Train a head in place, if it is one that is trained; the rest as in `fit.fit`."""
    if heads.at_once(settings.head):
        return fit.History()
    plan = fit.plan(settings.head, settings.head.learning_rate, settings.loss, settings.seed)
    return fit.fit(model, train.in_memory(), validation, plan, on_epoch, only, address)


@dataclass(frozen=True)
class Widened:
    """Rows of a head that has got new classes, whose weights are 0 so far."""

    #: Inputs of the head's last layer, float[n, d].
    inputs: np.ndarray
    #: What it says, float[n, classes].
    logits: np.ndarray
    labels: np.ndarray  # int[n]
    #: float[n]: of each row.
    weights: np.ndarray
    #: int[n]: rows of one unit are no independent evidence.
    units: np.ndarray

    def directions(self, new: np.ndarray) -> np.ndarray:
        """Weights of the new classes, bool[classes], where a class is a direction: that of its mean, float32[d, m].

        Qi et al. 2018, Low-shot learning with imprinted weights, https://arxiv.org/abs/1712.07136.
        """
        means = np.stack([self.inputs[self.labels == at].mean(axis=0) for at in np.flatnonzero(new)], axis=1)
        return (means / np.maximum(np.linalg.norm(means, axis=0), 1e-12)).astype(np.float32)

    def correction(self) -> tuple[np.ndarray, np.ndarray]:
        """What to add to the weights float32[d, classes] and the biases float32[classes].

        It has the lowest log loss with a penalty, so that what the head knows stays where the rows do not tell
        otherwise; the penalty is the one with the lowest log loss on held-out units.
        """
        middle = self.inputs.mean(axis=0)
        spread = float(np.sqrt(((self.inputs - middle) ** 2).sum(axis=1).mean())) or 1.0
        scaled = ((self.inputs - middle) / spread).astype(np.float32)
        basis = _principal(scaled)
        along = replace(self, inputs=scaled @ basis)
        turns = cross_validation.folds(self.labels, self.units, LEAST, 0)
        losses: dict[float, float] = {}
        for penalty in PENALTIES if turns else ():
            losses[penalty] = sum(along.of(judged).loss(*along.of(train).minimum(penalty)) for train, judged in turns)
            if losses[penalty] > min(losses.values()):
                break
        found, biases = along.minimum(min(losses, key=losses.__getitem__, default=PENALTY))
        kernel = basis @ found / spread
        return kernel.astype(np.float32), (biases - middle @ kernel).astype(np.float32)

    def of(self, rows: np.ndarray) -> Widened:
        """Some of the rows, int[m]."""
        return Widened(**{name: value[rows] for name, value in vars(self).items()})

    def minimum(self, penalty: float) -> tuple[np.ndarray, np.ndarray]:
        """Corrections [d, classes] and [classes] that minimise mean log loss + penalty / 2 · |weights|²."""
        from scipy.optimize import minimize
        from scipy.special import softmax
        from threadpoolctl import threadpool_limits

        classes, width = self.logits.shape[1], self.inputs.shape[1]
        share = self.weights / self.weights.sum()
        targets = np.eye(classes)[self.labels]

        def parted(point: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return point[:-classes].reshape(width, classes), point[-classes:]

        def loss(point: np.ndarray) -> tuple[float, np.ndarray]:
            found, biases = parted(point)
            wrong = share[:, None] * (softmax(self.said(found, biases), axis=1) - targets)
            slope = self.inputs.T @ wrong + penalty * found
            value = self.loss(found, biases) / self.weights.sum() + penalty * (found**2).sum() / 2
            return value, np.concatenate([slope.ravel(), wrong.sum(axis=0)])

        start = np.zeros((width + 1) * classes)
        with threadpool_limits(1):  # products are so small that threads would only wait for each other
            return parted(minimize(loss, start, jac=True, method="L-BFGS-B", options=STOP).x)

    def loss(self, found: np.ndarray, biases: np.ndarray) -> float:
        """The rows' log loss, weighted, in sum, with a correction."""
        from scipy.special import log_softmax

        logs = log_softmax(self.said(found, biases), axis=1)
        return -float(self.weights @ logs[np.arange(len(self.labels)), self.labels])

    def said(self, found: np.ndarray, biases: np.ndarray) -> np.ndarray:
        """The logits with a correction, float64[n, classes]."""
        return np.asarray(self.logits + self.inputs @ found + biases, np.float64)


def _principal(values: np.ndarray) -> np.ndarray:
    """The directions of the greatest variance of centred rows float32[n, d]: float32[d, up to `AXES`], orthonormal."""
    wide = values.shape[1] > len(values)
    variances, vectors = np.linalg.eigh((values @ values.T if wide else values.T @ values).astype(np.float64))
    some = np.flatnonzero(variances > 1e-6 * max(float(variances[-1]), 1e-30))[-AXES:]
    found = values.T @ (vectors[:, some] / np.sqrt(variances[some])) if wide else vectors[:, some]
    return found.astype(np.float32)


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
