"""Tables of a frozen network's outputs for images and their views: keys, missing rows, contents."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from tasks.records import FeaturesRef
from tasks.runtime.errors import DataError
from tasks.runtime.store.tables import Table

#: Rows in one commit: a killed run loses at most these, and they share Lance's cost of a commit.
COMMIT = 512


class Waiting:
    """Rows of a table that are not committed yet."""

    def __init__(self, table: Table, columns: slice, what: str, wanted: set[str] | None = None) -> None:
        self.table, self.columns, self.what, self.wanted = table, columns, what, wanted
        self.keys: list[str] = []
        self.values: list[np.ndarray] = []

    def add(self, keys: list[str], outputs: np.ndarray) -> None:
        """Add the table's part of outputs float32[len(keys), …], of the wanted rows."""
        chosen = [i for i, key in enumerate(keys) if self.wanted is None or key in self.wanted]
        kept = [keys[i] for i in chosen]
        rows = outputs.reshape(len(outputs), -1)[chosen, self.columns].reshape(len(chosen), *self.table.shape)
        self.keys += kept
        self.values.append(_stored(rows, self.table.dtype, kept, self.what))

    def commit(self) -> None:
        """Write the collected rows."""
        if self.keys:
            self.table.append(self.keys, np.concatenate(self.values))
        self.keys, self.values = [], []


def _stored(outputs: np.ndarray, dtype: str, keys: list[str], what: str) -> np.ndarray:
    """The outputs in the table's type. NaN must not reach training, where some layers treat it as 0."""
    with np.errstate(over="ignore"):
        values = outputs.astype(dtype)
    good = np.isfinite(values).all(axis=tuple(range(1, values.ndim)))
    if not good.all():
        largest = np.abs(outputs[~good]).max()
        raise DataError(
            f"{what}: expected finite numbers in {dtype}, found up to {largest:g} for image "
            f"{keys[int(np.argmin(good))]}. float32 holds larger numbers than float16; NaN means damaged weights."
        )
    return values


def row_key(key: str, view_name: str) -> str:
    """The address of an image's view in a table of outputs."""
    return key if view_name == "identity" else f"{key}:{view_name}"


def missing(
    table: Table, rows: pd.DataFrame, views: Mapping[str, Sequence[str]]
) -> tuple[pd.DataFrame, list[list[str]]]:
    """The rows with missing views, and the missing views of each."""
    there = table.keys()
    lacking = [
        [name for name in views[split] if row_key(key, name) not in there]
        for key, split in zip(rows["key"], rows["split"], strict=True)
    ]
    some = [bool(names) for names in lacking]
    return rows[some].reset_index(drop=True), [names for names in lacking if names]


def keys_of(rows: pd.DataFrame, wanted: list[list[str]]) -> list[str]:
    """The addresses of each image's views, one image after the other."""
    return [row_key(key, name) for key, names in zip(rows["key"], wanted, strict=True) for name in names]


def vectors(table: Table, rows: pd.DataFrame, view_name: str = "identity") -> np.ndarray:
    """Features of the rows in one view, float32[n, values]; of a feature map the mean over height and width."""
    return means(table.read([row_key(key, view_name) for key in rows["key"]]))


def summaries(features: FeaturesRef, rows: pd.DataFrame, view_name: str = "identity") -> np.ndarray:
    """What describes a photo in brief, float32[n, c]: the means of the last feature map, whatever else is pooled."""
    found = vectors(Table(features.table, features.shape, features.dtype), rows, view_name)
    return found[:, slice(*features.summary)] if features.summary else found


def means(features: np.ndarray) -> np.ndarray:
    """[n, …, values] to float32[n, values]: means over the axes between."""
    return features.astype(np.float32).mean(axis=tuple(range(1, features.ndim - 1)))
