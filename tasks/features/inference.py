"""What a trained network says of images: from stored features where its backbone is as it was, else from pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tasks.data import datasets
from tasks.features import tables
from tasks.networks import cutting, engines, files
from tasks.runtime import progress
from tasks.runtime.home import home
from tasks.runtime.store.tables import Table

if TYPE_CHECKING:
    import keras
    import pandas as pd

    from tasks.records import FeaturesRef, ImagesRef, ModelRef

#: Images a step.
BATCH = 32


def stored(model: ModelRef) -> bool:
    """Whether what the model's head takes is in the table of features; the head of a SavedModel cannot be taken out."""
    return model.on_frozen and model.path.endswith(".keras")


def from_features(network: keras.Model, features: FeaturesRef, rows: pd.DataFrame) -> np.ndarray:
    """What a network that takes features says of the rows' images, float32[n, …]."""
    table = Table(features.table, features.shape, features.dtype)
    parts = table.batches(list(rows["key"]), BATCH)
    return np.concatenate([network.predict_on_batch(part.astype(np.float32)) for part in parts])


def from_pixels(network: keras.Model, images: ImagesRef, rows: pd.DataFrame, what: str = "evaluate") -> np.ndarray:
    """What a network that takes pixels says of the rows' images, float32[n, …]; `what`: for progress.

    The backend itself runs it, as the registered version does: what is scored is what will answer.
    """
    engine = engines.own(lambda: network, home())
    batches = engines.ahead(datasets.pixels(images, rows, BATCH))
    counted = progress.counted(((part, len(part)) for part in engine.run(batches)), len(rows), what)
    return np.concatenate(list(counted))


def head_inputs(model: ModelRef, features: FeaturesRef, images: ImagesRef, rows: pd.DataFrame) -> np.ndarray | None:
    """What the model's head takes of the rows' images, float32[n, values]; None where a SavedModel hides it."""
    import keras

    if stored(model):
        return tables.vectors(Table(features.table, features.shape, features.dtype), rows)
    if not model.path.endswith(".keras"):
        return None
    network = files.load(home() / model.path)
    tensor = cutting.features_of(network)
    if tensor is None:
        return None
    return tables.means(from_pixels(keras.Model(network.input, tensor), images, rows, "calibrate"))
