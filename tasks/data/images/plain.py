"""Plain PNGs to prepared squares without TensorFlow: the pixels of `decode.prepare`, in a third of the processor time.

kornia-rs decodes, and SciPy's sparse matrices resize: one product per axis, in one thread and without TensorFlow's
overhead for each operation. Sums are added in the same order as TensorFlow's, so that the pixels are equal.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import scipy.sparse

#: Channels by colour type, of those that only need unpacking: grey and RGB (https://www.w3.org/TR/png/, 11.2.1).
MODES = {0: "mono", 2: "rgb"}
#: Larger images go to the graph, which decodes on all cores: at this size kornia-rs holds Python's lock for 1 ms.
MOST_PIXELS = 2**18


def prepare(data: bytes, size: int, fit: str, max_pixels: int) -> np.ndarray | None:
    """The bytes of an 8-bit grey or RGB PNG without transparency as uint8[size, size, 3], as `decode.prepare` gives it.

    None for all others: other kinds of image, large ones, and damaged ones, for which the graph raises the error.
    """
    photo = _decoded(data, min(max_pixels, MOST_PIXELS))
    return None if photo is None else _fitted(photo, size, fit)


def _decoded(data: bytes, max_pixels: int) -> np.ndarray | None:
    """uint8[height, width, 1 or 3], or None."""
    header = data[:29]  # signature, length, name, width, height, bits, colour type, compression, filter, interlacing
    if len(header) < 29 or header[:16] != b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR":
        return None
    width, height = int.from_bytes(header[16:20]), int.from_bytes(header[20:24])
    bits, colour, *_, interlaced = header[24:]
    before = data[: data.find(b"IDAT")]
    plain = bits == 8 and colour in MODES and not interlaced and b"tRNS" not in before and b"eXIf" not in before
    if not plain or not 0 < width * height <= max_pixels:
        return None
    from kornia_rs.io import decode_image_png_u8

    try:
        return decode_image_png_u8(data, (height, width), MODES[colour])
    except Exception:  # kornia-rs raises no narrower type
        return None


def _fitted(photo: np.ndarray, size: int, fit: str) -> np.ndarray:
    """uint8[height, width, channels] as uint8[size, size, 3]; `fit` as in `decode.prepare`."""
    height, width, channels = photo.shape
    across = down = size
    if fit == "crop":
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        photo = photo[top : top + side, left : left + side]
    elif fit == "pad":
        scale = np.float32(size) / np.float32(max(height, width))
        down, across = (max(1, int(np.rint(np.float32(length) * scale))) for length in (height, width))
    square = np.zeros((size, size, 3), np.uint8)
    top, left = (size - down) // 2, (size - across) // 2
    for colour in range(3):
        if colour < channels:  # a grey photo is resized once
            plane = _resized(photo[..., colour], down, across)
        square[top : top + down, left : left + across, colour] = plane
    return square


def _resized(plane: np.ndarray, height: int, width: int) -> np.ndarray:
    """One channel, uint8[h, w], as uint8[height, width]: bilinear, antialiased."""
    rows = _weights(plane.shape[0], height) @ plane.astype(np.float32)
    columns = _weights(plane.shape[1], width) @ np.ascontiguousarray(rows.T)
    return np.rint(columns, out=columns).astype(np.uint8).T


@lru_cache(maxsize=1024)
def _weights(length: int, wanted: int) -> scipy.sparse.csr_array:
    """Weight of each of `length` input pixels in each of the `wanted` output pixels, float32[wanted, length].

    The spans of TensorFlow's `ScaleAndTranslate` with the triangle kernel and antialiasing, step by step in float32.
    """
    one, half = np.float32(1), np.float32(0.5)
    step = np.float32(1 / np.float64(np.float32(wanted / length)))
    radius = max(step, one)
    centres = (np.arange(wanted, dtype=np.float32) + half) * step
    first = np.clip(np.ceil(centres - radius - half).astype(int), 0, length - 1)
    last = np.clip(np.floor(centres + radius - half).astype(int), 0, length - 1)
    taps = first[:, None] + np.arange((last - first).max() + 1)
    away = np.abs((taps.astype(np.float32) + half - centres[:, None]) * (one / radius))
    used = taps <= last[:, None]
    shares = np.where(used, np.maximum(one - away, 0), 0).astype(np.float32)
    # Added one after the other; NumPy's own sum adds in pairs.
    shares *= one / np.add.accumulate(shares, axis=1)[:, -1:]
    ends = np.concatenate([[0], used.sum(axis=1).cumsum()])
    return scipy.sparse.csr_array((shares[used], taps[used], ends), shape=(wanted, length))
