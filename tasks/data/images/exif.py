"""The orientation in the EXIF data of a file, as a graph: EXIF 2.3, tag 0x0112, in TIFF 6.0's layout."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.data.images.raw import HEAD, Bytes, number

if TYPE_CHECKING:
    import tensorflow as tf


def jpeg(data: tf.Tensor) -> tf.Tensor:
    """EXIF orientation 1 to 8 of a JPEG, int64; 1 where there is none."""
    import tensorflow as tf

    raw = Bytes(data)

    def is_exif(at: tf.Tensor) -> tf.Tensor:
        return (raw(at + 1) == 0xE1) & raw.named(at + 4, b"Exi")

    def more(at: tf.Tensor) -> tf.Tensor:
        # Segments follow one another until the scan (0xDA) starts.
        return (at + 12 < raw.count) & (raw(at) == 0xFF) & (raw(at + 1) != 0xDA) & ~is_exif(at)

    def step(at: tf.Tensor) -> tf.Tensor:
        return (at + 2 + raw.word(at + 2, little=False),)

    (segment,) = tf.while_loop(more, step, (tf.constant(2, tf.int64),), maximum_iterations=256)
    return _orientation(raw, segment + 10, is_exif(segment) & (raw(segment) == 0xFF))


def png(data: tf.Tensor) -> tf.Tensor:
    """EXIF orientation of a PNG whose chunk `eXIf` comes before its pixels; 1 where there is none."""
    import tensorflow as tf

    raw = Bytes(data)

    def more(at: tf.Tensor) -> tf.Tensor:
        return (at + 12 < raw.count) & ~raw.named(at + 4, b"IDAT") & ~raw.named(at + 4, b"eXIf")

    def step(at: tf.Tensor) -> tf.Tensor:
        return (at + 12 + raw.long(at, little=False),)

    (chunk,) = tf.while_loop(more, step, (tf.constant(8, tf.int64),), maximum_iterations=256)
    return _orientation(raw, chunk + 8, (chunk + 12 < raw.count) & raw.named(chunk + 4, b"eXIf"))


def webp(data: tf.Tensor) -> tf.Tensor:
    """EXIF orientation of an extended WebP, whose chunk `EXIF` comes after its pixels; 1 where there is none."""
    import tensorflow as tf

    length = tf.cast(tf.strings.length(data), tf.int64)

    def more(at: tf.Tensor) -> tf.Tensor:
        return (at + 12 < length) & (tf.strings.substr(data, at, tf.constant(4, tf.int64)) != b"EXIF")

    def step(at: tf.Tensor) -> tf.Tensor:
        size = number(data, at + 4, 4)
        return (at + 8 + size + size % 2,)

    def search() -> tf.Tensor:
        (chunk,) = tf.while_loop(more, step, (tf.constant(12, tf.int64),), maximum_iterations=256)

        def read() -> tf.Tensor:
            raw = Bytes(tf.strings.substr(data, chunk + 8, tf.constant(HEAD, tf.int64)))
            # Some writers put JPEG's signature before the data.
            start = tf.where(raw.named(tf.constant(0, tf.int64), b"Exif"), tf.constant(6, tf.int64), 0)
            return _orientation(raw, start, tf.constant(True))

        return tf.cond(chunk + 12 < length, read, lambda: tf.constant(1, tf.int64))

    def flagged() -> tf.Tensor:
        return number(data, 20, 1) // 8 % 2 == 1

    extended = tf.cond(tf.strings.substr(data, 12, 4) == b"VP8X", flagged, lambda: tf.constant(False))
    return tf.cond(extended, search, lambda: tf.constant(1, tf.int64))


def _orientation(raw: Bytes, tiff: tf.Tensor, present: tf.Tensor) -> tf.Tensor:
    """The orientation in the EXIF data that begins at `tiff`; 1 where there is none."""
    import tensorflow as tf

    little = raw(tiff) == 0x49
    directory = tiff + raw.long(tiff + 4, little)
    entries = directory + 2 + 12 * tf.range(tf.minimum(raw.word(directory, little), 512), dtype=tf.int64)
    found = tf.boolean_mask(raw.word(entries + 8, little), raw.word(entries, little) == 0x0112)
    value = tf.cond(present & (tf.size(found) > 0), lambda: found[0], lambda: tf.constant(1, tf.int64))
    return tf.where((value >= 1) & (value <= 8), value, 1)
