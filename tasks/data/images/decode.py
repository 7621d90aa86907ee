"""Photo bytes to a prepared square, as one TensorFlow graph that training, evaluation and serving share.

The graph reads JPEG, PNG, GIF (first frame), BMP and still WebP and returns the picture that a viewer shows: EXIF
orientation is applied, transparency is blended onto white, palettes and 16-bit values become 8-bit RGB. It needs no
Python at run time, so that a registered model contains it as a SavedModel.

File layouts: TIFF 6.0 and EXIF 2.3 (orientation, tag 0x0112), PNG (https://www.w3.org/TR/png/), the WebP container
(https://developers.google.com/speed/webp/docs/riff_container), BMP (BITMAPINFOHEADER).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import TYPE_CHECKING

from tasks.data.images import exif, gif
from tasks.data.images.raw import number, require

if TYPE_CHECKING:
    import tensorflow as tf

    #: Pixels as the file has them, and their EXIF orientation, int64.
    Oriented = tuple[tf.Tensor, tf.Tensor]

#: Formats that the graph reads, as Pillow names them.
FORMATS = ("JPEG", "MPO", "PNG", "GIF", "BMP", "WEBP")
#: A JPEG can be decoded at its size divided by these, from the first coefficients of its blocks.
RATIOS = (1, 2, 4, 8)
#: A progressive JPEG has about ten scans. Each goes over all pixels, so that thousands in a small file take hours.
SCAN, SCANS = b"\xff\xda", 100
#: The EXIF orientation of pixels that need no turn.
UPRIGHT = 1


def preparer(
    size: int, fit: str, max_pixels: int, formats: Collection[str] = FORMATS
) -> Callable[[tf.Tensor], tf.Tensor]:
    """`prepare` as a traced graph of one argument."""
    return _traced(lambda data: prepare(data, size, fit, max_pixels, formats))


def _traced(read: Callable[[tf.Tensor], tf.Tensor]) -> Callable[[tf.Tensor], tf.Tensor]:
    import tensorflow as tf

    return tf.function(read, input_signature=[tf.TensorSpec([], tf.string, name="data")], autograph=False)


def prepare(data: tf.Tensor, size: int, fit: str, max_pixels: int, formats: Collection[str] = FORMATS) -> tf.Tensor:
    """One photo's bytes (a string scalar) as uint8[size, size, 3], 0 to 255.

    `fit`: `squash` changes the aspect ratio, `crop` keeps the middle square, `pad` adds black bars. Shrinking is
    antialiased. Raises `InvalidArgumentError` for unreadable bytes and for more than `max_pixels` pixels.
    """
    import tensorflow as tf

    photo = decode(data, size, max_pixels, formats)
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


def decoder(size: int, max_pixels: int, formats: Collection[str] = FORMATS) -> Callable[[tf.Tensor], tf.Tensor]:
    """`decode` as a traced graph of one argument."""
    return _traced(lambda data: decode(data, size, max_pixels, formats))


def decode(data: tf.Tensor, size: int, max_pixels: int, formats: Collection[str] = FORMATS) -> tf.Tensor:
    """One photo's bytes as uint8[height, width, 1 or 3], upright. Errors as in `prepare`.

    A JPEG is decoded at a half, a quarter or an eighth of its size, as long as each side is left at least twice `size`
    pixels long; others at their own size.

    `formats`: those that can occur, if known. Each further format costs time with every photo, as TensorFlow visits
    each operation of a branch that is not taken: JPEG's branch alone takes a quarter of a millisecond.
    """
    import tensorflow as tf

    starts = {
        _png: (0, b"\x89PNG\r\n\x1a\n", {"PNG"}),
        partial(_jpeg, size=size): (0, b"\xff\xd8", {"JPEG", "MPO"}),
        _gif: (0, b"GIF8", {"GIF"}),
        _bmp: (0, b"BM", {"BMP"}),
        _webp: (8, b"WEBP", {"WEBP"}),
    }
    possible = {read: (at, start) for read, (at, start, names) in starts.items() if names & set(formats)}
    begins = [tf.strings.substr(data, at, len(start)) == start for at, start in possible.values()]
    kind = tf.argmax(tf.stack([*begins, True]), output_type=tf.int32)
    readers = [lambda read=read: read(data, max_pixels) for read in possible]
    photo, orientation = tf.switch_case(kind, [*readers, lambda: _unknown(data)])
    return _turned(tf.ensure_shape(photo, [None, None, None]), orientation)


def _unknown(data: tf.Tensor) -> Oriented:
    import tensorflow as tf

    with tf.control_dependencies([require(False, "expected JPEG, PNG, GIF, BMP or WebP bytes")]):
        return tf.zeros([1, 1, 1], tf.uint8), tf.constant(UPRIGHT, tf.int64)


def _jpeg(data: tf.Tensor, max_pixels: int, size: int) -> Oriented:
    import tensorflow as tf

    height, width, _ = tf.unstack(tf.image.extract_jpeg_shape(data))
    left = tf.minimum(height, width) // tf.constant(RATIOS)
    shrink = tf.maximum(tf.math.count_nonzero(left >= 2 * size, dtype=tf.int32) - 1, 0)

    def shrunk(ratio: int) -> tf.Tensor:
        return tf.image.decode_jpeg(data, ratio=ratio, dct_method="INTEGER_ACCURATE")

    # Outside of thumbnails this mark is nowhere but before a scan.
    scans = tf.size(tf.strings.split(data, SCAN)) - 1
    few = require(scans <= SCANS, f"expected at most {SCANS} scans of the picture, found", scans)
    with tf.control_dependencies([_bounded(height, width, max_pixels), few]):
        photo = tf.switch_case(shrink, [partial(shrunk, ratio) for ratio in RATIOS])
    return photo, exif.jpeg(data)


def _png(data: tf.Tensor, max_pixels: int) -> Oriented:
    import tensorflow as tf

    size = tf.io.decode_raw(tf.strings.substr(data, 16, 8), tf.int32, little_endian=False)
    width, height = tf.unstack(tf.ensure_shape(size, [2]))
    with tf.control_dependencies([_bounded(height, width, max_pixels)]):
        # If absent alpha is requested, TensorFlow leaves values of 1, 2 and 4 bits unscaled: take the file's channels.
        photo = _on_white(tf.image.decode_png(data))
    return photo, exif.png(data)


def _gif(data: tf.Tensor, max_pixels: int) -> Oriented:
    import tensorflow as tf

    first, height, width = gif.first_frame(data)
    # TensorFlow makes room for the larger of the two.
    bounded = [_bounded(number(data, 8, 2), number(data, 6, 2), max_pixels), _bounded(height, width, max_pixels)]
    with tf.control_dependencies(bounded):
        return tf.image.decode_gif(first)[0], tf.constant(UPRIGHT, tf.int64)


def _bmp(data: tf.Tensor, max_pixels: int) -> Oriented:
    import tensorflow as tf

    height = tf.abs(tf.bitcast(tf.cast(number(data, 22, 4), tf.uint32), tf.int32))  # negative: rows from the top
    packing = number(data, 30, 4)  # 0: none, 3: masks; TensorFlow takes the others for none
    plain = require((packing == 0) | (packing == 3), "expected a BMP that is not compressed")
    with tf.control_dependencies([_bounded(height, number(data, 18, 4), max_pixels), plain]):
        pixels = tf.image.decode_bmp(data)

    def by_palette() -> tf.Tensor:
        # TensorFlow returns the palette's indices as if they were grey values.
        table = tf.io.decode_raw(tf.strings.substr(data, 14 + number(data, 14, 4), 1024), tf.uint8)
        colours = tf.reshape(table[: tf.size(table) // 4 * 4], [-1, 4])[:, 2::-1]
        return tf.gather(colours, tf.cast(pixels[..., 0], tf.int32))

    photo = tf.cond(tf.shape(pixels)[-1] == 1, by_palette, lambda: pixels[..., :3])
    return photo, tf.constant(UPRIGHT, tf.int64)


def _webp(data: tf.Tensor, max_pixels: int) -> Oriented:
    import tensorflow as tf

    kind = tf.strings.substr(data, 12, 4)
    packed = number(data, 21, 4)
    height, width = tf.case(
        [
            (kind == b"VP8X", lambda: (number(data, 27, 3) + 1, number(data, 24, 3) + 1)),
            (kind == b"VP8L", lambda: (packed // 2**14 % 2**14 + 1, packed % 2**14 + 1)),
        ],
        default=lambda: (number(data, 28, 2) % 2**14, number(data, 26, 2) % 2**14),
    )
    # TensorFlow 2.21 aborts the process on an animation.
    animated = (kind == b"VP8X") & (number(data, 20, 1) // 2 % 2 == 1)
    still = require(~animated, "expected a still image, found an animated WebP")
    with tf.control_dependencies([_bounded(height, width, max_pixels), still]):
        photo = _on_white(tf.image.decode_webp(data)[0])  # a batch of one frame
    return photo, exif.webp(data)


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
    return require((pixels > 0) & (pixels <= max_pixels), f"expected at most {max_pixels} pixels, found", pixels)


def _turned(photo: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """The photo upright: above 4 rows and columns are exchanged, then each axis may be reversed."""
    import tensorflow as tf

    def backwards(*orientations: int) -> tf.Tensor:
        return tf.where(tf.reduce_any(orientation == tf.constant(orientations, tf.int64)), -1, 1)

    def upright() -> tf.Tensor:
        exchanged = tf.cond(orientation > 4, lambda: tf.transpose(photo, [1, 0, 2]), lambda: photo)
        return exchanged[:: backwards(3, 4, 7, 8), :: backwards(2, 3, 6, 7)]

    return tf.cond(orientation == UPRIGHT, lambda: photo, upright)
