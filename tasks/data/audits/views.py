"""Small grey copies of photos, the eight ways to turn one, and windows cut out of it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

#: Side of a grey copy, pixels.
SIDE = 64
#: Whether an image is mirrored left to right, and how many quarter turns to the left follow.
TURNS = {
    "": (False, 0),
    "mirrored": (True, 0),
    "turned by 180°": (False, 2),
    "mirrored top to bottom": (True, 2),
    "turned left": (False, 1),
    "turned right": (False, 3),
    "mirrored, turned left": (True, 1),
    "mirrored, turned right": (True, 3),
}
#: The inverse of a turn, where it is a different turn.
BACK = {"turned left": "turned right", "turned right": "turned left"}
#: Scale (side), top and left of a part of an image, all as shares of the image's side.
Window = tuple[float, float, float]
WHOLE: Window = (1.0, 0.0, 0.0)
#: Turns in which crops are searched.
WITH_CROPS = ("", "mirrored")


def grey(pixels: np.ndarray) -> np.ndarray:
    """Grey copies, uint8[n, 64, 64], of prepared images, uint8[n, side, side, 3], by averaging pixels."""
    from PIL import Image

    def small(image: np.ndarray) -> np.ndarray:
        return np.asarray(Image.fromarray(image).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX))

    with ThreadPoolExecutor(2) as pool:  # Pillow releases the interpreter's lock
        return np.stack(list(pool.map(small, pixels)))


def turned(values: np.ndarray, turn: str) -> np.ndarray:
    """[..., side, side] in one of `TURNS`."""
    mirrored, quarters = TURNS[turn]
    return np.rot90(values[..., ::-1] if mirrored else values, quarters, axes=(-2, -1))


def window(greys: np.ndarray, windows: np.ndarray | Window, side: int) -> np.ndarray:
    """Windows of [n, h, h] as float32[n, side, side], whose pixels are means over the area that they cover.

    `windows`: one for all, or float[n, 3]: scale, top and left of each.
    """
    scale, top, left = np.moveaxis(np.asarray(windows, np.float32), -1, 0)
    rows, columns = (_means(start, scale, side, greys.shape[-1]) for start in (top, left))
    return rows @ greys.astype(np.float32) @ np.swapaxes(columns, -1, -2)


def _means(start: np.ndarray, scale: np.ndarray, side: int, pixels: int) -> np.ndarray:
    """Weight of each of `pixels` input pixels in each of `side` outputs on one axis: float32[..., side, pixels]."""
    size = np.float32(pixels)
    edges = (start[..., None] + scale[..., None] * np.linspace(0, 1, side + 1, dtype=np.float32)) * size
    # The share of each pixel before an edge; the difference of two edges is the share between them.
    passed = np.clip(edges[..., None] - np.arange(pixels, dtype=np.float32), 0, 1)
    return np.diff(passed, axis=-2) * (side / (scale * size))[..., None, None]
