"""Mixed precision, if the hardware supports it: https://www.tensorflow.org/guide/mixed_precision."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras

#: Layers whose output is compared with labels: it stays in 32 bits.
FULL = ("head", "logits", "probabilities")


@contextmanager
def mixed(model: keras.Model, wanted: str) -> Iterator[None]:
    """In this context the model's layers compute in `wanted`, a policy of Keras; their variables stay float32.

    `auto`: mixed_float16 if TensorFlow finds a GPU, else float32.
    """
    import keras

    policy = wanted if wanted != "auto" else ("mixed_float16" if gpu() else "float32")
    layers = [layer for layer in model._flatten_layers() if layer.name not in FULL]
    before = [layer.dtype_policy for layer in layers]
    try:
        for layer in layers:
            layer.dtype_policy = keras.DTypePolicy(policy)
        yield
    finally:
        for layer, own in zip(layers, before, strict=True):
            layer.dtype_policy = own


def gpu() -> bool:
    """Whether TensorFlow finds one."""
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))
