"""A graph of ONNX as Keras' layers: what convolutional networks are made of.

ONNX has channels before height and width, Keras after them. Each tensor is kept as Keras wants it, with the order of
its axes, so that transposing one costs nothing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.networks import names

if TYPE_CHECKING:
    import keras

#: What a graph that does not fit raises.
UNFIT = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, NotImplementedError)
#: Most values of a map of one image: a damaged file may ask for more than any memory holds.
MOST = 2**28
#: Where the axes of a feature map are that ONNX has as n, c, h, w.
LAST = (0, 2, 3, 1)
#: Operations that end a feature map.
ENDS = ("Flatten", "Reshape", "Squeeze")


@dataclass(frozen=True)
class Value:
    """A tensor of the graph: `order[i]` is the axis in ONNX of its axis i."""

    tensor: Any
    order: tuple[int, ...]
    #: Whether height and width are pooled away.
    pooled: bool = False


def features(graph: Any, pixels: keras.KerasTensor, name: str = "") -> keras.KerasTensor:
    """The feature map [n, h, w, c] of pixels [n, side, side, 3]: the tensor `name`, or the last one before the pooling.

    Raises one of `UNFIT`.
    """
    import onnx.numpy_helper

    constants = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}
    inputs = [each for each in graph.input if each.name not in constants]
    shape = [axis.dim_value for axis in inputs[0].type.tensor_type.shape.dim] if len(inputs) == 1 else []
    if len(shape) != 4 or 3 not in (shape[1], shape[3]):
        raise ValueError(f"expected one input of images [n, 3, h, w] or [n, h, w, 3], found {len(inputs)} of {shape}")
    found = {inputs[0].name: Value(pixels, LAST if shape[1] == 3 else (0, 1, 2, 3))}
    last = ""
    labels = _labels(graph.node)
    for node, label in zip(graph.node, labels, strict=True):
        if node.op_type == "Constant":
            constants[node.output[0]] = onnx.numpy_helper.to_array(node.attribute[0].t)
            continue
        values = [found.get(each, constants.get(each)) for each in node.input if each]
        if not any(isinstance(each, Value) for each in values):
            continue  # of what is left out
        maps = [each for each in values if isinstance(each, Value) and len(each.order) == 4 and not each.pooled]
        if node.op_type in ENDS:
            if maps and node.op_type == "Reshape" and np.size(np.asarray(values[1])) != 2:
                raise NotImplementedError("a feature map is reshaped to other than a vector")
            continue
        if node.op_type not in OPERATIONS:
            if not maps:
                continue  # the layers above the features
            raise NotImplementedError(f"the operation {node.op_type} is none of {', '.join(sorted(OPERATIONS))}")
        made = OPERATIONS[node.op_type](_Node(label, {a.name: _attribute(a) for a in node.attribute}), values)
        if math.prod(made.tensor.shape[1:]) > MOST:
            raise ValueError(f"{node.op_type} makes a map of {made.tensor.shape[1:]} values")
        found[node.output[0]] = made
        if len(made.order) == 4 and not made.pooled:
            last = node.output[0]
        if name and node.output[0] == name:
            break
    if (name or last) not in found:
        raise ValueError(f"expected a feature map {name!r}, found {', '.join([*found][-5:])}")
    return found[name or last].tensor


@dataclass(frozen=True)
class _Node:
    name: str
    attributes: dict[str, Any]

    def get(self, name: str, default: Any) -> Any:
        return self.attributes.get(name, default)


def _attribute(attribute: Any) -> Any:
    import onnx

    found = onnx.helper.get_attribute_value(attribute)
    return found.decode() if isinstance(found, bytes) else found


def _labels(nodes: Iterable[Any]) -> list[str]:
    """A name for the layer of each node, which no other operation of the graph will have."""
    used: dict[str, None] = {}
    for place, node in enumerate(nodes):
        stem = re.sub(r"\W+", "_", node.name or f"{node.op_type}_{place}").strip("_") or "layer"
        label, number = names.apart(stem), 1
        while label in used:
            label, number = f"{stem}_{number}", number + 1
        used[label] = None
    names.reserve(used)
    return list(used)


def _last(value: Value) -> Value:
    """The same with channels last."""
    return _ordered(value, LAST if len(value.order) == 4 else tuple(range(len(value.order))))


def _ordered(value: Value, order: tuple[int, ...]) -> Value:
    import keras

    if value.order == order:
        return value
    places = tuple(value.order.index(axis) for axis in order)
    return Value(keras.ops.transpose(value.tensor, places), order, value.pooled)


def _convolution(node: _Node, values: list[Any]) -> Value:
    from keras import layers

    x, kernel = _last(values[0]).tensor, values[1]
    groups, strides = node.get("group", 1), tuple(node.get("strides", (1, 1)))
    rates = tuple(node.get("dilations", (1, 1)))
    if kernel.ndim != 4 or (max(rates) > 1 and max(strides) > 1):
        raise NotImplementedError("a convolution that is not of images, or with strides and dilations")
    reach = [rate * (side - 1) + 1 for rate, side in zip(rates, kernel.shape[2:], strict=True)]
    x, padding = _padded(node, x, reach, strides)
    how = {"strides": strides, "padding": padding, "dilation_rate": rates, "use_bias": len(values) > 2}
    outputs, bias = kernel.shape[0], values[2:3]
    kernel = kernel.transpose(2, 3, 1, 0)
    if groups == x.shape[-1] > 1:
        times = outputs // groups
        layer = layers.DepthwiseConv2D(kernel.shape[:2], depth_multiplier=times, name=node.name, **how)
        kernel = kernel.reshape(*kernel.shape[:2], groups, times)
    else:
        layer = layers.Conv2D(outputs, kernel.shape[:2], groups=groups, name=node.name, **how)
    x = layer(x)
    layer.set_weights([kernel, *bias])
    return Value(x, LAST, values[0].pooled)


def _padded(
    node: _Node, x: keras.KerasTensor, reach: list[int], strides: tuple[int, ...], value: float = 0.0
) -> tuple[keras.KerasTensor, str]:
    """The tensor with the node's padding, or with none where Keras' own is the same; and that one's name."""
    from keras import layers, ops

    auto = node.get("auto_pad", "NOTSET")
    if auto == "SAME_UPPER":
        return x, "same"
    if auto not in ("NOTSET", "VALID"):
        raise NotImplementedError(f"auto_pad {auto}")
    top, left, bottom, right = node.get("pads", (0, 0, 0, 0)) if auto == "NOTSET" else (0, 0, 0, 0)
    if not any((top, left, bottom, right)):
        return x, "valid"
    own = [(side - 1) // 2 for side in reach]
    if not value and set(strides) == {1} and [top, left] == own == [bottom, right] and all(s % 2 for s in reach):
        return x, "same"
    if value:
        return ops.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=value), "valid"
    return layers.ZeroPadding2D(((top, bottom), (left, right)), name=f"{node.name}_pad")(x), "valid"


