"""Fixed views of a prepared image: the same image and view give the same pixels, so that features can be kept."""

from collections.abc import Callable

import numpy as np

#: Each maps [..., size, size, 3] to the same shape.
VIEWS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "identity": lambda x: x,
    "flip_left_right": lambda x: x[..., :, ::-1, :],
    "flip_up_down": lambda x: x[..., ::-1, :, :],
    "rotate_180": lambda x: x[..., ::-1, ::-1, :],
    "rotate_90": lambda x: np.rot90(x, 1, (-3, -2)),
    "rotate_270": lambda x: np.rot90(x, 3, (-3, -2)),
}


def view(images: np.ndarray, name: str) -> np.ndarray:
    """The named view of uint8[..., size, size, 3]."""
    return np.ascontiguousarray(VIEWS[name](images))
