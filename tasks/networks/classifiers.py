"""A whole classifier: backbone, pooling, head, softmax, in one flat Keras graph that can be cut at a block."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tasks.networks import saved_models
from tasks.runtime.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    import keras
    import numpy as np

    from tasks.networks.backbones import Backbone

#: Names of the layers that pool below the top of the network, followed by the block that they pool.
SIDE = "pool_of_"


def pooled(backbone: Backbone, pooling: str) -> keras.Model:
    """Pixels to the features that heads are trained on.

    `avg`: mean over the feature map, [n, c]. `avg_max_std`: mean, maximum and standard deviation, [n, 3 c].
    `multi_level`: those of the feature map and of the last block at each resolution, joined. `none`: the feature map,
    [n, h, w, c].
    """
    import keras

    top = backbone.model.output
    if pooling == "none":
        return keras.Model(backbone.model.input, top, name="features")
    if pooling == "avg":
        vector = keras.layers.GlobalAveragePooling2D(name="pool")(top)
    elif pooling == "avg_max_std":
        vector = _statistics(top, "pool")
    else:
        outputs = {name: backbone.model.get_layer(name).output for name in levels(backbone)}
        pools = [_statistics(output, f"{SIDE}{name}") for name, output in outputs.items()]
        vector = keras.layers.Concatenate(name="pool")([*pools, _statistics(top, "pool_top")])
    return keras.Model(backbone.model.input, vector, name="features")


def part(pooling: str, channels: int) -> slice:
    """Where the features of a pooling are among those of the next wider one and of any above it, along the last axis.

    `channels`: of the feature map.
    """
    return {"avg": slice(-3 * channels, -2 * channels), "avg_max_std": slice(-3 * channels, None)}.get(
        pooling, slice(None)
    )


def levels(backbone: Backbone) -> list[str]:
    """The last block at each resolution of the network; none for a transformer, whose blocks give tokens."""
    shapes = {name: backbone.model.get_layer(name).output.shape for name in backbone.blocks}
    sizes = {name: shape[1] for name, shape in shapes.items() if len(shape) == 4}
    return [name for name, size in sizes.items() if name == [n for n, s in sizes.items() if s == size][-1]]


def _statistics(features: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Mean, maximum and standard deviation over height and width: [n, h, w, c] to [n, 3 c]."""
    import keras

    mean = keras.layers.GlobalAveragePooling2D(name=f"{name}_mean")(features)
    most = keras.layers.GlobalMaxPooling2D(name=f"{name}_max")(features)
    # A floor under the root: its slope at 0 is infinite, and a constant map has variance 0.
    spread = keras.ops.sqrt(keras.ops.var(features, axis=(1, 2)) + 1e-6)
    return keras.layers.Concatenate(name=name)([mean, most, spread])


def classifier(features: keras.Model, head: keras.Model) -> keras.Model:
    """Pixels 0 to 255, [n, size, size, 3], to class probabilities, [n, classes]."""
    import keras

    # Rebuilt on the same graph, not nested: a block inside can then be named and cut at.
    logits = head(features.output)
    return keras.Model(features.input, keras.layers.Softmax(name="probabilities")(logits), name="classifier")


def cut(network: keras.Model, layer: str, features: bool = False) -> tuple[keras.Model, keras.Model]:
    """(pixels to a vector of all that crosses the cut, that vector to logits); both share the network's variables.

    The trunk is the named layer and all that it depends on, and with `multi_level` pooling what pools a block of it.
    What crosses is every tensor of the trunk that something above takes: for most networks the layer's output alone.
    With `features` the upper part gives two things: logits, and `features_of` the network.
    """
    import keras
    from keras import layers

    logits = network.get_layer("probabilities").input
    crossing = _crossing(network, layer, logits)
    upper = keras.Model(crossing, [logits, features_of(network)] if features else logits, name="upper")
    below = _trunk(network, crossing)
    start, parts = 0, []
    joined = keras.Input(below.output_shape[1:])
    for tensor in crossing:
        values = math.prod(tensor.shape[1:])
        parts.append(layers.Reshape(tensor.shape[1:])(joined[:, start : start + values]))
        start += values
    return below, keras.Model(joined, upper(parts), name="top")


def trunk(features: keras.Model, layer: str) -> keras.Model:
    """The trunk of `cut`, of the network below a head."""
    return _trunk(features, _crossing(features, layer, features.output))


def both(features: keras.Model, below: keras.Model) -> keras.Model:
    """Pixels to one vector: the features, flat, then what crosses the cut above the trunk `below`."""
    import keras

    flat = keras.layers.Flatten(name="flat_features")(features.output)
    joined = keras.layers.Concatenate(name="features_and_crossing")([flat, below.output])
    return keras.Model(features.input, joined, name="both")


