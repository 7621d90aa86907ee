"""Every reader of files that come from others: how it is called, and small files that it reads.

What a target does not import costs its process no time. A reader may only return, or raise an error of the project.
"""

import hashlib
import io
import itertools
import json
import os
import shutil
import struct
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mutations import Mutation, archived, damaged, reworded

#: Takes the path of the file.
Reader = Callable[[Path], object]
SIZE, MAX_PIXELS = 32, 10**6
CORPUS = Path(__file__).with_name("corpus")
#: Of one process: executions, accepted, refused, slowest (s), peak memory (MB), time after its start (s).
COUNTS = struct.Struct("<3q3d")


@dataclass(frozen=True)
class Target:
    """A reader of one format. Both functions take the target's folder, and may leave there what they need."""

    #: The file's name in the folder.
    file: str
    reader: Callable[[Path], Reader]
    seeds: Callable[[Path], Iterable[bytes]]
    mutate: Mutation = damaged


def _state(folder: Path) -> Reader:
    from tasks.networks.weights import state

    return state.read


def _pth(folder: Path) -> Iterable[bytes]:
    from helpers import Saved, legacy, zipped

    storages = {"0": np.arange(24, dtype="<f4"), "1": np.ones(2, "<f2")}
    tensors = OrderedDict(
        {"conv.weight": Saved((2, 3, 2, 2), (12, 4, 2, 1)), "b": Saved((2,), (1,), 0, "1", "HalfStorage")}
    )
    for state in (tensors, {"state_dict": tensors, "epoch": 3}):
        yield legacy(state, storages)
        yield zipped(state, storages)


def _safetensors(folder: Path) -> Iterable[bytes]:
    for kind, width in (("F32", 4), ("BF16", 2), ("BOOL", 1)):
        header = {
            "__metadata__": {"format": "pt"},
            "w": {"dtype": kind, "shape": [2, 3], "data_offsets": [0, 6 * width]},
        }
        text = json.dumps(header).encode()
        yield struct.pack("<Q", len(text)) + text + bytes(6 * width)


def _network():
    import keras

    layers = [
        keras.Input((SIZE, SIZE, 3)),
        keras.layers.Conv2D(2, 3, 2, name="conv"),
        keras.layers.BatchNormalization(name="norm"),
        keras.layers.Dense(2, name="dense"),
    ]
    return keras.Sequential(layers, name="small")


def _filled(folder: Path) -> Reader:
    """Under both names: Keras reads its own layout by one of them, and the older one by the other."""
    from tasks.networks.weights import fill
    from tasks.runtime.errors import HeadstartError

    network = _network()

    def read(path: Path) -> None:
        older = path.with_name("older.h5")
        older.unlink(missing_ok=True)
        older.symlink_to(path)
        with suppress(HeadstartError):
            return fill.fill(network, older)
        fill.fill(network, path)

    return read


def _h5(folder: Path) -> Iterable[bytes]:
    import h5py

    network = _network()
    network.save_weights(folder / "a.weights.h5")
    network.save(folder / "b.h5")
    yield (folder / "a.weights.h5").read_bytes()
    yield (folder / "b.h5").read_bytes()
    for libver, link in itertools.product(("earliest", "latest"), (False, True)):
        with h5py.File(folder / "c.h5", "w", libver=libver) as file:
            for number, array in enumerate(network.get_weights()):
                stored = {"compression": "gzip", "shuffle": True} if array.ndim > 1 else {}
                file.create_dataset(f"group/array_{number}", data=array, **stored)
            if link:
                file["again"] = h5py.SoftLink("/group/array_0")
        yield (folder / "c.h5").read_bytes()


def _backbone(folder: Path) -> Reader:
    import keras

    from tasks.networks.backbones import file
    from tasks.networks.files import saved_models

    def read(path: Path) -> None:
        try:
            file.build(SIZE, str(path.parent if path.suffix == ".pb" else path))
        finally:
            keras.utils.clear_session(free_memory=False)
            saved_models._copy.cache_clear()

    return read


