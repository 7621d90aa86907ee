"""The tutorial's head: the whole feature map flattened, one hidden layer of 256, no dropout.

Flatten, Dense(256, relu), Dense(classes, softmax) on a frozen VGG16, as in transfer-learning tutorials since
https://blog.keras.io/building-powerful-image-classification-models-using-very-little-data.html. The softmax is the
network's last layer. Use `backbone.pooling = "none"`: pooled features are already flat.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tasks.runtime.plugins import Count

if TYPE_CHECKING:
    import keras
    import optuna


def build(feature_shape: tuple[int, ...], num_classes: int, *, units: Count = 256) -> keras.Model:
    """Features float32[n, …] to logits [n, num_classes] through one hidden layer of `units` with ReLU."""
    import keras

    features = keras.Input(feature_shape)
    x = keras.layers.Flatten()(features)
    x = keras.layers.Dense(units, activation="relu", name="hidden")(x)
    return keras.Model(features, keras.layers.Dense(num_classes, name="logits")(x), name="head")


def suggest(trial: optuna.trial.BaseTrial) -> dict[str, Any]:
    """Options for a trial of a search."""
    return {"units": trial.suggest_int("flatten_mlp.units", 32, 512, log=True)}
