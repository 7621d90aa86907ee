"""Any network from a `.keras` file or a SavedModel, such as one trained earlier, up to its last feature map.

https://keras.io/guides/serialization_and_saving/. Code inside a file, as in Lambda layers, is refused.
A SavedModel is a fixed graph: it has no blocks to train.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from tasks.data.images import ranges
from tasks.networks import saved_models
from tasks.networks.backbones import Choice
from tasks.networks.cutting import Backbone, block_ends
from tasks.networks.files import anew, load
from tasks.networks.weights import files, hdf5, limit
from tasks.runtime.errors import DependencyError, UsageError, brief

if TYPE_CHECKING:
    from pathlib import Path

    import keras

RANGES = {
    "0 to 255": ranges.BYTES,
    "0 to 1": ranges.UNIT,
    "-1 to 1": ranges.SYMMETRIC,
    "imagenet": ranges.IMAGENET,
}


def build(
    size: int,
    weights: str,
    *,
    values: Literal["0 to 255", "0 to 1", "-1 to 1", "imagenet"] = "0 to 255",
    layer: str = "",
) -> Backbone:
    """The network of the file `weights`: [n, size, size, 3] to the output of `layer`, [n, h, w, c].

    `values`: pixel range in training, `imagenet` for mean 0 and deviation 1 in each channel. `layer`: by default the
    last one with height and width; for a SavedModel the name of an output. Raises `UsageError`,
    `DependencyError`.
    """
    import keras

    path, _ = files.from_path(weights)
    pixels = keras.Input((size, size, 3), name="pixels")
    x = keras.layers.Rescaling(*RANGES[values], name="to_range")(pixels)
    if path.is_dir():
        return Backbone(keras.Model(pixels, _graph(path, x, layer), name="file"), ())
    model = _laid_out(_read(path), pixels, x, path)
    maps = [
        each.name for each in model.layers if len(each.output.shape) == 4 and each.name not in ("pixels", "to_range")
    ]
    if not maps or (layer and layer not in maps):
        there = f"such as {', '.join(maps[-5:])}" if maps else "but it has none"
        raise UsageError(
            f"backbone.options.layer: expected a layer of {path} with a feature map, {there}, found {layer!r}."
        )
    top = keras.Model(model.inputs[0], model.get_layer(layer or maps[-1]).output, name="file")
    return Backbone(top, tuple(block_ends(top, set())))


def licence(weights: str, options: dict[str, str]) -> str:
    """The file's author has to state it."""
    return f"that of {weights}, whose author has to state it"


def weights_digest(weights: str, options: dict[str, str]) -> str:
    """SHA-256 of the file, or of the SavedModel's files."""
    return files.from_path(weights)[1]


def choices() -> list[Choice]:
    """Any network in a file."""
    return [Choice({}, 0, 0, "the path of a .keras file or a SavedModel")]


def smallest() -> list[Choice]:
    """None: there is nothing to build without a file."""
    return []


def _graph(path: Path, x: keras.KerasTensor, output: str) -> keras.KerasTensor:
    """Output of a SavedModel for the images as a feature map; a vector, [n, c], as [n, 1, 1, c]."""
    import keras

    layer = saved_models.load(path)
    try:
        found = layer(x)
    except Exception as error:  # TensorFlow's own are of no common kind
        raise UsageError(
            f"{path}: expected a network for images [n, {x.shape[1]}, {x.shape[2]}, 3], found another: {brief(error)}"
        ) from None
    outputs = found if isinstance(found, dict) else {"": found}
    if output not in outputs and (output or len(outputs) > 1):
        raise UsageError(f"backbone.options.layer: expected one of {path}'s outputs, {outputs}, found {output!r}.")
    features = outputs[output] if output else next(iter(outputs.values()))
    if len(features.shape) not in (2, 4):
        raise UsageError(f"{path}: expected features [n, c] or [n, h, w, c], found {features.shape}.")
    return features if len(features.shape) == 4 else keras.layers.Reshape((1, 1, features.shape[-1]))(features)


def _read(path: Path) -> keras.Model:
    try:
        with limit.at_most(hdf5.check_keras(path)):
            return load(path)
    except files.DAMAGE as error:
        raise DependencyError(f"{path}: expected a network in a .keras file, without code: {brief(error)}") from None


def _laid_out(network: keras.Model, pixels: keras.KerasTensor, x: keras.KerasTensor, path: Path) -> keras.Model:
    """One flat graph on the new input, each layer called once."""
    import keras

    if not isinstance(network, keras.Sequential) and not hasattr(network, "operations"):
        raise UsageError(f"{path}: expected a Sequential or functional network, found {type(network).__name__}.")
    try:
        return anew(keras.Model(pixels, network.call(x)))
    except (ValueError, TypeError) as error:
        raise UsageError(
            f"{path}: expected a network for images [n, {x.shape[1]}, {x.shape[2]}, 3], found one for "
            f"{network.input_shape}: {brief(error)}"
        ) from None