def _onnx(folder: Path) -> Reader:
    import keras

    from tasks.networks.backbones import onnx

    def read(path: Path) -> None:
        try:
            onnx.build(SIZE, str(path))
        finally:
            keras.utils.clear_session(free_memory=False)

    return read


def _onnx_files(folder: Path) -> Iterable[bytes]:
    from onnx import TensorProto, helper, numpy_helper

    kernel = numpy_helper.from_array(np.ones((4, 3, 3, 3), "float32"), "w")
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("MaxPool", ["c"], ["p"], kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1]),
        helper.make_node("Transpose", ["p"], ["t"], perm=[0, 2, 3, 1]),
        helper.make_node("Concat", ["t", "t"], ["y"], axis=3),
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("x", [1, 3, SIZE, SIZE]), ("y", None))
    ]
    model = helper.make_model(helper.make_graph(nodes, "g", ends[:1], ends[1:], [kernel]))
    yield model.SerializeToString()


def _whole(folder: Path) -> Iterable[bytes]:
    _network().save(folder / "a.h5")
    yield (folder / "a.h5").read_bytes()


def _keras(folder: Path) -> Iterable[bytes]:
    from helpers import hostile_keras

    _network().save(folder / "a.keras")
    yield (folder / "a.keras").read_bytes()
    yield hostile_keras(folder, SIZE)[0].read_bytes()


def _graph(folder: Path) -> Reader:
    if not (folder / "graph").is_dir():
        list(_graphs(folder))
    shutil.copytree(folder / "graph" / "variables", folder / "variables", dirs_exist_ok=True)
    return _backbone(folder)


def _graphs(folder: Path) -> Iterable[bytes]:
    from tests.fuzz import graphs

    return graphs.seeds(folder, folder.parent / "planted")


def _graph_changed(data: bytes, rng: np.random.Generator) -> bytes:
    from tests.fuzz import graphs

    return graphs.changed(data, rng)


def _image(folder: Path) -> Reader:
    import tensorflow as tf

    from tasks.data.images import decode, facts, pipeline, plain

    training, serving = (made(SIZE, "crop", MAX_PIXELS) for made in (pipeline.reader, decode.preparer))

    def read(path: Path) -> None:
        found, photo = facts.read(str(path), SIZE, MAX_PIXELS)
        if photo is None:
            raise Refused(found["error"])
        data = path.read_bytes()
        (trained,) = training([str(path)], [hashlib.sha256(data).hexdigest()])
        np.testing.assert_array_equal(plain.fitted(photo, SIZE, "crop"), trained)
        try:
            served = serving(data).numpy()
        except tf.errors.InvalidArgumentError:
            if _sum_fits(data):
                raise
        else:
            np.testing.assert_array_equal(trained, served)

    return read


def _sum_fits(data: bytes) -> bool:
    """Whether the sum at the end of a PNG's pixels is right: `plain` leaves it unread, on purpose."""
    at, packed = 8, b""
    while data[at + 4 : at + 8] != b"IEND":
        size = int.from_bytes(data[at : at + 4])
        packed += data[at + 8 : at + 8 + size] if data[at + 4 : at + 8] == b"IDAT" else b""
        at += 12 + size
    rows = zlib.decompressobj()
    try:
        rows.decompress(packed)
    except zlib.error as error:
        return "incorrect data check" not in str(error)
    return rows.eof


def _images(folder: Path) -> Iterable[bytes]:
    from photo_files import FILES

    return FILES.values()


class Refused(Exception):
    """A file that the reader told was unusable, without an error."""


def _recipe(folder: Path) -> Reader:
    from tasks.settings import loading

    return loading.load


def _recipes(folder: Path) -> Iterable[bytes]:
    from flows import recipes

    for file in sorted(Path(recipes.__file__).parent.glob("*.toml")):
        yield file.read_bytes()
    yield b"""name = "pets"
[source]
kind = "manifest"
options = { path = "pets.csv", image = "file", label = "species" }
[backbone]
kind = "efficientnet_lite"
options = { variant = "lite1" }
[gates]
min_metric = { at_least = { accuracy = 0.5 } }
[[select.candidates]]
kind = "applications"
options = { name = "MobileNetV3Small" }
"""


