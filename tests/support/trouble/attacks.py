"""Files of attacks, each read in a process of its own that says what that took.

Each function makes the file in a folder and reads one that is harmless, so that what is made once is made; it returns
the file's size in bytes, and what reads it.
"""

import json
import os
import resource
import struct
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from helpers import COLOURS, encoded, photo
from PIL import Image

Attack = tuple[int, Callable[[], object]]


def do(name: str, at: str) -> None:
    """Read the file of an attack, and print what that took."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    size, read = globals()[name](Path(at))
    whole = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (whole + 2**33,) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, (180, 180))
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    try:
        said = f"answer {read()}"
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
    took = {"s": time.perf_counter() - began, "bytes": size, "said": said.replace("\n", " ")}
    print(json.dumps(took | {"megabytes": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024}))


def _pth(folder: Path, which: str) -> Attack:
    from test_weights import BOMBS

    from tasks.networks.weights import pth

    file = folder / "evil.pth"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("w/data.pkl", BOMBS[which])
    return file.stat().st_size, lambda: pth.read(file)


def pth_memory(folder: Path) -> Attack:
    return _pth(folder, "a place far away in its memory")


def pth_time(folder: Path) -> Attack:
    return _pth(folder, "a key that takes for ever")


def hdf5_memory(folder: Path) -> Attack:
    import h5py

    from tasks.networks.backbones import applications

    applications.build(64, "random", name="MobileNetV3Small")
    file = folder / "evil.weights.h5"
    with h5py.File(file, "w") as made:
        made.create_group("layers/first").create_dataset("w", (1_200_000_000,), "<f4")
    return file.stat().st_size, lambda: applications.build(64, str(file), name="MobileNetV3Small")


def hdf5_elsewhere(folder: Path) -> Attack:
    import h5py
    import keras

    from tasks.networks.weights import hdf5

    secret, file = folder / "secret", folder / "evil.weights.h5"
    secret.write_bytes(bytes(256))
    keras.Sequential([keras.Input((8,)), keras.layers.Dense(8, use_bias=False)]).save_weights(file)
    with h5py.File(file, "r+") as made:
        group = made["layers/dense/vars"]
        del group["0"]
        group.create_dataset("0", (8, 8), "<f4", external=[(str(secret), 0, 256)])
    return file.stat().st_size, lambda: hdf5.check(file)


def _keras(folder: Path, layers: list[Any], batch: int | None, old: bytes, new: bytes) -> Attack:
    """A `.keras` file whose configuration alone has changed."""
    import keras

    from tasks.networks.backbones import file as of_file

    small, evil = folder / "small.keras", folder / "evil.keras"
    keras.Sequential([keras.Input((32, 32, 3), batch_size=batch), *layers]).save(small)
    with zipfile.ZipFile(small) as read, zipfile.ZipFile(evil, "w") as written:
        for name in read.namelist():
            data = read.read(name)
            written.writestr(name, data.replace(old, new) if name == "config.json" else data)
    return evil.stat().st_size, lambda: of_file.build(32, str(evil))


def keras_memory(folder: Path) -> Attack:
    from keras.layers import Conv2D

    return _keras(folder, [Conv2D(7, 3)], None, b'"filters": 7', b'"filters": 20000000')


def keras_state(folder: Path) -> Attack:
    from keras.layers import Reshape, SimpleRNN

    return _keras(folder, [Reshape((1024, 3)), SimpleRNN(7, stateful=True)], 11, b"[11,", b"[200000000,")


def keras_weights(folder: Path) -> Attack:
    from tasks.networks.backbones import applications

    applications.build(64, "random", name="MobileNetV3Small")
    size, _ = keras_memory(folder)
    return size, lambda: applications.build(64, str(folder / "evil.keras"), name="MobileNetV3Small")


def many_frames() -> bytes:
    """A first frame of one colour, and 300 frames of one pixel, for each of which room for a whole frame was taken."""
    first = encoded(Image.new("P", (2200, 2200)), "GIF")
    frame = b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    return first[:-1] + 300 * frame + b";"


def _small(kind: str) -> bytes:
    """A photo that is none of an attack: what is made once is made for it."""
    return encoded(photo(COLOURS["red"], 1), kind)


def gif_decoder(folder: Path) -> Attack:
    import tensorflow as tf

    from tasks.data.images import decode

    signature = [tf.TensorSpec([], tf.string)]
    graph = tf.function(lambda data: decode.decode(data, 10_000, 10**8), input_signature=signature)
    data = many_frames()
    graph(_small("GIF"))
    return len(data), lambda: graph(data).shape


def gif_served(folder: Path) -> Attack:
    from types import SimpleNamespace

    import pandas as pd
    from tiny_networks import calibration_of, classifier

    from tasks.serving import package, pyfunc
    from tasks.settings import Images

    network = classifier()
    network.save(folder / "trained.keras")
    (folder / "served").mkdir()
    found, _ = calibration_of(network, folder)
    package.write(folder / "served", folder / "trained.keras", ("blue", "green", "red"), Images(size=32), found)
    model = pyfunc.Classifier()
    model.load_context(SimpleNamespace(artifacts={"classifier": str(folder / "served")}))

    def asked(data: bytes) -> object:
        return list(model.predict(None, pd.DataFrame({"image": [data]}))["label"])

    data = many_frames()
    asked(_small("GIF"))
    return len(data), lambda: asked(data)


def gif_ingest(folder: Path) -> Attack:
    from tasks.data.images import facts

    (folder / "small.gif").write_bytes(_small("GIF"))
    facts.read(str(folder / "small.gif"), 32, 10**8)
    (folder / "evil.gif").write_bytes(data := many_frames())
    return len(data), lambda: facts.read(str(folder / "evil.gif"), 32, 10**8)[0].get("error") or "no error"


def jpeg_scans(folder: Path) -> Attack:
    from tasks.data.images import facts

    data = encoded(Image.new("RGB", (600, 600)), "JPEG", progressive=True)
    first = data.index(b"\xff\xda")
    data = data[:first] + 500 * data[first : data.index(b"\xff", first + 2)] + data[first:]
    (folder / "small.jpg").write_bytes(_small("JPEG"))
    facts.read(str(folder / "small.jpg"), 32, 10**8)
    (folder / "evil.jpg").write_bytes(data)
    return len(data), lambda: facts.read(str(folder / "evil.jpg"), 32, 10**8)[0]["error"]


def many_models(folder: Path) -> Attack:
    from tasks.runtime.home import configure

    configure(folder / "home")
    from tasks.services import tracking
    from tasks.services.registry import promotion, registered_models, versions

    for number in range(120):
        registered_models.create(f"m{number}")
        tracking.client().create_model_version(f"m{number}", "/nowhere", tags={"headstart.tables": f"t{number}"})
    return 0, lambda: f"{len(promotion.overview(None))} models listed, {len(versions.tables_in_use())} tables in use"
