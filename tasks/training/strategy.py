"""Several GPUs of one machine train one network: each takes a part of every batch, gradients are added up.

https://www.tensorflow.org/guide/distributed_training#mirroredstrategy
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from tasks import backend
from tasks.errors import UsageError

if TYPE_CHECKING:
    import keras


def scope(wanted: str) -> AbstractContextManager[None]:
    """Where a network has to be loaded and compiled: `auto` mirrors it when several GPUs are seen, `none` never.

    Raises `UsageError` where another backend than TensorFlow is to mirror it; none of them knows such a place.
    """
    if backend.current() != "tensorflow":
        if wanted == "mirrored":
            raise UsageError(f"fine_tune.strategy: expected auto or none with backend {backend.current()}.")
        return nullcontext()
    import tensorflow as tf

    if wanted == "mirrored" or (wanted == "auto" and len(tf.config.list_physical_devices("GPU")) > 1):
        return tf.distribute.MirroredStrategy().scope()
    return nullcontext()


def of(model: keras.Model) -> AbstractContextManager[None]:
    """Where the model was made, to compile it there."""
    return model.distribute_strategy.scope() if backend.current() == "tensorflow" else nullcontext()
