"""Several GPUs of one machine train one network: each takes a part of every batch, gradients are summed.

https://www.tensorflow.org/guide/distributed_training#mirroredstrategy
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from tasks.networks import backend

if TYPE_CHECKING:
    import keras


def scope(wanted: str) -> AbstractContextManager[None]:
    """The scope to load and compile a network in: `auto` mirrors it on several GPUs, if there are any; `none` never.

    Other backends than TensorFlow have no such scope.
    """
    if backend.current() != "tensorflow":
        return nullcontext()
    import tensorflow as tf

    if wanted == "mirrored" or (wanted == "auto" and len(tf.config.list_physical_devices("GPU")) > 1):
        return tf.distribute.MirroredStrategy().scope()
    return nullcontext()


def scope_of(model: keras.Model) -> AbstractContextManager[None]:
    """The scope in which the model was made, to compile it there."""
    return model.distribute_strategy.scope() if backend.current() == "tensorflow" else nullcontext()
