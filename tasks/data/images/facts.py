"""Facts of an image file, without a network: key, size, brightness and sharpness, or why it cannot be read."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Callable, Container
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.data.images import pipeline, plain
from tasks.data.images.decode import FORMATS, SCAN, SCANS
from tasks.runtime.store import photos

if TYPE_CHECKING:
    from PIL import Image

#: Brightness and sharpness are measured on a grey copy of at most this side, pixels, to compare across resolutions.
COPY_SIDE = 256
#: How the errors of files that could not be read at all begin.
CLOSED = "cannot be opened"
#: Photos with more pixels are decoded one at a time, to bound the memory.
LARGE = 2**24
_large = Lock()

# Pillow warns of damaged EXIF data and of its own limit on pixels. `catch_warnings` is not made for threads.
warnings.filterwarnings("ignore", module=r"PIL\.")


@dataclass(frozen=True)
class Facts:
    """Facts of one file; if `error` is set, the fields that could not be read are None."""

    key: str | None = None  # sha256 of the bytes, hex
    bytes: int | None = None
    format: str | None = None  # as Pillow names it
    width: int | None = None  # pixels, as stored
    height: int | None = None
    channels: int | None = None
    brightness: float | None = None  # mean grey, 0 to 1
    contrast: float | None = None  # standard deviation of grey, 0 to 1
    sharpness: float | None = None  # variance of the Laplacian of grey 0 to 255
    phash: str | None = None  # 64-bit perceptual hash, hex
    error: str | None = None


def read(path: str, size: int, max_pixels: int) -> tuple[dict[str, Any], np.ndarray | None]:
    """Facts of a file, and its photo as `pipeline.photo` gives it for squares of `size`; None if there is an error.

    Never raises for a bad file: `error` says what is wrong with it.
    """
    photo = None

    def look(image: Image.Image, data: bytes, key: str) -> dict[str, Any]:
        nonlocal photo
        checked = _checked(image, data, max_pixels)
        with _one_large(image):
            photo = _decoded(image, data, size, max_pixels)
            return checked | _seen(photo)

    return asdict(_facts(path, look)), photo


def square(
    path: str, known: Container[str], size: int, fit: str, max_pixels: int
) -> tuple[dict[str, Any], np.ndarray | None]:
    """As `read`, without what is measured, and instead of the photo its square; None if its key is `known`."""
    found = None

    def look(image: Image.Image, data: bytes, key: str) -> dict[str, Any]:
        nonlocal found
        checked = _checked(image, data, max_pixels)
        if key not in known:
            with _one_large(image):
                found = plain.fitted(_decoded(image, data, size, max_pixels), size, fit)
        return checked

    return asdict(_facts(path, look)), found


def _one_large(image: Image.Image) -> AbstractContextManager[Any]:
    return _large if image.width * image.height > LARGE else nullcontext()


def _decoded(image: Image.Image, data: bytes, size: int, max_pixels: int) -> np.ndarray:
    try:
        return pipeline.photo(data, size, max_pixels, (str(image.format),))
    except ValueError as error:
        image.load()  # Pillow says better what is wrong, if it finds anything
        kind = f"damaged, or a kind of {image.format} that TensorFlow does not read"
        raise ValueError(f"{kind}; save it again as PNG ({error})") from None


def unread(reason: str) -> dict[str, Any]:
    """As `read`, of a file that cannot be had."""
    return asdict(Facts(error=f"{CLOSED}: {reason}"))


def _facts(path: str, look: Callable[[Image.Image, bytes, str], dict[str, Any]]) -> Facts:
    from PIL import Image

    try:
        size = photos.size(path)
        if size > photos.MAX_BYTES:
            return Facts(bytes=size, error=f"{size} bytes, more than the limit of {photos.MAX_BYTES}")
        data = photos.content(path, "")
    except OSError as error:
        return Facts(error=f"{CLOSED}: {error.strerror}")
    key = hashlib.sha256(data).hexdigest()
    if not data:
        return Facts(key=key, bytes=0, error="empty file")
    try:
        with Image.open(io.BytesIO(data)) as image:
            return Facts(key=key, bytes=len(data), **look(image, data, key))
    except Exception as error:
        # Pillow's plugins raise any error of their parser: struct.error, IndexError, SyntaxError, OSError …
        return Facts(key=key, bytes=len(data), error=f"not a readable image: {_reason(error)}")


def _checked(image: Image.Image, data: bytes, max_pixels: int) -> dict[str, Any]:
    """Facts from the header of a file; `ValueError` if the kind is not supported."""
    if image.format not in FORMATS:
        raise ValueError(f"format {image.format}; convert it to PNG or JPEG")
    if image.format == "BMP" and image.mode == "1":
        raise ValueError("BMP with 1 bit per pixel; convert it to PNG")
    if image.format == "WEBP" and getattr(image, "is_animated", False):
        raise ValueError("animated WebP; convert its first frame to PNG")
    if image.format in ("JPEG", "MPO") and data.count(SCAN) > SCANS:
        raise ValueError(f"a JPEG of {data.count(SCAN)} scans, more than {SCANS}; save it again")
    if image.width * image.height > max_pixels:
        raise ValueError(f"{image.width}x{image.height} pixels, more than images.max_pixels = {max_pixels}")
    size = {"format": image.format, "width": image.width, "height": image.height}
    return size | {"channels": len(image.getbands())}


def _seen(photo: np.ndarray) -> dict[str, Any]:
    """Facts from the pixels, uint8[height, width, 1 or 3]."""
    import imagehash
    from PIL import Image

    grey = Image.fromarray(photo.squeeze(2) if photo.shape[2] == 1 else photo).convert("L")
    grey.thumbnail((COPY_SIDE, COPY_SIDE))
    values = np.asarray(grey, np.float32)
    return {
        "brightness": round(float(values.mean()) / 255, 6),
        "contrast": round(float(values.std()) / 255, 6),
        "sharpness": round(float(_laplacian(values).var()), 4),
        "phash": str(imagehash.phash(grey)),
    }


def _laplacian(grey: np.ndarray) -> np.ndarray:
    """Second differences of [h, w], at least [1, 1]."""
    padded = np.pad(grey, 1, mode="edge")
    return padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:] - 4 * grey


def _reason(error: Exception) -> str:
    text = str(error).split("<_io")[0].strip() or type(error).__name__
    return "unknown format" if text.startswith("cannot identify image file") else text