def _table(folder: Path) -> Reader:
    """As `init` looks at it, and as a recipe names its columns."""
    from tasks.data.sources import manifest
    from tasks.data.sources.proposals import look
    from tasks.runtime.errors import HeadstartError

    os.environ["HEADSTART_HOME"] = str(folder / "home")

    def read(path: Path) -> None:
        try:
            with suppress(HeadstartError):
                look.look(look.propose(str(path), {}).source)
            manifest.rows(path=path, group="group", split="split")
        finally:
            shutil.rmtree(folder / "home" / "store", ignore_errors=True)

    return read


TEXT = 'image,label,group,split,light\na.png,cat,1,train,0.5\n"b, 2.png",dög,2,test,\nc/d.png,,,val,nan\n'


def _csv(folder: Path) -> Iterable[bytes]:
    for encoding in ("utf-8", "cp1252", "utf-16"):
        yield TEXT.encode(encoding)
    yield TEXT.replace(",", ";").replace("\n", "\r\n").encode()
    yield TEXT.replace(",", "\t").encode()


def _frame():
    import pandas as pd

    return pd.read_csv(io.StringIO(TEXT))


def _json_lines(folder: Path) -> Iterable[bytes]:
    yield _frame().to_json(orient="records", lines=True).encode()
    lines = {"file_name": "a.png", "label": ["x"], "group": {"a": 1}}, {"file_name": 3, "label": 1.5, "split": None}
    yield "\n\n".join(map(json.dumps, lines)).encode()


def _parquet(folder: Path) -> Iterable[bytes]:
    for compression, version in (("snappy", "1.0"), ("zstd", "2.6"), (None, "2.6")):
        frame = _frame().assign(nested=[[1], [2, 3], []])
        yield frame.to_parquet(compression=compression, version=version)
        yield frame.astype({"label": "category"}).set_index("light").to_parquet(compression=compression)
        photos = [{"bytes": b"\x89PNG\r\n", "path": "a.png"}, {"bytes": None, "path": None}, None]
        yield frame.drop(columns="image").assign(image=photos).to_parquet(compression=compression)


def _corrections(folder: Path) -> Reader:
    import pandas as pd

    from tasks.data import corrections

    os.environ["HEADSTART_HOME"] = str(folder / "home")
    images = folder / "home" / "store" / "datasets" / "d1"
    images.mkdir(parents=True, exist_ok=True)
    table = {
        "key": ["1" * 64, "2" * 64],
        "uri": ["a", "b"],
        "label": ["x", "y"],
        "corrected_from": [None, None],
        "split": ["train"] * 2,
    }

    pd.DataFrame(table).to_parquet(images / "images.parquet")

    def read(path: Path) -> None:
        corrections.apply(path)
        corrections.undo(path)

    return read


def _corrected(folder: Path) -> Iterable[bytes]:
    yield f"recipe,dataset,key,corrected,label,uri\npets,d1,{'1' * 64},y,x,a\npets,d1,{'2' * 64},,y,b\n".encode()


TARGETS = {
    "pth": Target("weights.pth", _state, _pth, archived),
    "safetensors": Target("weights.safetensors", _state, _safetensors),
    "h5": Target("network.weights.h5", _filled, _h5),
    "keras": Target("network.keras", _backbone, _keras, archived),
    "whole_h5": Target("network.h5", _backbone, _whole),
    "onnx": Target("network.onnx", _onnx, _onnx_files),
    "saved_model": Target("saved_model.pb", _graph, _graphs, _graph_changed),
    "image": Target("image", _image, _images),
    "recipe": Target("recipe.toml", _recipe, _recipes, reworded),
    "csv": Target("table.csv", _table, _csv, reworded),
    "json_lines": Target("table.jsonl", _table, _json_lines, reworded),
    "parquet": Target("table.parquet", _table, _parquet),
    "corrections": Target("label_suspects.csv", _corrections, _corrected, reworded),
}
