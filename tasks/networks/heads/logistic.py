"""Logistic regression with a penalty for each part of the features, fitted at once: no learning rate, no epochs.

Features come in parts, such as the maxima at one depth of the network. How much a part tells is estimated first: the
variance of its weights under which the labels are most likely in a linear Gaussian model, so that a part which tells
nothing has none (MacKay 1992, https://doi.org/10.1162/neco.1992.4.3.415; for groups of features van de Wiel et al.
2016, https://doi.org/10.1002/sim.6732). Then multinomial logistic regression by L-BFGS, on the features' principal
axes, at the overall penalty with the lowest log loss in cross-validation. Features of several depths, with the useful
ones chosen, often beat fine-tuning: Head2Toe, Evci et al. 2022, https://arxiv.org/abs/2201.03529.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tasks.evaluation.statistics import cross_validation
from tasks.networks import heads
from tasks.networks.heads import Examples
from tasks.runtime.plugins import Count

if TYPE_CHECKING:
    import keras

#: Rows of which the parts' shares are estimated, and of which means, deviations and principal axes are.
SAMPLE, BASIS = 512, 2048
#: How many rows the variance of a part counts for, where that of one of its features is estimated. Read on one to four
#: photos a class of digits, emoji and fashion: log loss 3 to 6 % lower for one photo a class, 0 to 3 % for four.
PRIOR = 10
#: Penalties to try, from strong to weak, until the loss rises; then those between the best one and its neighbours.
PENALTIES = tuple(10.0**-exponent for exponent in range(1, 10))
#: Where cross-validation is not possible, as some class has one photo.
PENALTY = 1e-3
#: With more rows than the second and the third number, three folds and one are enough.
FOLDS, SOME, MANY = 5, 500, 10_000
#: Rows that are read at a time.
AT_A_TIME = 1024


def build(feature_shape: tuple[int, ...], num_classes: int, *, axes: Count = 512) -> keras.Model:
    """The graph before `learn`: every class is equally likely."""
    width = int(np.prod(feature_shape))
    plain = Scale(np.zeros(width), np.ones(width))
    return _graph(feature_shape, plain, np.zeros((width, num_classes)), np.zeros(num_classes))


def learn(examples: Examples, num_classes: int, *, axes: Count = 512) -> keras.Model:
    """The head for the examples; `axes`: largest number of principal axes. Fine-tuning can go on from it."""
    scale, basis = prepared(examples, num_classes, axes)
    values = coordinates(examples, scale, basis)
    targets = examples.targets(num_classes)
    weights, biases = fitted(values, targets, examples.weights, penalty(values, targets, examples))
    return _graph(examples.shape, scale, basis @ weights, biases)


@dataclass(frozen=True)
class Scale:
    """How features are scaled: minus `mean`, over `deviation`, both float64[d]."""

    mean: np.ndarray
    deviation: np.ndarray

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Features [n, d], as float32."""
        return ((features - self.mean) / self.deviation).astype(np.float32)


def prepared(examples: Examples, classes: int, axes: int) -> tuple[Scale, np.ndarray]:
    """The scale of the features, and principal axes of the scaled features, float32[d, up to `axes`].

    Scaled, each part's total variance is its share of what the parts tell together.
    """
    random = np.random.default_rng(0)
    rows = np.sort(random.permutation(len(examples.labels))[:BASIS])
    features = examples.flat(rows).astype(np.float64)
    parts = _slices(examples.parts)
    plain = Scale(features.mean(axis=0), _deviations(features, parts))
    scaled = plain(features)
    first = np.unique(examples.units[rows], return_index=True)[1]  # one row a unit: copies are no further evidence
    some = random.permutation(first)[:SAMPLE]
    telling = shares(scaled[some], np.eye(classes)[examples.labels[rows[some]]], parts)
    factor = np.empty(scaled.shape[1])
    for part, share in zip(parts, telling, strict=True):
        factor[part] = np.sqrt(max(share, 1e-8) / (part.stop - part.start))
    scale = Scale(plain.mean, plain.deviation / factor)
    return scale, principal(scaled * factor.astype(np.float32), axes)


