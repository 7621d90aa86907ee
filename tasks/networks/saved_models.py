"""Networks of which only TensorFlow's graph is known: SavedModels (https://www.tensorflow.org/guide/saved_model).

They run unchanged and cannot be cut. A graph can access any file of the machine, so it is loaded only if every
operation that it can run only computes: https://github.com/tensorflow/tensorflow/blob/master/SECURITY.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.runtime.errors import DependencyError, UsageError, brief

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import keras
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

#: Names of a network's endpoint: from Keras, and from others.
ENDPOINTS = ("serve", "serving_default")
#: Harmless operations with a state or with strings: variables in memory, calls, control flow, random numbers.
HARMLESS = {
    *("VarHandleOp", "ReadVariableOp", "DisableCopyOnRead", "VarIsInitializedOp", "ResourceGather"),
    *("AssignVariableOp", "AssignAddVariableOp", "AssignSubVariableOp"),
    *("StatefulPartitionedCall", "PartitionedCall", "If", "While", "StatelessIf", "StatelessWhile"),
    *("RandomUniform", "RandomStandardNormal", "TruncatedNormal", "Einsum", "Const", "Placeholder", "NoOp"),
}


def load(path: Path) -> keras.layers.TFSMLayer:
    """The network of a SavedModel's folder as one layer. Raises `DependencyError` where it does more than compute."""
    import keras

    if keras.backend.backend() != "tensorflow":
        raise UsageError(f"backend: expected tensorflow for the SavedModel {path}, found {keras.backend.backend()}.")
    check(path)
    for endpoint in ENDPOINTS:
        try:
            return keras.layers.TFSMLayer(str(path), call_endpoint=endpoint, trainable=False)
        except ValueError as error:
            missing = brief(error)
    raise DependencyError(f"{path}: expected an endpoint named {' or '.join(ENDPOINTS)}: {missing}")


def shape(layer: keras.layers.TFSMLayer) -> tuple[int, ...]:
    """Shape of an image that the network takes, (height, width, channels)."""
    return tuple(layer.call_endpoint_fn.input_signature[0].shape[1:])


def check(path: Path) -> None:
    """Raise `DependencyError` unless everything that can run in the SavedModel computes, without access to files."""
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    try:
        saved = SavedModel.FromString((path / "saved_model.pb").read_bytes())
    except (OSError, DecodeError):
        raise DependencyError(f"{path}: expected a SavedModel, a folder with saved_model.pb and variables.") from None
    if refused := sorted({name for name in _operations(saved, path) if not _computes(name)}):
        raise DependencyError(
            f"{path}: expected a graph that only computes, found {', '.join(refused)}, which can access files, the "
            f"network or Python. Export the network without them."
        )


def _operations(saved: SavedModel, path: Path) -> Iterator[str]:
    """The operations of every function that loading or calling runs, without the saver's own."""
    graph = saved.meta_graphs[0]
    if len(saved.meta_graphs) != 1 or not graph.HasField("object_graph_def"):
        raise DependencyError(f"{path}: expected a SavedModel as TensorFlow 2 writes it, found one of TensorFlow 1.")
    functions = {function.signature.name: function for function in graph.graph_def.library.function}
    waiting, seen = set(graph.object_graph_def.concrete_functions), set()
    while waiting:
        name = waiting.pop()
        seen.add(name)
        for node in functions[name].node_def if name in functions else ():
            if node.op not in functions:
                yield node.op
            called = {node.op} | {value.func.name for value in node.attr.values()}
            called |= {function.name for value in node.attr.values() for function in value.list.func}
            waiting |= called - seen


def _computes(name: str) -> bool:
    """Whether an operation takes and returns only numbers, keeps no state, and has no free text in its settings."""
    from tensorflow.core.framework.types_pb2 import DT_RESOURCE, DT_STRING, DT_VARIANT
    from tensorflow.python.framework import op_def_registry

    operation = op_def_registry.get(name)
    if name in HARMLESS or operation is None:
        return name in HARMLESS
    ends = {each.type for each in (*operation.input_arg, *operation.output_arg)}
    free = {each.type for each in operation.attr if not each.HasField("allowed_values")}
    unsafe = ends & {DT_STRING, DT_RESOURCE, DT_VARIANT} or free & {"string", "list(string)", "func"}
    return not (unsafe or operation.is_stateful)