def _pooling(node: _Node, values: list[Any], largest: bool) -> Value:
    from keras import layers

    x, kernel = _last(values[0]).tensor, tuple(node.attributes["kernel_shape"])
    strides = tuple(node.get("strides", (1,) * len(kernel)))
    padded = any(node.get("pads", ()))
    if node.get("ceil_mode", 0) or max(node.get("dilations", (1, 1))) > 1 or len(kernel) != 2:
        raise NotImplementedError("pooling with ceil_mode or dilations, or not of images")
    if not largest and padded and not node.get("count_include_pad", 0):
        raise NotImplementedError("average pooling with padding that does not count")
    x, padding = _padded(node, x, [0, 0], strides, -1e30 if largest else 0.0)
    kind = layers.MaxPooling2D if largest else layers.AveragePooling2D
    return Value(kind(kernel, strides, padding, name=node.name)(x), LAST)


def _normalised(node: _Node, values: list[Any]) -> Value:
    from keras import layers

    x = _last(values[0])
    layer = layers.BatchNormalization(epsilon=node.get("epsilon", 1e-5), name=node.name)
    tensor = layer(x.tensor)
    layer.set_weights(values[1:5])
    return Value(tensor, x.order, x.pooled)


def _layer_normalised(node: _Node, values: list[Any]) -> Value:
    from keras import layers

    x = _ordered(values[0], tuple(range(len(values[0].order))))
    if node.get("axis", -1) not in (-1, len(x.order) - 1):
        raise NotImplementedError("layer normalisation over other than the last axis")
    layer = layers.LayerNormalization(epsilon=node.get("epsilon", 1e-5), name=node.name)
    tensor = layer(x.tensor)
    layer.set_weights([values[1], values[2] if len(values) > 2 else np.zeros_like(values[1])])
    return Value(tensor, x.order, x.pooled)


def _product(node: _Node, values: list[Any]) -> Value:
    from keras import layers

    if not isinstance(values[1], np.ndarray) or values[1].ndim != 2:
        raise NotImplementedError("a product of two tensors")
    x = _ordered(values[0], tuple(range(len(values[0].order))))
    layer = layers.Dense(values[1].shape[1], use_bias=False, name=node.name)
    tensor = layer(x.tensor)
    layer.set_weights([values[1]])
    return Value(tensor, x.order, x.pooled)


def _elementwise(function: Callable[[Any, Any], Any]) -> Callable[[_Node, list[Any]], Value]:
    def made(node: _Node, values: list[Any]) -> Value:
        maps = [each for each in values if isinstance(each, Value)]
        first = maps[0] if len(maps[0].order) == 4 or len(maps) == 1 else maps[1]
        rank = len(first.order)

        def like(each: Any) -> Any:
            if isinstance(each, Value):
                if len(each.order) != rank:
                    raise NotImplementedError("tensors of other ranks together")
                return _ordered(each, first.order).tensor
            constant = np.asarray(each, np.float32)
            return constant.reshape((1,) * (rank - constant.ndim) + constant.shape).transpose(first.order)

        return Value(function(*map(like, values)), first.order, all(each.pooled for each in maps))

    return made


