"""Loads weights into a Keras model from a Keras or PyTorch file of the same network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.networks.weights import arrays, state
from tasks.networks.weights.files import DAMAGE
from tasks.runtime.errors import DependencyError, brief

if TYPE_CHECKING:
    import keras
    import numpy as np

#: Parts of a PyTorch entry in the order of the Keras layer's weights, and their axes in Keras' order.
#: Conv2d: (out, in, h, w) to (h, w, in, out); depthwise: (channels, 1, h, w) to (h, w, channels, 1).
PARTS: dict[str, dict[str, tuple[int, ...]]] = {
    "Conv2D": {"weight": (2, 3, 1, 0), "bias": (0,)},
    "DepthwiseConv2D": {"weight": (2, 3, 0, 1), "bias": (0,)},
    "Dense": {"weight": (1, 0), "bias": (0,)},
    "BatchNormalization": {"weight": (0,), "bias": (0,), "running_mean": (0,), "running_var": (0,)},
}


def fill(model: keras.Model, path: Path, entry: Callable[[str], str] | None = None) -> None:
    """Set every weight from a `.keras`, `.weights.h5` or `.h5` of this network, or from PyTorch's state dictionary.

    `entry` turns a layer's name into the prefix of PyTorch's names of its weights. Other entries of the file are
    ignored. Raises `DependencyError` where one is missing or has another shape, or where the file holds code.
    """
    try:
        if entry is None or path.suffix not in state.SUFFIXES:
            arrays.assign(model, path)
        else:
            assign(model, state.read(path), entry)
    except DAMAGE as error:
        raise DependencyError(f"{path}: expected the weights of {model.name}, found others: {brief(error)}") from None


def assign(model: keras.Model, state: dict[str, np.ndarray], entry: Callable[[str], str]) -> None:
    """Set every weight from a state dictionary; `ValueError` names an entry that is missing or has another shape."""
    for layer in model.layers:
        if layer.weights:
            parts = PARTS[type(layer).__name__].items()
            # A layer without bias has fewer weights than there are parts.
            arrays = [
                _array(state, f"{entry(layer.name)}.{part}", axes, weight.shape)
                for (part, axes), weight in zip(parts, layer.weights, strict=False)
            ]
            layer.set_weights(arrays)


def _array(state: dict[str, np.ndarray], name: str, axes: tuple[int, ...], shape: tuple[int, ...]) -> np.ndarray:
    """An entry in Keras' order of axes, which must have the shape `shape`."""
    expected = tuple(shape[axes.index(axis)] for axis in range(len(axes)))
    found = state[name].shape if name in state else "none"
    if found != expected:
        raise ValueError(f"{name}: expected the shape {expected}, found {found}.")
    return state[name].transpose(axes)
