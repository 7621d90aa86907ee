"""Files to batches of prepared images, with tf.data: reading and decoding overlap what the caller does with a batch."""

import os
from collections.abc import Callable, Collection, Iterator
from typing import Any

import numpy as np

from tasks.errors import DataError
from tasks.images.decode import FORMATS, preparer


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

    prepare = preparer(size, fit, max_pixels, formats)
    data = tf.data.Dataset.from_tensor_slices(tf.constant(paths, tf.string))
    # As many as there are cores: left to itself, tf.data stays with one on some runs, and starves the engine.
    data = data.map(lambda path: prepare(tf.io.read_file(path)), os.cpu_count(), deterministic=True)
    data = data.batch(batch_size).prefetch(2)
    start = 0
    try:
        for batch in data.as_numpy_iterator():
            yield list(range(start, start + len(batch))), batch
            start += len(batch)
    except tf.errors.OpError:
        raise DataError(_culprit(paths[start:], prepare)) from None


def reader(size: int, fit: str, max_pixels: int) -> Callable[[list[str]], np.ndarray]:
    """A function from paths to uint8[n, size, size, 3], for rows that are wanted in any order. Errors as above."""
    import tensorflow as tf

    prepare = preparer(size, fit, max_pixels)

    def read(paths: list[str]) -> np.ndarray:
        try:
            return np.stack([prepare(tf.io.read_file(path)).numpy() for path in paths])
        except tf.errors.OpError:
            raise DataError(_culprit(paths, prepare)) from None

    return read


def _culprit(paths: list[str], prepare: Callable[..., Any]) -> str:
    import tensorflow as tf

    for path in paths:
        try:
            prepare(tf.io.read_file(path))
        except (tf.errors.OpError, ValueError) as error:
            return f"Expected an image that TensorFlow reads, found {path}: {str(error)[:200]}. Convert or remove it."
    return f"Files changed while they were read, among them {paths[0]}. Run the command again."
