"""A whole classifier: backbone, pooling, head, softmax, in one flat Keras graph that can be cut at a block."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.networks import cutting

if TYPE_CHECKING:
    import keras


def classifier(features: keras.Model, head: keras.Model) -> keras.Model:
    """Pixels 0 to 255, [n, size, size, 3], to class probabilities, [n, classes]."""
    import keras

    # Rebuilt on the same graph, not nested: blocks inside can then be found by name and cut.
    logits = head(features.output)
    return keras.Model(features.input, keras.layers.Softmax(name="probabilities")(logits), name="classifier")


def to_logits(network: keras.Model) -> keras.Model:
    """The network up to its logits, [n, classes], on the same variables."""
    import keras

    return keras.Model(network.input, network.get_layer("probabilities").input, name="to_logits")


def uncalibrated(version: keras.Model) -> keras.Model:
    """The classifier in a version's network, which also has a temperature and novelty, on the same variables."""
    import keras

    return keras.Model(version.input, version.get_layer("probabilities").output, name="classifier")


def below_head(network: keras.Model) -> keras.Model:
    """The network up to the input of its head, on the same variables."""
    import keras

    return keras.Model(network.input, cutting.features_of(network), name="features")


def answers(network: keras.Model, feature_shape: tuple[int, ...]) -> keras.Model:
    """The part of a classifier above its features: float32[n, *feature_shape] to probabilities [n, classes]."""
    import keras

    features = keras.Input(feature_shape)
    return keras.Model(features, keras.layers.Softmax()(network.get_layer("head")(features)), name="answers")
