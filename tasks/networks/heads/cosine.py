"""Cosine classifier: compares the directions of an image's features and a class's weights, not their lengths.

Gidaris and Komodakis 2018, https://arxiv.org/abs/1804.09458; Chen et al. 2019, https://arxiv.org/abs/1904.04232. With
few images per class it is more stable than a linear layer, which can favour a class by the length of its weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tasks.networks import heads
from tasks.runtime.plugins import Above0

if TYPE_CHECKING:
    import keras
    import optuna


def build(feature_shape: tuple[int, ...], num_classes: int, *, scale: Above0 = 16.0) -> keras.Model:
    """Features float32[n, …], flattened, to logits [n, num_classes], each `scale` times a cosine of -1 to 1."""
    import keras
    from keras import layers

    features, x = heads.flat_input(feature_shape)
    x = layers.Rescaling(scale, name="scale")(layers.UnitNormalization(name="direction")(x))
    logits = layers.Dense(
        num_classes,
        use_bias=False,
        kernel_initializer="orthogonal",  # of length 1 from the start
        kernel_constraint=keras.constraints.UnitNorm(axis=0),
        name="logits",
    )(x)
    return keras.Model(features, logits, name="head")


def suggest(trial: optuna.trial.BaseTrial) -> dict[str, Any]:
    """Options for a trial of a search."""
    return {"scale": trial.suggest_float("cosine.scale", 4.0, 64.0, log=True)}
