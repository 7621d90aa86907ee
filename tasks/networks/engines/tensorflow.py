"""TensorFlow's own graph executor; takes a GPU where there is one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.networks.engines import Engine

if TYPE_CHECKING:
    import keras
    import numpy as np

BACKENDS = ("tensorflow",)


def start(build: Callable[[], keras.Model], folder: Path) -> Engine:
    """The model, traced once for any batch size, in inference mode; keeps nothing in the folder."""
    import tensorflow as tf

    model = build()
    shape = (None, *model.input_shape[1:])

    @tf.function(input_signature=[tf.TensorSpec(shape, tf.uint8)], autograph=False)
    def graph(pixels: tf.Tensor) -> tf.Tensor:
        return model(tf.cast(pixels, tf.float32), training=False)

    def run(batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        for batch in batches:
            yield graph(tf.constant(batch)).numpy()

    return Engine("tensorflow", tuple(model.output_shape[1:]), run)
