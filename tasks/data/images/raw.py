"""The bytes of a file as tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf


def require(condition: tf.Tensor | bool, *message: str | tf.Tensor) -> tf.Operation:
    """`tf.debugging.Assert` as one operation; the original adds a branch of several to each photo's graph."""
    import tensorflow as tf

    return tf.raw_ops.Assert(condition=condition, data=[tf.convert_to_tensor(part) for part in message])


def number(data: tf.Tensor, start: int | tf.Tensor, length: int) -> tf.Tensor:
    """A little-endian unsigned integer of `length` bytes at `start` of a string scalar, int64."""
    import tensorflow as tf

    values = tf.cast(tf.io.decode_raw(tf.strings.substr(data, start, length), tf.uint8), tf.int64)
    with tf.control_dependencies([require(tf.size(values) == length, "the file ends too early")]):
        return tf.reduce_sum(values * tf.constant([256**i for i in range(length)], tf.int64))


#: Bytes at the start of a file in which its header, palette or EXIF data is searched.
HEAD = 2**18


class Bytes:
    """A file, or its start, as numbers; a position beyond it reads as the last byte."""

    def __init__(self, data: tf.Tensor, whole: bool = False) -> None:
        import tensorflow as tf

        self.values = tf.io.decode_raw(data if whole else tf.strings.substr(data, 0, HEAD), tf.uint8)
        self.count = tf.size(self.values, out_type=tf.int64)

    def __call__(self, at: tf.Tensor) -> tf.Tensor:
        """The byte at a position, int64."""
        import tensorflow as tf

        return tf.cast(tf.gather(self.values, tf.clip_by_value(at, 0, self.count - 1)), tf.int64)

    def word(self, at: tf.Tensor, little: tf.Tensor | bool) -> tf.Tensor:
        """Two bytes as a number."""
        import tensorflow as tf

        return tf.where(little, self(at) + 256 * self(at + 1), self(at + 1) + 256 * self(at))

    def long(self, at: tf.Tensor, little: tf.Tensor | bool) -> tf.Tensor:
        """Four bytes as a number."""
        import tensorflow as tf

        low, high = self.word(at, little), self.word(at + 2, little)
        return tf.where(little, low + 65536 * high, high + 65536 * low)

    def named(self, at: tf.Tensor, name: bytes) -> tf.Tensor:
        """Whether these bytes are at a position."""
        import tensorflow as tf

        return tf.reduce_all(tf.stack([self(at + i) == value for i, value in enumerate(name)]))
