"""Fixed views of a prepared image: the same image and view give the same pixels, so that features can be stored."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

#: Each maps [..., size, size, 3] to the same shape, with the operations of `numpy` or of `keras.ops`.
VIEWS: dict[str, Callable[[Any, ModuleType], Any]] = {
    "identity": lambda x, ops: x,
    "flip_left_right": lambda x, ops: ops.flip(x, axis=-2),
    "flip_up_down": lambda x, ops: ops.flip(x, axis=-3),
    "rotate_180": lambda x, ops: ops.rot90(x, 2, axes=(-3, -2)),
    "rotate_90": lambda x, ops: ops.rot90(x, 1, axes=(-3, -2)),
    "rotate_270": lambda x, ops: ops.rot90(x, 3, axes=(-3, -2)),
}


def view(images: np.ndarray, name: str) -> np.ndarray:
    """The named view of uint8[..., size, size, 3]."""
    return np.ascontiguousarray(VIEWS[name](images, np))
