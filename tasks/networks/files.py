"""Networks as files: Keras' format, or a SavedModel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.networks import saved_models

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
    """Read a `.keras` file, refusing code inside (Lambda layers), or the folder of a SavedModel as one layer."""
    import keras

    if not path.is_dir():
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    layer = saved_models.load(path)
    pixels = keras.Input(saved_models.shape(layer))
    return keras.Model(pixels, layer(pixels), name="classifier")
