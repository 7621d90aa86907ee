"""Plain PNGs and JPEGs without TensorFlow: the pixels of `decode.py`, in less of the processor's time.

kornia-rs decodes PNGs, Pillow JPEGs, and SciPy's sparse matrices resize: one product per axis, in one thread and
without TensorFlow's overhead for each operation. Sums are added in the same order as TensorFlow's, so that the pixels
are equal.
"""

from __future__ import annotations

import io
import re
from functools import lru_cache
from typing import Literal

import numpy as np
import scipy.sparse

from tasks.data.images.decode import RATIOS, SCAN, SCANS
from tasks.data.images.raw import HEAD

#: Channels by colour type, of those that only need unpacking: grey and RGB (https://www.w3.org/TR/png/, 11.2.1).
MODES = {0: "mono", 2: "rgb"}
CRITICAL = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
#: Of a PNG of `MOST_PIXELS`, whose data usually come in chunks of 8 KiB.
MOST_CHUNKS = 1024
#: Larger PNGs go to the graph, which decodes on all cores: at this size kornia-rs holds Python's lock for 1 ms.
MOST_PIXELS = 2**18


def decode(data: bytes, size: int, max_pixels: int) -> np.ndarray | None:
    """A photo's bytes as uint8[height, width, 1 or 3], as `decode.decode` gives it.

    None for all that are not plain: other kinds of image, and damaged ones, for which the graph raises the error. Plain
    are 8-bit grey and RGB PNGs without transparency or EXIF data, up to `MOST_PIXELS`; and grey and colour JPEGs.
    """
    return _jpeg(data, size, max_pixels) if data.startswith(b"\xff\xd8") else _png(data, min(max_pixels, MOST_PIXELS))


def _jpeg(data: bytes, size: int, max_pixels: int) -> np.ndarray | None:
    from PIL import Image

    # Pillow reads on where TensorFlow gives up, for example after segments that are damaged.
    if data.count(SCAN) > SCANS or not _well_formed(data):
        return None
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as photo:
            width, height = photo.size
            if photo.mode not in ("L", "RGB") or not 0 < width * height <= max_pixels:
                return None
            ratio = max(r for r in RATIOS if r == 1 or min(width, height) // r >= 2 * size)
            photo.draft(None, (width // ratio, height // ratio))
            pixels = np.atleast_3d(np.asarray(photo))
            return np.ascontiguousarray(_upright(pixels, _orientation(data)))
    except Exception:  # Pillow's parsers raise any type
        return None


#: A marker within the pixels' data: neither a value 255 (00) nor a restart (D0 to D7).
MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


def _well_formed(data: bytes) -> bool:
    """Whether a JPEG's segments follow one another up to the end of the file (ITU-T T.81, annex B).

    A progressive one must have all scans too, the exact ones last: versions of the library smooth over what is missing
    in different ways.
    """
    at, missing, progressive = 2, set[tuple[int, int]](), False
    while data[at : at + 1] == b"\xff":
        marker, length = data[at + 1 : at + 2], int.from_bytes(data[at + 2 : at + 4])
        if marker == b"\xd9":
            return at + 2 == len(data) and not missing
        part = data[at + 4 : at + 2 + length]
        if marker == b"\xc2":
            missing = {(component, place) for component in part[6::3] for place in range(64)}
            progressive = True
        elif marker == b"\xda" and progressive and part:
            first, last, bits = part[1 + 2 * part[0] :][:3].ljust(3, b"\xff")
            components = part[1 : 1 + 2 * part[0] : 2]
            read = {(component, place) for component in components for place in range(first, last + 1)}
            missing = missing - read if bits % 16 == 0 else missing | read
        at += 2 + max(length, 2)
        if marker == b"\xda":
            found = MARKER.search(data, at)
            at = found.start() if found else len(data)
    return False


def _orientation(data: bytes) -> int:
    """EXIF orientation of a JPEG, 1 to 8, step by step as `exif.jpeg` reads it: also from damaged data."""
    head = data[:HEAD]

    def number(at: int, length: int, order: Literal["big", "little"] = "big") -> int:
        return int.from_bytes(bytes(head[min(at + i, len(head) - 1)] for i in range(length)), order)

    at = 2
    for _ in range(256):
        is_exif = number(at + 1, 1) == 0xE1 and number(at + 4, 3) == int.from_bytes(b"Exi")
        if is_exif or at + 12 >= len(head) or number(at, 1) != 0xFF or number(at + 1, 1) == 0xDA:
            break
        at += 2 + number(at + 2, 2)
    if not is_exif or number(at, 1) != 0xFF:
        return 1
    tiff = at + 10
    order: Literal["big", "little"] = "little" if number(tiff, 1) == 0x49 else "big"
    directory = tiff + number(tiff + 4, 4, order)
    entries = (directory + 2 + 12 * i for i in range(min(number(directory, 2, order), 512)))
    value = next((number(entry + 8, 2, order) for entry in entries if number(entry, 2, order) == 0x0112), 1)
    return value if value in range(1, 9) else 1


def _upright(photo: np.ndarray, orientation: int) -> np.ndarray:
    mirrored = photo[:, ::-1] if orientation in (2, 4, 5, 7) else photo
    return np.rot90(mirrored, {1: 0, 2: 0, 3: 2, 4: 2, 5: 1, 6: 3, 7: 3, 8: 1}[orientation])


def _png(data: bytes, max_pixels: int) -> np.ndarray | None:
    header = data[:29]  # signature, length, name, width, height, bits, colour type, compression, filter, interlacing
    if len(header) < 29 or header[:16] != b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR":
        return None
    width, height = int.from_bytes(header[16:20]), int.from_bytes(header[20:24])
    bits, colour, *_, interlaced = header[24:]
    before = data[: data.find(b"IDAT")]
    plain = bits == 8 and colour in MODES and not interlaced and b"tRNS" not in before and b"eXIf" not in before
    if not plain or not 0 < width * height <= max_pixels or not _whole(data, height * (1 + width * (1 + colour))):
        return None
    from kornia_rs.io import decode_image_png_u8

    try:
        return decode_image_png_u8(data, (height, width), MODES[colour])
    except Exception:  # kornia-rs raises no narrower type
        return None


def _whole(data: bytes, length: int) -> bool:
    """Whether a PNG goes up to its end, and TensorFlow too would read its rows, of `length` bytes in all.

    kornia-rs takes a file without an end, chunks that a reader must know and does not (their names begin with a
    capital: https://www.w3.org/TR/png/, 5.4), and any window of zlib. The sum at the end of zlib's stream stays
    unread: inflating once more would take longer than kornia-rs does. Each chunk has a sum of its own.
    """
    at, window = 8, 0
    for _ in range(MOST_CHUNKS):
        size, name = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8]
        if not name.isalpha() or (name[:1].isupper() and name not in CRITICAL):
            return False
        if name == b"IDAT" and size and not window:
            window = 2 ** (8 + (data[at + 8] >> 4))
        at += 12 + size
        if at > len(data) or name == b"IEND":
            return at <= len(data) and size == 0 and window >= min(length, 2**15)
    return False


def fitted(photo: np.ndarray, size: int, fit: str) -> np.ndarray:
    """uint8[height, width, channels] as uint8[size, size, 3], as `decode.prepare` makes it; `fit` as there."""
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
