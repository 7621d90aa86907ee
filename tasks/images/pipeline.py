"""Files to batches of prepared images, with tf.data: reading and decoding overlap what the caller does with a batch."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.errors import DataError
from tasks.images.decode import FORMATS, preparer

if TYPE_CHECKING:
    import tensorflow as tf


def prepared(
    paths: list[str],
    size: int,
    fit: str,
    max_pixels: int,
    batch_size: int = 64,
    formats: Collection[str] = FORMATS,
) -> Iterator[tuple[list[int], np.ndarray]]:
    """Batches of (positions in `paths`, uint8[n, size, size, 3]), in order. `formats`: those of the files.

    Raises `DataError` naming the file that TensorFlow cannot read.
    """
    import tensorflow as tf

    prepare = _preparer(size, fit, max_pixels, tuple(sorted(formats)))
    data = tf.data.Dataset.from_tensor_slices(tf.constant(paths, tf.string))
    data = data.map(lambda path: prepare(tf.io.read_file(path)), os.cpu_count(), deterministic=True)
    data = untuned(data.batch(batch_size).prefetch(2))
    start = 0
    try:
        for batch in data.as_numpy_iterator():
            yield list(range(start, start + len(batch))), batch
            start += len(batch)
    except tf.errors.OpError:
        raise DataError(_culprit(paths[start:], prepare)) from None


def untuned(data: tf.data.Dataset) -> tf.data.Dataset:
    """The data set with the parallelism that its code gives, and none within an operation.

    The thread with which TensorFlow 2.21 tunes a data set sleeps twice as long each time, and on some runs the end of
    the data waits for it to wake: 10.2, 20.5 or 41 seconds after the start.
    """
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    options.threading.max_intra_op_parallelism = 1
    return data.with_options(options)


def reader(size: int, fit: str, max_pixels: int) -> Callable[[list[str]], np.ndarray]:
    """A function from paths to uint8[n, size, size, 3], for rows that are wanted in any order. Errors as above."""
    import tensorflow as tf

    prepare = _preparer(size, fit, max_pixels, FORMATS)

    def read(paths: list[str]) -> np.ndarray:
        try:
            return np.stack([prepare(tf.io.read_file(path)).numpy() for path in paths])
        except tf.errors.OpError:
            raise DataError(_culprit(paths, prepare)) from None

    return read


# Tracing it takes a second.
_preparer = cache(preparer)


def _culprit(paths: list[str], prepare: Callable[..., Any]) -> str:
    import tensorflow as tf

    for path in paths:
        try:
            prepare(tf.io.read_file(path))
        except (tf.errors.OpError, ValueError) as error:
            return f"Expected an image that TensorFlow reads, found {path}: {str(error)[:200]}. Convert or remove it."
    return f"Files changed while they were read, among them {paths[0]}. Run the command again."
