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
#: What takes a turn back, where that is another.
BACK = {"turned left": "turned right", "turned right": "turned left"}
#: Scale (its side over the image's), top and left of a part of an image, all shares of the image's side.
Window = tuple[float, float, float]
WHOLE: Window = (1.0, 0.0, 0.0)
#: Turns that crops are looked for in.
WITH_CROPS = ("", "mirrored")


def grey(pixels: np.ndarray) -> np.ndarray:
    """Grey copies, uint8[n, 64, 64], of prepared images, uint8[n, side, side, 3]; each pixel a mean of the image's."""
    from PIL import Image

    def small(image: np.ndarray) -> np.ndarray:
        return np.asarray(Image.fromarray(image).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX))

    with ThreadPoolExecutor(2) as pool:  # Pillow lets go of the interpreter's lock
        return np.stack(list(pool.map(small, pixels)))


def turned(values: np.ndarray, turn: str) -> np.ndarray:
    """[..., side, side] in one of `TURNS`."""
    mirrored, quarters = TURNS[turn]
    return np.rot90(values[..., ::-1] if mirrored else values, quarters, axes=(-2, -1))


def window(greys: np.ndarray, windows: np.ndarray | Window, side: int) -> np.ndarray:
    """Windows of [n, h, h] as float32[n, side, side], whose pixels are means over what they cover.

    `windows`: one for all, or float[n, 3]: scale, top and left of each.
    """
    scale, top, left = np.moveaxis(np.asarray(windows, np.float32), -1, 0)
    rows, columns = (_means(start, scale, side, greys.shape[-1]) for start in (top, left))
    return rows @ greys.astype(np.float32) @ np.swapaxes(columns, -1, -2)


def _means(start: np.ndarray, scale: np.ndarray, side: int, pixels: int) -> np.ndarray:
    """What each of `side` pixels takes of each of so many, along one axis: float32[..., side, pixels]."""
    size = np.float32(pixels)
    edges = (start[..., None] + scale[..., None] * np.linspace(0, 1, side + 1, dtype=np.float32)) * size
    # How much of each pixel an edge has passed; the difference of two edges is what lies between them.
    passed = np.clip(edges[..., None] - np.arange(pixels, dtype=np.float32), 0, 1)
    return np.diff(passed, axis=-2) * (side / (scale * size))[..., None, None]
