"""Files to batches of prepared images: reading and decoding overlap what the caller does with a batch."""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from tasks.data.images import plain
from tasks.data.images.decode import FORMATS, decoder, preparer
from tasks.runtime.errors import DataError
from tasks.runtime.processes import has_gpu
from tasks.runtime.store import photos

if TYPE_CHECKING:
    import tensorflow as tf

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Up to this number of cores, plain photos are decoded without TensorFlow. kornia-rs holds Python's lock while it
#: decodes, so threads prepare about 1,700 PNGs of 300 x 300 pixels per second on any number of cores: more than a
#: network processes on eight cores, less than on a GPU.
MOST_CORES = 8
PLAIN = {"PNG", "JPEG"}


def prepared(
    paths: list[str],
    size: int,
    fit: str,
    max_pixels: int,
    batch_size: int = 64,
    formats: Collection[str] = FORMATS,
    keys: list[str] | None = None,
) -> Iterator[tuple[list[int], np.ndarray]]:
    """Batches of (positions in `paths`, uint8[n, size, size, 3]), in order. `formats`: those of the files.

    Uses tf.data, or threads if all are plain and cores are few; the pixels are equal. Raises `DataError` naming the
    file that cannot be read, or, with `keys`, whose bytes have another key by now.
    """
    few = (os.cpu_count() or 1) <= MOST_CORES and not has_gpu()
    way = _by_threads if few and set(formats) <= PLAIN else _by_tf_data
    batches = way(paths, size, fit, max_pixels, batch_size, formats, keys)
    start = 0
    for batch in batches:
        yield list(range(start, start + len(batch))), batch
        start += len(batch)


def _by_threads(
    paths: list[str],
    size: int,
    fit: str,
    max_pixels: int,
    batch_size: int,
    formats: Collection[str],
    keys: list[str] | None,
) -> Iterator[np.ndarray]:
    read = reader(size, fit, max_pixels, formats)
    parts = [slice(start, start + batch_size) for start in range(0, len(paths), batch_size)]
    return ahead(lambda part: read(paths[part], keys and keys[part]), parts)


def ahead(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """The results of `work` for each item, in order, by as many threads as cores; few results wait to be taken."""
    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers, thread_name_prefix="decode") as pool:
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > workers + 1:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _by_tf_data(
    paths: list[str],
    size: int,
    fit: str,
    max_pixels: int,
    batch_size: int,
    formats: Collection[str],
    keys: list[str] | None,
) -> Iterator[np.ndarray]:
    import tensorflow as tf

    prepare = _preparer(size, fit, max_pixels, tuple(sorted(formats)))

    def square(path: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        data = tf.io.read_file(path)
        return prepare(data), data if keys else ""

    # AutoGraph has nothing to translate here, but would search for a quarter of a second.
    read = tf.autograph.experimental.do_not_convert(square)
    data = tf.data.Dataset.from_tensor_slices(tf.constant(paths, tf.string))
    data = data.map(read, os.cpu_count(), deterministic=True)
    data = untuned(data.batch(batch_size).prefetch(2))
    start = 0
    try:
        for batch, contents in data.as_numpy_iterator():
            if keys:
                # TensorFlow has no SHA-256: the bytes that were decoded come along.
                for at, content in enumerate(contents, start):
                    photos.check(paths[at], content, keys[at])
            yield batch
            start += len(batch)
    except (tf.errors.OpError, UnicodeDecodeError):
        # One by one: they name the file that cannot be read.
        yield from _by_threads(paths[start:], size, fit, max_pixels, batch_size, formats, keys and keys[start:])


def untuned(data: tf.data.Dataset) -> tf.data.Dataset:
    """The data set with the parallelism set in the code, and none within an operation.

    The tuning thread of TensorFlow 2.21 doubles its sleep each time, and in some runs the end of the data waits for it
    to wake: 10.2, 20.5 or 41 seconds after the start.
    """
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    options.threading.max_intra_op_parallelism = 1
    return data.with_options(options)


def reader(
    size: int, fit: str, max_pixels: int, formats: Collection[str] = FORMATS
) -> Callable[[Sequence[str], Sequence[str] | None], np.ndarray]:
    """A function from paths, and their keys or None, to uint8[n, size, size, 3]. Errors as in `prepared`."""

    def read(paths: Sequence[str], keys: Sequence[str] | None) -> np.ndarray:
        out = np.empty((len(paths), size, size, 3), np.uint8)
        for row, path, key in zip(out, paths, keys or [""] * len(paths), strict=True):
            row[:] = _square(path, key, size, fit, max_pixels, formats)
        return out

    return read


def _square(path: str, key: str, size: int, fit: str, max_pixels: int, formats: Collection[str]) -> np.ndarray:
    try:
        data = photos.content(path, key)
    except OSError as error:
        raise _unreadable(path, error) from None
    try:
        return plain.fitted(photo(data, size, max_pixels, formats), size, fit)
    except ValueError as error:
        raise _unreadable(path, error) from None


def photo(data: bytes, size: int, max_pixels: int, formats: Collection[str] = FORMATS) -> np.ndarray:
    """A photo's bytes as uint8[height, width, 1 or 3], upright, as `decode.decode` gives it.

    Raises `ValueError` with the reason for bytes that cannot be decoded.
    """
    found = plain.decode(data, size, max_pixels)
    if found is not None:
        return found
    import tensorflow as tf

    try:
        return _decoder(size, max_pixels, tuple(sorted(formats)))(tf.constant(data)).numpy()
    except UnicodeDecodeError:  # raised for a message of TensorFlow that quotes the file's bytes
        raise ValueError("damaged") from None
    except tf.errors.OpError as error:
        # Without the names of TensorFlow's nodes, which come in double braces.
        raise ValueError(re.sub(r"\s*(\[\[)?(\{\{.*?\}\}|\[Op:.*?\])(\]\])?\s*", " ", error.message).strip()) from None


# Tracing them takes a second.
_preparer, _decoder = cache(preparer), cache(decoder)


def _unreadable(path: str, error: Exception) -> DataError:
    return DataError(
        f"Expected an image that TensorFlow reads, found {path}: {str(error)[:200]}. Convert or remove it."
    )
