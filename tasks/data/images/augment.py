"""Fixed views of a prepared image: the same image and view give the same pixels, so that features can be stored."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

#: Share of a side that a crop shows.
SHOWN = 0.8


def _crop(down: float, across: float) -> Callable[[Any, ModuleType], Any]:
    """A part of an image, enlarged to the whole, bilinear; it begins at this share of what is left aside."""

    def seen(x: Any, ops: ModuleType) -> Any:
        for axis, share in ((-3, down), (-2, across)):
            side = x.shape[axis]
            places = (side - 1) * (share * (1 - SHOWN) + np.linspace(0, SHOWN, side))
            low = np.minimum(places.astype(np.int32), side - 2)
            after = (places - low).astype(np.float32).reshape([-1] + [1] * (-axis - 1))
            x = ops.take(x, low, axis=axis) * (1 - after) + ops.take(x, low + 1, axis=axis) * after
        return ops.round(x)  # as pixels are stored

    return seen


#: Each maps [..., size, size, 3] to the same shape, with the operations of `numpy` or of `keras.ops`.
VIEWS: dict[str, Callable[[Any, ModuleType], Any]] = {
    "identity": lambda x, ops: x,
    "flip_left_right": lambda x, ops: ops.flip(x, axis=-2),
    "flip_up_down": lambda x, ops: ops.flip(x, axis=-3),
    "rotate_180": lambda x, ops: ops.rot90(x, 2, axes=(-3, -2)),
    "rotate_90": lambda x, ops: ops.rot90(x, 1, axes=(-3, -2)),
    "rotate_270": lambda x, ops: ops.rot90(x, 3, axes=(-3, -2)),
    "crop_centre": _crop(0.5, 0.5),
    "crop_top_left": _crop(0.0, 0.0),
    "crop_top_right": _crop(0.0, 1.0),
    "crop_bottom_left": _crop(1.0, 0.0),
    "crop_bottom_right": _crop(1.0, 1.0),
}


def view(images: np.ndarray, name: str) -> np.ndarray:
    """The named view of uint8[..., size, size, 3]."""
    return np.ascontiguousarray(VIEWS[name](images, np).astype(images.dtype, copy=False))
