"""One picture in every format that can be read."""

import helpers
import numpy as np
from helpers import encoded
from PIL import Image

PHOTO = helpers.photo((120, 200, 60), 1, 60).crop((0, 0, 60, 40))


def transparent() -> Image.Image:
    image = PHOTO.convert("RGBA")
    alpha = np.full((40, 60), 255, "uint8")
    alpha[:, :30], alpha[:10] = 0, 128
    image.putalpha(Image.fromarray(alpha))
    return image


def turned(orientation: int, kind: str = "JPEG", **options) -> bytes:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = orientation, "a maker"
    return encoded(PHOTO, kind, exif=exif, **options)


def gif(**options) -> bytes:
    """A GIF of 64 colours, the first of them transparent; an own palette for the frame, if `options` say so."""
    return encoded(PHOTO.quantize(64), "GIF", transparency=0, comment=b"c" * 600, **options)


FILES = {
    "jpeg": encoded(PHOTO, "JPEG"),
    "jpeg progressive": encoded(PHOTO, "JPEG", progressive=True),
    "jpeg grey": encoded(PHOTO.convert("L"), "JPEG"),
    "jpeg cmyk": encoded(PHOTO.convert("CMYK"), "JPEG"),
    "png": encoded(PHOTO, "PNG"),
    "png grey": encoded(PHOTO.convert("L"), "PNG"),
    "png 1 bit": encoded(PHOTO.convert("1"), "PNG"),
    "png palette": encoded(PHOTO.quantize(64), "PNG"),
    "png palette 2 bits": encoded(PHOTO.quantize(4), "PNG", bits=2),
    "png palette transparent": encoded(PHOTO.quantize(64), "PNG", transparency=3),
    "png alpha": encoded(transparent(), "PNG"),
    "png grey alpha": encoded(transparent().convert("LA"), "PNG"),
    "gif": encoded(PHOTO.quantize(64), "GIF"),
    "gif animated": encoded(PHOTO.quantize(64), "GIF", save_all=True, append_images=[PHOTO.rotate(90)]),
    "bmp": encoded(PHOTO, "BMP"),
    "bmp grey": encoded(PHOTO.convert("L"), "BMP"),
    "bmp palette": encoded(PHOTO.quantize(64), "BMP"),
    "webp": encoded(PHOTO, "WEBP"),
    "webp lossless": encoded(PHOTO, "WEBP", lossless=True),
    "webp alpha": encoded(transparent(), "WEBP", lossless=True),
    "gif transparent": gif(),
    "gif transparent animated": gif(save_all=True, append_images=[PHOTO.rotate(90).quantize(64)]),
} | {f"jpeg turned {n}": turned(n) for n in range(1, 9)}
FILES |= {f"png turned {n}": turned(n, "PNG") for n in range(1, 9)}
FILES |= {f"webp turned {n}": turned(n, "WEBP", lossless=True) for n in (3, 6)}
