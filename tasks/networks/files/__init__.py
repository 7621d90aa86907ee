"""Networks as files: Keras' format, or a SavedModel."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from tasks.networks import names
from tasks.networks.files import saved_models

if TYPE_CHECKING:
    from pathlib import Path

    import keras


def anew(network: keras.Model) -> keras.Model:
    """The same network, rebuilt so that each layer is called once and the graph can be loaded from a file."""
    import keras

    made = keras.Model.from_config(network.get_config())
    made.set_weights(network.get_weights())
    return made


def save(network: keras.Model, folder: Path) -> str:
    """Write `network.keras` into the folder, or the SavedModel `network` if a part is a graph; returns its name."""
    import keras

    if any(isinstance(layer, keras.layers.TFSMLayer) for layer in network._flatten_layers()):
        network.export(folder / "network", verbose=False)
        return "network"
    network.save(folder / "network.keras")
    return "network.keras"


def size(path: Path) -> int:
    """Bytes of a file, or of all files of a folder."""
    return sum(file.stat().st_size for file in (path.rglob("*") if path.is_dir() else [path]) if file.is_file())


def load(path: Path) -> keras.Model:
    """Read a `.keras` or `.h5` file, refusing code inside (Lambda layers), or a SavedModel's folder as one layer."""
    import keras

    if not path.is_dir():
        # An .h5 names operations such as a division without their module, and Keras looks among layers alone.
        known = _operations() if path.suffix in (".h5", ".hdf5") else None
        with warnings.catch_warnings():
            # Of layers of KerasHub that are built when they are called.
            warnings.filterwarnings("ignore", message=r"`build\(\)` was called on layer")
            network = keras.saving.load_model(path, custom_objects=known, compile=False, safe_mode=True)
        names.reserve(each.name for each in getattr(network, "operations", network.layers))
        return network
    layer = saved_models.load(path)
    pixels = keras.Input(saved_models.shape(layer))
    return keras.Model(pixels, layer(pixels), name="classifier")


def _operations() -> dict[str, type]:
    """Keras' operations on arrays by name; one that is called like a layer is told from it by its settings."""
    import keras
    from keras.src.ops import core, image, math, nn, numpy

    found = {}
    for module in (core, image, math, nn, numpy):
        for name, kind in vars(module).items():
            if isinstance(kind, type) and issubclass(kind, keras.Operation) and kind.__module__ == module.__name__:
                found[name] = _either(getattr(keras.layers, name), kind) if hasattr(keras.layers, name) else kind
    return found


def _either(layer: type[keras.Layer], operation: type[keras.Operation]) -> type:
    class Either:
        @classmethod
        def from_config(cls, config: dict[str, Any]) -> keras.Operation:
            return (layer if "trainable" in config else operation).from_config(config)

    return Either
