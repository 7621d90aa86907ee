"""Photo bytes to a prepared square, as one TensorFlow graph that training, evaluation and serving share.

The graph reads JPEG, PNG, GIF (first frame), BMP and still WebP and returns the picture that a viewer shows: EXIF
orientation is applied, transparency is blended onto white, palettes and 16-bit values become 8-bit RGB. It needs no
Python at run time, so that a registered model contains it as a SavedModel.

File layouts: TIFF 6.0 and EXIF 2.3 (orientation, tag 0x0112), PNG (https://www.w3.org/TR/png/), the WebP container
(https://developers.google.com/speed/webp/docs/riff_container), BMP (BITMAPINFOHEADER).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf

#: Formats that the graph reads, as Pillow names them.
FORMATS = ("JPEG", "MPO", "PNG", "GIF", "BMP", "WEBP")


def preparer(
    size: int, fit: str, max_pixels: int, formats: Collection[str] = FORMATS
) -> Callable[[tf.Tensor], tf.Tensor]:
    """`prepare` as a traced graph of one argument."""
    import tensorflow as tf

    signature = [tf.TensorSpec([], tf.string, name="data")]
    return tf.function(
        lambda data: prepare(data, size, fit, max_pixels, formats), input_signature=signature, autograph=False
    )


def prepare(data: tf.Tensor, size: int, fit: str, max_pixels: int, formats: Collection[str] = FORMATS) -> tf.Tensor:
    """One photo's bytes (a string scalar) as uint8[size, size, 3], 0 to 255.

    `fit`: `squash` changes the aspect ratio, `crop` keeps the middle square, `pad` adds black bars. Shrinking is
    antialiased. Raises `InvalidArgumentError` for unreadable bytes and for more than `max_pixels` pixels.
    """
    import tensorflow as tf

    photo = decode(data, max_pixels, formats)
    height, width = tf.shape(photo)[0], tf.shape(photo)[1]
    if fit == "crop":
        side = tf.minimum(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        photo = photo[top : top + side, left : left + side]
    square = [size, size]
    if fit == "pad":
        scale = tf.cast(size, tf.float32) / tf.cast(tf.maximum(height, width), tf.float32)
        square = tf.maximum(1, tf.cast(tf.round(tf.cast(tf.stack([height, width]), tf.float32) * scale), tf.int32))
    photo = _resize(photo, square)
    if fit == "pad":
        photo = tf.image.resize_with_crop_or_pad(photo, size, size)
    # Grey photos are repeated last: resizing one channel is a third of the work.
    return tf.broadcast_to(photo, [size, size, 3])


def _resize(photo: tf.Tensor, square: list[int] | tf.Tensor) -> tf.Tensor:
    """`tf.image.resize` with bilinear antialiasing, one axis after the other, each as weighted sums of rows.

    Four times as fast: TensorFlow's kernel is slow along the width, where it goes pixel by pixel.
    """
    import tensorflow as tf

    channels = tf.shape(photo)[2]
    for length in (square[0], square[1]):
        rows = tf.reshape(photo, [1, tf.shape(photo)[0], 1, -1])
        scale = tf.stack([tf.cast(length / tf.shape(rows)[1], tf.float32), 1.0])
        rows = tf.raw_ops.ScaleAndTranslate(
            images=rows, size=[length, 1], scale=scale, translation=[0.0, 0.0], kernel_type="triangle", antialias=True
        )
        photo = tf.transpose(tf.reshape(rows, [length, -1, channels]), [1, 0, 2])
    return tf.cast(tf.clip_by_value(tf.round(photo), 0, 255), tf.uint8)


def decode(data: tf.Tensor, max_pixels: int, formats: Collection[str] = FORMATS) -> tf.Tensor:
    """One photo's bytes as uint8[height, width, 1 or 3], upright, at its own size. Errors as in `prepare`.

    `formats`: those that can occur, if known. Each further format costs time with every photo, as TensorFlow visits
    each operation of a branch that is not taken: JPEG's branch alone takes a quarter of a millisecond.
    """
    import tensorflow as tf

    starts = {
        _png: (0, b"\x89PNG\r\n\x1a\n", {"PNG"}),
        _jpeg: (0, b"\xff\xd8", {"JPEG", "MPO"}),
        _gif: (0, b"GIF8", {"GIF"}),
        _bmp: (0, b"BM", {"BMP"}),
        _webp: (8, b"WEBP", {"WEBP"}),
    }
    possible = {read: (at, start) for read, (at, start, names) in starts.items() if names & set(formats)}
    begins = [tf.strings.substr(data, at, len(start)) == start for at, start in possible.values()]
    kind = tf.argmax(tf.stack([*begins, True]), output_type=tf.int32)
    readers = [lambda read=read: read(data, max_pixels) for read in possible]
    return tf.ensure_shape(tf.switch_case(kind, [*readers, lambda: _unknown(data)]), [None, None, None])


def _unknown(data: tf.Tensor) -> tf.Tensor:
    import tensorflow as tf

    with tf.control_dependencies([_require(False, "expected JPEG, PNG, GIF, BMP or WebP bytes")]):
        return tf.zeros([1, 1, 1], tf.uint8)


def _jpeg(data: tf.Tensor, max_pixels: int) -> tf.Tensor:
    import tensorflow as tf

    height, width, _ = tf.unstack(tf.image.extract_jpeg_shape(data))
    with tf.control_dependencies([_bounded(height, width, max_pixels)]):
        photo = tf.image.decode_jpeg(data, dct_method="INTEGER_ACCURATE")
    return _turn(photo, _jpeg_orientation(data))


def _png(data: tf.Tensor, max_pixels: int) -> tf.Tensor:
    import tensorflow as tf

    size = tf.io.decode_raw(tf.strings.substr(data, 16, 8), tf.int32, little_endian=False)
    width, height = tf.unstack(tf.ensure_shape(size, [2]))
    with tf.control_dependencies([_bounded(height, width, max_pixels)]):
        # If absent alpha is requested, TensorFlow leaves values of 1, 2 and 4 bits unscaled: take the file's channels.
        return _on_white(tf.image.decode_png(data))


def _gif(data: tf.Tensor, max_pixels: int) -> tf.Tensor:
    import tensorflow as tf

    with tf.control_dependencies([_bounded(_number(data, 8, 2), _number(data, 6, 2), max_pixels)]):
        return tf.image.decode_gif(data)[0]


def _bmp(data: tf.Tensor, max_pixels: int) -> tf.Tensor:
    import tensorflow as tf

    height = tf.abs(tf.bitcast(tf.cast(_number(data, 22, 4), tf.uint32), tf.int32))  # negative: rows from the top
    with tf.control_dependencies([_bounded(height, _number(data, 18, 4), max_pixels)]):
        pixels = tf.image.decode_bmp(data)

    def by_palette() -> tf.Tensor:
        # TensorFlow returns the palette's indices as if they were grey values.
        table = tf.io.decode_raw(tf.strings.substr(data, 14 + _number(data, 14, 4), 1024), tf.uint8)
        colours = tf.reshape(table[: tf.size(table) // 4 * 4], [-1, 4])[:, 2::-1]
        return tf.gather(colours, tf.cast(pixels[..., 0], tf.int32))

    return tf.cond(tf.shape(pixels)[-1] == 1, by_palette, lambda: pixels[..., :3])


def _webp(data: tf.Tensor, max_pixels: int) -> tf.Tensor:
    import tensorflow as tf

    kind = tf.strings.substr(data, 12, 4)
    packed = _number(data, 21, 4)
    height, width = tf.case(
        [
            (kind == b"VP8X", lambda: (_number(data, 27, 3) + 1, _number(data, 24, 3) + 1)),
            (kind == b"VP8L", lambda: (packed // 2**14 % 2**14 + 1, packed % 2**14 + 1)),
        ],
        default=lambda: (_number(data, 28, 2) % 2**14, _number(data, 26, 2) % 2**14),
    )
    # TensorFlow 2.21 aborts the process on an animation.
    animated = (kind == b"VP8X") & (_number(data, 20, 1) // 2 % 2 == 1)
    still = _require(~animated, "expected a still image, found an animated WebP")
    with tf.control_dependencies([_bounded(height, width, max_pixels), still]):
        return _on_white(tf.image.decode_webp(data)[0])  # a batch of one frame


def _on_white(photo: tf.Tensor) -> tf.Tensor:
    """uint8[h, w, 1 to 4] (grey, grey and alpha, RGB, RGB and alpha) on white, as uint8[h, w, 1 or 3]."""
    import tensorflow as tf

    channels = tf.shape(photo)[-1]

    def blend() -> tf.Tensor:
        colour = photo[..., :-1]
        alpha = tf.cast(photo[..., -1:], tf.float32) / 255
        return tf.cast(tf.round(tf.cast(colour, tf.float32) * alpha + 255 * (1 - alpha)), tf.uint8)

    return tf.cond(channels % 2 == 0, blend, lambda: photo)


def _bounded(height: tf.Tensor, width: tf.Tensor, max_pixels: int) -> tf.Operation:
    import tensorflow as tf

    pixels = tf.cast(height, tf.int64) * tf.cast(width, tf.int64)
    return _require((pixels > 0) & (pixels <= max_pixels), f"expected at most {max_pixels} pixels, found", pixels)


def _require(condition: tf.Tensor | bool, *message: str | tf.Tensor) -> tf.Operation:
    """`tf.debugging.Assert` as one operation; the original adds a branch of several to each photo's graph."""
    import tensorflow as tf

    return tf.raw_ops.Assert(condition=condition, data=[tf.convert_to_tensor(part) for part in message])


