"""A small multilayer perceptron on the features."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tasks.networks import heads
from tasks.runtime.plugins import Count, Dropout

if TYPE_CHECKING:
    import keras
    import optuna


def build(
    feature_shape: tuple[int, ...], num_classes: int, *, units: Count = 256, layers: Count = 1, dropout: Dropout = 0.3
) -> keras.Model:
    """Features float32[n, …], flattened, to logits [n, num_classes].

    `layers` hidden layers of `units` with ReLU, each after dropping the share `dropout` of its inputs in training.
    """
    import keras

    features, x = heads.flat_input(feature_shape)
    for number in range(layers):
        x = keras.layers.Dropout(dropout)(x)
        x = keras.layers.Dense(units, activation="relu", name=f"hidden_{number}")(x)
    return keras.Model(features, keras.layers.Dense(num_classes, name="logits")(x), name="head")


def suggest(trial: optuna.trial.BaseTrial) -> dict[str, Any]:
    """Options for a trial of a search."""
    return {
        "units": trial.suggest_int("mlp.units", 32, 256, log=True),
        "layers": trial.suggest_int("mlp.layers", 1, 2),
        "dropout": trial.suggest_float("mlp.dropout", 0.0, 0.7),
    }
