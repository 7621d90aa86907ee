"""A whole classifier: backbone, pooling, head, softmax, in one flat Keras graph that can be cut at a block."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras
    import numpy as np


def pooled(backbone: keras.Model, pooling: str) -> keras.Model:
    """Pixels to the vector that heads are trained on: `avg` is the mean over the feature map, [n, c]."""
    import keras

    layer = {"avg": keras.layers.GlobalAveragePooling2D}[pooling]
    return keras.Model(backbone.input, layer(name="pool")(backbone.output), name="features")


def classifier(features: keras.Model, head: keras.Model) -> keras.Model:
    """Pixels 0 to 255, [n, size, size, 3], to class probabilities, [n, classes]."""
    import keras

    # Rebuilt on the same graph, not nested: a block inside can then be named and cut at.
    logits = head(features.output)
    return keras.Model(features.input, keras.layers.Softmax(name="probabilities")(logits), name="classifier")


def cut(network: keras.Model, layer: str) -> tuple[keras.Model, keras.Model]:
    """(pixels to the named layer's output, that output to logits); both share the network's variables."""
    import keras

    boundary = network.get_layer(layer).output
    trunk = keras.Model(network.input, boundary, name="trunk")
    top = keras.Model(boundary, network.get_layer("probabilities").input, name="top")
    return trunk, top


def save(network: keras.Model, path: Path) -> None:
    """Write in Keras' own format, without the state of an optimizer."""
    network.save(path)


def load(path: Path) -> keras.Model:
    """Read a `.keras` file; code inside (Lambda layers) is refused."""
    import keras

    return keras.saving.load_model(path, compile=False, safe_mode=True)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities, float64[n, classes], of logits."""
    import numpy as np

    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)
