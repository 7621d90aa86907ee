"""A validated data set: its rows, by split, and their labels as numbers."""

import numpy as np
import pandas as pd

from tasks import store
from tasks.records import DatasetRef, ImagesRef


def rows(dataset: DatasetRef, split: str | None = None) -> pd.DataFrame:
    """Rows of (key, uri, label, group, split, facts), of one split or all, in the order of their keys."""
    every = store.frame(dataset.path)
    return every if split is None else every[every["split"] == split].reset_index(drop=True)


def labels(rows: pd.DataFrame, classes: tuple[str, ...]) -> np.ndarray:
    """int64[n], positions of the rows' labels in `classes`."""
    return rows["label"].map({name: i for i, name in enumerate(classes)}).to_numpy(np.int64)


def pixels(images: ImagesRef) -> store.Table:
    """The table of prepared images: uint8[size, size, 3] by key."""
    return store.Table(images.table, (images.size, images.size, 3), "uint8")
