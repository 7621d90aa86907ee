"""Outputs of a trained network for images: from stored features if its backbone is unchanged, else from pixels."""

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

#: Images per step. An average sees each in several views by several networks at once, which takes much memory.
BATCH = 8
#: Rows of stored features per step.
ROWS = 256


def stored(model: ModelRef) -> bool:
    """Whether the inputs of the model's head are in the features table; a SavedModel's head cannot be extracted."""
    return model.on_frozen and model.path.endswith(".keras")


def from_features(network: keras.Model, features: FeaturesRef, rows: pd.DataFrame) -> np.ndarray:
    """Outputs of a network on features for the rows' images, float32[n, …]."""
    table = Table(features.table, features.shape, features.dtype)
    parts = table.batches(list(rows["key"]), ROWS)
    return np.concatenate([network.predict_on_batch(part.astype(np.float32)) for part in parts])


def from_pixels(network: keras.Model, images: ImagesRef, rows: pd.DataFrame, what: str = "evaluate") -> np.ndarray:
    """Outputs of a network on pixels for the rows' images, float32[n, …]; `what`: for progress.

    The backend itself runs it, as in the registered version, so that scores match later predictions.
    """
    engine = engines.own(lambda: network, home())
    batches = engines.ahead(datasets.pixels(images, rows, BATCH))
    counted = progress.counted(((part, len(part)) for part in engine.run(batches)), len(rows), what)
    return np.concatenate(list(counted))


def head_inputs(model: ModelRef, features: FeaturesRef, images: ImagesRef, rows: pd.DataFrame) -> np.ndarray | None:
    """Inputs of the model's head for the rows' images, float32[n, values]; None where a SavedModel hides them."""
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
