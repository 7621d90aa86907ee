"""The first frame of a GIF, as a graph: GIF89a, sections 19 to 23 (https://www.w3.org/Graphics/GIF/spec-gif89a.txt)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.data.images.raw import Bytes

if TYPE_CHECKING:
    import tensorflow as tf

IMAGE, EXTENSION, CONTROL = 0x2C, 0x21, 0xF9
#: What ends a GIF.
END = b";"


def first_frame(data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """A GIF of the first frame alone, white where it is transparent, and the frame's height and width.

    TensorFlow decodes all frames, and makes what is transparent black. The transparent entry of the palette becomes
    white, and the frame's flag of transparency is cleared.
    """
    import tensorflow as tf

    raw = Bytes(data)

    def more(at: tf.Tensor, inside: tf.Tensor, control: tf.Tensor) -> tf.Tensor:
        return (at + 1 < raw.count) & (inside | (raw(at) == EXTENSION))

    def step(at: tf.Tensor, inside: tf.Tensor, control: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        # An extension is a name and blocks, each with its length before it; an empty one ends it.
        control = tf.where(~inside & (raw(at + 1) == CONTROL), at, control)
        onward = tf.where(inside, 1 + raw(at), 2)
        return at + onward, ~inside | (raw(at) != 0), control

    first = 13 + _palette(raw(tf.constant(10, tf.int64)))
    start = (first, tf.constant(False), tf.constant(-1, tf.int64))
    image, _, control = tf.while_loop(more, step, start, maximum_iterations=4096)
    colour = tf.where(raw(image + 9) >= 128, image + 10, 13) + 3 * raw(control + 6)
    packed = raw(control + 3)

    def whitened() -> tf.Tensor:
        cleared = tf.gather(tf.constant([bytes([value]) for value in range(256)]), packed - 1)
        return _put(_put(data, control + 3, cleared, 1), colour, tf.constant(b"\xff\xff\xff"), 3)

    found = raw(image) == IMAGE
    known = (control >= 0) & found & (packed % 2 == 1) & (colour + 3 <= raw.count)
    white = tf.cond(known, whitened, lambda: data)
    alone = tf.cond(found, lambda: _alone(white, image), lambda: white)
    return alone, raw.word(image + 7, little=True), raw.word(image + 5, little=True)


def _alone(data: tf.Tensor, image: tf.Tensor) -> tf.Tensor:
    """The GIF up to the end of the image that begins here; all of it where the image has no end."""
    import tensorflow as tf

    raw = Bytes(data, whole=True)
    # After the palette comes the size of a code, then blocks, each with its length before it; an empty one ends it.
    start = image + 10 + _palette(raw(image + 9)) + 1

    def more(at: tf.Tensor) -> tf.Tensor:
        return (at + 1 < raw.count) & (raw(at) != 0)

    (end,) = tf.while_loop(more, lambda at: (at + 1 + raw(at),), (start,), parallel_iterations=1)
    cut = tf.strings.join([tf.strings.substr(data, tf.constant(0, tf.int64), end + 1), END])
    return tf.cond(end + 1 < raw.count, lambda: cut, lambda: data)


def _palette(flags: tf.Tensor) -> tf.Tensor:
    """Bytes of the palette that a header or an image with these flags has."""
    import tensorflow as tf

    return tf.where(flags >= 128, 3 * 2 ** (flags % 8 + 1), 0)


def _put(data: tf.Tensor, at: tf.Tensor, new: tf.Tensor, length: int) -> tf.Tensor:
    """The bytes with others at a position."""
    import tensorflow as tf

    rest = tf.cast(tf.strings.length(data), tf.int64) - at - length
    return tf.strings.join(
        [tf.strings.substr(data, tf.constant(0, tf.int64), at), new, tf.strings.substr(data, at + length, rest)]
    )
