"""Tables of what a frozen network gives for images and their views: filled once, read by training."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tasks.data import datasets
from tasks.data.images.augment import view
from tasks.networks import engines
from tasks.records import ImagesRef
from tasks.runtime import progress
from tasks.runtime.errors import DataError
from tasks.runtime.store.tables import Table

#: Rows in one commit: what a killed run loses at most, and Lance's cost of a commit is spread over.
COMMIT = 512


@dataclass(frozen=True)
class Beside:
    """A second table that one pass fills with the rest of what a network gives, and the views that it needs."""

    table: Table
    views: Mapping[str, Sequence[str]]


def fill(
    table: Table,
    images: ImagesRef,
    views: Mapping[str, Sequence[str]],
    engine: engines.Engine,
    batch_size: int,
    what: str,
    shard: tuple[int, int] = (0, 1),
    rows: pd.DataFrame | None = None,
    beside: Beside | None = None,
) -> int:
    """Compute and commit the rows that the table lacks; returns how many.

    `views`: for each split, the views that its images need. `shard`: (i, n) takes every n-th image, from the i-th.
    `rows`: of these images alone, instead of all. `beside`: where the rest of each output goes, for the rows that are
    computed. Decoding, views and inference overlap. Raises `DataError` where the network gives no number, or one that
    the table's type cannot hold.
    """
    part, parts = shard
    every = datasets.rows(images.dataset) if rows is None else rows
    rows, wanted = _missing(table, every[part::parts], views)
    total = sum(len(names) for names in wanted)
    if not total:
        return 0
    counted = ((batch, len(batch[0])) for batch in _outputs(rows, wanted, images, engine, batch_size))
    own = math.prod(table.shape)
    waiting = [_Waiting(table, slice(own), what)]
    if beside:
        wanted_beside = set(_keys(*_missing(beside.table, rows, beside.views)))
        # First: what is missing is told by the rows of `table`.
        waiting.insert(0, _Waiting(beside.table, slice(own, None), what, wanted_beside))
    for keys, outputs in progress.counted(counted, total, what):
        for each in waiting:
            each.add(keys, outputs)
        if len(waiting[-1].keys) >= COMMIT:
            for each in waiting:
                each.commit()
    for each in waiting:
        each.commit()
    return total


def lacks(table: Table, images: ImagesRef, views: Mapping[str, Sequence[str]]) -> bool:
    """Whether `fill` would have anything to compute."""
    return not _missing(table, datasets.rows(images.dataset), views)[0].empty


class _Waiting:
    """Rows of a table that are not committed yet."""

    def __init__(self, table: Table, columns: slice, what: str, wanted: set[str] | None = None) -> None:
        self.table, self.columns, self.what, self.wanted = table, columns, what, wanted
        self.keys: list[str] = []
        self.values: list[np.ndarray] = []

    def add(self, keys: list[str], outputs: np.ndarray) -> None:
        """The table's part of outputs float32[len(keys), …], of those rows that are wanted."""
        chosen = [i for i, key in enumerate(keys) if self.wanted is None or key in self.wanted]
        kept = [keys[i] for i in chosen]
        rows = outputs.reshape(len(outputs), -1)[chosen, self.columns].reshape(len(chosen), *self.table.shape)
        self.keys += kept
        self.values.append(_stored(rows, self.table.dtype, kept, self.what))

    def commit(self) -> None:
        """Write what has come together."""
        if self.keys:
            self.table.append(self.keys, np.concatenate(self.values))
        self.keys, self.values = [], []


def _stored(outputs: np.ndarray, dtype: str, keys: list[str], what: str) -> np.ndarray:
    """The outputs in the table's type. What is no number must not reach training, where some layers take it for 0."""
    with np.errstate(over="ignore"):
        values = outputs.astype(dtype)
    good = np.isfinite(values).all(axis=tuple(range(1, values.ndim)))
    if not good.all():
        largest = np.abs(outputs[~good]).max()
        raise DataError(
            f"{what}: expected numbers in {dtype}, found up to {largest:g} for image {keys[int(np.argmin(good))]}. "
            f"float32 holds more than float16; NaN tells of damaged weights."
        )
    return values


def row_key(key: str, view_name: str) -> str:
    """The address of an image's view in a table of outputs."""
    return key if view_name == "identity" else f"{key}:{view_name}"


def _missing(
    table: Table, rows: pd.DataFrame, views: Mapping[str, Sequence[str]]
) -> tuple[pd.DataFrame, list[list[str]]]:
    """The rows that lack something, and the views that each of them lacks."""
    there = table.keys()
    lacking = [
        [name for name in views[split] if row_key(key, name) not in there]
        for key, split in zip(rows["key"], rows["split"], strict=True)
    ]
    some = [bool(names) for names in lacking]
    return rows[some].reset_index(drop=True), [names for names in lacking if names]


def _keys(rows: pd.DataFrame, wanted: list[list[str]]) -> list[str]:
    """The addresses of each image's views, one image after the other."""
    return [row_key(key, name) for key, names in zip(rows["key"], wanted, strict=True) for name in names]


def _outputs(
    rows: pd.DataFrame, wanted: list[list[str]], images: ImagesRef, engine: engines.Engine, batch_size: int
) -> Iterator[tuple[list[str], np.ndarray]]:
    keys = _keys(rows, wanted)
    batches = engines.ahead(_views(datasets.pixels(images, rows, batch_size), wanted))
    start = 0
    for outputs in engine.run(batches):
        yield keys[start : start + len(outputs)], outputs
        start += len(outputs)


def _views(batches: Iterator[np.ndarray], wanted: list[list[str]]) -> Iterator[np.ndarray]:
    """Each image's wanted views, one after the other: uint8[sum of views, side, side, 3] a batch."""
    names = iter(wanted)
    for batch in batches:
        yield np.stack([view(image, name) for image, own in zip(batch, names, strict=False) for name in own])
