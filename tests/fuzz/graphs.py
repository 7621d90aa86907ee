"""SavedModels: small ones, and damage to the fields of their messages."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from mutations import EDGES, WORDS, damaged


def changed(data: bytes, rng: np.random.Generator) -> bytes:
    """A SavedModel's bytes with one to three fields changed, doubled or left out."""
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    try:
        saved = SavedModel.FromString(data)
    except DecodeError:
        return damaged(data, rng)
    if rng.random() < 0.1:
        return damaged(data, rng)
    for _ in range(rng.integers(1, 4)):
        _change(saved, rng)
    return saved.SerializeToString(deterministic=True)


def _change(message: Any, rng: np.random.Generator) -> None:
    """Go down to a field at random, and change it."""
    while fields := message.ListFields():
        field, value = fields[rng.integers(len(fields))]
        if field.message_type is None:
            return _scalar(message, field, value, rng)
        if field.message_type.GetOptions().map_entry:
            key = sorted(value)[rng.integers(len(value))]
            if rng.random() < 0.2 or field.message_type.fields_by_name["value"].message_type is None:
                del value[key]
                return None
            message = value[key]
        elif field.is_repeated:
            at = int(rng.integers(len(value)))
            if rng.random() < 0.2:
                other = value[int(rng.integers(len(value)))]
                if rng.random() < 0.5:
                    value.add().CopyFrom(other)
                elif value[at] is not other:
                    value[at].CopyFrom(other)
                return None
            if rng.random() < 0.1:
                del value[at]
                return None
            message = value[at]
        elif rng.random() < 0.05:
            return message.ClearField(field.name)
        else:
            message = value
    return None


def _scalar(message: Any, field: Any, value: Any, rng: np.random.Generator) -> None:
    if field.is_repeated:
        at = int(rng.integers(len(value)))
        match rng.integers(0, 3):
            case 0:
                del value[at]
            case 1:
                value.append(value[at])
            case _:
                with suppress(ValueError):  # more than a field of 32 bits holds
                    value[at] = _other(value[at], rng)
    else:
        with suppress(ValueError):
            setattr(message, field.name, _other(value, rng))


def _other(value: Any, rng: np.random.Generator) -> Any:
    """Another value of the same type, that most fields can hold."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, float):
        return float(rng.choice([0, -1, np.inf, np.nan, 1e30]))
    if isinstance(value, int):
        edge = EDGES[rng.integers(10)]
        return value + int(rng.integers(-2, 3)) if rng.random() < 0.5 and value > 2 else edge
    if isinstance(value, bytes):
        return damaged(value, rng)
    word = WORDS[rng.integers(len(WORDS))].decode("ascii", "ignore")
    return str(rng.choice([word, value + "_", value[1:], "WriteFile", "Const", "StatefulPartitionedCall", "PyFunc"]))


def seeds(folder: Path, planted: Path) -> Iterator[bytes]:
    """A small network's graph, and one that writes `planted` when it is called; the network is left in the folder."""
    import keras
    import tensorflow as tf

    class Evil(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 32, 32, 3])])
        def serve(self, pixels: tf.Tensor) -> tf.Tensor:
            tf.io.write_file(str(planted), "here")
            return pixels

    tf.saved_model.save(Evil(), str(folder / "evil"))
    yield (folder / "evil" / "saved_model.pb").read_bytes()
    layers = [keras.Input((32, 32, 3)), keras.layers.Conv2D(2, 3, 2, name="conv"), keras.layers.ReLU()]
    keras.Sequential(layers).export(folder / "graph", verbose=False)
    yield (folder / "graph" / "saved_model.pb").read_bytes()
