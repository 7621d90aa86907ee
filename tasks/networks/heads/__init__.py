"""The layers that replace a backbone's last ones.

A head has `build(feature_shape, num_classes, *, options…) -> keras.Model` from features [n, *feature_shape] to logits.
A head that is fitted at once also has `learn(examples, num_classes, *, options…) -> keras.Model`. If its model is not
trainable, nothing can be trained after it.

`suggest(trial) -> options` gives a search options to try; its parameters' names begin with the head's name. A head
without it is tried with the options that it has.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from tasks.runtime import plugins
from tasks.settings import Head

if TYPE_CHECKING:
    import keras


def at_once(head: Head) -> bool:
    """Whether a head is fitted at once, not trained in epochs."""
    return hasattr(plugins.load("heads", head.kind), "learn")


def alike(one: Head, other: Head) -> bool:
    """Whether two settings give the same head: for one that is fitted at once, how to train does not matter."""
    same = (one.kind, one.options) == (other.kind, other.options)
    return one == other or (same and at_once(one))


#: Name of the layer that gives each class its logit; in most heads a `Dense`.
LOGITS = "logits"


def widen(head: keras.Model, before: keras.Model, places: Sequence[int]) -> None:
    """Give a head the weights of one like it that knows other classes.

    `places`: of each of its classes among those before; -1 for a new one, whose weights are 0.
    """
    for layer, other in zip(head.layers, before.layers, strict=True):
        if layer.name != LOGITS:
            layer.set_weights(other.get_weights())
    new = np.array(places) < 0
    weights = [np.where(new, 0, value[..., places]) for value in before.get_layer(LOGITS).get_weights()]
    head.get_layer(LOGITS).set_weights(weights)


def flat_input(feature_shape: tuple[int, ...]) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """A head's input [n, *feature_shape], and its values as a vector each, [n, d]."""
    import keras

    features = keras.Input(feature_shape)
    return features, keras.layers.Flatten()(features) if len(feature_shape) > 1 else features


def linear_graph(feature_shape: tuple[int, ...], weights: np.ndarray, biases: np.ndarray) -> keras.Model:
    """A linear head with these weights [d, classes] and biases [classes]."""
    import keras

    features, x = flat_input(feature_shape)
    logits = keras.layers.Dense(len(biases), name="logits")
    head = keras.Model(features, logits(x), name="head")
    logits.set_weights([weights, biases])
    return head


def class_means(flat: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """The mean of each class' features [n, d], float64[classes, d]; of a class without rows the mean of all."""
    means = np.repeat(flat.mean(axis=0, dtype=np.float64)[None], classes, axis=0)
    for label in np.unique(labels):
        means[label] = flat[labels == label].mean(axis=0, dtype=np.float64)
    return means


@dataclass(frozen=True)
class Examples:
    """What a head is fitted on: n rows of features, which are read when they are needed."""

    #: Positions int[m] to features float32[m, …].
    read: Callable[[np.ndarray], np.ndarray]
    labels: np.ndarray  # int[n]
    #: int[n]: rows of one unit, such as the views of a photo, are no independent evidence. Empty: each row is its own.
    units: np.ndarray = field(default_factory=lambda: np.empty(0, int))
    #: How many values each part of the features has, in their order. Empty: they are one part.
    parts: tuple[int, ...] = ()
    #: float[n]: each row's weight, 1 on average. Empty: all weigh the same.
    weights: np.ndarray = field(default_factory=lambda: np.empty(0))
    #: Share of a label that is spread over all classes, 0 to 1.
    smoothing: float = 0.0

    def __post_init__(self) -> None:
        """Fill in what was left out."""
        rows = len(self.labels)
        for name, value in (("units", np.arange(rows)), ("weights", np.ones(rows))):
            if not len(getattr(self, name)):
                object.__setattr__(self, name, value)
        if not self.parts:
            object.__setattr__(self, "parts", (int(np.prod(self.shape)),))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a row."""
        return self.read(np.arange(1)).shape[1:]

    def flat(self, rows: np.ndarray) -> np.ndarray:
        """The features of rows int[m] as float32[m, d]."""
        found = self.read(rows)
        return found.reshape(len(found), -1)

    def everything(self) -> np.ndarray:
        """The features of all rows, float32[n, d]."""
        return self.flat(np.arange(len(self.labels)))

    def targets(self, classes: int) -> np.ndarray:
        """float64[n, classes]: the share of each class in a row's label."""
        return np.eye(classes)[self.labels] * (1 - self.smoothing) + self.smoothing / classes
