"""Several GPUs of one machine train one network: each takes a part of every batch, gradients are added up.

https://www.tensorflow.org/guide/distributed_training#mirroredstrategy
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext


def scope(wanted: str) -> AbstractContextManager[None]:
    """Where a network has to be loaded and compiled: `auto` mirrors it when several GPUs are seen, `none` never."""
    import tensorflow as tf

    if wanted == "mirrored" or (wanted == "auto" and len(tf.config.list_physical_devices("GPU")) > 1):
        return tf.distribute.MirroredStrategy().scope()
    return nullcontext()