def _deviations(features: np.ndarray, parts: list[slice]) -> np.ndarray:
    """Of each feature: of few rows an unsure number, which leans on its part's."""
    variance = features.var(axis=0)
    of_part = np.concatenate([np.full(p.stop - p.start, variance[p].mean()) for p in parts])
    deviation = np.sqrt((len(features) * variance + PRIOR * of_part) / (len(features) + PRIOR))
    # A constant feature tells nothing, and must not explode where it is not constant.
    most = max(deviation.max(), 1e-30)
    return np.where(np.sqrt(variance) > 1e-4 * most, deviation, most)


def shares(features: np.ndarray, targets: np.ndarray, parts: list[slice]) -> np.ndarray:
    """How much each part of standardised features float32[n, d] tells of targets float[n, k]: shares that sum to 1.

    They maximise the likelihood of the targets, centred, as draws from N(0, Σ share · K of the part + noise · I).
    """
    from scipy.linalg import lapack
    from scipy.optimize import minimize

    number = len(parts)
    if number == 1 or len(features) < 2 * targets.shape[1]:
        return np.full(number, 1 / number)
    rows, classes = targets.shape
    kernels = np.stack([features[:, p] @ features[:, p].T / (p.stop - p.start) for p in parts]).reshape(number, -1)
    centred = (targets - targets.mean(axis=0)).astype(np.float32)
    variance = max(float(centred.var()), 1e-6)

    def surprise(logs: np.ndarray) -> tuple[float, np.ndarray]:
        sizes, noise = np.exp(logs[:-1]), np.exp(logs[-1])
        covariance = (sizes.astype(np.float32) @ kernels).reshape(rows, rows)
        covariance[np.diag_indices(rows)] += noise
        factor, failed = lapack.spotrf(covariance, lower=1, clean=1)
        if failed:
            return 1e10, np.zeros_like(logs)
        lower = np.tril(lapack.spotri(factor, lower=1)[0])
        inverse = lower + np.tril(lower, -1).T
        solved = inverse @ centred
        value = (centred * solved).sum() / 2 + classes * np.log(np.diag(factor).astype(np.float64)).sum()
        slope = (classes * inverse - solved @ solved.T) / 2
        return float(value) / rows, np.r_[(kernels @ slope.ravel()) * sizes, np.trace(slope) * noise] / rows

    start = np.log(np.r_[np.full(number, variance / number / 2), variance / 2])
    far = np.log(variance) + np.array([-12, 4])
    bounds = [tuple(far)] * number + [(np.log(variance) - 7, np.log(variance) + 1)]
    options = {"maxiter": 30, "ftol": 1e-5}
    found = np.exp(minimize(surprise, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options).x[:-1])
    return found / found.sum()


def principal(features: np.ndarray, most: int) -> np.ndarray:
    """Directions of the greatest variance of centred features float32[n, d]: float32[d, up to `most`], orthonormal."""
    wide = features.shape[1] > len(features)
    square = (features @ features.T if wide else features.T @ features).astype(np.float64)
    variances, vectors = np.linalg.eigh(square)
    order = np.argsort(-variances)[:most]
    order = order[variances[order] > 1e-6 * max(variances.max(), 1e-30)]
    if not len(order):
        return np.zeros((features.shape[1], 1), np.float32)
    found = features.T @ (vectors[:, order] / np.sqrt(variances[order])) if wide else vectors[:, order]
    return found.astype(np.float32)


def coordinates(examples: Examples, scale: Scale, basis: np.ndarray) -> np.ndarray:
    """The examples along the axes, float32[n, axes]; read a part at a time."""
    every = np.arange(len(examples.labels))
    parts = [every[start : start + AT_A_TIME] for start in range(0, len(every), AT_A_TIME)]
    return np.concatenate([scale(examples.flat(part)) @ basis for part in parts])


def penalty(values: np.ndarray, targets: np.ndarray, examples: Examples) -> float:
    """The penalty with the lowest log loss on held-out units, where values are float32[n, axes]."""
    turns = FOLDS if len(values) <= SOME else 3
    folds = cross_validation.folds(examples.labels, examples.units, turns, 0)[: 1 if len(values) > MANY else None]
    return held_out(values, targets, examples, folds)[0]


