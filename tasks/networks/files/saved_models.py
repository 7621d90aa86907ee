"""Networks of which only TensorFlow's graph is known: SavedModels (https://www.tensorflow.org/guide/saved_model).

They run unchanged and cannot be cut. A graph can access any file of the machine, so it is loaded only if every
operation that it can run only computes: https://github.com/tensorflow/tensorflow/blob/master/SECURITY.md.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from tasks.runtime.errors import DependencyError, UsageError, brief, few

if TYPE_CHECKING:
    import keras
    from tensorflow.core.framework.function_pb2 import FunctionDef
    from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef
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
    checked = _copy(path, check(path).SerializeToString(deterministic=True))
    for endpoint in ENDPOINTS:
        try:
            return keras.layers.TFSMLayer(checked.name, call_endpoint=endpoint, trainable=False)
        except ValueError as error:
            missing = brief(error)
        except Exception as error:  # TensorFlow's own, and those of a parser that trusts its input
            raise DependencyError(f"{path}: expected a SavedModel, found a damaged one: {brief(error)}") from None
    raise DependencyError(f"{path}: expected an endpoint named {' or '.join(ENDPOINTS)}: {missing}")


@cache
def _copy(path: Path, graph: bytes) -> TemporaryDirectory[str]:
    """A folder with this graph and the variables of another one. It lives as long as the process: layers name it."""
    folder = TemporaryDirectory(prefix="headstart-graph-")
    Path(folder.name, "saved_model.pb").write_bytes(graph)
    Path(folder.name, "variables").symlink_to((path / "variables").absolute())
    return folder


def shape(layer: keras.layers.TFSMLayer) -> tuple[int, ...]:
    """Shape of an image that the network takes, (height, width, channels)."""
    return tuple(layer.call_endpoint_fn.input_signature[0].shape[1:])


def check(path: Path) -> SavedModel:
    """The graph without all that a network does not need, to be loaded in place of the file.

    Raises `DependencyError` unless everything that can run in it computes, without access to files.
    """
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    try:
        saved = SavedModel.FromString((path / "saved_model.pb").read_bytes())
    except (OSError, DecodeError):
        raise DependencyError(f"{path}: expected a SavedModel, a folder with saved_model.pb and variables.") from None
    graph = saved.meta_graphs[0] if len(saved.meta_graphs) == 1 else None
    if graph is None or not graph.HasField("object_graph_def"):
        raise DependencyError(f"{path}: expected a SavedModel as TensorFlow 2 writes it, found one of TensorFlow 1.")
    used = _used(graph, path)
    run = {node.op for each in used.values() for node in each.node_def} - used.keys()
    if refused := sorted(name for name in run if not _computes(name)):
        raise DependencyError(
            f"{path}: expected a graph that only computes, found {', '.join(refused)}, which can access files, the "
            f"network or Python. Export the network without them."
        )
    library = graph.graph_def.library
    kept = [each for each in library.function if each.signature.name in used]
    del library.function[:]
    library.function.extend(kept)
    constants = [node for node in graph.graph_def.node if node.op == "Const"]
    del graph.graph_def.node[:]
    graph.graph_def.node.extend(constants)
    graph.ClearField("saver_def")
    graph.ClearField("collection_def")
    graph.ClearField("asset_file_def")
    return saved


def _used(graph: MetaGraphDef, path: Path) -> dict[str, FunctionDef]:
    """The functions that loading or calling runs, by name: those that the objects name, and those that these name.

    TensorFlow adds what an object names to the list where it is not in it, so that is refused here.
    """
    objects, library = graph.object_graph_def, graph.graph_def.library
    functions = {function.signature.name: function for function in library.function}
    named = {name for node in objects.nodes for name in node.function.concrete_functions}
    named |= {node.bare_concrete_function.concrete_function_name for node in objects.nodes} - {""}
    named |= {node.captured_tensor.concrete_function for node in objects.nodes} - {""}
    odd = sorted(named - objects.concrete_functions.keys())
    odd += [node.registered_saver for node in objects.nodes if node.registered_saver]
    if odd or any(node.HasField("asset") or node.saveable_objects for node in objects.nodes):
        raise DependencyError(
            f"{path}: expected variables and functions that the SavedModel lists, found others"
            f"{': ' + few(odd) if odd else ', such as files beside it'}. Export the network again."
        )
    waiting = named | set(objects.concrete_functions)
    waiting |= {each.gradient_func for each in (*library.gradient, *library.registered_gradients)}
    used: dict[str, FunctionDef] = {}
    while waiting:
        name = waiting.pop()
        if name not in functions or name in used:
            continue
        used[name] = functions[name]
        for node in functions[name].node_def:
            waiting.add(node.op)
            waiting |= {value.func.name for value in node.attr.values()}
            waiting |= {function.name for value in node.attr.values() for function in value.list.func}
    return used


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
