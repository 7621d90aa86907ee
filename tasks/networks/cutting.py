"""Where a network can be cut, even if its blocks are not named, and the two parts."""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tasks.networks.names import SIDE
from tasks.runtime.errors import UsageError

if TYPE_CHECKING:
    import keras


def block_ends(model: keras.Model, levels: set[str]) -> list[str]:
    """Names of the layers at the end of a block that every path passes through, from input to output.

    These are blocks that are one layer, layers where paths split, and the last at each resolution, which `levels` names
    if known. Between any two of them there are layers with weights that do not only normalise.
    """
    import keras

    norms = (keras.layers.BatchNormalization, keras.layers.LayerNormalization)

    calls = Counter(id(node.operation) for node in _nodes(model))
    found, weights, farthest = [], False, 0
    for i, (operation, users) in enumerate(_uses(model)):
        weights = weights or (bool(getattr(operation, "weights", ())) and not isinstance(operation, norms))
        once = calls[id(operation)] == 1
        passage = once and farthest <= i and isinstance(operation, keras.Layer)  # no path leads around it
        if weights and passage and _ends(operation, [model.operations[j] for j in users], levels):
            found.append(operation.name)
            weights = False
        farthest = max([farthest, *users])
    return found


#: Parts of a layer's configuration that do not change what it computes, or that name other layers.
NAMES = {"name", "trainable", "dtype", "inbound_nodes", "input_layers", "output_layers", "build_config", "module"}


def structure(model: keras.Model, apart: str = "") -> list[tuple[Any, ...]]:
    """What each operation is, from the output to the input, with the shapes of its weights and what it works on.

    Equal for networks that differ in names and values alone. `apart`: name of a layer whose width does not matter.
    """
    import keras

    calls = _calls(model)
    place = {call: at for at, call in enumerate(calls)}
    found = []
    for operation, node in calls:
        same = operation.name != apart
        config = _plain(operation.get_config()) if same and isinstance(operation, keras.Layer) else ""
        shapes = [tuple(weight.shape) for weight in getattr(operation, "weights", ()) if same]
        history = [tensor._keras_history for tensor in operation._inbound_nodes[node].input_tensors]
        sources = [(place[each.operation, each.node_index], each.tensor_index) for each in history]
        found.append((type(operation).__name__, config, shapes, sources))
    return found


def same_places(names: tuple[str, ...], ours: keras.Model, theirs: keras.Model) -> tuple[str, ...]:
    """What the named layers of a network are called in another one of the same structure."""
    pairs = zip(_calls(ours), _calls(theirs), strict=True)
    called = {one.name: other.name for (one, _), (other, _) in pairs}
    return tuple(called[name] for name in names)


def _calls(model: keras.Model) -> list[tuple[keras.Operation, int]]:
    """Each operation with the number of its node in the graph, from the output to the input, breadth first."""
    found: dict[tuple[keras.Operation, int], None] = {}
    waiting = [model.output]
    for tensor in waiting:  # grows
        history = tensor._keras_history
        if (history.operation, history.node_index) not in found:
            found[history.operation, history.node_index] = None
            waiting += _sources(tensor)
    return list(found)


def _plain(config: Any) -> str:
    """A layer's configuration as text, without names; a tuple is a list, as in a file."""

    def without(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: without(each) for key, each in value.items() if key not in NAMES}
        return [without(each) for each in value] if isinstance(value, list | tuple) else value

    return json.dumps(without(config), sort_keys=True, default=str)


def _uses(model: keras.Model) -> list[tuple[Any, list[int]]]:
    """The operations of the graph, in order, and the positions of those that use their outputs, once for each use.

    A layer that is called several times is used by what it comes before and by what it comes after.
    """
    place = {id(operation): i for i, operation in enumerate(model.operations)}
    users: list[list[int]] = [[] for _ in model.operations]
    for node in _nodes(model):
        for tensor in node.input_tensors:
            users[place[id(tensor._keras_history.operation)]].append(place[id(node.operation)])
    return [(operation, sorted(found)) for operation, found in zip(model.operations, users, strict=True)]


def _nodes(model: keras.Model) -> Iterator[Any]:
    """Each call of an operation in the graph."""
    return itertools.chain.from_iterable(model._nodes_by_depth.values())


def _ends(layer: keras.Layer, users: list[Any], levels: set[str]) -> bool:
    import keras

    if len(users) > 1:
        # Squeeze-and-excitation splits the path inside a block: one branch has no height and width.
        shapes = [tensor.shape for user in users for tensor in keras.tree.flatten(user.output)]
        return all(len(shape) == 4 and shape[1:3] != (1, 1) for shape in shapes)
    if not users or type(layer).__name__.endswith("Block") or _holds_layers(layer):
        return True
    return layer.name in levels if levels else users[0].output.shape[1:-1] != layer.output.shape[1:-1]


def _holds_layers(layer: keras.Layer) -> bool:
    """Whether it is a block in one piece: made of layers, and none of Keras' own, such as attention."""
    own = type(layer).__module__.partition(".")[0] == "keras"
    return not own and any(each.weights for each in layer._flatten_layers(include_self=False))


@dataclass(frozen=True)
class Backbone:
    """A network and where it can be cut."""

    model: keras.Model
    #: Names of the layers at whose output the network can be cut, from the input to the last block.
    blocks: tuple[str, ...]
    #: Further networks whose features are joined with its own; they see its images at sizes of their own.
    beside: tuple[Backbone, ...] = ()


def cut(network: keras.Model, layer: str, features: bool = False) -> tuple[keras.Model, keras.Model]:
    """(pixels to a vector of all activations at the cut, that vector to logits); both share the network's variables.

    The trunk is the named layer and all that it depends on, with `multi_level` pooling also the pools of its blocks.
    The activations are all tensors of the trunk that are used above it: for most networks only the layer's output.
    With `features` the upper part has two outputs: logits, and `features_of` the network.
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
    """The trunk of `cut`, for the network below a head."""
    return _trunk(features, _crossing(features, layer, features.output))


def both(features: keras.Model, below: keras.Model) -> keras.Model:
    """Pixels to one vector: the features, flat, then the activations at the cut above the trunk `below`."""
    import keras

    flat = keras.layers.Flatten(name="flat_features")(features.output)
    joined = keras.layers.Concatenate(name="features_and_crossing")([flat, below.output])
    return keras.Model(features.input, joined, name="both")


def boundary(blocks: tuple[str, ...], last: int) -> str:
    """Name of the layer up to which nothing is trained; `UsageError` if there are too few blocks."""
    if last >= len(blocks):
        most = f"expected at most {len(blocks) - 1}" if len(blocks) > 1 else "expected fine_tune.enabled = false"
        raise UsageError(f"fine_tune.blocks: {most} for this backbone, found {last}.")
    return blocks[-last - 1]


def features_of(network: keras.Model) -> keras.KerasTensor | None:
    """The input of a classifier's head, [n, …, values]; None where a SavedModel hides it.

    For an average: the second output of its first member, on the first view.
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
    """Tensors that the part between the layer and `top` takes from the trunk, in the order of first use."""
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
    """Inputs of the operation that made a tensor."""
    operation, node, _ = tensor._keras_history
    return operation._inbound_nodes[node].input_tensors