def held_out(
    values: np.ndarray, targets: np.ndarray, examples: Examples, folds: tuple[cross_validation.Fold, ...]
) -> tuple[float, np.ndarray]:
    """The penalty with the lowest log loss on the folds' held-out rows, and what it says there.

    The latter are logarithms of probabilities, float64[n, classes]: NaN for rows that are in no fold.
    """
    if not folds:
        return PENALTY, np.full(targets.shape, np.nan)
    states: list[tuple[np.ndarray, np.ndarray] | None] = [None] * len(folds)
    found: dict[float, np.ndarray] = {}

    def loss(strength: float) -> float:
        total, logs = 0.0, np.full(targets.shape, np.nan)
        for number, (train, judged) in enumerate(folds):
            weights, biases = state = fitted(
                values[train], targets[train], examples.weights[train], strength, states[number]
            )
            states[number] = state
            logs[judged] = said(values[judged], weights, biases)
            total -= float(examples.weights[judged] @ (targets[judged] * logs[judged]).sum(axis=1))
        found[strength] = logs
        return total

    losses: dict[float, float] = {}
    for strength in PENALTIES:
        losses[strength] = loss(strength)
        if losses[strength] > min(losses.values()):
            break
    best = min(losses, key=losses.__getitem__)
    losses |= {strength: loss(strength) for strength in (best * 10**0.5, best / 10**0.5)}
    best = min(losses, key=losses.__getitem__)
    return best, found[best]


def said(values: np.ndarray, weights: np.ndarray, biases: np.ndarray) -> np.ndarray:
    """Logarithms of probabilities, float64[n, classes], of values float32[n, axes]."""
    from scipy.special import log_softmax

    return log_softmax((values @ weights + biases).astype(np.float64), axis=1)


def fitted(
    values: np.ndarray,
    targets: np.ndarray,
    row_weights: np.ndarray,
    strength: float,
    start: tuple[np.ndarray, np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Weights float32[axes, k] and biases [k] that minimise mean log loss + strength / 2 · |weights|².

    `values`: float32[n, axes], best along principal axes, where each axis' curvature is known and divided out.
    """
    from scipy.optimize import minimize
    from scipy.special import log_softmax

    classes, width = targets.shape[1], values.shape[1]
    curvature = np.sqrt((values.astype(np.float64) ** 2).mean(axis=0) / 4 + strength)[:, None]
    scaled = (values / curvature.T).astype(np.float32)
    shrink = strength / curvature**2
    share = (row_weights / row_weights.sum())[:, None]

    def loss(point: np.ndarray) -> tuple[float, np.ndarray]:
        weights, biases = point[:-classes].reshape(width, classes), point[-classes:]
        logs = log_softmax(scaled @ weights.astype(np.float32) + biases, axis=1)
        wrong = share * (np.exp(logs) - targets)
        slope = scaled.T @ wrong.astype(np.float32) + shrink * weights
        value = -(share * targets * logs).sum() + (shrink * weights**2).sum() / 2
        return float(value), np.concatenate([slope.ravel(), wrong.sum(axis=0)])

    begin = np.zeros(width * classes + classes)
    if start:
        begin = np.concatenate([(start[0] * curvature).ravel(), start[1]])
    options = {"maxiter": 60, "gtol": 1e-4, "ftol": 1e-6}
    found = minimize(loss, begin, jac=True, method="L-BFGS-B", options=options).x
    return (found[:-classes].reshape(width, classes) / curvature).astype(np.float32), found[-classes:]


def _slices(widths: tuple[int, ...]) -> list[slice]:
    ends = np.cumsum(widths)
    return [slice(int(end - width), int(end)) for end, width in zip(ends, widths, strict=True)]


def _graph(feature_shape: tuple[int, ...], scale: Scale, weights: np.ndarray, biases: np.ndarray) -> keras.Model:
    import keras
    from keras import layers

    features, x = heads.flat_input(feature_shape)
    # A layer that every export knows; it stays as it is in fine-tuning.
    scaled = layers.BatchNormalization(center=False, scale=False, epsilon=1e-12, trainable=False, name="scale")
    logits = layers.Dense(len(biases), name="logits")
    head = keras.Model(features, logits(scaled(x)), name="head")
    scaled.set_weights([scale.mean, scale.deviation**2])
    logits.set_weights([weights, biases])
    return head