def _number(data: tf.Tensor, start: int | tf.Tensor, length: int) -> tf.Tensor:
    """A little-endian unsigned integer of `length` bytes at `start` of a string scalar, int64."""
    import tensorflow as tf

    values = tf.cast(tf.io.decode_raw(tf.strings.substr(data, start, length), tf.uint8), tf.int64)
    with tf.control_dependencies([_require(tf.size(values) == length, "the file ends too early")]):
        return tf.reduce_sum(values * tf.constant([256**i for i in range(length)], tf.int64))


def _jpeg_orientation(data: tf.Tensor) -> tf.Tensor:
    """EXIF orientation 1 to 8 of a JPEG, int64; 1 where there is none."""
    import tensorflow as tf

    raw = tf.cast(tf.io.decode_raw(tf.strings.substr(data, 0, 2**18), tf.uint8), tf.int64)
    count = tf.size(raw, out_type=tf.int64)

    def byte(at: tf.Tensor) -> tf.Tensor:
        return tf.gather(raw, tf.clip_by_value(at, 0, count - 1))

    def is_exif(at: tf.Tensor) -> tf.Tensor:
        return (byte(at + 1) == 0xE1) & (byte(at + 4) == 0x45) & (byte(at + 5) == 0x78) & (byte(at + 6) == 0x69)

    def more(at: tf.Tensor) -> tf.Tensor:
        # Segments follow one another until the scan (0xDA) starts.
        return (at + 12 < count) & (byte(at) == 0xFF) & (byte(at + 1) != 0xDA) & ~is_exif(at)

    def step(at: tf.Tensor) -> tf.Tensor:
        return (at + 2 + byte(at + 2) * 256 + byte(at + 3),)

    (segment,) = tf.while_loop(more, step, (tf.constant(2, tf.int64),), maximum_iterations=256)
    tiff = segment + 10
    little = byte(tiff) == 0x49

    def word(at: tf.Tensor) -> tf.Tensor:
        return tf.where(little, byte(at) + 256 * byte(at + 1), byte(at + 1) + 256 * byte(at))

    def long(at: tf.Tensor) -> tf.Tensor:
        return tf.where(little, word(at) + 65536 * word(at + 2), word(at + 2) + 65536 * word(at))

    directory = tiff + long(tiff + 4)
    entries = directory + 2 + 12 * tf.range(tf.minimum(word(directory), 512), dtype=tf.int64)
    found = tf.boolean_mask(word(entries + 8), word(entries) == 0x0112)
    present = is_exif(segment) & (byte(segment) == 0xFF) & (tf.size(found) > 0)
    value = tf.cond(present, lambda: found[0], lambda: tf.constant(1, tf.int64))
    return tf.where((value >= 1) & (value <= 8), value, 1)


def _turn(photo: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    import tensorflow as tf

    def mirrored(turns: int) -> tf.Tensor:
        return tf.image.rot90(tf.reverse(photo, [1]), turns)

    return tf.switch_case(
        tf.cast(orientation - 1, tf.int32),
        [
            lambda: photo,
            lambda: mirrored(0),
            lambda: tf.image.rot90(photo, 2),
            lambda: mirrored(2),
            lambda: mirrored(1),
            lambda: tf.image.rot90(photo, 3),
            lambda: mirrored(3),
            lambda: tf.image.rot90(photo, 1),
        ],
    )
