"""Logistic regression on the features: the linear probe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tasks.networks import heads
from tasks.runtime.plugins import Dropout

if TYPE_CHECKING:
    import keras
    import optuna


def build(feature_shape: tuple[int, ...], num_classes: int, *, dropout: Dropout = 0.0) -> keras.Model:
    """Features float32[n, …], flattened, to logits [n, num_classes]; training drops the share `dropout` of them."""
    import keras
    from keras import layers

    features, x = heads.flat_input(feature_shape)
    if dropout:
        x = layers.Dropout(dropout)(x)
    # Zeros: an untrained head predicts that all classes are equally likely.
    return keras.Model(features, layers.Dense(num_classes, kernel_initializer="zeros", name="logits")(x), name="head")


def suggest(trial: optuna.trial.BaseTrial) -> dict[str, Any]:
    """Options for a trial of a search."""
    return {"dropout": trial.suggest_float("linear.dropout", 0.0, 0.7)}
