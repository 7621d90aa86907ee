"""Arrays of Keras' own files, in the order of a network's weights."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.networks import files
from tasks.networks.weights import hdf5, limit

if TYPE_CHECKING:
    from collections.abc import Sequence

    import h5py
    import keras
    import numpy as np


def assign(model: keras.Model, path: Path) -> None:
    """Weights of a `.keras`, `.weights.h5` or older `.h5` file of the same network; the file may have further layers.

    Keras reads a file of exactly this network; else the file's arrays are taken in their order. Raises `ValueError`
    where they do not fit, or where a `.keras` file holds code.
    """
    if path.suffix == ".keras":
        with limit.at_most(hdf5.check_keras(path)):
            network = files.load(path)
        _assign(model, network.get_weights())
    else:
        _of_h5(model, path)


def exactly(model: keras.Model, path: Path) -> None:
    """Weights of an HDF5 file of exactly this network, as Keras reads it. Raises `ValueError` for another."""
    hdf5.check(path)
    _load(model, path)


def _load(model: keras.Model, path: Path) -> None:
    try:
        with warnings.catch_warnings():
            # Keras only warns of layers without weights in the file, and leaves them random.
            warnings.simplefilter("error")
            model.load_weights(path)
    except (KeyError, UserWarning) as error:
        raise ValueError(str(error)) from None


def _of_h5(model: keras.Model, path: Path) -> None:
    import h5py

    hdf5.check(path)
    try:
        _load(model, path)
    except ValueError:
        with h5py.File(path) as file:
            _assign(model, _in_order(file))


def _in_order(file: h5py.File) -> list[h5py.Dataset]:
    """Every array of an HDF5 file, in the order stated in an older file, else in natural order: conv2d_9, conv2d_10."""
    import h5py

    names: list[str] = []
    if "layer_names" in file.attrs:
        layers = [file[_text(name)] for name in file.attrs["layer_names"]]
        return [layer[_text(name)] for layer in layers for name in layer.attrs["weight_names"]]
    file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    return [file[name] for name in sorted(names, key=_counted)]


def _text(name: bytes | str) -> str:
    return name.decode() if isinstance(name, bytes) else name


def _counted(name: str) -> list[tuple[str, int]]:
    return [(text, int(number or 0)) for text, number in re.findall(r"(\D+)(\d*)", name)]


def _assign(model: keras.Model, found: Sequence[np.ndarray | h5py.Dataset]) -> None:
    """Set the first arrays that were found; none is read before all shapes are right."""
    wanted = [tuple(variable.shape) for variable in model.weights]
    shapes = [array.shape for array in found[: len(wanted)]]
    if shapes != wanted:
        at = next((i for i, pair in enumerate(zip(wanted, shapes, strict=False)) if pair[0] != pair[1]), len(shapes))
        there = shapes[at] if at < len(shapes) else "missing"
        raise ValueError(f"array {at + 1} of {len(wanted)} should be {wanted[at]}, is {there}")
    model.set_weights([array[()] for array in found[: len(wanted)]])
