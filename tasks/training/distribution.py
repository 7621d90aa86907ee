"""Several GPUs of one machine train one network: each takes a part of every batch, gradients are added up.

https://www.tensorflow.org/guide/distributed_training#mirroredstrategy
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from tasks.networks import backend

if TYPE_CHECKING:
    import keras


def scope(wanted: str) -> AbstractContextManager[None]:
    """Where a network has to be loaded and compiled: `auto` mirrors it when several GPUs are seen, `none` never.

    Other backends than TensorFlow know no such place.
    """
    if backend.current() != "tensorflow":
        return nullcontext()
    import tensorflow as tf

    if wanted == "mirrored" or (wanted == "auto" and len(tf.config.list_physical_devices("GPU")) > 1):
        return tf.distribute.MirroredStrategy().scope()
    return nullcontext()


def scope_of(model: keras.Model) -> AbstractContextManager[None]:
    """Where the model was made, to compile it there."""
    return model.distribute_strategy.scope() if backend.current() == "tensorflow" else nullcontext()
