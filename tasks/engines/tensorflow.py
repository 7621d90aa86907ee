"""TensorFlow's own graph executor; takes a GPU where there is one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras
    import numpy as np


def start(model: keras.Model) -> Callable[[np.ndarray], np.ndarray]:
    """The model, traced once for any batch size, in inference mode."""
    import tensorflow as tf

    shape = (None, *model.input_shape[1:])

    @tf.function(input_signature=[tf.TensorSpec(shape, tf.uint8)], autograph=False)
    def graph(pixels: tf.Tensor) -> tf.Tensor:
        return model(tf.cast(pixels, tf.float32), training=False)

    return lambda pixels: graph(tf.constant(pixels)).numpy()
