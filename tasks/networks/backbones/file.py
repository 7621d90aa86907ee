"""Any network from a `.keras` or `.h5` file of `model.save()`, or a SavedModel, up to its last feature map.

https://keras.io/guides/serialization_and_saving/. Of a whole classifier, the layers above that map and those that
alter photos at random are dropped; networks inside it are opened. Code inside a file, as in Lambda layers, is refused.
A SavedModel is a fixed graph: it has no blocks to train.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tasks.data.images import ranges
from tasks.networks import names
from tasks.networks.backbones import Choice
from tasks.networks.cutting import Backbone, block_ends
from tasks.networks.files import anew, load, saved_models
from tasks.networks.weights import files, hdf5, limit
from tasks.runtime.errors import DependencyError, UsageError, brief

if TYPE_CHECKING:
    from pathlib import Path

    import keras


def build(
    size: int,
    weights: str,
    *,
    values: ranges.Named = "0 to 255",
    layer: str = "",
) -> Backbone:
    """The network of the file `weights`: [n, size, size, 3] to the output of `layer`, [n, h, w, c].

    `values`: pixel range in training, `imagenet` for mean 0 and deviation 1 in each channel. `layer`: by default the
    last one with height and width below any global pooling; for a SavedModel the name of an output. Raises
    `UsageError`, `DependencyError`.
    """
    import keras

    path, _ = files.from_path(weights)
    pixels = keras.Input((size, size, 3), name="pixels")
    x = keras.layers.Rescaling(*ranges.NAMED[values], name="to_range")(pixels)
    if path.is_dir():
        return Backbone(keras.Model(pixels, _graph(path, x, layer), name="file"), ())
    model, maps = _opened(_read(path), size, path)
    layer = names.apart(layer)
    if not maps or (layer and layer not in maps):
        there = f"such as {', '.join(maps[-5:])}" if maps else "but it has none"
        raise UsageError(
            f"backbone.options.layer: expected a layer of {path} with a feature map, {there}, found {layer!r}."
        )
    below = keras.Model(model.inputs[0], model.get_layer(layer or maps[-1]).output)
    top = _laid_out(below, pixels, x, path)
    return Backbone(top, tuple(block_ends(top, set())))


def licence(weights: str, options: dict[str, str]) -> str:
    """The file's author has to state it."""
    return f"that of {weights}, whose author has to state it"


def weights_digest(weights: str, options: dict[str, str]) -> str:
    """SHA-256 of the file, or of the SavedModel's files."""
    return files.from_path(weights)[1]


def choices() -> list[Choice]:
    """Any network in a file."""
    return [Choice({}, 0, 0, "the path of a .keras or .h5 file or a SavedModel")]


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
    whole = hdf5.check_whole if path.suffix in (".h5", ".hdf5") else hdf5.check_keras
    try:
        with limit.at_most(whole(path)):
            return load(path)
    except files.DAMAGE as error:
        instead = " Use Rescaling or operations instead of Lambda layers." if "Lambda" in str(error) else ""
        raise DependencyError(
            f"{path}: expected a network in a .keras or .h5 file, without code: {brief(error)}.{instead}"
        ) from None


def _opened(network: keras.Model, size: int, path: Path) -> tuple[keras.Model, list[str]]:
    """The network as one graph, without networks inside it, and the names of its feature maps, the last one last."""
    import keras

    if not _open(network):
        raise UsageError(f"{path}: expected a Sequential or functional network, found {type(network).__name__}.")
    shape = network.input_shape
    if not isinstance(shape, tuple) or len(shape) != 4 or shape[-1] not in (None, 3):
        raise UsageError(f"{path}: expected a network for images [n, height, width, 3], found one for {shape}.")
    images = keras.Input([side or size for side in shape[1:3]] + [3], name="pixels")
    used: dict[str, keras.Operation] = {}
    with _explained(path, images, network):
        flat = anew(keras.Model(images, _through(network, images, used)))
    found, below = [], {"pixels"}
    for operation in flat.operations:
        sources = {tensor._keras_history.operation.name for tensor in keras.tree.flatten(operation.input)}
        if sources & below and not type(operation).__name__.startswith("Global"):
            below.add(operation.name)
            maps = isinstance(operation, keras.Layer) and len(getattr(operation.output, "shape", ())) == 4
            found += [operation.name] if maps and operation.name != "pixels" else []
    return flat, found


def _open(network: object) -> bool:
    """Whether it is one of Keras' own kinds of networks, whose layers are known."""
    import keras

    plain = isinstance(network, keras.Sequential) or hasattr(network, "operations")
    return isinstance(network, keras.Model) and plain and type(network).__module__.partition(".")[0] == "keras"


def _through(network: keras.Model, x: keras.KerasTensor, used: dict[str, keras.Operation]) -> keras.KerasTensor:
    """The outputs of a network's layers, each called in the one graph, under a name of its own."""
    import keras

    def step(operation: keras.Operation) -> Callable[..., Any]:
        if _open(operation):
            return lambda inputs, *_, **__: _through(operation, inputs, used)
        if _at_random(operation):
            return lambda inputs, *_, **__: inputs
        operation.name = stem = names.apart(operation.name)
        number = 2
        while used.setdefault(operation.name, operation) is not operation:
            operation.name, number = f"{stem}_{number}", number + 1
        return operation

    if not isinstance(network, keras.Sequential):
        return network._run_through_graph(x, operation_fn=step)
    for layer in network.layers:
        x = step(layer)(x)
    return x


def _at_random(operation: keras.Operation) -> bool:
    """Whether it changes photos at random in training, and is not there afterwards."""
    name = type(operation).__name__
    return (name.startswith("Random") and name != "RandomCrop") or name in ("RandAugment", "AugMix", "CutMix", "MixUp")


def _laid_out(network: keras.Model, pixels: keras.KerasTensor, x: keras.KerasTensor, path: Path) -> keras.Model:
    """The graph on the new input, each layer called once."""
    import keras

    with _explained(path, x, network):
        made = anew(keras.Model(pixels, network.call(x)))
        return keras.Model(made.inputs[0], made.outputs[0], name="file")


@contextmanager
def _explained(path: Path, x: keras.KerasTensor, network: keras.Model) -> Iterator[None]:
    try:
        yield
    except (ValueError, TypeError) as error:
        raise UsageError(
            f"{path}: expected a network for images [n, {x.shape[1]}, {x.shape[2]}, 3], found one for "
            f"{network.input_shape}: {brief(error)}"
        ) from None
