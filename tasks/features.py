"""Tables of what a frozen network gives for images and their views: filled once, read by training."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from tasks import datasets, engines, progress, store
from tasks.images.augment import view
from tasks.records import ImagesRef

#: Rows in one commit: what a killed run loses at most, and Lance's cost of a commit is spread over.
COMMIT = 512


def fill(
    table: store.Table,
    images: ImagesRef,
    views: Mapping[str, Sequence[str]],
    engine: engines.Engine,
    batch_size: int,
    what: str,
    shard: tuple[int, int] = (0, 1),
    some: pd.DataFrame | None = None,
) -> int:
    """Compute and commit the rows that the table lacks; returns how many.

    `views`: for each split, the views that its images need. `shard`: (i, n) takes every n-th image, from the i-th.
    `some`: rows of the data set, where not all are wanted. Decoding, views and inference overlap.
    """
    part, parts = shard
    rows, wanted = _missing(table, (datasets.rows(images.dataset) if some is None else some)[part::parts], views)
    total = sum(len(names) for names in wanted)
    if not total:
        return 0
    counted = ((batch, len(batch[0])) for batch in _outputs(rows, wanted, images, engine, batch_size))
    keys: list[str] = []
    values: list[np.ndarray] = []
    for batch_keys, outputs in progress.counted(counted, total, what):
        keys += batch_keys
        values.append(outputs.astype(table.dtype))
        if len(keys) >= COMMIT:
            table.append(keys, np.concatenate(values))
            keys, values = [], []
    if keys:
        table.append(keys, np.concatenate(values))
    return total


def row_key(key: str, view_name: str) -> str:
    """The address of an image's view in a table of outputs."""
    return key if view_name == "identity" else f"{key}:{view_name}"


def _missing(
    table: store.Table, rows: pd.DataFrame, views: Mapping[str, Sequence[str]]
) -> tuple[pd.DataFrame, list[list[str]]]:
    """The rows that lack something, and the views that each of them lacks."""
    there = table.keys()
    lacking = [
        [name for name in views[split] if row_key(key, name) not in there]
        for key, split in zip(rows["key"], rows["split"], strict=True)
    ]
    some = [bool(names) for names in lacking]
    return rows[some].reset_index(drop=True), [names for names in lacking if names]


def _outputs(
    rows: pd.DataFrame, wanted: list[list[str]], images: ImagesRef, engine: engines.Engine, batch_size: int
) -> Iterator[tuple[list[str], np.ndarray]]:
    keys = [row_key(key, name) for key, names in zip(rows["key"], wanted, strict=True) for name in names]
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
