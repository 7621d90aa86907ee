"""Convolutional networks from an ONNX file, up to their last feature map, laid out again in Keras' layers.

So they are trained, cut, served and exported like any other. https://onnx.ai/onnx/operators/. Only the file itself is
read: tensors that lie beside it are refused. Needs the extra `export`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tasks.data.images import ranges
from tasks.networks.backbones import Choice, _onnx_graphs
from tasks.networks.cutting import Backbone, block_ends
from tasks.networks.files import anew
from tasks.networks.weights import files
from tasks.runtime.errors import DependencyError, UsageError, brief

if TYPE_CHECKING:
    from pathlib import Path

#: Largest file that is read, bytes; the format itself ends at 2 GiB.
LARGEST = 2**31


def build(
    size: int,
    weights: str,
    *,
    values: ranges.Named = "imagenet",
    layer: str = "",
) -> Backbone:
    """The network of the file `weights`: [n, size, size, 3] to a feature map, [n, h, w, c].

    `values`: pixel range in training, `imagenet` for mean 0 and deviation 1 in each channel. `layer`: name of a tensor;
    by default the last map below the global pooling. Raises `UsageError`, `DependencyError`.
    """
    import keras

    path, _ = files.from_path(weights)
    graph = _read(path)
    pixels = keras.Input((size, size, 3), name="pixels")
    x = keras.layers.Rescaling(*ranges.NAMED[values], name="to_range")(pixels)
    try:
        model = keras.Model(pixels, _onnx_graphs.features(graph, x, layer), name="onnx")
        made = anew(model)
        made.set_weights(model.get_weights())
        return Backbone(made, tuple(block_ends(made, set())))
    except _onnx_graphs.UNFIT as error:
        raise UsageError(
            f"{path}: expected a convolutional network for images of {size} pixels: {brief(error)}"
        ) from None


def licence(weights: str, options: dict[str, str]) -> str:
    """The file's author has to state it."""
    return f"that of {weights}, whose author has to state it"


def weights_digest(weights: str, options: dict[str, str]) -> str:
    """SHA-256 of the file."""
    return files.from_path(weights)[1]


def choices() -> list[Choice]:
    """Any network in a file."""
    return [Choice({}, 0, 0, "the path of an .onnx file")]


def smallest() -> list[Choice]:
    """None: there is nothing to build without a file."""
    return []


def _read(path: Path) -> Any:
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError as error:
        raise DependencyError(f"backbone onnx needs onnx: pip install 'headstart[export]' ({error}).") from error
    if path.stat().st_size > LARGEST:
        raise UsageError(f"{path}: expected an ONNX file of at most 2 GiB, found {path.stat().st_size:,} bytes.")
    try:
        graph = onnx.load(path, load_external_data=False).graph
    except (DecodeError, ValueError) as error:
        raise DependencyError(f"{path}: expected an ONNX file: {brief(error)}") from None
    beside = [tensor.name for tensor in graph.initializer if tensor.data_location == onnx.TensorProto.EXTERNAL]
    if beside:
        raise UsageError(
            f"{path}: expected all weights in the file, found {beside[0]!r} beside it. Save it as one file."
        )
    return graph