def _each(function: Callable[..., Any]) -> Callable[[_Node, list[Any]], Value]:
    def made(node: _Node, values: list[Any]) -> Value:
        x = values[0]
        return Value(function(x.tensor, node, values[1:]), x.order, x.pooled)

    return made


def _clipped(x: Any, node: _Node, bounds: list[Any]) -> Any:
    import keras

    low = float(bounds[0]) if bounds else node.get("min", -math.inf)
    high = float(bounds[1]) if len(bounds) > 1 else node.get("max", math.inf)
    if low == 0 and math.isfinite(high):
        return keras.layers.ReLU(max_value=high, name=node.name)(x)
    return keras.ops.clip(x, low, high)


def _transposed(node: _Node, values: list[Any]) -> Value:
    x = values[0]
    axes = list(node.get("perm", range(len(x.order))[::-1]))
    return Value(x.tensor, tuple(axes.index(axis) for axis in x.order), x.pooled)


def _joined(node: _Node, values: list[Any]) -> Value:
    import keras

    first = values[0]
    axis = first.order.index(node.attributes["axis"] % len(first.order))
    tensors = [_ordered(each, first.order).tensor for each in values]
    return Value(keras.layers.Concatenate(axis, name=node.name)(tensors), first.order, first.pooled)


def _mean(node: _Node, values: list[Any]) -> Value:
    import keras

    x = values[0]
    given = values[1] if len(values) > 1 else node.attributes.get("axes", range(2, len(x.order)))
    axes = {int(axis) % len(x.order) for axis in given}
    if not node.get("keepdims", 1):
        raise NotImplementedError("a mean that drops axes")
    places = tuple(x.order.index(axis) for axis in sorted(axes))
    spatial = axes == ({2, 3} if x.order == LAST else {1, 2})
    return Value(keras.ops.mean(x.tensor, axis=places, keepdims=True), x.order, x.pooled or spatial)


def _global(node: _Node, values: list[Any], largest: bool) -> Value:
    from keras import layers

    kind = layers.GlobalMaxPooling2D if largest else layers.GlobalAveragePooling2D
    return Value(kind(keepdims=True, name=node.name)(_last(values[0]).tensor), LAST, pooled=True)


def _activation(name: str) -> Callable[[_Node, list[Any]], Value]:
    def function(x: Any, node: _Node, _: list[Any]) -> Any:
        import keras

        return keras.layers.Activation(name, name=node.name)(x)

    return _each(function)


def _of_ops(name: str) -> Callable[[_Node, list[Any]], Value]:
    def function(x: Any, node: _Node, _: list[Any]) -> Any:
        import keras

        return getattr(keras.ops, name)(x)

    return _each(function)


def _two(name: str) -> Callable[[_Node, list[Any]], Value]:
    def function(one: Any, other: Any) -> Any:
        import keras

        if name == "add" and hasattr(one, "_keras_history") and hasattr(other, "_keras_history"):
            return keras.layers.Add()([one, other])
        return getattr(keras.ops, name)(one, other)

    return _elementwise(function)


def _leaky(x: Any, node: _Node, _: list[Any]) -> Any:
    import keras

    return keras.layers.LeakyReLU(node.get("alpha", 0.01), name=node.name)(x)


def _hard_sigmoid(x: Any, node: _Node, _: list[Any]) -> Any:
    import keras

    return keras.ops.clip(x * node.get("alpha", 0.2) + node.get("beta", 0.5), 0.0, 1.0)


#: By ONNX' name: a function of the node and its inputs, each a `Value` or an array.
OPERATIONS: dict[str, Callable[[_Node, list[Any]], Value]] = {
    "Add": _two("add"),
    "AveragePool": lambda node, values: _pooling(node, values, largest=False),
    "BatchNormalization": _normalised,
    "Clip": _each(_clipped),
    "Concat": _joined,
    "Conv": _convolution,
    "Div": _two("divide"),
    "Dropout": _each(lambda x, *_: x),
    "Erf": _of_ops("erf"),
    "Gelu": _activation("gelu"),
    "GlobalAveragePool": lambda node, values: _global(node, values, largest=False),
    "GlobalMaxPool": lambda node, values: _global(node, values, largest=True),
    "HardSigmoid": _each(_hard_sigmoid),
    "HardSwish": _activation("hard_silu"),
    "Identity": _each(lambda x, *_: x),
    "LayerNormalization": _layer_normalised,
    "LeakyRelu": _each(_leaky),
    "MatMul": _product,
    "MaxPool": lambda node, values: _pooling(node, values, largest=True),
    "Mul": _two("multiply"),
    "Pow": _two("power"),
    "ReduceMean": _mean,
    "Relu": _activation("relu"),
    "Sigmoid": _activation("sigmoid"),
    "Sqrt": _of_ops("sqrt"),
    "Sub": _two("subtract"),
    "Tanh": _activation("tanh"),
    "Transpose": _transposed,
}