def boundary(blocks: tuple[str, ...], last: int) -> str:
    """Name of the layer below which nothing is trained; `UsageError` when there are not that many blocks."""
    if last >= len(blocks):
        most = f"expected at most {len(blocks) - 1}" if len(blocks) > 1 else "expected fine_tune.enabled = false"
        raise UsageError(f"fine_tune.blocks: {most} for this backbone, found {last}.")
    return blocks[-last - 1]


def features_of(network: keras.Model) -> keras.KerasTensor | None:
    """What the head of a classifier takes, [n, …, values]; None where a SavedModel hides it.

    Of an average: the second output of its first member, on the first view.
    """
    waiting, seen = [network.output], set()
    while waiting:
        tensor = waiting.pop(0)
        operation, node, _ = tensor._keras_history
        if operation.name == "head":
            return _sources(tensor)[0]
        if len(given := operation._inbound_nodes[node].output_tensors) > 1:
            return given[1]
        if id(tensor) not in seen:
            seen.add(id(tensor))
            waiting += _sources(tensor)
    return None


def _trunk(network: keras.Model, crossing: list[keras.KerasTensor]) -> keras.Model:
    import keras
    from keras import layers

    flat = [layers.Flatten(name=f"flat_{i}")(tensor) for i, tensor in enumerate(crossing)]
    vector = layers.Concatenate(name="crossing")(flat) if len(flat) > 1 else flat[0]
    return keras.Model(network.input, vector, name="trunk")


def _crossing(network: keras.Model, layer: str, top: keras.KerasTensor) -> list[keras.KerasTensor]:
    """What the part between the layer and `top` takes from the layer and below, in the order of first use."""
    trunk = _below(network.get_layer(layer).output)
    frozen = {f"{SIDE}{operation.name}" for operation in trunk}
    for pool in [each for each in network.layers if each.name in frozen]:
        trunk |= _below(pool.output)
    found: dict[int, keras.KerasTensor] = {}
    waiting, seen = [top], set()
    while waiting:
        tensor = waiting.pop()
        if tensor._keras_history.operation in trunk:
            found[id(tensor)] = tensor
        elif id(tensor) not in seen:
            seen.add(id(tensor))
            waiting += _sources(tensor)
    return list(found.values())


def _below(output: keras.KerasTensor) -> set[keras.Operation]:
    """The operations that a tensor depends on."""
    found: set[keras.Operation] = set()
    waiting = [output]
    while waiting:
        tensor = waiting.pop()
        if tensor._keras_history.operation not in found:
            found.add(tensor._keras_history.operation)
            waiting += _sources(tensor)
    return found


def _sources(tensor: keras.KerasTensor) -> list[keras.KerasTensor]:
    """What the operation that made a tensor took."""
    operation, node, _ = tensor._keras_history
    return operation._inbound_nodes[node].input_tensors


def to_logits(network: keras.Model) -> keras.Model:
    """The network up to its logits, [n, classes], on the same variables."""
    import keras

    return keras.Model(network.input, network.get_layer("probabilities").input, name="to_logits")


def answers(network: keras.Model, feature_shape: tuple[int, ...]) -> keras.Model:
    """The part of a classifier above its features: float32[n, *feature_shape] to probabilities [n, classes]."""
    import keras

    features = keras.Input(feature_shape)
    return keras.Model(features, keras.layers.Softmax()(network.get_layer("head")(features)), name="answers")


def anew(network: keras.Model) -> keras.Model:
    """The same network made anew, so that each layer is called once and the graph is known to come back from a file."""
    import keras

    made = keras.Model.from_config(network.get_config())
    made.set_weights(network.get_weights())
    return made


def save(network: keras.Model, folder: Path) -> str:
    """Write `network.keras` into the folder, or the SavedModel `network` where a part is a graph; gives its name."""
    import keras

    if any(isinstance(layer, keras.layers.TFSMLayer) for layer in network._flatten_layers()):
        network.export(folder / "network", verbose=False)
        return "network"
    network.save(folder / "network.keras")
    return "network.keras"


def write_probabilities(folder: Path, logits: np.ndarray) -> str:
    """Write what a network says of the validation images as float32[n, classes]; gives the file's name."""
    import numpy as np

    np.save(folder / "validation.npy", softmax(logits).astype(np.float32))
    return "validation.npy"


def load(path: Path) -> keras.Model:
    """Read a `.keras` file, refusing code inside (Lambda layers), or the folder of a SavedModel as one layer."""
    import keras

    if not path.is_dir():
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    layer = saved_models.load(path)
    pixels = keras.Input(saved_models.shape(layer))
    return keras.Model(pixels, layer(pixels), name="classifier")


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities, float64[n, classes], of logits."""
    import numpy as np

    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)
