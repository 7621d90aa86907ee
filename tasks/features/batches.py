"""Rows to train on: features from a table, or pixels, in views."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from tasks.data import datasets
from tasks.data.images.augment import view
from tasks.features.tables import row_key

if TYPE_CHECKING:
    import pandas as pd

    from tasks.records import ImagesRef
    from tasks.runtime.store.tables import Table


@dataclass(frozen=True)
class Batches:
    """Rows to train on: `read(positions)` gives their inputs, float32, so that they need not fit in memory."""

    read: Callable[[np.ndarray], np.ndarray]
    #: int[n], or the share of each class in each row, float32[n, classes].
    labels: np.ndarray
    #: Random generator of `read` and `mix`, if they change rows at random.
    random: np.random.Generator | None = None
    #: Mixes the rows of a batch with each other: inputs and shares of the classes, float32, to the same. Labels are
    #: shares then.
    mix: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]] | None = None
    #: float[n]: each row's weight in training, 1 on average; None: all weigh the same.
    weights: np.ndarray | None = None

    def in_memory(self) -> Batches:
        """The same rows, read once."""
        inputs = self.everything()
        return Batches(lambda positions: inputs[positions], self.labels, weights=self.weights)

    def everything(self) -> np.ndarray:
        """The inputs of all rows, float32."""
        return self.read(np.arange(len(self.labels)))


def train_and_validation(
    images: ImagesRef, views: tuple[str, ...], table: Table | None = None
) -> tuple[Batches, Batches]:
    """Rows to train on, in every view, and rows to validate on, unchanged: from a table, else as pixels."""
    return batches_of(images, ("train",), views, table), batches_of(images, ("validation",), ("identity",), table)


def batches_of(
    images: ImagesRef, splits: tuple[str, ...], views: tuple[str, ...], table: Table | None = None
) -> Batches:
    """Every view of every image of the splits: from a table, else as pixels."""
    every = datasets.rows(images.dataset)
    rows = every[every["split"].isin(splits)].reset_index(drop=True)
    labels = datasets.labels(rows, images.dataset.classes)
    return table_batches(rows, labels, table, views) if table else pixel_batches(images, rows, labels, views)


def table_batches(rows: pd.DataFrame, labels: np.ndarray, table: Table, views: tuple[str, ...]) -> Batches:
    """Every view of every row as `Batches` over a table, read on demand, as float32."""
    read = table.mapped_reader([row_key(key, name) for key in rows["key"] for name in views])
    return Batches(lambda positions: read(positions).astype(np.float32), np.repeat(labels, len(views)))


def pixel_batches(images: ImagesRef, rows: pd.DataFrame, labels: np.ndarray, views: tuple[str, ...]) -> Batches:
    """Every view of every row as `Batches` of pixels, float32 0 to 255, in the order of `table_batches`."""
    read = datasets.pixel_reader(images, rows)

    def seen(positions: np.ndarray) -> np.ndarray:
        pixels = read(positions // len(views))
        names = [views[at] for at in positions % len(views)]
        return np.stack([view(image, name) for image, name in zip(pixels, names, strict=True)]).astype(np.float32)

    return Batches(seen, np.repeat(labels, len(views)))


def jittered(batches: Batches, views: tuple[str, ...], strength: float, seed: int) -> Batches:
    """The rows, each time in a random view, with brightness and contrast changed by up to `strength`."""
    random = np.random.default_rng(seed)

    def changed(positions: np.ndarray) -> np.ndarray:
        pixels = batches.read(positions)
        names = random.choice(views, len(pixels))
        contrast, brightness = random.uniform(1 - strength, 1 + strength, (2, len(pixels), 1, 1, 1))
        turned = np.stack([view(image, name) for image, name in zip(pixels, names, strict=True)])
        return ((turned - 127.5) * contrast + 127.5 * brightness).clip(0, 255).astype(np.float32)

    return replace(batches, read=changed, random=random)


def subset(batches: Batches, chosen: np.ndarray, images: int) -> Batches:
    """All rows of the chosen images out of `images`, where each image's rows (views) follow each other."""
    each = len(batches.labels) // images
    return _taken(batches, (chosen[:, None] * each + np.arange(each)).ravel())


def joined(first: Batches, second: Batches) -> Batches:
    """The rows of both, one after the other; their labels are of one kind, and they have no weights."""
    count = len(first.labels)

    def read(positions: np.ndarray) -> np.ndarray:
        early = positions < count
        ours, theirs = first.read(positions[early]), second.read(positions[~early] - count)
        found = np.empty((len(positions), *ours.shape[1:]), ours.dtype)
        found[early], found[~early] = ours, theirs
        return found

    return replace(first, read=read, labels=np.concatenate([first.labels, second.labels]))


def repeated(batches: Batches, least: int) -> Batches:
    """The rows, repeated to `least` or more, so that an epoch of a few images has more than one step."""
    count = len(batches.labels)
    return _taken(batches, np.tile(np.arange(count), -(-least // count)))


def _taken(batches: Batches, positions: np.ndarray) -> Batches:
    weights = None if batches.weights is None else batches.weights[positions]
    return replace(
        batches, read=lambda at: batches.read(positions[at]), labels=batches.labels[positions], weights=weights
    )
