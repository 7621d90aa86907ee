"""Bytes of photos for versions of older releases, whose own decoders take any number of frames and scans.

GIF89a, sections 19 to 23 (https://www.w3.org/Graphics/GIF/spec-gif89a.txt).
"""

from tasks.data.images.decode import SCAN, SCANS
from tasks.data.images.gif import END, EXTENSION, IMAGE


def bounded(data: bytes) -> bytes:
    """The same photo; of a GIF the first frame alone, as its other frames would be decoded in vain.

    Raises `ValueError` for a GIF whose frame is larger than its header says, and for a JPEG of very many scans.
    """
    if data[:2] == b"\xff\xd8" and (scans := data.count(SCAN)) > SCANS:
        raise ValueError(f"expected at most {SCANS} scans of a JPEG, found {scans}")
    return _first_frame(data) if data[:4] == b"GIF8" else data


def _first_frame(data: bytes) -> bytes:
    try:
        at = 13 + _palette(data[10])
        while data[at] == EXTENSION:
            at = _after_blocks(data, at + 2)
        if data[at] != IMAGE:
            return data
        if not _within(data, at):
            raise ValueError("expected a GIF whose first frame is within its size")
        return data[: _after_blocks(data, at + 11 + _palette(data[at + 9]))] + END
    except IndexError:  # it ends within the first frame: there is no other
        return data


def _after_blocks(data: bytes, at: int) -> int:
    """The place after blocks that each have their length before them; an empty one ends them."""
    while data[at]:
        at += 1 + data[at]
    return at + 1


def _within(data: bytes, image: int) -> bool:
    screen = [int.from_bytes(data[at : at + 2], "little") for at in (6, 8)]
    left, top, width, height = (int.from_bytes(data[at : at + 2], "little") for at in range(image + 1, image + 9, 2))
    return left + width <= screen[0] and top + height <= screen[1]


def _palette(flags: int) -> int:
    """Bytes of the palette that a header or an image with these flags has."""
    return 3 * 2 ** (flags % 8 + 1) if flags >= 128 else 0
